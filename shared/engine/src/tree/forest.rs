//! The packed trees and the walk through them.
//!
//! All trees lie in one array. A node's children are neighbours: the walk goes to `left + (value > threshold)`,
//! without a branch. A leaf points to itself with an infinite threshold, so that 16 walks, of rows or of
//! trees, go in step until none moves any more.

use std::ops::{Add, BitOr, BitXor};

use super::BLOCK_ROWS;
use super::attributes::Aggregate;
use crate::tensor::TensorData;

/// Walks that go in step.
const LANES: usize = 16;
/// Steps between two looks at whether all walks have ended.
const STRIDE: usize = 4;

/// A bit of [`Forest::rules`]: go right if the value is less.
pub(super) const RIGHT_IF_LESS: u8 = 1;
/// Go right if the value is equal.
pub(super) const RIGHT_IF_EQUAL: u8 = 2;
/// Go right if the value is greater.
pub(super) const RIGHT_IF_GREATER: u8 = 4;
/// Go right if the value is missing.
pub(super) const RIGHT_IF_MISSING: u8 = 8;
/// Go right if the value is no member of the set whose place is the threshold.
pub(super) const RIGHT_IF_NO_MEMBER: u8 = 16;

/// f32 or f64.
pub(crate) trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Into<f64>
    + Default
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    const INFINITY: Self;
    const IS_DOUBLE: bool;
    fn into_data(values: Vec<Self>) -> TensorData;
    /// The nearest value.
    fn from_f64(value: f64) -> Self;
    /// The largest value below this one.
    fn below(self) -> Self;
    fn divide(self, count: usize) -> Self;
    fn to_f32(self) -> f32;
    fn is_missing(self) -> bool;
}

impl Real for f32 {
    const INFINITY: Self = f32::INFINITY;
    const IS_DOUBLE: bool = false;
    fn into_data(values: Vec<Self>) -> TensorData {
        TensorData::Fp32(values)
    }
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    fn below(self) -> Self {
        self.next_down()
    }
    fn divide(self, count: usize) -> Self {
        self / count as Self
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

impl Real for f64 {
    const INFINITY: Self = f64::INFINITY;
    const IS_DOUBLE: bool = true;
    fn into_data(values: Vec<Self>) -> TensorData {
        TensorData::Fp64(values)
    }
    fn from_f64(value: f64) -> Self {
        value
    }
    fn below(self) -> Self {
        self.next_down()
    }
    fn divide(self, count: usize) -> Self {
        self / count as Self
    }
    fn to_f32(self) -> f32 {
        self as f32
    }
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

/// A branch or a leaf: 8 bytes for f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<T> {
    pub(super) threshold: T,
    /// The left child's place above the feature's bits; the right child follows it.
    pub(super) link: u32,
}

/// What the leaves hold.
#[derive(Debug, Clone)]
pub(super) enum Leaves<T> {
    /// One weight a leaf, for the same output in all; by node.
    One { output: usize, weights: Vec<T> },
    /// A weight for every output in every leaf: `starts[node]` is the first.
    Dense { starts: Vec<u32>, weights: Vec<T> },
    /// Some weights: those of a node are `starts[node]..starts[node + 1]`.
    Sparse {
        starts: Vec<u32>,
        weights: Vec<(u32, T)>,
    },
}

/// All trees of one operator.
#[derive(Debug, Clone)]
pub(super) struct Forest<T> {
    pub(super) nodes: Vec<Node<T>>,
    /// For each node when it goes right: bits of `RIGHT_IF_…`; 0 for a leaf.
    pub(super) rules: Vec<u8>,
    /// True if `value > threshold` is every node's rule for values that are not missing.
    pub(super) is_simple: bool,
    /// Low bits of a link that hold the feature.
    pub(super) feature_bits: u32,
    pub(super) roots: Vec<u32>,
    pub(super) leaves: Leaves<T>,
    pub(super) aggregate: Aggregate,
    /// The sets of membership branches, each sorted.
    pub(super) sets: Vec<Vec<T>>,
    /// Outputs: targets or classes.
    pub(super) width: usize,
    pub(super) min_features: usize,
}

/// Sums of a block of rows.
pub(super) struct Block<T> {
    width: usize,
    sums: Vec<T>,
    /// Which sums have a weight in them.
    present: Vec<bool>,
}

impl<T: Real> Block<T> {
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            sums: vec![T::default(); rows * width],
            present: vec![false; rows * width],
        }
    }

    pub(super) fn row(&self, at: usize) -> (&[T], &[bool]) {
        let range = at * self.width..(at + 1) * self.width;
        (&self.sums[range.clone()], &self.present[range])
    }
}

impl<T: Real> Forest<T> {
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn min_features(&self) -> usize {
        self.min_features
    }

    pub(super) fn tree_count(&self) -> usize {
        self.roots.len()
    }

    /// Scores rows in blocks and hands on each row's place, sums and which of them have a weight in them.
    pub(super) fn score_blocks(
        &self,
        values: &[T],
        columns: usize,
        block: &mut Block<T>,
        mut finish: impl FnMut(usize, &[T], &[bool]),
    ) {
        for (at, values) in values.chunks(BLOCK_ROWS * columns).enumerate() {
            self.score(values, columns, block);
            for row in 0..values.len() / columns {
                let (sums, present) = block.row(row);
                finish(at * BLOCK_ROWS + row, sums, present);
            }
        }
    }

    /// Sums the leaves that each row reaches, tree by tree.
    fn score(&self, values: &[T], columns: usize, block: &mut Block<T>) {
        block.sums.fill(T::default());
        block.present.fill(false);
        match self.aggregate {
            Aggregate::Sum | Aggregate::Average => {
                self.score_with(values, columns, block, |sum, weight, _| sum + weight);
            }
            Aggregate::Min => self.score_with(values, columns, block, |least, weight, present| {
                if !present || weight < least {
                    weight
                } else {
                    least
                }
            }),
            Aggregate::Max => self.score_with(values, columns, block, |most, weight, present| {
                if !present || weight > most {
                    weight
                } else {
                    most
                }
            }),
        }
    }

    fn score_with(
        &self,
        values: &[T],
        columns: usize,
        block: &mut Block<T>,
        join: impl Fn(T, T, bool) -> T + Copy,
    ) {
        let groups = values.chunks_exact(columns * LANES);
        let rest = groups.remainder();
        let mut first = 0;
        for group in groups {
            let rows: [&[T]; LANES] =
                std::array::from_fn(|lane| &group[lane * columns..(lane + 1) * columns]);
            let careful = !self.is_simple || group.iter().any(|value| value.is_missing());
            for &root in &self.roots {
                let mut at = [root; LANES];
                if careful {
                    self.walk(&mut at, |lane| rows[lane], Self::step_by_rules);
                } else {
                    self.walk(&mut at, |lane| rows[lane], Self::step);
                }
                for (lane, leaf) in at.into_iter().enumerate() {
                    self.add_leaf(leaf, first + lane, block, join);
                }
            }
            first += LANES;
        }
        for row in rest.chunks_exact(columns) {
            let careful = !self.is_simple || row.iter().any(|value| value.is_missing());
            let groups = self.roots.chunks_exact(LANES);
            let rest = groups.remainder();
            for roots in groups {
                let mut at: [u32; LANES] = std::array::from_fn(|lane| roots[lane]);
                self.walk_row(&mut at, row, careful);
                for leaf in at {
                    self.add_leaf(leaf, first, block, join);
                }
            }
            if !rest.is_empty() {
                let mut at: [u32; LANES] =
                    std::array::from_fn(|lane| rest[lane.min(rest.len() - 1)]);
                self.walk_row(&mut at, row, careful);
                for leaf in at.into_iter().take(rest.len()) {
                    self.add_leaf(leaf, first, block, join);
                }
            }
            first += 1;
        }
    }

    fn walk_row(&self, at: &mut [u32; LANES], row: &[T], careful: bool) {
        if careful {
            self.walk(at, |_| row, Self::step_by_rules);
        } else {
            self.walk(at, |_| row, Self::step);
        }
    }

    /// Walks until every lane stands on a leaf.
    #[expect(clippy::inline_always, reason = "the innermost loop")]
    #[inline(always)]
    fn walk<'a>(
        &self,
        at: &mut [u32; LANES],
        row: impl Fn(usize) -> &'a [T],
        step: impl Fn(&Self, u32, &[T]) -> u32,
    ) where
        T: 'a,
    {
        loop {
            let mut moved = 0;
            for _ in 0..STRIDE {
                moved = 0;
                for (lane, place) in at.iter_mut().enumerate() {
                    let next = step(self, *place, row(lane));
                    moved = moved.bitor(next.bitxor(*place));
                    *place = next;
                }
            }
            if moved == 0 {
                return;
            }
        }
    }

    /// One step of a simple forest on a row without missing values.
    #[expect(clippy::inline_always, reason = "the innermost loop")]
    #[inline(always)]
    fn step(&self, at: u32, row: &[T]) -> u32 {
        let node = self.nodes[at as usize];
        let feature = node.link & ((1 << self.feature_bits) - 1);
        (node.link >> self.feature_bits) + u32::from(row[feature as usize] > node.threshold)
    }

    /// One step by the node's own rule.
    #[expect(clippy::inline_always, reason = "the innermost loop")]
    #[inline(always)]
    fn step_by_rules(&self, at: u32, row: &[T]) -> u32 {
        let node = self.nodes[at as usize];
        let feature = node.link & ((1 << self.feature_bits) - 1);
        let value = row[feature as usize];
        let rules = self.rules[at as usize];
        if rules & RIGHT_IF_NO_MEMBER != 0 {
            return (node.link >> self.feature_bits)
                + u32::from(self.leaves_set(node, rules, value));
        }
        // The bit's number: 0 less, 1 equal, 2 greater, 3 missing.
        let bit = 3
            - 3 * u8::from(value < node.threshold)
            - 2 * u8::from(value == node.threshold)
            - u8::from(value > node.threshold);
        (node.link >> self.feature_bits) + u32::from((rules >> bit) & 1)
    }

    /// True if a value goes right at a membership branch.
    fn leaves_set(&self, node: Node<T>, rules: u8, value: T) -> bool {
        if value.is_missing() {
            return rules & RIGHT_IF_MISSING != 0;
        }
        let place: f64 = node.threshold.into();
        let is_member = self.sets.get(place as usize).is_some_and(|set| {
            let found = set.partition_point(|member| *member < value);
            set.get(found).is_some_and(|member| *member == value)
        });
        !is_member
    }

    #[expect(clippy::inline_always, reason = "the innermost loop")]
    #[inline(always)]
    fn add_leaf(
        &self,
        leaf: u32,
        row: usize,
        block: &mut Block<T>,
        join: impl Fn(T, T, bool) -> T,
    ) {
        let leaf = leaf as usize;
        let first = row * self.width;
        match &self.leaves {
            Leaves::One { output, weights } => {
                let slot = first + output;
                block.sums[slot] = join(block.sums[slot], weights[leaf], block.present[slot]);
                block.present[slot] = true;
            }
            Leaves::Dense { starts, weights } => {
                let start = starts[leaf] as usize;
                let sums = &mut block.sums[first..first + self.width];
                let present = &mut block.present[first..first + self.width];
                for ((sum, present), weight) in sums
                    .iter_mut()
                    .zip(present)
                    .zip(&weights[start..start + self.width])
                {
                    *sum = join(*sum, *weight, *present);
                    *present = true;
                }
            }
            Leaves::Sparse { starts, weights } => {
                for (output, weight) in &weights[starts[leaf] as usize..starts[leaf + 1] as usize] {
                    let slot = first + *output as usize;
                    block.sums[slot] = join(block.sums[slot], *weight, block.present[slot]);
                    block.present[slot] = true;
                }
            }
        }
    }
}
