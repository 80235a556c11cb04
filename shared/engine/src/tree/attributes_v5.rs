//! Reads `TreeEnsemble` of `ai.onnx.ml` 5: branches and leaves in lists of their own, joined by their places.

use std::borrow::Cow;

use tract_onnx::pb::NodeProto;

use super::attributes::{Aggregate, Mode, RawTrees, read_tensor};
use crate::attributes::{check_length, elements, int, ints, tensor};
use crate::check::{invalid, node_name, unsupported};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::ml::PostTransform;
use crate::tensor::TensorData;

/// The branches' attributes as they stand.
struct Branches<'a> {
    node: &'a NodeProto,
    feature_ids: &'a [i64],
    splits: Vec<f64>,
    modes: Vec<Mode>,
    /// The true child, then the false one: its place, and whether it is a leaf.
    children: [(&'a [i64], &'a [i64]); 2],
    missing_tracks_true: &'a [i64],
    leaf_targets: &'a [i64],
    leaf_weights: Vec<f64>,
    /// Membership branches that stand before each branch: the place of its set.
    sets_before: Vec<usize>,
}

/// A branch or leaf that is still to be written, under the node that points to it.
struct Pending {
    place: i64,
    is_leaf: bool,
    depth: usize,
    /// The place in the output of the parent, and whether this is its true child.
    parent: Option<(usize, bool)>,
}

/// Reads the attributes as those of a `TreeEnsembleRegressor`, each leaf a node of its own.
pub(super) fn read<'a>(
    node: &'a NodeProto,
    limits: &LoadLimits,
) -> Result<RawTrees<'a>, LoadError> {
    let (branches, is_double) = read_branches(node)?;
    let width = usize::try_from(int(node, "n_targets").unwrap_or(0))
        .ok()
        .filter(|targets| *targets > 0 && *targets <= limits.max_elements)
        .ok_or_else(|| invalid(node, "n_targets must be a positive number"))?;
    let post_transform = match int(node, "post_transform").unwrap_or(0) {
        0 => PostTransform::None,
        1 | 2 => {
            return Err(unsupported(
                node,
                "post_transform 1 and 2 are SOFTMAX and LOGISTIC in the specification, and the other way round in onnxruntime",
                "let the trees give raw scores, and add the transform as a node of its own",
            ));
        }
        3 => PostTransform::SoftmaxZero,
        4 => PostTransform::Probit,
        other => return Err(invalid(node, format!("{other} is no post_transform"))),
    };
    if is_double && post_transform != PostTransform::None {
        return Err(unsupported(
            node,
            "a post_transform of float64 scores is not run",
            "export the trees in float32",
        ));
    }
    let aggregate = match int(node, "aggregate_function").unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(invalid(node, format!("{other} is no aggregate_function"))),
    };
    let mut raw = RawTrees {
        node,
        tree_ids: Cow::default(),
        node_ids: Cow::default(),
        feature_ids: Cow::default(),
        modes: Vec::new(),
        values: Vec::new(),
        when_true: Cow::default(),
        when_false: Cow::default(),
        missing_tracks_true: Cow::default(),
        leaf_tree_ids: Cow::default(),
        leaf_node_ids: Cow::default(),
        output_ids: Cow::default(),
        weights: Vec::new(),
        width,
        class_labels: None,
        base_values: Vec::new(),
        post_transform,
        aggregate,
        is_double,
        is_v5: true,
        sets: read_sets(&branches)?,
    };
    let roots = ints(node, "tree_roots");
    if roots.is_empty() {
        return Err(invalid(node, "tree_roots is empty: there is no tree"));
    }
    let mut is_reached = vec![false; branches.modes.len()];
    for (tree, root) in roots.iter().enumerate() {
        branches.unfold(tree as i64, *root, &mut is_reached, &mut raw, limits)?;
    }
    if let Some(at) = is_reached.iter().position(|reached| !reached) {
        return Err(invalid(node, format!("branch {at} is never reached")));
    }
    Ok(raw)
}

fn read_branches(node: &NodeProto) -> Result<(Branches<'_>, bool), LoadError> {
    let numbers = |name: &str| -> Result<(Vec<f64>, bool), LoadError> {
        let tensor =
            tensor(node, name).ok_or_else(|| invalid(node, format!("{name} is missing")))?;
        read_tensor(tensor).ok_or_else(|| {
            unsupported(
                node,
                format!("{name} is neither FLOAT nor DOUBLE"),
                "export the trees in float32",
            )
        })
    };
    let (splits, is_double) = numbers("nodes_splits")?;
    let count = splits.len();
    let per_node = |name: &str| {
        let values = ints(node, name);
        check_length(node, name, values.len(), "nodes_splits", count).map(|()| values)
    };
    let modes = tensor(node, "nodes_modes").and_then(elements);
    let Some(TensorData::Uint8(modes)) = modes else {
        return Err(invalid(node, "nodes_modes is no tensor of UINT8"));
    };
    check_length(node, "nodes_modes", modes.len(), "nodes_splits", count)?;
    let modes = modes
        .iter()
        .map(|mode| match mode {
            0 => Ok(Mode::LessOrEqual),
            1 => Ok(Mode::Less),
            2 => Ok(Mode::GreaterOrEqual),
            3 => Ok(Mode::Greater),
            4 => Ok(Mode::Equal),
            5 => Ok(Mode::NotEqual),
            6 => Ok(Mode::Member),
            other => Err(invalid(node, format!("{other} is no node mode"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let sets_before = modes
        .iter()
        .scan(0, |sets, mode| {
            let before = *sets;
            *sets += usize::from(*mode == Mode::Member);
            Some(before)
        })
        .collect();
    let (leaf_weights, double_weights) = numbers("leaf_weights")?;
    if is_double != double_weights {
        return Err(invalid(
            node,
            "nodes_splits and leaf_weights differ in type",
        ));
    }
    if let Some(at) = leaf_weights.iter().position(|weight| !weight.is_finite()) {
        return Err(invalid(
            node,
            format!("leaf_weights[{at}] is {}, not finite", leaf_weights[at]),
        ));
    }
    let leaf_targets = ints(node, "leaf_targetids");
    check_length(
        node,
        "leaf_targetids",
        leaf_targets.len(),
        "leaf_weights",
        leaf_weights.len(),
    )?;
    let missing_tracks_true = match ints(node, "nodes_missing_value_tracks_true") {
        [] => &[][..],
        _ => per_node("nodes_missing_value_tracks_true")?,
    };
    let branches = Branches {
        node,
        feature_ids: per_node("nodes_featureids")?,
        splits,
        modes,
        children: [
            (per_node("nodes_truenodeids")?, per_node("nodes_trueleafs")?),
            (
                per_node("nodes_falsenodeids")?,
                per_node("nodes_falseleafs")?,
            ),
        ],
        missing_tracks_true,
        leaf_targets,
        leaf_weights,
        sets_before,
    };
    Ok((branches, is_double))
}

/// The sets of the membership branches: runs of numbers that NaN ends, in the branches' order.
fn read_sets(branches: &Branches<'_>) -> Result<Vec<Vec<f64>>, LoadError> {
    let node = branches.node;
    let values = match tensor(node, "membership_values") {
        Some(tensor) => {
            read_tensor(tensor)
                .ok_or_else(|| invalid(node, "membership_values is neither FLOAT nor DOUBLE"))?
                .0
        }
        None => Vec::new(),
    };
    let mut sets: Vec<Vec<f64>> = values
        .split(|value| value.is_nan())
        .map(<[f64]>::to_vec)
        .collect();
    // What follows the last NaN is no set of its own if it is empty.
    if sets.last().is_some_and(Vec::is_empty) {
        sets.pop();
    }
    let wanted = branches
        .modes
        .iter()
        .filter(|mode| **mode == Mode::Member)
        .count();
    check_length(
        node,
        "membership_values",
        sets.len(),
        "the number of membership branches",
        wanted,
    )?;
    Ok(sets)
}

impl Branches<'_> {
    /// Writes one tree, branches and leaves as nodes, and so proves that it is one.
    fn unfold(
        &self,
        tree: i64,
        root: i64,
        is_reached: &mut [bool],
        raw: &mut RawTrees<'_>,
        limits: &LoadLimits,
    ) -> Result<(), LoadError> {
        let first = raw.modes.len();
        let mut pending = vec![Pending {
            place: root,
            is_leaf: false,
            depth: 0,
            parent: None,
        }];
        while let Some(next) = pending.pop() {
            let own = raw.modes.len();
            if own >= limits.max_tree_nodes {
                return Err(LoadError::TooLarge {
                    what: format!("the number of tree nodes of `{}`", node_name(self.node)),
                    actual: own + 1,
                    limit: limits.max_tree_nodes,
                });
            }
            if next.depth > limits.max_tree_depth {
                return Err(LoadError::TooLarge {
                    what: format!("the depth of tree {tree}"),
                    actual: next.depth,
                    limit: limits.max_tree_depth,
                });
            }
            if let Some((parent, when_true)) = next.parent {
                let side = if when_true {
                    &mut raw.when_true
                } else {
                    &mut raw.when_false
                };
                side.to_mut()[parent] = (own - first) as i64;
            }
            raw.tree_ids.to_mut().push(tree);
            raw.node_ids.to_mut().push((own - first) as i64);
            raw.when_true.to_mut().push(0);
            raw.when_false.to_mut().push(0);
            let place = usize::try_from(next.place).unwrap_or(usize::MAX);
            if next.is_leaf {
                let Some(weight) = self.leaf_weights.get(place) else {
                    return Err(self.outside("leaf", next.place, tree));
                };
                raw.feature_ids.to_mut().push(0);
                raw.modes.push(Mode::Leaf);
                raw.values.push(0.0);
                raw.missing_tracks_true.to_mut().push(0);
                raw.leaf_tree_ids.to_mut().push(tree);
                raw.leaf_node_ids.to_mut().push((own - first) as i64);
                raw.output_ids.to_mut().push(self.leaf_targets[place]);
                raw.weights.push(*weight);
                continue;
            }
            let Some(reached) = is_reached.get_mut(place) else {
                return Err(self.outside("branch", next.place, tree));
            };
            if std::mem::replace(reached, true) {
                let reason = format!("branch {place} is reached twice: a cycle or a shared branch");
                return Err(invalid(self.node, reason));
            }
            let mode = self.modes[place];
            raw.feature_ids.to_mut().push(self.feature_ids[place]);
            raw.modes.push(mode);
            raw.values.push(if mode == Mode::Member {
                self.sets_before[place] as f64
            } else {
                self.splits[place]
            });
            raw.missing_tracks_true
                .to_mut()
                .push(self.missing_tracks_true.get(place).copied().unwrap_or(0));
            for (at, (places, leaves)) in self.children.iter().enumerate() {
                pending.push(Pending {
                    place: places[place],
                    is_leaf: leaves[place] != 0,
                    depth: next.depth + 1,
                    parent: Some((own, at == 0)),
                });
            }
        }
        Ok(())
    }

    fn outside(&self, kind: &str, place: i64, tree: i64) -> LoadError {
        invalid(
            self.node,
            format!("tree {tree} points to {kind} {place}, which is not there"),
        )
    }
}
