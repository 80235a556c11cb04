//! Exact Shapley values of tree ensembles by the method `TreeSHAP` (Lundberg, Erion and Lee 2018), path dependent:
//! where a feature is unknown, a row goes both ways, in the proportion in which the background's rows went.

use std::collections::HashMap;

use super::attributes::Aggregate;
use super::branch::{Branch, Sets};
use super::finish::Finish;
use super::forest::Forest;
use super::real::Real;
use super::rows::Missing;
use super::spelled::Node;
use crate::explain::{Late, Watch, read_count, write_count};

/// Deepest tree that is explained: the time grows with the square of the depth.
pub(crate) const MAX_DEPTH: usize = 64;

/// Most paths from roots to leaves; shared branches have many.
const MAX_PATHS: u64 = 1 << 24;

/// The trees, with how many of the background's rows came to each node.
#[derive(Debug, Clone)]
pub(crate) struct Attribution<T: Real> {
    /// None for a leaf.
    branches: Vec<Option<Branch<T>>>,
    /// The weights of each leaf, by output.
    weights: Vec<Vec<(u32, f64)>>,
    roots: Vec<u32>,
    sets: Sets<T>,
    /// Rows that came to each node, and those of them that went right. A node may have several parents.
    covers: Vec<[f64; 2]>,
    columns: usize,
    outputs: usize,
    /// The weight of a tree in the score: 1, or 1 over their number.
    scale: f64,
    base_values: Vec<f64>,
}

/// One feature of the path to a node.
#[derive(Debug, Clone, Copy)]
struct Step {
    feature: u32,
    /// The share of the rows that go on where the feature is unknown.
    zero: f64,
    /// The same where it is known: 1, or 0 where the row goes the other way.
    one: f64,
}

impl<T: Real> Attribution<T> {
    /// Takes the trees over; no node has a cover yet. None for an aggregate that is no sum, for trees too deep, and for
    /// two classes with a base value each, which onnxruntime does not add to the trees' own sums.
    pub(super) fn new(forest: &Forest<T>, finish: &Finish) -> Option<Self> {
        let scale = match forest.aggregate() {
            Aggregate::Sum => 1.0,
            Aggregate::Average => 1.0 / forest.tree_count() as f64,
            Aggregate::Min | Aggregate::Max => return None,
        };
        let trees = forest.spell_out();
        let mut measured = HashMap::new();
        let mut paths = 0_u64;
        for root in &trees.roots {
            let (own, depth) = measure(&trees.nodes, *root, &mut measured);
            paths = paths.saturating_add(own);
            if depth > MAX_DEPTH || paths > MAX_PATHS {
                return None;
            }
        }
        let mut is_weighted = vec![false; finish.width()];
        let mut weights: Vec<Vec<(u32, f64)>> = vec![Vec::new(); trees.nodes.len()];
        for (node, own) in trees.nodes.iter().zip(&mut weights) {
            if let Node::Leaf(place) = node {
                *own = forest.weights(*place);
                for (output, _) in own {
                    is_weighted[*output as usize] = true;
                }
            }
        }
        let (outputs, base_values) = finish.raw_scores(&is_weighted)?;
        if outputs == 1 {
            for (output, _) in weights.iter_mut().flatten() {
                *output = 0;
            }
        }
        Some(Self {
            covers: vec![[0.0; 2]; trees.nodes.len()],
            weights,
            branches: trees
                .nodes
                .iter()
                .map(|node| node.branch().copied())
                .collect(),
            roots: trees.roots,
            sets: trees.sets,
            columns: forest.min_features(),
            outputs,
            scale,
            base_values,
        })
    }

    /// Features that a row must have at least.
    pub(crate) fn min_features(&self) -> usize {
        self.columns
    }

    /// Scores a row: targets or classes; one where it stands for the second of two classes.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    fn keys(&self, row: &[T]) -> Vec<T::Key> {
        let mut keys = vec![T::Key::default(); self.columns];
        Missing::High.write(row, self.columns, &mut keys);
        keys
    }

    /// Counts a row of the background.
    pub(crate) fn observe(&mut self, row: &[T]) {
        let keys = self.keys(row);
        for root in &self.roots {
            let mut at = *root as usize;
            while let Some(branch) = &self.branches[at] {
                let right = branch.goes_right(keys[branch.feature as usize], &self.sets);
                self.covers[at][0] += 1.0;
                self.covers[at][1] += f64::from(u8::from(right));
                at = branch.children[usize::from(right)] as usize;
            }
        }
    }

    /// Writes the covers: for each branch that a row of the background came to, how many went right. With their
    /// number at the roots that says all.
    pub(crate) fn write_covers(&self, out: &mut Vec<u8>) {
        self.visit_branches(|at, _| {
            let [all, right] = self.covers[at];
            if all > 0.0 {
                write_count(right as u64, out);
            }
        });
    }

    /// Reads what [`Attribution::write_covers`] wrote of a background of `rows` rows; none where it is of other
    /// trees.
    pub(crate) fn read_covers(&mut self, rows: u64, bytes: &mut &[u8]) -> Option<()> {
        let mut came = vec![0_u64; self.branches.len()];
        for root in &self.roots {
            came[*root as usize] = rows;
        }
        let mut covers = vec![[0.0; 2]; self.branches.len()];
        let mut is_whole = true;
        self.visit_branches(|at, [left, right]| {
            if came[at] == 0 || !is_whole {
                return;
            }
            let went_right = read_count(bytes).filter(|count| *count <= came[at]);
            is_whole = went_right.is_some();
            let went_right = went_right.unwrap_or(0);
            covers[at] = [came[at] as f64, went_right as f64];
            came[left] += came[at] - went_right;
            came[right] += went_right;
        });
        self.covers = covers;
        is_whole.then_some(())
    }

    /// Visits each branch after all of its parents, with its children.
    fn visit_branches(&self, mut visit: impl FnMut(usize, [usize; 2])) {
        let mut parents = vec![0_u32; self.branches.len()];
        for child in self
            .branches
            .iter()
            .flatten()
            .flat_map(|branch| branch.children)
        {
            parents[child as usize] += 1;
        }
        let mut ready: Vec<u32> = self.roots.iter().rev().copied().collect();
        while let Some(at) = ready.pop() {
            let Some(branch) = &self.branches[at as usize] else {
                continue;
            };
            visit(at as usize, branch.children.map(|child| child as usize));
            for child in branch.children.into_iter().rev() {
                parents[child as usize] -= 1;
                if parents[child as usize] == 0 {
                    ready.push(child);
                }
            }
        }
    }

    /// The mean score of the background, before any transform.
    pub(crate) fn expectation(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.outputs];
        for root in &self.roots {
            self.expect(*root as usize, self.scale, &mut sums);
        }
        for (sum, base) in sums.iter_mut().zip(&self.base_values) {
            *sum += base;
        }
        sums
    }

    fn expect(&self, at: usize, share: f64, sums: &mut [f64]) {
        let Some(branch) = &self.branches[at] else {
            for (output, weight) in &self.weights[at] {
                sums[*output as usize] += share * weight;
            }
            return;
        };
        for (side, child) in branch.children.into_iter().enumerate() {
            self.expect(child as usize, share * self.share(at, side), sums);
        }
    }

    /// The share of a node's rows that go to one side; even where no row of the background came.
    fn share(&self, at: usize, side: usize) -> f64 {
        match (self.covers[at], side) {
            ([0.0, _], _) => 0.5,
            ([all, right], 0) => (all - right) / all,
            ([all, right], _) => right / all,
        }
    }

    /// The score of a row before any transform, summed in float64.
    pub(crate) fn score(&self, row: &[T]) -> Vec<f64> {
        let keys = self.keys(row);
        let mut sums = vec![0.0; self.outputs];
        for root in &self.roots {
            let mut at = *root as usize;
            while let Some(branch) = &self.branches[at] {
                let right = branch.goes_right(keys[branch.feature as usize], &self.sets);
                at = branch.children[usize::from(right)] as usize;
            }
            for (output, weight) in &self.weights[at] {
                sums[*output as usize] += self.scale * weight;
            }
        }
        for (sum, base) in sums.iter_mut().zip(&self.base_values) {
            *sum += base;
        }
        sums
    }

    /// Adds each feature's contribution to each output: `out[feature × outputs + output]`.
    pub(crate) fn explain(
        &self,
        row: &[T],
        out: &mut [f64],
        watch: &mut Watch,
    ) -> Result<(), Late> {
        let keys = self.keys(row);
        let mut path = Vec::with_capacity(MAX_DEPTH);
        for root in &self.roots {
            self.descend(*root as usize, &keys, &mut path, out, watch)?;
        }
        Ok(())
    }

    /// Goes down both ways; `path` holds the features asked on the way, each once.
    fn descend(
        &self,
        at: usize,
        keys: &[T::Key],
        path: &mut Vec<Step>,
        out: &mut [f64],
        watch: &mut Watch,
    ) -> Result<(), Late> {
        let Some(branch) = &self.branches[at] else {
            self.credit(at, path, out);
            return watch.tick();
        };
        let right = branch.goes_right(keys[branch.feature as usize], &self.sets);
        let known = path.iter().position(|step| step.feature == branch.feature);
        let before = known.map_or((1.0, 1.0), |known| (path[known].zero, path[known].one));
        for (side, child) in branch.children.into_iter().enumerate() {
            let step = Step {
                feature: branch.feature,
                zero: before.0 * self.share(at, side),
                one: if side == usize::from(right) {
                    before.1
                } else {
                    0.0
                },
            };
            if step.zero == 0.0 && step.one == 0.0 {
                // Nothing comes here, whether the feature is known or not.
                continue;
            }
            match known {
                Some(known) => path[known] = step,
                None => path.push(step),
            }
            self.descend(child as usize, keys, path, out, watch)?;
            match known {
                Some(known) => {
                    path[known].zero = before.0;
                    path[known].one = before.1;
                }
                None => {
                    path.pop();
                }
            }
        }
        Ok(())
    }

    /// Credits the features on the path with a leaf's weights.
    ///
    /// Of the sets of known features, `∏(zero + one × t)` has at `t^s` the share that those of `s` features
    /// send to this leaf. Without the factor of a feature it is that of the sets without it, and the weight of
    /// a set of `s` of `n` features is `s! (n - 1 - s)! / n!`.
    fn credit(&self, at: usize, path: &[Step], out: &mut [f64]) {
        let n = path.len();
        let mut product = [0.0; MAX_DEPTH + 1];
        product[0] = 1.0;
        for (degree, step) in path.iter().enumerate() {
            for s in (0..=degree).rev() {
                product[s + 1] += product[s] * step.one;
                product[s] *= step.zero;
            }
        }
        for step in path {
            let mut sum = 0.0;
            // 1 / (n × (n - 1 over s)), from s = n - 1 down.
            let mut weight = 1.0 / n as f64;
            let mut without = 0.0;
            for s in (0..n).rev() {
                without = if step.one == 0.0 {
                    product[s] / step.zero
                } else {
                    product[s + 1] - step.zero * without
                };
                sum += weight * without;
                weight *= (n - s) as f64 / s.max(1) as f64;
            }
            let share = self.scale * sum * (step.one - step.zero);
            for (output, weight) in &self.weights[at] {
                out[step.feature as usize * self.outputs + *output as usize] += share * weight;
            }
        }
    }
}

/// The number of paths from a node to leaves, and the edges of the longest; `measured` are those of nodes below.
fn measure<T: Real>(
    nodes: &[Node<T>],
    root: u32,
    measured: &mut HashMap<u32, (u64, usize)>,
) -> (u64, usize) {
    let mut pending = vec![root];
    while let Some(&at) = pending.last() {
        let found = match &nodes[at as usize] {
            Node::Leaf(_) => Some((1, 0)),
            Node::Branch(branch) => {
                let known = branch.children.map(|child| measured.get(&child).copied());
                if let [Some(left), Some(right)] = known {
                    Some((left.0.saturating_add(right.0), 1 + left.1.max(right.1)))
                } else {
                    let unknown = branch.children.into_iter().zip(known);
                    pending.extend(
                        unknown.filter_map(|(child, known)| known.is_none().then_some(child)),
                    );
                    None
                }
            }
        };
        if let Some(found) = found {
            measured.insert(at, found);
            pending.pop();
        }
    }
    measured.get(&root).copied().unwrap_or((1, 0))
}
