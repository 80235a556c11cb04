//! Trees whose branches of one level all ask the same, as `CatBoost` grows them. The answers of the levels, bit by bit,
//! are the leaf's place: there is nothing to walk.

use super::branch::{Branch, Sets};
use super::lanes::{LANES, each_lane};
use super::real::Real;
use super::rows::Missing;
use super::spelled::{Node, Spelled};
use super::topology::Topology;
use crate::error::LoadError;
use crate::packed::{Reader, Writer};

/// Deepest tree, in levels.
const MAX_DEPTH: usize = 16;

/// What all branches of a level ask.
#[derive(Debug, Clone, Copy)]
struct Level<K> {
    threshold: K,
    column: u32,
}

/// The trees.
#[derive(Debug, Clone)]
pub(super) struct Oblivious<T: Real> {
    levels: Vec<Level<T::Key>>,
    trees: Vec<Tree>,
}

/// One tree.
#[derive(Debug, Clone, Copy)]
struct Tree {
    /// Its levels in the list of all.
    first: u32,
    depth: u32,
    /// The place of its first leaf.
    leaf: u32,
}

impl<T: Real> Oblivious<T> {
    /// Packs the trees, and gives the leaf at each place; none if a tree is of another form.
    pub(super) fn build(
        topology: &Topology,
        branch: impl Fn(u32) -> Option<Branch<T>>,
        missing: Missing,
    ) -> Option<(Self, Vec<u32>)> {
        let mut oblivious = Self {
            levels: Vec::new(),
            trees: Vec::with_capacity(topology.trees.len()),
        };
        let mut leaves = Vec::new();
        for tree in &topology.trees {
            if tree.depth > MAX_DEPTH || tree.order.len() + 1 != 2 << tree.depth {
                return None;
            }
            oblivious.trees.push(Tree {
                first: oblivious.levels.len() as u32,
                depth: tree.depth as u32,
                leaf: leaves.len() as u32,
            });
            let mut level = vec![tree.order[0]];
            for _ in 0..tree.depth {
                let mut next = Vec::with_capacity(level.len() * 2);
                let mut asked = None;
                for node in level {
                    let branch = branch(node)?;
                    let own = (
                        branch.threshold,
                        branch.feature,
                        branch.sends_missing_right(),
                    );
                    if *asked.get_or_insert(own) != own {
                        return None;
                    }
                    next.extend(branch.children);
                }
                let (threshold, feature, right) = asked?;
                oblivious.levels.push(Level {
                    threshold,
                    column: missing.column(feature, right),
                });
                level = next;
            }
            leaves.extend(level);
        }
        Some((oblivious, leaves))
    }

    /// Writes the trees' depths and what their levels ask.
    pub(super) fn pack(&self, out: &mut Writer) {
        out.count(self.trees.len());
        out.many(self.trees.iter().map(|tree| tree.depth as u8));
        out.many(self.levels.iter().map(|level| level.column));
        out.many(self.levels.iter().map(|level| level.threshold));
    }

    /// Reads what [`Oblivious::pack`] wrote, for rows of `width` columns.
    pub(super) fn unpack(input: &mut Reader<'_>, width: usize) -> Result<Self, LoadError> {
        let depths: Vec<u8> = input.list()?;
        if depths.is_empty() {
            return Err(input.fault("there is no tree"));
        }
        let mut trees = Vec::with_capacity(depths.len());
        let (mut first, mut leaf) = (0_u32, 0_u32);
        for depth in depths.into_iter().map(u32::from) {
            let next = (depth as usize <= MAX_DEPTH)
                .then(|| leaf.checked_add(1 << depth))
                .flatten();
            let Some(next) = next else {
                return Err(input.fault(format!("{leaf} leaves before a depth of {depth}")));
            };
            trees.push(Tree { first, depth, leaf });
            // No more levels than leaves.
            first += depth;
            leaf = next;
        }
        let columns: Vec<u32> = input.many(first as usize)?;
        if !columns.iter().all(|column| (*column as usize) < width) {
            return Err(input.fault(format!("a branch reads a column beyond {width}")));
        }
        let thresholds: Vec<T::Key> = input.many(first as usize)?;
        let levels = thresholds.into_iter().zip(columns);
        let levels = levels.map(|(threshold, column)| Level { threshold, column });
        Ok(Self {
            levels: levels.collect(),
            trees,
        })
    }

    /// The trees branch by branch: of each its branches, level by level, and then its leaves.
    pub(super) fn spell_out(&self, missing: Missing) -> Spelled<T> {
        let mut nodes = Vec::with_capacity(self.places() * 2);
        let mut roots = Vec::with_capacity(self.trees.len());
        for tree in &self.trees {
            roots.push(nodes.len() as u32);
            let levels = &self.levels[tree.first as usize..(tree.first + tree.depth) as usize];
            for (level, asked) in levels.iter().enumerate() {
                let next = nodes.len() as u32 + (1 << level);
                let feature = missing.feature(asked.column);
                nodes.extend((0..1 << level).map(|at| {
                    let children = [next + at * 2, next + at * 2 + 1];
                    Node::Branch(Branch::simple(asked.threshold, feature, children))
                }));
            }
            nodes.extend((0..1 << tree.depth).map(|at| Node::Leaf(tree.leaf + at)));
        }
        Spelled {
            nodes,
            roots,
            sets: Sets::default(),
        }
    }

    pub(super) fn places(&self) -> usize {
        self.trees
            .last()
            .map_or(0, |tree| tree.leaf as usize + (1 << tree.depth))
    }

    pub(super) fn tree_count(&self) -> usize {
        self.trees.len()
    }

    /// The places where 16 rows end in one tree. `columns` holds for each column the keys of the rows.
    pub(super) fn end_rows(&self, tree: usize, columns: &[[T::Key; LANES]]) -> [u32; LANES] {
        let tree = self.trees[tree];
        let mut at = [0_u32; LANES];
        for level in &self.levels[tree.first as usize..(tree.first + tree.depth) as usize] {
            let keys = &columns[level.column as usize];
            each_lane(|lane| at[lane] = at[lane] * 2 + u32::from(level.threshold < keys[lane]));
        }
        each_lane(|lane| at[lane] += tree.leaf);
        at
    }

    /// The place where a row ends in one tree.
    pub(super) fn end(&self, tree: usize, row: &[T::Key]) -> u32 {
        let tree = self.trees[tree];
        let levels = &self.levels[tree.first as usize..(tree.first + tree.depth) as usize];
        let place = levels.iter().fold(0, |place, level| {
            place * 2 + u32::from(level.threshold < row[level.column as usize])
        });
        tree.leaf + place
    }
}
