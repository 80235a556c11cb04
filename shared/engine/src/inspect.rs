//! Says what is in a model file, also where it cannot be loaded.

mod cost;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::check;
use crate::error::LoadError;
use crate::guarded::{check_size, on_thread};
use crate::limits::LoadLimits;
use crate::ml::{self, Operator};
use crate::model::{Model, TensorSpec};
use crate::precision;
use crate::sequence;
use crate::tree;

pub use cost::Cost;

/// What is in a model file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The inputs, in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// The outputs, in the graph's order; the map output of `ZipMap` as the tensor that it was made from.
    pub outputs: Vec<TensorSpec>,
    /// The exporter with its version, for example `skl2onnx 1.20.0`; empty where the file names none.
    pub producer: String,
    /// The version of the file format.
    pub ir_version: i64,
    /// The operator sets that the file imports.
    pub opsets: Vec<Opset>,
    /// The operators, by name, with how often each stands in the graph.
    pub operators: Vec<OperatorCount>,
    /// Length of the file, in bytes.
    pub size: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of elements in all initialisers together.
    pub parameters: usize,
    /// What one row costs, estimated.
    pub cost: Cost,
    /// Estimated memory of the loaded model's weights and trees, in bytes.
    pub memory: usize,
    /// The tree ensembles.
    pub trees: Vec<TreeSummary>,
    /// The nodes that keep the model from being loaded; empty where none does.
    pub unsupported: Vec<Unsupported>,
    /// Why the model is not loaded although every node is supported; `None` where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

impl Inspection {
    /// Whether the model is served.
    pub fn is_supported(&self) -> bool {
        self.unsupported.is_empty() && self.refusal.is_none()
    }
}

/// Why a model is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Stable code, for example `model.invalid_graph`.
    pub code: &'static str,
    /// One sentence.
    pub error: String,
}

/// An operator set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Opset {
    /// Its domain; `ai.onnx` for the default one.
    pub domain: String,
    /// Its version.
    pub version: i64,
}

/// How often an operator is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorCount {
    /// The operator, with its domain unless that is `ai.onnx`.
    pub operator: String,
    /// Nodes that use it.
    pub count: usize,
}

/// One tree ensemble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeSummary {
    /// The node's name.
    pub node: String,
    /// Number of trees.
    pub trees: usize,
    /// Number of branches and leaves.
    pub nodes: usize,
    /// Number of leaves.
    pub leaves: usize,
    /// The largest feature id, plus one.
    pub features: usize,
}

/// A node that is not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsupported {
    /// The node's name, or its first output's.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Why it is not run.
    pub reason: String,
    /// What the author of the model can do; empty where nothing is known.
    pub hint: String,
}

/// Describes a model file, lists all operators that are not run, and loads it where there are none.
///
/// # Errors
/// A [`LoadError`] for a file that is too large, malformed or contradicts itself; never for an operator, nor for what
/// only loading finds. No file makes this panic, and neither reading it nor loading it takes longer than
/// `limits.deadline`.
pub fn inspect(onnx: &[u8], limits: &LoadLimits) -> Result<Inspection, LoadError> {
    check_size(onnx, limits)?;
    let bytes = onnx.to_vec();
    let mut found = on_thread(limits, move |limits| describe(&bytes, limits))?;
    if found.unsupported.is_empty() {
        let refused = Model::load(onnx, limits).err();
        found.refusal = refused.map(|error| Refusal {
            code: error.code(),
            error: error.to_string(),
        });
    }
    Ok(found)
}

/// What the file itself says.
fn describe(onnx: &[u8], limits: &LoadLimits) -> Result<Inspection, LoadError> {
    let mut model = check::decode(onnx, limits)?;
    let mut refused = model
        .graph
        .as_ref()
        .map(check::find_unsupported)
        .unwrap_or_default();
    check::validate(&model, limits)?;
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    let mut trees = Vec::new();
    let mut parameters = 0_usize;
    let mut nodes = 0;
    let mut weight = cost::Weight::default();
    let mut specs = (Vec::new(), Vec::new());
    let opset = check::opset(&model);
    if let Some(graph) = &mut model.graph {
        nodes = graph.node.len();
        weight = cost::weigh(graph);
        for node in &graph.node {
            *operators.entry(check::qualified_name(node)).or_default() += 1;
            if check::is_tree_ensemble(node) {
                trees.push(tree::summarise(node));
            }
            if ml::is_own(node) {
                match Operator::parse(node, None, limits) {
                    Ok(_) => {}
                    Err(error) if error.is_unsupported() => refused.push(error),
                    Err(error) => return Err(error),
                }
            }
        }
        for tensor in &graph.initializer {
            let count = tensor.dims.iter().fold(1_usize, |product, dim| {
                product.saturating_mul(*dim as usize)
            });
            parameters = parameters.saturating_add(count);
        }
        check::replace_zip_maps(graph);
        specs = check::read_specs(graph)?;
        if refused.is_empty() {
            match precision::lower(graph, opset, sequence::packed_limit(onnx.len())) {
                Ok(_) => {}
                Err(error) if error.is_unsupported() => refused.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    let unsupported: Vec<Unsupported> = refused
        .into_iter()
        .filter_map(|error| match error {
            LoadError::UnsupportedOperator {
                node,
                operator,
                reason,
                hint,
            } => Some(Unsupported {
                node,
                operator,
                reason,
                hint,
            }),
            _ => None,
        })
        .collect();
    let opsets: BTreeSet<Opset> = model
        .opset_import
        .iter()
        .map(|import| Opset {
            domain: if import.domain.is_empty() {
                "ai.onnx".to_owned()
            } else {
                import.domain.clone()
            },
            version: import.version,
        })
        .collect();
    Ok(Inspection {
        inputs: specs.0,
        outputs: specs.1,
        producer: format!("{} {}", model.producer_name, model.producer_version)
            .trim()
            .to_owned(),
        ir_version: model.ir_version,
        opsets: opsets.into_iter().collect(),
        operators: operators
            .into_iter()
            .map(|(operator, count)| OperatorCount { operator, count })
            .collect(),
        size: onnx.len(),
        nodes,
        parameters,
        cost: weight.cost,
        memory: weight.memory,
        trees,
        unsupported,
        refusal: None,
    })
}
