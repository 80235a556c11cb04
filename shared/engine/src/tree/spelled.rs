//! Trees spelled out, branch by branch, whatever form they are walked in: what explaining them needs.

use super::branch::{Branch, Sets};
use super::real::Real;

/// The branches and leaves of all trees.
#[derive(Debug)]
pub(super) struct Spelled<T: Real> {
    pub(super) nodes: Vec<Node<T>>,
    pub(super) roots: Vec<u32>,
    pub(super) sets: Sets<T>,
}

/// A branch, or the place of a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node<T: Real> {
    Branch(Branch<T>),
    /// Where a walk that ends here ends, for [`Leaves`](super::leaves::Leaves).
    Leaf(u32),
}

impl<T: Real> Node<T> {
    /// The branch; none for a leaf.
    pub(super) fn branch(&self) -> Option<&Branch<T>> {
        match self {
            Self::Branch(branch) => Some(branch),
            Self::Leaf(_) => None,
        }
    }
}
