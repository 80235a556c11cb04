//! What can be said of the operators of `ai.onnx.ml` before they are read.

use tract_onnx::pb::ModelProto;

use super::{ML_DOMAIN, is_tree_ensemble, unsupported};
use crate::attributes::floats;
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::tree::summarise;

/// Checks the number of tree nodes of all ensembles together, and rules that changed between versions.
pub(super) fn check(model: &ModelProto, limits: &LoadLimits) -> Result<(), LoadError> {
    let version = model
        .opset_import
        .iter()
        .find(|import| import.domain == ML_DOMAIN)
        .map_or(1, |import| import.version);
    let mut tree_nodes = 0_usize;
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        if is_tree_ensemble(node) {
            tree_nodes = tree_nodes.saturating_add(summarise(node).nodes);
        }
        let has_nan_key = node.domain == ML_DOMAIN
            && node.op_type == "LabelEncoder"
            && floats(node, "keys_floats").iter().any(|key| key.is_nan());
        if has_nan_key && version < 4 {
            return Err(unsupported(
                node,
                "a key is NaN, which nothing equals before version 4 of ai.onnx.ml",
                "export it for ai.onnx.ml 4 or later",
            ));
        }
    }
    if tree_nodes > limits.max_tree_nodes {
        return Err(LoadError::TooLarge {
            what: "the number of tree nodes".to_owned(),
            actual: tree_nodes,
            limit: limits.max_tree_nodes,
        });
    }
    Ok(())
}
