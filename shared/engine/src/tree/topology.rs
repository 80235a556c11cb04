//! Proves that every tree ends, whichever way a row goes, and says where each node's children are.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::attributes::{Mode, RawTrees};
use crate::check::invalid;
use crate::error::LoadError;
use crate::limits::LoadLimits;

/// The trees, by places in the attributes.
#[derive(Debug)]
pub(super) struct Topology {
    /// Each tree's nodes, its root first.
    pub(super) trees: Vec<Tree>,
    /// The true and the false child of each node; its own place for a leaf.
    pub(super) children: Vec<[u32; 2]>,
    /// For each weight the place of its leaf.
    pub(super) weight_leaves: Vec<u32>,
    /// The largest feature that a branch uses.
    pub(super) max_feature: u32,
    /// True if a node has more than one parent: `LightGBM`'s exporter writes a set of categories as a chain of
    /// equalities that lead to one branch.
    pub(super) is_shared: bool,
}

/// One tree.
#[derive(Debug)]
pub(super) struct Tree {
    /// The places of its nodes, breadth first; the root is the first.
    pub(super) order: Vec<u32>,
    /// Edges from the root to the farthest leaf.
    pub(super) depth: usize,
}

/// Nodes of one tree in the attributes, and how to find them by id.
struct Run {
    places: Range<usize>,
    /// Only where the ids are not 0, 1, 2 … in order.
    index: Option<HashMap<i64, usize>>,
}

impl Topology {
    pub(super) fn new(raw: &RawTrees<'_>, limits: &LoadLimits) -> Result<Self, LoadError> {
        let max_feature = check_branches(raw)?;
        let runs = find_runs(raw)?;
        let count = raw.tree_ids.len();
        let mut topology = Self {
            trees: Vec::with_capacity(runs.len()),
            children: vec![[0; 2]; count],
            weight_leaves: Vec::new(),
            max_feature,
            is_shared: false,
        };
        let mut is_reached = vec![false; count];
        for run in &runs {
            let tree = topology.walk(raw, run, &mut is_reached, limits)?;
            topology.trees.push(tree);
        }
        if let Some(at) = is_reached.iter().position(|reached| !reached) {
            let reason = format!(
                "node {} of tree {} is never reached",
                raw.node_ids[at], raw.tree_ids[at]
            );
            return Err(invalid(raw.node, reason));
        }
        topology.weight_leaves = find_leaves(raw, &runs)?;
        Ok(topology)
    }

    fn walk(
        &mut self,
        raw: &RawTrees<'_>,
        run: &Run,
        is_reached: &mut [bool],
        limits: &LoadLimits,
    ) -> Result<Tree, LoadError> {
        let id = raw.tree_ids[run.places.start];
        let mut order = Vec::with_capacity(run.places.len());
        order.push(run.places.start as u32);
        is_reached[run.places.start] = true;
        let mut next = 0;
        while next < order.len() {
            let at = order[next] as usize;
            next += 1;
            if raw.modes[at] == Mode::Leaf {
                self.children[at] = [at as u32; 2];
                continue;
            }
            for (side, kind) in ["true", "false"].iter().enumerate() {
                let wanted = if side == 0 {
                    raw.when_true[at]
                } else {
                    raw.when_false[at]
                };
                let Some(child) = run.find(raw, wanted) else {
                    let own = raw.node_ids[at];
                    let reason =
                        format!("tree {id} has no node {wanted}, the {kind} child of node {own}");
                    return Err(invalid(raw.node, reason));
                };
                self.children[at][side] = child as u32;
                if std::mem::replace(&mut is_reached[child], true) {
                    self.is_shared = true;
                } else {
                    order.push(child as u32);
                }
            }
        }
        let depth = self.measure(raw, run, &order)?;
        if depth > limits.max_tree_depth {
            return Err(LoadError::TooLarge {
                what: format!("the depth of tree {id}"),
                actual: depth,
                limit: limits.max_tree_depth,
            });
        }
        Ok(Tree { order, depth })
    }

    /// Edges on the longest path from the root; an error if a path never ends.
    fn measure(&self, raw: &RawTrees<'_>, run: &Run, order: &[u32]) -> Result<usize, LoadError> {
        let children = |at: u32| {
            let at = at as usize;
            (raw.modes[at] != Mode::Leaf).then_some(self.children[at])
        };
        measure_paths(order, run.places.clone(), children).map_err(|at| {
            let at = at as usize;
            let reason = format!(
                "node {} of tree {} leads back to itself: a cycle",
                raw.node_ids[at], raw.tree_ids[at]
            );
            invalid(raw.node, reason)
        })
    }
}

/// Edges on the longest path from the first of the nodes `order`, all of which stand within `places` as their
/// children do; an error with a node if not every one of them is on paths from the first that all end.
pub(super) fn measure_paths(
    order: &[u32],
    places: Range<usize>,
    children: impl Fn(u32) -> Option<[u32; 2]>,
) -> Result<usize, u32> {
    let first = places.start;
    let mut parents = vec![0_u32; places.len()];
    for child in order.iter().filter_map(|at| children(*at)).flatten() {
        parents[child as usize - first] += 1;
    }
    // A node is measured once all its parents are.
    let mut depths = vec![0_usize; places.len()];
    let mut ready: Vec<u32> = order[..1].to_vec();
    ready.retain(|root| parents[*root as usize - first] == 0);
    let (mut done, mut deepest) = (0, 0);
    while let Some(at) = ready.pop() {
        done += 1;
        let depth = depths[at as usize - first];
        deepest = deepest.max(depth);
        for child in children(at).into_iter().flatten() {
            let local = child as usize - first;
            depths[local] = depths[local].max(depth + 1);
            parents[local] -= 1;
            if parents[local] == 0 {
                ready.push(child);
            }
        }
    }
    if done == order.len() {
        return Ok(deepest);
    }
    let stuck = order.iter().find(|at| parents[**at as usize - first] > 0);
    Err(stuck.copied().unwrap_or(first as u32))
}

impl Run {
    fn find(&self, raw: &RawTrees<'_>, id: i64) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&id).copied(),
            None => usize::try_from(id)
                .ok()
                .filter(|id| *id < self.places.len())
                .map(|id| self.places.start + id)
                .filter(|at| raw.node_ids[*at] == id),
        }
    }
}

/// Checks thresholds and features, and gives the largest feature.
fn check_branches(raw: &RawTrees<'_>) -> Result<u32, LoadError> {
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
        most = most.max(id);
    }
    Ok(most)
}

/// Finds the nodes that stand together as one tree.
fn find_runs(raw: &RawTrees<'_>) -> Result<Vec<Run>, LoadError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut seen = HashSet::new();
    let mut first = 0;
    for same in raw.tree_ids.chunk_by(|a, b| a == b) {
        let places = first..first + same.len();
        first = places.end;
        let tree = same[0];
        if !seen.insert(tree) {
            return Err(invalid(
                raw.node,
                format!("the nodes of tree {tree} do not stand together"),
            ));
        }
        let ids = &raw.node_ids[places.clone()];
        let in_order = ids.iter().enumerate().all(|(at, id)| *id == at as i64);
        let index = if in_order {
            None
        } else {
            let mut index = HashMap::with_capacity(ids.len());
            for (at, id) in ids.iter().enumerate() {
                if index.insert(*id, places.start + at).is_some() {
                    return Err(invalid(
                        raw.node,
                        format!("node {id} of tree {tree} is there twice"),
                    ));
                }
            }
            Some(index)
        };
        runs.push(Run { places, index });
    }
    Ok(runs)
}

/// Finds the leaf of each weight.
fn find_leaves(raw: &RawTrees<'_>, runs: &[Run]) -> Result<Vec<u32>, LoadError> {
    let by_tree: HashMap<i64, usize> = runs
        .iter()
        .enumerate()
        .map(|(at, run)| (raw.tree_ids[run.places.start], at))
        .collect();
    let mut leaves = Vec::with_capacity(raw.weights.len());
    let mut last = None;
    for (at, (&tree, &id)) in raw
        .leaf_tree_ids
        .iter()
        .zip(&*raw.leaf_node_ids)
        .enumerate()
    {
        // The weights of one tree mostly stand together.
        let run = match last {
            Some((known, run)) if known == tree => Some(run),
            _ => by_tree.get(&tree).map(|run| &runs[*run]),
        };
        last = run.map(|run| (tree, run));
        let Some(leaf) = run.and_then(|run| run.find(raw, id)) else {
            return Err(invalid(
                raw.node,
                format!("weight {at} is for node {id} of tree {tree}, which is not there"),
            ));
        };
        if raw.modes[leaf] != Mode::Leaf {
            return Err(invalid(
                raw.node,
                format!("weight {at} is for node {id} of tree {tree}, which is no leaf"),
            ));
        }
        leaves.push(leaf as u32);
    }
    Ok(leaves)
}
