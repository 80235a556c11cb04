//! Validates an untrusted model before the graph engine sees it.

mod compress;
mod constants;
mod functions;
mod graph;
mod ml;
mod node;
mod operators;
mod scan;
mod sizes;
mod tensors;

use prost::Message;
use tract_onnx::pb::{ModelProto, NodeProto};

use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::wire;

pub(crate) use compress::replace as replace_compress;
pub(crate) use constants::Constants;
pub(crate) use graph::{read_specs, replace_zip_maps};
pub(crate) use operators::{ML_DOMAIN, find_unsupported, is_tree_ensemble, qualified_name};
pub(crate) use scan::replace as replace_scans;

/// Versions of the file format that are read: 3 (2017) to 14.
const IR_VERSIONS: std::ops::RangeInclusive<i64> = 3..=14;
/// Versions of the operator set `ai.onnx` that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;
/// Versions of the operator set `ai.onnx.ml` that are read.
const ML_OPSETS: std::ops::RangeInclusive<i64> = 1..=5;

/// Decodes a file within its limits, and writes out the functions that it defines.
pub(crate) fn decode(onnx: &[u8], limits: &LoadLimits) -> Result<ModelProto, LoadError> {
    if onnx.len() > limits.max_bytes {
        return Err(LoadError::TooLarge {
            what: "the file in bytes".to_owned(),
            actual: onnx.len(),
            limit: limits.max_bytes,
        });
    }
    if onnx.is_empty() {
        return Err(LoadError::Malformed {
            reason: "the file is empty".to_owned(),
        });
    }
    wire::weigh(onnx, limits)?;
    let mut model = ModelProto::decode(onnx).map_err(|error| LoadError::Malformed {
        reason: error.to_string(),
    })?;
    functions::inline(&mut model, onnx, limits)?;
    let Some(graph) = &model.graph else {
        return Err(LoadError::Malformed {
            reason: "it holds no graph".to_owned(),
        });
    };
    if graph.node.len() > limits.max_nodes {
        return Err(LoadError::TooLarge {
            what: "the number of nodes".to_owned(),
            actual: graph.node.len(),
            limit: limits.max_nodes,
        });
    }
    Ok(model)
}

/// Checks everything but whether the operators are supported: versions, names, tensors, attributes, sizes.
pub(crate) fn validate(model: &ModelProto, limits: &LoadLimits) -> Result<(), LoadError> {
    check_versions(model)?;
    ml::check(model, limits)?;
    let Some(graph) = &model.graph else {
        return Err(LoadError::Malformed {
            reason: "it holds no graph".to_owned(),
        });
    };
    graph::check_names(graph)?;
    tensors::check_initializers(graph, limits)?;
    graph::check_values(graph, limits)?;
    let constants = Constants::collect(graph);
    for node in &graph.node {
        node::check(node, &constants, limits)?;
        sizes::check(node, &constants, limits)?;
    }
    Ok(())
}

fn check_versions(model: &ModelProto) -> Result<(), LoadError> {
    if !IR_VERSIONS.contains(&model.ir_version) {
        return Err(LoadError::graph(format!(
            "ir_version {} is not read; {} to {} are",
            model.ir_version,
            IR_VERSIONS.start(),
            IR_VERSIONS.end()
        )));
    }
    let mut has_opset = false;
    for import in &model.opset_import {
        let range = match import.domain.as_str() {
            "" | "ai.onnx" => {
                has_opset = true;
                OPSETS
            }
            ML_DOMAIN => ML_OPSETS,
            // Other domains may be imported; a node of one is refused where it stands.
            _ => continue,
        };
        if !range.contains(&import.version) {
            let domain = if import.domain.is_empty() {
                "ai.onnx"
            } else {
                &import.domain
            };
            return Err(LoadError::graph(format!(
                "operator set {domain} {} is not read; {} to {} are",
                import.version,
                range.start(),
                range.end()
            )));
        }
    }
    let needs_opset = model.graph.as_ref().is_some_and(|graph| {
        graph
            .node
            .iter()
            .any(|node| matches!(node.domain.as_str(), "" | "ai.onnx"))
    });
    if needs_opset && !has_opset {
        return Err(LoadError::graph("opset_import names no version of ai.onnx"));
    }
    Ok(())
}

/// The version of `ai.onnx` that a model imports; 0 where it imports none.
pub(crate) fn opset(model: &ModelProto) -> i64 {
    model
        .opset_import
        .iter()
        .find(|import| matches!(&*import.domain, "" | "ai.onnx"))
        .map_or(0, |import| import.version)
}

/// A node's name, or its first output's where it has none.
pub(crate) fn node_name(node: &NodeProto) -> String {
    if node.name.is_empty() {
        node.output.first().cloned().unwrap_or_default()
    } else {
        node.name.clone()
    }
}

/// A node that contradicts itself or the specification.
pub(crate) fn invalid(node: &NodeProto, reason: impl Into<String>) -> LoadError {
    LoadError::InvalidGraph {
        node: Some(node_name(node)),
        operator: Some(qualified_name(node)),
        reason: reason.into(),
    }
}

/// A node that is right but not run here.
pub(crate) fn unsupported(
    node: &NodeProto,
    reason: impl Into<String>,
    hint: impl Into<String>,
) -> LoadError {
    LoadError::UnsupportedOperator {
        node: node_name(node),
        operator: qualified_name(node),
        reason: reason.into(),
        hint: hint.into(),
    }
}
