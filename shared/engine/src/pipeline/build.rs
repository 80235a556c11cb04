//! Makes a pipeline of a graph, where every operator is a step.

use std::borrow::Cow;
use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::step::Step;
use super::{Node, Pipeline, Source};
use crate::attributes::{elements, tensor};
use crate::check::{ML_DOMAIN, invalid, node_name, qualified_name};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::ml::{Array, Form, Operator, is_own};
use crate::model::TensorSpec;
use crate::sequence::{DENSE, find_dense};
use crate::tensor::TensorData;
use crate::tree::{Ensembles, ensemble_name};

/// Two batch sizes that no graph has for a fixed dimension by chance: what differs between them is variable.
const BATCHES: [usize; 2] = [1009, 2003];

/// Values by name while the graph is read.
struct Reader<'a> {
    graph: &'a GraphProto,
    pipeline: Pipeline,
    sources: HashMap<&'a str, Source>,
    /// The types of the slots.
    forms: Vec<Form>,
    inputs: Vec<Form>,
    /// Tree operators that need not be read.
    ensembles: Ensembles,
}

/// Makes a pipeline, and completes the outputs' shapes; none for a graph that the graph engine must run. Operators
/// among `ensembles` are taken as they are.
pub(crate) fn build(
    graph: &GraphProto,
    inputs: &[TensorSpec],
    outputs: &mut [TensorSpec],
    ensembles: Ensembles,
    (opset, limits): (i64, &LoadLimits),
) -> Result<Option<Pipeline>, LoadError> {
    let dense = find_dense(graph, opset);
    if dense.is_none() && !graph.node.iter().any(|node| node.domain == ML_DOMAIN) {
        return Ok(None);
    }
    let (nodes, constants) = match dense {
        Some(found) => (found.nodes, found.constants),
        None => (graph.node.iter().map(Cow::Borrowed).collect(), Vec::new()),
    };
    let Some(shapes) = guess_shapes(graph, inputs, &ensembles, limits) else {
        return Ok(None);
    };
    let mut reader = Reader {
        graph,
        pipeline: Pipeline {
            nodes: Vec::new(),
            constants: Vec::new(),
            slots: 0,
            outputs: Vec::new(),
            fitting: Vec::new(),
            max_elements: limits.max_elements,
        },
        sources: HashMap::new(),
        forms: Vec::new(),
        inputs: inputs
            .iter()
            .zip(&shapes)
            .map(|(spec, shape)| Form::new(spec.datatype, shape.at(BATCHES[0])))
            .collect(),
        ensembles,
    };
    if !reader.read_values(inputs, &constants) {
        return Ok(None);
    }
    for node in &nodes {
        if !reader.read_node(node, limits)? {
            return Ok(None);
        }
    }
    let Some(mut pipeline) = reader.finish() else {
        return Ok(None);
    };
    let shapes_at =
        |batch: usize| -> Vec<Vec<usize>> { shapes.iter().map(|shape| shape.at(batch)).collect() };
    let forms_at = |batch: usize| {
        let shapes = shapes_at(batch);
        let forms = inputs.iter().zip(shapes);
        let forms = forms.map(|(spec, shape)| Form::new(spec.datatype, shape));
        pipeline.forms(&forms.collect::<Vec<_>>())
    };
    let [Ok(first), Ok(second)] = BATCHES.map(forms_at) else {
        return Ok(None);
    };
    let single = forms_at(1).ok();
    if let Some(made) = &single
        && made.elements > limits.max_elements
    {
        return Err(LoadError::TooLarge {
            what: "the number of elements that the nodes make for one row".to_owned(),
            actual: made.elements,
            limit: limits.max_elements,
        });
    }
    // The number of elements may grow faster than the rows: only what was counted is known to fit.
    let counted = [
        (BATCHES[1], Some(&second)),
        (BATCHES[0], Some(&first)),
        (1, single.as_ref()),
    ];
    let fitting = counted
        .into_iter()
        .find(|(_, made)| made.is_some_and(|made| made.elements <= limits.max_elements))
        .map_or_else(Vec::new, |(batch, _)| shapes_at(batch));
    pipeline.fitting = fitting;
    let made = first.outputs.into_iter().zip(second.outputs);
    for (spec, (first, second)) in outputs.iter_mut().zip(made) {
        if spec.datatype != first.datatype {
            return Err(LoadError::graph(format!(
                "output `{}` is said to be {}, but the graph makes {made}; export it for inputs of {made}",
                spec.name,
                spec.datatype.name(),
                made = first.datatype.name()
            )));
        }
        // The steps know their outputs better than the file says.
        spec.shape = first
            .shape
            .iter()
            .zip(&second.shape)
            .map(|(a, b)| if a == b { *a as i64 } else { -1 })
            .collect();
    }
    Ok(Some(pipeline))
}

/// An input's shape with its open dimensions filled in.
struct Shape {
    dims: Vec<i64>,
    columns: usize,
}

impl Shape {
    /// The shape for a batch: an open first dimension is the batch, any other the guess.
    fn at(&self, batch: usize) -> Vec<usize> {
        self.dims
            .iter()
            .enumerate()
            .map(|(at, dim)| match usize::try_from(*dim) {
                Ok(dim) => dim,
                Err(_) if at == 0 => batch,
                Err(_) => self.columns,
            })
            .collect()
    }
}

/// Fills in dimensions that the file leaves open by what the operators were made for.
fn guess_shapes(
    graph: &GraphProto,
    inputs: &[TensorSpec],
    ensembles: &Ensembles,
    limits: &LoadLimits,
) -> Option<Vec<Shape>> {
    inputs
        .iter()
        .map(|spec| {
            let is_open = spec.shape.iter().skip(1).any(|dim| *dim < 0);
            if spec.shape.is_empty()
                || spec.shape.iter().skip(1).filter(|dim| **dim < 0).count() > 1
            {
                return None;
            }
            let columns = if is_open {
                let readers = graph.node.iter().filter(|node| {
                    node.domain == ML_DOMAIN && node.input.first() == Some(&spec.name)
                });
                readers
                    .filter_map(|node| match ensembles.get(ensemble_name(node)) {
                        Some(trees) => Some(trees.min_features()),
                        None => Operator::parse(node, Some(spec.datatype), limits)
                            .ok()?
                            .features(),
                    })
                    .max()?
            } else {
                0
            };
            Some(Shape {
                dims: spec.shape.clone(),
                columns,
            })
        })
        .collect()
}

impl<'a> Reader<'a> {
    /// Names inputs and constants; false for a constant that is not read.
    fn read_values(&mut self, inputs: &'a [TensorSpec], more: &'a [TensorProto]) -> bool {
        for (at, spec) in inputs.iter().enumerate() {
            self.sources.insert(&spec.name, Source::Input(at));
        }
        for tensor in self.graph.initializer.iter().chain(more) {
            let Some(data) = elements(tensor) else {
                return false;
            };
            let shape = tensor.dims.iter().map(|dim| *dim as usize).collect();
            self.add_constant(&tensor.name, Array { shape, data });
        }
        true
    }

    fn add_constant(&mut self, name: &'a str, array: Array) {
        self.sources
            .insert(name, Source::Constant(self.pipeline.constants.len()));
        self.pipeline.constants.push(array);
    }

    fn form(&self, source: Source) -> Form {
        match source {
            Source::Input(at) => self.inputs[at].clone(),
            Source::Constant(at) => self.pipeline.constants[at].view().form(),
            Source::Slot(at) => self.forms[at].clone(),
        }
    }

    /// Adds a node; false for one that is no step.
    fn read_node(&mut self, node: &'a NodeProto, limits: &LoadLimits) -> Result<bool, LoadError> {
        let [output, ..] = node.output.as_slice() else {
            return Ok(false);
        };
        if node.op_type == "Constant" {
            let value = tensor(node, "value").and_then(|tensor| {
                let shape = tensor.dims.iter().map(|dim| *dim as usize).collect();
                Some(Array {
                    shape,
                    data: elements(tensor)?,
                })
            });
            return Ok(value.is_some_and(|array| {
                self.add_constant(output, array);
                true
            }));
        }
        if node.op_type == DENSE {
            return Ok(self.read_dense(node));
        }
        let Some(sources) = node
            .input
            .iter()
            .map(|name| self.sources.get(name.as_str()).copied())
            .collect::<Option<Vec<Source>>>()
        else {
            return Ok(false);
        };
        let step = if is_own(node) {
            let first = sources.first().map(|source| self.form(*source).datatype);
            Step::Ml(Box::new(match self.ensembles.remove(ensemble_name(node)) {
                Some(trees) => Operator::from_trees(node, trees)?,
                None => Operator::parse(node, first, limits)?,
            }))
        } else {
            let constant = |at: usize| self.integers(sources.get(at).copied()?);
            let Some(step) = Step::read(node, constant) else {
                return Ok(false);
            };
            step
        };
        let inputs = sources[..step.input_count(sources.len()).min(sources.len())].to_vec();
        if let (Step::Identity, [source]) = (&step, &*inputs) {
            // Another name for the same value.
            self.sources.insert(output, *source);
            return Ok(true);
        }
        match self.add_step(node, step, inputs) {
            // The same operator would refuse in the graph engine, with less to say.
            Err(reason) if is_own(node) => Err(invalid(node, reason)),
            added => Ok(added.is_ok()),
        }
    }

    /// Adds a stretch of dense layers; false for one that is no step.
    fn read_dense(&mut self, node: &'a NodeProto) -> bool {
        let Some(source) = self.sources.get(node.input[0].as_str()).copied() else {
            return false;
        };
        let constant = |at: usize| {
            let name = node.input.get(at)?;
            let Source::Constant(at) = *self.sources.get(name.as_str())? else {
                return None;
            };
            let array = &self.pipeline.constants[at];
            match &array.data {
                TensorData::Fp32(values) => Some((&*array.shape, values.as_slice())),
                _ => None,
            }
        };
        match Step::read_dense(node, constant) {
            Ok(step) => self.add_step(node, step, vec![source]).is_ok(),
            Err(_) => false,
        }
    }

    /// Adds a step, or says why its inputs are not taken.
    fn add_step(
        &mut self,
        node: &'a NodeProto,
        step: Step,
        inputs: Vec<Source>,
    ) -> Result<(), String> {
        let given: Vec<Form> = inputs.iter().map(|source| self.form(*source)).collect();
        let made = step.forms(&given)?;
        let mut slots = Vec::with_capacity(made.len());
        for (name, form) in node.output.iter().zip(made) {
            if name.is_empty() {
                slots.push(None);
                continue;
            }
            let slot = self.forms.len();
            self.sources.insert(name, Source::Slot(slot));
            self.forms.push(form);
            slots.push(Some(slot));
        }
        self.pipeline.nodes.push(Node {
            label: format!("node `{}` ({})", node_name(node), qualified_name(node)),
            step,
            inputs,
            outputs: slots,
        });
        Ok(())
    }

    /// The elements of a constant of integers.
    fn integers(&self, source: Source) -> Option<Vec<i64>> {
        let Source::Constant(at) = source else {
            return None;
        };
        match &self.pipeline.constants[at].data {
            TensorData::Int64(values) => Some(values.clone()),
            _ => None,
        }
    }

    fn finish(mut self) -> Option<Pipeline> {
        self.pipeline.slots = self.forms.len();
        for output in &self.graph.output {
            let source = *self.sources.get(output.name.as_str())?;
            self.pipeline.outputs.push((output.name.clone(), source));
        }
        self.drop_constants();
        Some(self.pipeline)
    }

    /// Lets go of the constants that no step reads while it runs: weights that are packed, and shapes.
    fn drop_constants(&mut self) {
        let mut is_read = vec![false; self.pipeline.constants.len()];
        let nodes = self.pipeline.nodes.iter().flat_map(|node| &node.inputs);
        let outputs = self.pipeline.outputs.iter().map(|(_, source)| source);
        for source in nodes.chain(outputs) {
            if let Source::Constant(at) = source {
                is_read[*at] = true;
            }
        }
        for (array, is_read) in self.pipeline.constants.iter_mut().zip(is_read) {
            if !is_read {
                *array = Array {
                    shape: vec![0],
                    data: TensorData::Bool(Vec::new()),
                };
            }
        }
    }
}
