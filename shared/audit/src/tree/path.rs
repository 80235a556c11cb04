//! Which subtrees a proof consists of.

use super::split;

/// Leaves `start..end` of a tree: one of the subtrees that RFC 6962 splits it into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafSpan {
    /// First leaf.
    pub start: u64,
    /// The leaf after the last.
    pub end: u64,
}

impl LeafSpan {
    fn halves(self) -> (Self, Self) {
        let middle = self.start + split(self.end - self.start);
        (
            Self {
                end: middle,
                ..self
            },
            Self {
                start: middle,
                ..self
            },
        )
    }

    /// The perfect subtrees that the span consists of, from left to right, as (height, index at that height).
    /// At most 64, and of falling height.
    pub(crate) fn perfect_subtrees(self) -> impl Iterator<Item = (u32, u64)> {
        let mut start = self.start;
        std::iter::from_fn(move || {
            let rest = (self.end - start).checked_ilog2()?;
            let height = rest;
            let index = start >> height;
            start += 1 << height;
            Some((height, index))
        })
    }
}

/// The subtrees whose hashes prove the inclusion of a leaf, from the leaf's sibling upwards (RFC 6962, 2.1.1).
/// `None` where the tree has no such leaf.
pub fn inclusion_path(size: u64, index: u64) -> Option<Vec<LeafSpan>> {
    if index >= size {
        return None;
    }
    let mut span = LeafSpan {
        start: 0,
        end: size,
    };
    let mut path = Vec::new();
    while span.end - span.start > 1 {
        let (left, right) = span.halves();
        let (inside, sibling) = if index < left.end {
            (left, right)
        } else {
            (right, left)
        };
        path.push(sibling);
        span = inside;
    }
    path.reverse();
    Some(path)
}

/// The subtrees whose hashes prove that the tree of `older` leaves is the beginning of that of `newer` leaves
/// (RFC 6962, 2.1.2). `None` where the older tree is the larger one.
pub fn consistency_path(older: u64, newer: u64) -> Option<Vec<LeafSpan>> {
    if older > newer {
        return None;
    }
    let mut path = Vec::new();
    if older == 0 {
        return Some(path);
    }
    let mut span = LeafSpan {
        start: 0,
        end: newer,
    };
    while span.end != older {
        let (left, right) = span.halves();
        let (inside, sibling) = if older <= left.end {
            (left, right)
        } else {
            (right, left)
        };
        path.push(sibling);
        span = inside;
    }
    if span.start > 0 {
        path.push(span);
    }
    path.reverse();
    Some(path)
}
