//! Reads a tree operator's attributes as they stand in the file.

use std::borrow::Cow;
use std::collections::HashSet;

use tract_onnx::pb::{NodeProto, TensorProto};

use super::attributes_v5;
use crate::attributes::{check_length, elements, find, int, ints, strings, text};
use crate::check::{invalid, node_name, unsupported};
use crate::error::LoadError;
use crate::inspect::TreeSummary;
use crate::limits::LoadLimits;
use crate::ml::{ClassLabels, PostTransform};
use crate::tensor::TensorData;

/// How a node compares the feature with its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// True for the members of a set; the value is the set's place.
    Member,
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

impl Aggregate {
    /// All, in the order of the packed form.
    pub(super) const ALL: [Self; 4] = [Self::Sum, Self::Average, Self::Min, Self::Max];
}

/// A tree operator's attributes: parallel arrays of equal length, values within their type.
#[derive(Debug)]
pub(super) struct RawTrees<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) tree_ids: Cow<'a, [i64]>,
    pub(super) node_ids: Cow<'a, [i64]>,
    pub(super) feature_ids: Cow<'a, [i64]>,
    pub(super) modes: Vec<Mode>,
    pub(super) values: Vec<f64>,
    pub(super) when_true: Cow<'a, [i64]>,
    pub(super) when_false: Cow<'a, [i64]>,
    /// Empty or one a node.
    pub(super) missing_tracks_true: Cow<'a, [i64]>,
    pub(super) leaf_tree_ids: Cow<'a, [i64]>,
    pub(super) leaf_node_ids: Cow<'a, [i64]>,
    /// Class or target of each weight.
    pub(super) output_ids: Cow<'a, [i64]>,
    pub(super) weights: Vec<f64>,
    /// Targets or classes.
    pub(super) width: usize,
    pub(super) class_labels: Option<ClassLabels>,
    pub(super) base_values: Vec<f64>,
    pub(super) post_transform: PostTransform,
    pub(super) aggregate: Aggregate,
    /// True if thresholds or weights are given as float64.
    pub(super) is_double: bool,
    /// True for the operator of `ai.onnx.ml` 5, whose scores have the type of its thresholds.
    pub(super) is_v5: bool,
    /// The sets of membership branches.
    pub(super) sets: Vec<Vec<f64>>,
}

impl RawTrees<'_> {
    /// Whether one score stands for two classes: all weights are for one of them.
    pub(super) fn is_one_score(&self) -> bool {
        let one_id = |first| self.output_ids.iter().all(|id| id == first);
        self.class_labels.is_some()
            && self.width == 2
            && self.output_ids.first().is_some_and(one_id)
    }
}

/// Reads the attributes.
pub(super) fn read<'a>(
    node: &'a NodeProto,
    limits: &LoadLimits,
) -> Result<RawTrees<'a>, LoadError> {
    if node.op_type == "TreeEnsemble" {
        return attributes_v5::read(node, limits);
    }
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
    let mut raw = RawTrees {
        node,
        tree_ids: tree_ids.into(),
        node_ids: node_ids.into(),
        feature_ids: feature_ids.into(),
        modes,
        values,
        when_true: when_true.into(),
        when_false: when_false.into(),
        missing_tracks_true: missing_tracks_true.into(),
        leaf_tree_ids: leaf_tree_ids.into(),
        leaf_node_ids: leaf_node_ids.into(),
        output_ids: output_ids.into(),
        weights,
        width,
        class_labels,
        base_values,
        post_transform: PostTransform::read(node)?,
        aggregate: if is_classifier {
            Aggregate::Sum
        } else {
            read_aggregate(node)?
        },
        is_double: double_values || double_weights,
        is_v5: false,
        sets: Vec::new(),
    };
    if !is_classifier && width == 1 {
        raw.keep_first_weights();
    }
    Ok(raw)
}

impl RawTrees<'_> {
    /// Drops all weights of a leaf but the first: what onnxruntime does where there is one target. skl2onnx repeats
    /// them where a tree of several classes gives the number of its leaf.
    fn keep_first_weights(&mut self) {
        let leaves = || self.leaf_tree_ids.iter().zip(&*self.leaf_node_ids);
        if leaves().is_sorted_by(|left, right| left < right) {
            return;
        }
        let mut seen = HashSet::new();
        let keeps: Vec<bool> = leaves().map(|leaf| seen.insert(leaf)).collect();
        if keeps.iter().all(|keeps| *keeps) {
            return;
        }
        self.leaf_tree_ids = keep(&self.leaf_tree_ids, &keeps).into();
        self.leaf_node_ids = keep(&self.leaf_node_ids, &keeps).into();
        self.output_ids = keep(&self.output_ids, &keeps).into();
        self.weights = keep(&self.weights, &keeps);
    }
}

fn keep<T: Copy>(values: &[T], keeps: &[bool]) -> Vec<T> {
    let pairs = values.iter().zip(keeps);
    pairs
        .filter_map(|(value, keeps)| keeps.then_some(*value))
        .collect()
}

/// Counts an operator's trees without validating them.
pub(crate) fn summarise(node: &NodeProto) -> TreeSummary {
    if node.op_type == "TreeEnsemble" {
        let branches = ints(node, "nodes_truenodeids").len();
        let leaves = ints(node, "leaf_targetids").len();
        return TreeSummary {
            node: node_name(node),
            trees: ints(node, "tree_roots").len(),
            nodes: branches + leaves,
            leaves,
            features: count_features(node),
        };
    }
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
    TreeSummary {
        node: node_name(node),
        trees,
        nodes: tree_ids.len(),
        leaves,
        features: count_features(node),
    }
}

/// The largest feature id, plus one.
fn count_features(node: &NodeProto) -> usize {
    let most = ints(node, "nodes_featureids").iter().max();
    most.map_or(0, |id| id.saturating_add(1).max(0)) as usize
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

/// The values of a FLOAT or DOUBLE tensor, and whether they are DOUBLE.
pub(super) fn read_tensor(tensor: &TensorProto) -> Option<(Vec<f64>, bool)> {
    match elements(tensor)? {
        TensorData::Fp32(values) => Some((values.into_iter().map(f64::from).collect(), false)),
        TensorData::Fp64(values) => Some((values, true)),
        _ => None,
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
    let labels = ClassLabels::read(node, "classlabels_int64s", "classlabels_strings")?;
    if labels.len() == 1 {
        return Err(unsupported(
            node,
            "a classifier of one class has no defined scores",
            "train it on two classes or more",
        ));
    }
    Ok(labels)
}

fn read_aggregate(node: &NodeProto) -> Result<Aggregate, LoadError> {
    match text(node, "aggregate_function").unwrap_or(b"SUM") {
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
