//! Reads a tree operator's attributes as they stand in the file.

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use crate::check::{invalid, node_name, unsupported};
use crate::error::LoadError;
use crate::inspect::TreeSummary;
use crate::limits::LoadLimits;

/// How a node compares the feature with its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    Leaf,
}

/// What is done with the weights of the leaves that a row reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// What is done with the aggregated scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostTransform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

/// Class labels, by class id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClassLabels {
    Integers(Vec<i64>),
    Strings(Vec<Vec<u8>>),
}

impl ClassLabels {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integers(labels) => labels.len(),
            Self::Strings(labels) => labels.len(),
        }
    }
}

/// A tree operator's attributes: parallel arrays of equal length, values within their type.
#[derive(Debug)]
pub(super) struct RawTrees<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) tree_ids: &'a [i64],
    pub(super) node_ids: &'a [i64],
    pub(super) feature_ids: &'a [i64],
    pub(super) modes: Vec<Mode>,
    pub(super) values: Vec<f64>,
    pub(super) when_true: &'a [i64],
    pub(super) when_false: &'a [i64],
    /// Empty or one a node.
    pub(super) missing_tracks_true: &'a [i64],
    pub(super) leaf_tree_ids: &'a [i64],
    pub(super) leaf_node_ids: &'a [i64],
    /// Class or target of each weight.
    pub(super) output_ids: &'a [i64],
    pub(super) weights: Vec<f64>,
    /// Targets or classes.
    pub(super) width: usize,
    pub(super) class_labels: Option<ClassLabels>,
    pub(super) base_values: Vec<f64>,
    pub(super) post_transform: PostTransform,
    pub(super) aggregate: Aggregate,
    /// True if thresholds or weights are given as float64.
    pub(super) is_double: bool,
}

/// Reads the attributes.
pub(super) fn read<'a>(
    node: &'a NodeProto,
    limits: &LoadLimits,
) -> Result<RawTrees<'a>, LoadError> {
    let is_classifier = node.op_type == "TreeEnsembleClassifier";
    let prefix = if is_classifier { "class" } else { "target" };
    let tree_ids = ints(node, "nodes_treeids");
    let count = tree_ids.len();
    if count == 0 {
        return Err(invalid(node, "nodes_treeids is empty: there is no tree"));
    }
    if count > limits.max_tree_nodes {
        return Err(LoadError::TooLarge {
            what: format!("the number of tree nodes of `{}`", node_name(node)),
            actual: count,
            limit: limits.max_tree_nodes,
        });
    }
    let per_node = |name: &str| -> Result<&'a [i64], LoadError> {
        let values = ints(node, name);
        check_length(node, name, values.len(), "nodes_treeids", count)?;
        Ok(values)
    };
    let node_ids = per_node("nodes_nodeids")?;
    let feature_ids = per_node("nodes_featureids")?;
    let when_true = per_node("nodes_truenodeids")?;
    let when_false = per_node("nodes_falsenodeids")?;
    let missing_tracks_true = match ints(node, "nodes_missing_value_tracks_true") {
        [] => &[][..],
        _ => per_node("nodes_missing_value_tracks_true")?,
    };
    let modes = strings(node, "nodes_modes");
    check_length(node, "nodes_modes", modes.len(), "nodes_treeids", count)?;
    let modes = modes
        .iter()
        .map(|mode| read_mode(node, mode))
        .collect::<Result<Vec<_>, _>>()?;
    let (values, double_values) = floats(node, "nodes_values")?;
    check_length(node, "nodes_values", values.len(), "nodes_treeids", count)?;
    let (weights, double_weights) = floats(node, &format!("{prefix}_weights"))?;
    if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
        return Err(invalid(
            node,
            format!("{prefix}_weights[{at}] is {}, not finite", weights[at]),
        ));
    }
    let per_weight = |name: String| -> Result<&'a [i64], LoadError> {
        let values = ints(node, &name);
        check_length(
            node,
            &name,
            values.len(),
            &format!("{prefix}_weights"),
            weights.len(),
        )?;
        Ok(values)
    };
    let leaf_tree_ids = per_weight(format!("{prefix}_treeids"))?;
    let leaf_node_ids = per_weight(format!("{prefix}_nodeids"))?;
    let output_ids = per_weight(format!("{prefix}_ids"))?;
    let class_labels = if is_classifier {
        Some(read_labels(node)?)
    } else {
        None
    };
    let width = match &class_labels {
        Some(labels) => labels.len(),
        None => usize::try_from(int(node, "n_targets").unwrap_or(0))
            .ok()
            .filter(|targets| *targets > 0 && *targets <= limits.max_elements)
            .ok_or_else(|| invalid(node, "n_targets must be a positive number"))?,
    };
    let (base_values, _) = floats(node, "base_values")?;
    if let Some(at) = base_values.iter().position(|value| !value.is_finite()) {
        return Err(invalid(
            node,
            format!("base_values[{at}] is {}, not finite", base_values[at]),
        ));
    }
    let base_fits = base_values.is_empty()
        || base_values.len() == width
        || (is_classifier && width == 2 && base_values.len() == 1);
    if !base_fits {
        return Err(invalid(
            node,
            format!("{} base_values for {width} outputs", base_values.len()),
        ));
    }
    Ok(RawTrees {
        node,
        tree_ids,
        node_ids,
        feature_ids,
        modes,
        values,
        when_true,
        when_false,
        missing_tracks_true,
        leaf_tree_ids,
        leaf_node_ids,
        output_ids,
        weights,
        width,
        class_labels,
        base_values,
        post_transform: read_post_transform(node)?,
        aggregate: if is_classifier {
            Aggregate::Sum
        } else {
            read_aggregate(node)?
        },
        is_double: double_values || double_weights,
    })
}

/// Counts an operator's trees without validating them.
pub(crate) fn summarise(node: &NodeProto) -> TreeSummary {
    let tree_ids = ints(node, "nodes_treeids");
    let trees = tree_ids
        .windows(2)
        .filter(|pair| pair[0] != pair[1])
        .count()
        + usize::from(!tree_ids.is_empty());
    let leaves = strings(node, "nodes_modes")
        .iter()
        .filter(|mode| mode.as_slice() == b"LEAF")
        .count();
    let features = ints(node, "nodes_featureids")
        .iter()
        .max()
        .map_or(0, |id| id.saturating_add(1).max(0));
    TreeSummary {
        node: node_name(node),
        trees,
        nodes: tree_ids.len(),
        leaves,
        features: features as usize,
    }
}

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    find(node, name).map(|attribute| attribute.i)
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    find(node, name).map_or(&[], |attribute| &attribute.ints)
}

fn strings<'a>(node: &'a NodeProto, name: &str) -> &'a [Vec<u8>] {
    find(node, name).map_or(&[], |attribute| &attribute.strings)
}

/// Reads a list of numbers, or its `_as_tensor` twin; the flag tells whether it was float64.
fn floats(node: &NodeProto, name: &str) -> Result<(Vec<f64>, bool), LoadError> {
    let twin = format!("{name}_as_tensor");
    let list = find(node, name).map_or(&[][..], |attribute| &attribute.floats);
    let Some(tensor) = find(node, &twin).and_then(|attribute| attribute.t.as_ref()) else {
        return Ok((list.iter().map(|value| f64::from(*value)).collect(), false));
    };
    if !list.is_empty() {
        return Err(invalid(node, format!("both {name} and {twin} are given")));
    }
    read_tensor(tensor).ok_or_else(|| {
        invalid(
            node,
            format!("{twin} must hold FLOAT or DOUBLE values, whole"),
        )
    })
}

fn read_tensor(tensor: &TensorProto) -> Option<(Vec<f64>, bool)> {
    let wide = match ElementType::try_from(tensor.data_type) {
        Ok(ElementType::Double) => true,
        Ok(ElementType::Float) => false,
        _ => return None,
    };
    let raw = tensor.raw_data.as_slice();
    if raw.is_empty() {
        let values = if wide {
            tensor.double_data.clone()
        } else {
            tensor
                .float_data
                .iter()
                .map(|value| f64::from(*value))
                .collect()
        };
        return Some((values, wide));
    }
    let values: Vec<f64> = if wide {
        let (chunks, rest) = raw.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        chunks
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes))
            .collect()
    } else {
        let (chunks, rest) = raw.as_chunks::<4>();
        if !rest.is_empty() {
            return None;
        }
        chunks
            .iter()
            .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
            .collect()
    };
    Some((values, wide))
}

fn check_length(
    node: &NodeProto,
    name: &str,
    len: usize,
    other: &str,
    expected: usize,
) -> Result<(), LoadError> {
    if len == expected {
        Ok(())
    } else {
        Err(invalid(
            node,
            format!("{name} has {len} entries where {other} has {expected}"),
        ))
    }
}

fn read_mode(node: &NodeProto, mode: &[u8]) -> Result<Mode, LoadError> {
    match mode {
        b"BRANCH_LEQ" => Ok(Mode::LessOrEqual),
        b"BRANCH_LT" => Ok(Mode::Less),
        b"BRANCH_GTE" => Ok(Mode::GreaterOrEqual),
        b"BRANCH_GT" => Ok(Mode::Greater),
        b"BRANCH_EQ" => Ok(Mode::Equal),
        b"BRANCH_NEQ" => Ok(Mode::NotEqual),
        b"LEAF" => Ok(Mode::Leaf),
        other => Err(invalid(
            node,
            format!("`{}` is no node mode", String::from_utf8_lossy(other)),
        )),
    }
}

fn read_labels(node: &NodeProto) -> Result<ClassLabels, LoadError> {
    let integers = ints(node, "classlabels_int64s");
    let texts = strings(node, "classlabels_strings");
    let labels = match (integers, texts) {
        ([], []) => {
            return Err(invalid(
                node,
                "neither classlabels_int64s nor classlabels_strings is given",
            ));
        }
        (integers, []) => ClassLabels::Integers(integers.to_vec()),
        ([], texts) => ClassLabels::Strings(texts.to_vec()),
        _ => {
            return Err(invalid(
                node,
                "both classlabels_int64s and classlabels_strings are given",
            ));
        }
    };
    if labels.len() == 1 {
        return Err(unsupported(
            node,
            "a classifier of one class has no defined scores",
            "train it on two classes or more",
        ));
    }
    if let ClassLabels::Strings(texts) = &labels
        && texts.iter().any(|text| std::str::from_utf8(text).is_err())
    {
        return Err(invalid(node, "a label of classlabels_strings is not UTF-8"));
    }
    Ok(labels)
}

fn read_post_transform(node: &NodeProto) -> Result<PostTransform, LoadError> {
    match find(node, "post_transform").map_or(&b"NONE"[..], |attribute| &attribute.s) {
        b"NONE" => Ok(PostTransform::None),
        b"SOFTMAX" => Ok(PostTransform::Softmax),
        b"LOGISTIC" => Ok(PostTransform::Logistic),
        b"SOFTMAX_ZERO" => Ok(PostTransform::SoftmaxZero),
        b"PROBIT" => Ok(PostTransform::Probit),
        other => Err(invalid(
            node,
            format!("`{}` is no post_transform", String::from_utf8_lossy(other)),
        )),
    }
}

fn read_aggregate(node: &NodeProto) -> Result<Aggregate, LoadError> {
    match find(node, "aggregate_function").map_or(&b"SUM"[..], |attribute| &attribute.s) {
        b"SUM" => Ok(Aggregate::Sum),
        b"AVERAGE" => Ok(Aggregate::Average),
        b"MIN" => Ok(Aggregate::Min),
        b"MAX" => Ok(Aggregate::Max),
        other => Err(invalid(
            node,
            format!(
                "`{}` is no aggregate_function",
                String::from_utf8_lossy(other)
            ),
        )),
    }
}
