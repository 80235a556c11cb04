//! Trees with branches of any rule: equality, set membership; and rows of any width.

use super::branch::{Branch, Sets};
use super::real::Real;
use super::spelled::{Node, Spelled};
use super::topology::{Topology, measure_paths};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::packed::{Reader, Writer};

/// Stands for the rules of a leaf in the packed form.
const LEAF: u8 = u8::MAX;

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

    /// Writes the nodes, tree by tree as they stand, and the sets.
    pub(super) fn pack(&self, out: &mut Writer) {
        let branches = || self.nodes.iter().flatten();
        out.list(&self.roots);
        out.count(self.nodes.len());
        let rules = |node: &Option<Branch<T>>| node.map_or(LEAF, |branch| branch.rules);
        out.many(self.nodes.iter().map(rules));
        out.many(branches().map(|branch| branch.feature));
        out.many(branches().map(|branch| branch.threshold));
        out.many(branches().map(|branch| branch.set));
        out.many(branches().flat_map(|branch| branch.children));
        self.sets.pack(out);
    }

    /// Reads what [`Ruled::pack`] wrote, for rows of `columns` columns.
    pub(super) fn unpack(
        input: &mut Reader<'_>,
        columns: usize,
        limits: &LoadLimits,
    ) -> Result<Self, LoadError> {
        let roots: Vec<u32> = input.list()?;
        let count = input.count()?;
        let rules: Vec<u8> = input.many(count)?;
        let branches = rules.iter().filter(|rules| **rules != LEAF).count();
        let features: Vec<u32> = input.many(branches)?;
        if !features.iter().all(|feature| (*feature as usize) < columns) {
            return Err(input.fault(format!("a branch reads a column beyond {columns}")));
        }
        let thresholds: Vec<T::Key> = input.many(branches)?;
        let sets: Vec<u32> = input.many(branches)?;
        let children: Vec<u32> = input.many(branches.saturating_mul(2))?;
        let (children, _) = children.as_chunks();
        let mut parts = features
            .into_iter()
            .zip(thresholds)
            .zip(sets)
            .zip(children)
            .map(|(((feature, threshold), set), children)| (feature, threshold, set, *children));
        let nodes = rules.into_iter().map(|rules| {
            if rules == LEAF {
                return None;
            }
            let (feature, threshold, set, children) = parts.next()?;
            Some(Branch {
                threshold,
                feature,
                rules,
                set,
                children,
            })
        });
        let trees = Self {
            nodes: nodes.collect(),
            roots,
            sets: Sets::unpack(input)?,
        };
        trees.check(limits).map_err(|reason| input.fault(reason))?;
        Ok(trees)
    }

    /// Proves that the trees stand one after the other, lead nowhere else, and end.
    fn check(&self, limits: &LoadLimits) -> Result<(), String> {
        let is_first = self.roots.first() == Some(&0);
        if !is_first || !self.roots.is_sorted_by(|a, b| a < b) {
            return Err("the trees do not stand one after the other".to_owned());
        }
        let ends = self.roots[1..].iter().map(|root| *root as usize);
        for (root, end) in self.roots.iter().zip(ends.chain([self.nodes.len()])) {
            let places = *root as usize..end;
            let Some(own) = self.nodes.get(places.clone()).filter(|own| !own.is_empty()) else {
                return Err(format!("there is no node {root}"));
            };
            let leads_out = |child: &u32| !places.contains(&(*child as usize));
            if own
                .iter()
                .flatten()
                .any(|branch| branch.children.iter().any(leads_out))
            {
                return Err(format!("a branch leads out of the tree of node {root}"));
            }
            let order: Vec<u32> = places.clone().map(|at| at as u32).collect();
            let children = |at: u32| self.nodes[at as usize].map(|branch| branch.children);
            match measure_paths(&order, places, children) {
                Ok(depth) if depth <= limits.max_tree_depth => {}
                Ok(depth) => return Err(format!("a tree has a depth of {depth}")),
                Err(at) => return Err(format!("node {at} is in a cycle, or never reached")),
            }
        }
        Ok(())
    }

    /// The trees branch by branch.
    pub(super) fn spell_out(&self) -> Spelled<T> {
        let nodes = self.nodes.iter().zip(0..);
        let spell =
            |(node, at): (&Option<Branch<T>>, u32)| node.map_or(Node::Leaf(at), Node::Branch);
        Spelled {
            nodes: nodes.map(spell).collect(),
            roots: self.roots.clone(),
            sets: self.sets.clone(),
        }
    }

    pub(super) fn places(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_leaf(&self, place: usize) -> bool {
        self.nodes[place].is_none()
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
