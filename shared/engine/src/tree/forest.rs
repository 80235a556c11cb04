//! All trees of one operator, in the form that suits them, and the sums of the leaves that rows reach.

mod packed;

use super::BLOCK_ROWS;
use super::attributes::Mode;
use super::attributes::{Aggregate, RawTrees};
use super::branch::{Branch, Sets};
use super::lanes::{LANES, each_lane};
use super::leaves::{Leaves, Survey};
use super::linked::{self, Linked};
use super::oblivious::Oblivious;
use super::real::Real;
use super::rows::Missing;
use super::ruled::Ruled;
use super::spelled::Spelled;
use super::topology::Topology;
use crate::error::LoadError;
use crate::limits::LoadLimits;

/// All trees of one operator.
#[derive(Debug, Clone)]
pub(super) struct Forest<T: Real> {
    shape: Shape<T>,
    missing: Missing,
    leaves: Leaves<T>,
    aggregate: Aggregate,
    /// Outputs: targets or classes.
    width: usize,
    /// Columns that the trees read: the largest feature, plus one.
    columns: usize,
}

/// The form of the trees, fastest first.
#[derive(Debug, Clone)]
enum Shape<T: Real> {
    Oblivious(Oblivious<T>),
    Linked(Linked<T>),
    Ruled(Ruled<T>),
}

/// Sums of a block of rows.
struct Block<T> {
    sums: Vec<T>,
    /// Which sums have a weight in them.
    present: Vec<bool>,
}

impl<T: Real> Forest<T> {
    /// Validates and packs.
    pub(super) fn build(raw: &RawTrees<'_>, limits: &LoadLimits) -> Result<Self, LoadError> {
        let topology = Topology::new(raw, limits)?;
        let columns = topology.max_feature as usize + 1;
        if columns > limits.max_elements {
            return Err(LoadError::TooLarge {
                what: "the number of features that trees use".to_owned(),
                actual: columns,
                limit: limits.max_elements,
            });
        }
        let branches = || {
            (0..raw.modes.len())
                .filter(|at| raw.modes[*at] != Mode::Leaf)
                .map(|at| Branch::<T>::read(raw, &topology, at))
        };
        let branch = |at: u32| {
            let at = at as usize;
            (raw.modes[at] != Mode::Leaf).then(|| Branch::<T>::read(raw, &topology, at))
        };
        let is_simple = branches().all(|branch| branch.is_simple());
        let any_left = branches().any(|branch| !branch.sends_missing_right());
        let any_right = branches().any(|branch| branch.sends_missing_right());
        let missing = match (is_simple, any_left, any_right) {
            (true, true, true) => Missing::Both(columns),
            (true, true, false) => Missing::Low,
            _ => Missing::High,
        };
        let (shape, places) = (is_simple && !topology.is_shared)
            .then(|| Shape::simple(&topology, branch, missing, columns))
            .flatten()
            .unwrap_or_else(|| {
                let (ruled, places) = Ruled::build(&topology, branch, Sets::new(&raw.sets));
                (Shape::Ruled(ruled), places)
            });
        let missing = if matches!(shape, Shape::Ruled(_)) {
            Missing::High
        } else {
            missing
        };
        Ok(Self {
            shape,
            missing,
            leaves: Leaves::pack(raw, &topology, &places)?,
            aggregate: raw.aggregate,
            width: raw.width,
            columns,
        })
    }

    /// Features that a row must have at least.
    pub(super) fn min_features(&self) -> usize {
        self.columns
    }

    /// What is done with the weights of the leaves that a row reaches.
    pub(super) fn aggregate(&self) -> Aggregate {
        self.aggregate
    }

    /// The trees branch by branch.
    pub(super) fn spell_out(&self) -> Spelled<T> {
        match &self.shape {
            Shape::Oblivious(trees) => trees.spell_out(self.missing),
            Shape::Linked(trees) => trees.spell_out(self.missing),
            Shape::Ruled(trees) => trees.spell_out(),
        }
    }

    /// The weights of the leaf at a place.
    pub(super) fn weights(&self, place: u32) -> Vec<(u32, f64)> {
        self.leaves.of(place, self.width)
    }

    /// What the leaves' weights have in common.
    pub(super) fn survey(&self) -> Survey {
        self.leaves.survey()
    }

    pub(super) fn tree_count(&self) -> usize {
        match &self.shape {
            Shape::Oblivious(trees) => trees.tree_count(),
            Shape::Linked(trees) => trees.tree_count(),
            Shape::Ruled(trees) => trees.tree_count(),
        }
    }

    /// Scores rows in blocks and hands on each row's place, sums and which of them have a weight in them.
    pub(super) fn score(
        &self,
        values: &[T],
        columns: usize,
        finish: impl FnMut(usize, &[T], &[bool]),
    ) {
        match self.aggregate {
            Aggregate::Sum | Aggregate::Average => {
                self.score_blocks(
                    values,
                    columns,
                    T::default(),
                    |sum, weight| sum + weight,
                    finish,
                );
            }
            Aggregate::Min => self.score_blocks(
                values,
                columns,
                T::INFINITY,
                |least, weight| if weight < least { weight } else { least },
                finish,
            ),
            Aggregate::Max => self.score_blocks(
                values,
                columns,
                T::NEG_INFINITY,
                |most, weight| if weight > most { weight } else { most },
                finish,
            ),
        }
    }

    fn score_blocks(
        &self,
        values: &[T],
        columns: usize,
        start: T,
        join: impl Fn(T, T) -> T + Copy,
        mut finish: impl FnMut(usize, &[T], &[bool]),
    ) {
        let most = (values.len() / columns).min(BLOCK_ROWS);
        let mut block = Block {
            sums: vec![start; most * self.width],
            present: vec![false; most * self.width],
        };
        self.leaves.mark_present(&mut block.present, self.width);
        let is_sparse = matches!(self.leaves, Leaves::Sparse { .. });
        for (at, values) in values.chunks(BLOCK_ROWS * columns).enumerate() {
            if at > 0 {
                block.sums.fill(start);
                if is_sparse {
                    block.present.fill(false);
                }
            }
            self.score_block(values, columns, &mut block, join);
            for row in 0..values.len() / columns {
                let range = row * self.width..(row + 1) * self.width;
                let sums = &mut block.sums[range.clone()];
                let present = &block.present[range];
                for (sum, present) in sums.iter_mut().zip(present) {
                    if !present {
                        *sum = T::default();
                    }
                }
                finish(at * BLOCK_ROWS + row, sums, present);
            }
        }
    }

    fn score_block(
        &self,
        values: &[T],
        columns: usize,
        block: &mut Block<T>,
        join: impl Fn(T, T) -> T + Copy,
    ) {
        // One form of leaves at a time, so that what is done for a leaf asks nothing.
        let width = self.width;
        match &self.leaves {
            Leaves::One { output, weights } => {
                self.end_block(values, columns, |row, places| {
                    let sum = &mut block.sums[row * width + output];
                    *sum = places
                        .iter()
                        .fold(*sum, |sum, place| join(sum, weights[*place as usize]));
                });
            }
            Leaves::Dense { starts, weights } => {
                self.end_block(values, columns, |row, places| {
                    let sums = &mut block.sums[row * width..][..width];
                    if let [place] = places {
                        let own = &weights[starts[*place as usize] as usize..][..width];
                        for (sum, weight) in sums.iter_mut().zip(own) {
                            *sum = join(*sum, *weight);
                        }
                        return;
                    }
                    // One sum after the other, so that each is held in a register.
                    for (output, sum) in sums.iter_mut().enumerate() {
                        *sum = places.iter().fold(*sum, |sum, place| {
                            join(sum, weights[starts[*place as usize] as usize + output])
                        });
                    }
                });
            }
            Leaves::Sparse { ranges, weights } => {
                self.end_block(values, columns, |row, places| {
                    for place in places {
                        let (start, count) = ranges[*place as usize];
                        let own = &weights[start as usize..(start + count) as usize];
                        for (output, weight) in own {
                            let at = row * width + *output as usize;
                            block.sums[at] = join(block.sums[at], *weight);
                            block.present[at] = true;
                        }
                    }
                });
            }
        }
    }

    /// Hands on where each row ends in each tree: a row, and its places in trees that follow each other.
    fn end_block(&self, values: &[T], columns: usize, end: impl FnMut(usize, &[u32])) {
        match &self.shape {
            Shape::Oblivious(trees) => self.end_oblivious(trees, values, columns, end),
            Shape::Linked(trees) if trees.bits() == 8 => self.end_lanes::<256>(
                values,
                columns,
                |tree, rows| trees.end_rows::<8, 256>(tree, rows),
                |first, row| trees.end_trees::<8, 256>(first, row),
                end,
            ),
            Shape::Linked(trees) => self.end_lanes::<1024>(
                values,
                columns,
                |tree, rows| trees.end_rows::<10, 1024>(tree, rows),
                |first, row| trees.end_trees::<10, 1024>(first, row),
                end,
            ),
            Shape::Ruled(trees) => self.end_ruled(trees, values, columns, end),
        }
    }

    /// Walks 16 rows at a time through one tree, and each row that is left over through 16 trees at a time.
    fn end_lanes<const WIDTH: usize>(
        &self,
        values: &[T],
        columns: usize,
        end_rows: impl Fn(usize, &[[T::Key; WIDTH]; LANES]) -> [u32; LANES],
        end_trees: impl Fn(usize, &[T::Key; WIDTH]) -> [u32; LANES],
        mut end: impl FnMut(usize, &[u32]),
    ) {
        let count = values.len() / columns;
        let mut rows = vec![[T::Key::default(); WIDTH]; count];
        for (row, keys) in values.chunks_exact(columns).zip(&mut rows) {
            self.missing.write(row, self.columns, keys);
        }
        let trees = self.tree_count();
        let (groups, rest) = rows.as_chunks::<LANES>();
        if !groups.is_empty() {
            for tree in 0..trees {
                for (at, group) in groups.iter().enumerate() {
                    let places = end_rows(tree, group);
                    each_lane(|lane| end(at * LANES + lane, &places[lane..=lane]));
                }
            }
        }
        for (at, row) in rest.iter().enumerate() {
            let row_at = groups.len() * LANES + at;
            for first in (0..trees).step_by(LANES) {
                let places = end_trees(first, row);
                end(row_at, &places[..LANES.min(trees - first)]);
            }
        }
    }

    fn end_ruled(
        &self,
        trees: &Ruled<T>,
        values: &[T],
        columns: usize,
        mut end: impl FnMut(usize, &[u32]),
    ) {
        let mut keys = vec![T::Key::default(); self.columns];
        for (at, row) in values.chunks_exact(columns).enumerate() {
            self.missing.write(row, self.columns, &mut keys);
            for tree in 0..trees.tree_count() {
                end(at, &[trees.end(tree, &keys)]);
            }
        }
    }

    fn end_oblivious(
        &self,
        trees: &Oblivious<T>,
        values: &[T],
        columns: usize,
        mut end: impl FnMut(usize, &[u32]),
    ) {
        let width = self.missing.width(self.columns);
        let mut keys = vec![T::Key::default(); width];
        let groups = values.chunks_exact(columns * LANES);
        let rest = groups.remainder();
        let mut first = 0;
        if values.len() >= columns * LANES {
            let mut table = vec![[T::Key::default(); LANES]; width];
            for group in groups {
                for (lane, row) in group.chunks_exact(columns).enumerate() {
                    self.missing.write(row, self.columns, &mut keys);
                    for (column, key) in table.iter_mut().zip(&keys) {
                        column[lane] = *key;
                    }
                }
                for tree in 0..trees.tree_count() {
                    let places = trees.end_rows(tree, &table);
                    each_lane(|lane| end(first + lane, &places[lane..=lane]));
                }
                first += LANES;
            }
        }
        for (at, row) in rest.chunks_exact(columns).enumerate() {
            self.missing.write(row, self.columns, &mut keys);
            for tree in (0..trees.tree_count()).step_by(LANES) {
                let mut places = [0; LANES];
                let places = &mut places[..LANES.min(trees.tree_count() - tree)];
                for (lane, place) in places.iter_mut().enumerate() {
                    *place = trees.end(tree + lane, &keys);
                }
                end(first + at, places);
            }
        }
    }
}

impl<T: Real> Shape<T> {
    /// The fastest form for trees of which every branch asks whether a value is greater.
    fn simple(
        topology: &Topology,
        branch: impl Fn(u32) -> Option<Branch<T>> + Copy,
        missing: Missing,
        columns: usize,
    ) -> Option<(Self, Vec<u32>)> {
        if let Some((trees, places)) = Oblivious::build(topology, branch, missing) {
            return Some((Self::Oblivious(trees), places));
        }
        let bits = linked::column_bits(missing.width(columns))?;
        let (trees, places) = Linked::build(topology, branch, missing, bits)?;
        Some((Self::Linked(trees), places))
    }
}
