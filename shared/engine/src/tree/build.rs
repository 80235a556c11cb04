//! Validates the trees' topology and packs them.

use std::collections::HashMap;

use super::attributes::{Mode, RawTrees};
use super::forest::{
    Forest, Leaves, Node, RIGHT_IF_EQUAL, RIGHT_IF_GREATER, RIGHT_IF_LESS, RIGHT_IF_MISSING,
    RIGHT_IF_NO_MEMBER, Real,
};
use crate::check::invalid;
use crate::error::LoadError;
use crate::limits::LoadLimits;

/// The place of each packed node, by its place in the attributes, and the trees' roots.
struct Layout {
    /// Places in the attributes, in packed order.
    order: Vec<usize>,
    /// The packed place of the left child, by packed place; a leaf's own.
    left: Vec<u32>,
    roots: Vec<u32>,
}

/// Validates and packs.
pub(super) fn build<T: Real>(
    raw: &RawTrees<'_>,
    limits: &LoadLimits,
) -> Result<Forest<T>, LoadError> {
    let max_feature = check_features(raw)?;
    let index = index_nodes(raw)?;
    let layout = lay_out(raw, &index, limits)?;
    let feature_bits = (u64::BITS - max_feature.leading_zeros()).max(1);
    if (layout.order.len() as u64) << feature_bits > u64::from(u32::MAX) {
        return Err(LoadError::TooLarge {
            what: "the product of tree nodes and feature ids".to_owned(),
            actual: layout.order.len().saturating_mul(1 << feature_bits.min(40)),
            limit: u32::MAX as usize,
        });
    }
    let mut nodes = Vec::with_capacity(layout.order.len());
    let mut rules = Vec::with_capacity(layout.order.len());
    let mut is_simple = true;
    for (&at, &left) in layout.order.iter().zip(&layout.left) {
        let mode = raw.modes[at];
        let tracks_true = raw
            .missing_tracks_true
            .get(at)
            .is_some_and(|flag| *flag != 0);
        let (threshold, feature, rule) = if mode == Mode::Leaf {
            (T::INFINITY, 0, 0)
        } else {
            let (threshold, rule) = choose_rule(mode, T::from_f64(raw.values[at]), tracks_true);
            is_simple &= rule & !RIGHT_IF_MISSING == RIGHT_IF_GREATER;
            (threshold, raw.feature_ids[at] as u32, rule)
        };
        nodes.push(Node {
            threshold,
            link: (left << feature_bits) | feature,
        });
        rules.push(rule);
    }
    let leaves = pack_leaves(raw, &index, &layout)?;
    Ok(Forest {
        nodes,
        rules,
        is_simple,
        feature_bits,
        roots: layout.roots,
        leaves,
        aggregate: raw.aggregate,
        sets: pack_sets(raw),
        width: raw.width,
        min_features: max_feature as usize + 1,
    })
}

/// True if the mode's true child is the right one: so that `value > threshold` goes right.
fn goes_right_if_true(mode: Mode) -> bool {
    matches!(mode, Mode::GreaterOrEqual | Mode::Greater)
}

/// The packed threshold and rule of a branch.
fn choose_rule<T: Real>(mode: Mode, threshold: T, tracks_true: bool) -> (T, u8) {
    // A comparison with NaN is false, that for inequality true; `tracks_true` makes any of them true.
    let missing_is_true = tracks_true || mode == Mode::NotEqual;
    let rule = if missing_is_true == goes_right_if_true(mode) {
        RIGHT_IF_MISSING
    } else {
        0
    };
    match mode {
        Mode::LessOrEqual | Mode::Greater => (threshold, rule | RIGHT_IF_GREATER),
        // `value < t` is `value <= below(t)`; for -inf, below which is nothing, by the full rule.
        Mode::Less | Mode::GreaterOrEqual if threshold.into() > f64::NEG_INFINITY => {
            (threshold.below(), rule | RIGHT_IF_GREATER)
        }
        Mode::Less | Mode::GreaterOrEqual => (threshold, rule | RIGHT_IF_GREATER | RIGHT_IF_EQUAL),
        Mode::Equal => (threshold, rule | RIGHT_IF_LESS | RIGHT_IF_GREATER),
        Mode::NotEqual => (threshold, rule | RIGHT_IF_EQUAL),
        // The threshold is the place of the set.
        Mode::Member => (threshold, rule | RIGHT_IF_NO_MEMBER),
        Mode::Leaf => (T::INFINITY, 0),
    }
}

/// The sets of membership branches, each sorted.
fn pack_sets<T: Real>(raw: &RawTrees<'_>) -> Vec<Vec<T>> {
    raw.sets
        .iter()
        .map(|set| {
            let mut packed: Vec<T> = set.iter().map(|value| T::from_f64(*value)).collect();
            packed.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
            packed
        })
        .collect()
}

fn check_features(raw: &RawTrees<'_>) -> Result<u64, LoadError> {
    let mut most = 0;
    for (at, &feature) in raw.feature_ids.iter().enumerate() {
        if raw.modes[at] == Mode::Leaf {
            continue;
        }
        let Ok(id) = u32::try_from(feature) else {
            return Err(invalid(
                raw.node,
                format!("nodes_featureids[{at}] is {feature}, out of range"),
            ));
        };
        if raw.values[at].is_nan() {
            return Err(invalid(raw.node, format!("nodes_values[{at}] is NaN")));
        }
        most = most.max(u64::from(id));
    }
    Ok(most)
}

/// Finds nodes by their tree's and their own id.
fn index_nodes(raw: &RawTrees<'_>) -> Result<HashMap<(i64, i64), usize>, LoadError> {
    let mut index = HashMap::with_capacity(raw.tree_ids.len());
    for (at, key) in raw
        .tree_ids
        .iter()
        .copied()
        .zip(raw.node_ids.iter().copied())
        .enumerate()
    {
        if index.insert(key, at).is_some() {
            return Err(invalid(
                raw.node,
                format!("node {} of tree {} is there twice", key.1, key.0),
            ));
        }
    }
    Ok(index)
}

/// Orders the nodes breadth first, children as neighbours, and so proves that every tree is one.
fn lay_out(
    raw: &RawTrees<'_>,
    index: &HashMap<(i64, i64), usize>,
    limits: &LoadLimits,
) -> Result<Layout, LoadError> {
    let count = raw.tree_ids.len();
    let mut layout = Layout {
        order: Vec::with_capacity(count),
        left: Vec::with_capacity(count),
        roots: Vec::new(),
    };
    let mut is_reached = vec![false; count];
    let mut first = 0;
    while first < count {
        let tree = raw.tree_ids[first];
        let next_tree = raw.tree_ids[first..]
            .iter()
            .position(|id| *id != tree)
            .map_or(count, |len| first + len);
        let start = layout.order.len();
        layout.roots.push(start as u32);
        layout.order.push(first);
        if std::mem::replace(&mut is_reached[first], true) {
            return Err(invalid(
                raw.node,
                format!("the nodes of tree {tree} do not stand together"),
            ));
        }
        let mut place = start;
        let mut depth = 0;
        let mut level_end = layout.order.len();
        while place < layout.order.len() {
            if place == level_end {
                depth += 1;
                level_end = layout.order.len();
                if depth > limits.max_tree_depth {
                    return Err(LoadError::TooLarge {
                        what: format!("the depth of tree {tree}"),
                        actual: depth,
                        limit: limits.max_tree_depth,
                    });
                }
            }
            let at = layout.order[place];
            if raw.modes[at] == Mode::Leaf {
                layout.left.push(place as u32);
            } else {
                layout.left.push(layout.order.len() as u32);
                let children = [("true", raw.when_true[at]), ("false", raw.when_false[at])];
                let [left, right] = if goes_right_if_true(raw.modes[at]) {
                    [1, 0]
                } else {
                    [0, 1]
                };
                for (kind, id) in [children[left], children[right]] {
                    let own = raw.node_ids[at];
                    let Some(&child) = index.get(&(tree, id)) else {
                        let reason =
                            format!("tree {tree} has no node {id}, the {kind} child of node {own}");
                        return Err(invalid(raw.node, reason));
                    };
                    if std::mem::replace(&mut is_reached[child], true) {
                        let reason = format!(
                            "node {id} of tree {tree} is reached twice: a cycle or a shared branch"
                        );
                        return Err(invalid(raw.node, reason));
                    }
                    layout.order.push(child);
                }
            }
            place += 1;
        }
        first = next_tree;
    }
    if let Some(at) = is_reached.iter().position(|reached| !reached) {
        let reason = format!(
            "node {} of tree {} is never reached",
            raw.node_ids[at], raw.tree_ids[at]
        );
        return Err(invalid(raw.node, reason));
    }
    Ok(layout)
}

fn pack_leaves<T: Real>(
    raw: &RawTrees<'_>,
    index: &HashMap<(i64, i64), usize>,
    layout: &Layout,
) -> Result<Leaves<T>, LoadError> {
    let count = layout.order.len();
    let mut packed_place = vec![0_u32; count];
    for (place, &at) in layout.order.iter().enumerate() {
        packed_place[at] = place as u32;
    }
    // Weights by node, in the attributes' order within a node.
    let mut by_node: Vec<(u32, u32, T)> = Vec::with_capacity(raw.weights.len());
    for (at, &weight) in raw.weights.iter().enumerate() {
        let (tree, id, output) = (
            raw.leaf_tree_ids[at],
            raw.leaf_node_ids[at],
            raw.output_ids[at],
        );
        let Some(&node) = index.get(&(tree, id)) else {
            return Err(invalid(
                raw.node,
                format!("weight {at} is for node {id} of tree {tree}, which is not there"),
            ));
        };
        if raw.modes[node] != Mode::Leaf {
            return Err(invalid(
                raw.node,
                format!("weight {at} is for node {id} of tree {tree}, which is no leaf"),
            ));
        }
        let output = usize::try_from(output)
            .ok()
            .filter(|output| *output < raw.width)
            .ok_or_else(|| {
                invalid(
                    raw.node,
                    format!(
                        "weight {at} is for class or target {output}; there are {}",
                        raw.width
                    ),
                )
            })?;
        by_node.push((packed_place[node], output as u32, T::from_f64(weight)));
    }
    by_node.sort_by_key(|(node, _, _)| *node);
    let mut starts = vec![0_u32; count + 1];
    for (node, _, _) in &by_node {
        starts[*node as usize + 1] += 1;
    }
    for place in 0..count {
        starts[place + 1] += starts[place];
    }
    let is_leaf = |place: usize| raw.modes[layout.order[place]] == Mode::Leaf;
    let all_leaves_hold = |wanted: usize| {
        (0..count)
            .filter(|place| is_leaf(*place))
            .all(|place| (starts[place + 1] - starts[place]) as usize == wanted)
    };
    let first_output = by_node.first().map_or(0, |(_, output, _)| *output);
    if all_leaves_hold(1) && by_node.iter().all(|(_, output, _)| *output == first_output) {
        let mut weights = vec![T::default(); count];
        for (node, _, weight) in &by_node {
            weights[*node as usize] = *weight;
        }
        return Ok(Leaves::One {
            output: first_output as usize,
            weights,
        });
    }
    if raw.width > 1 && all_leaves_hold(raw.width) {
        let mut weights = vec![T::default(); by_node.len()];
        let mut is_filled = vec![false; by_node.len()];
        for (node, output, weight) in &by_node {
            let slot = starts[*node as usize] as usize + *output as usize;
            weights[slot] = *weight;
            is_filled[slot] = true;
        }
        if is_filled.iter().all(|filled| *filled) {
            starts.pop();
            return Ok(Leaves::Dense { starts, weights });
        }
    }
    let weights = by_node
        .into_iter()
        .map(|(_, output, weight)| (output, weight))
        .collect();
    Ok(Leaves::Sparse { starts, weights })
}
