//! Trees with branches of any rule: equality, set membership; and rows of any width.

use super::branch::{Branch, Sets};
use super::real::Real;
use super::topology::Topology;

/// The trees. A missing value's key is [`Real::HIGH`].
#[derive(Debug, Clone)]
pub(super) struct Ruled<T: Real> {
    /// None for a leaf.
    nodes: Vec<Option<Branch<T>>>,
    roots: Vec<u32>,
    sets: Sets<T>,
}

impl<T: Real> Ruled<T> {
    /// Packs the trees, and gives the leaf at each place.
    pub(super) fn build(
        topology: &Topology,
        branch: impl Fn(u32) -> Option<Branch<T>>,
        sets: Sets<T>,
    ) -> (Self, Vec<u32>) {
        let count = topology.children.len() as u32;
        let nodes: Vec<Option<Branch<T>>> = (0..count).map(branch).collect();
        let leaves = nodes
            .iter()
            .zip(0..)
            .map(|(node, at)| if node.is_some() { u32::MAX } else { at })
            .collect();
        let ruled = Self {
            nodes,
            roots: topology.trees.iter().map(|tree| tree.order[0]).collect(),
            sets,
        };
        (ruled, leaves)
    }

    pub(super) fn tree_count(&self) -> usize {
        self.roots.len()
    }

    /// The place where a row ends in one tree.
    pub(super) fn end(&self, tree: usize, row: &[T::Key]) -> u32 {
        let mut at = self.roots[tree];
        while let Some(branch) = &self.nodes[at as usize] {
            let value = row[branch.feature as usize];
            at = branch.children[usize::from(branch.goes_right(value, &self.sets))];
        }
        at
    }
}
