//! Shallow trees, filled up so that every leaf is equally deep: a walk of `depth` steps to `2 × at + (value >
//! threshold)`, without links and without a look at whether it has ended.

use super::branch::Branch;
use super::lanes::{LANES, each_lane};
use super::real::Real;
use super::rows::Missing;
use super::topology::Topology;
use crate::error::LoadError;
use crate::packed::{Reader, Writer};

/// Deepest tree that is filled up.
const MAX_DEPTH: usize = 8;
/// Columns of a row: as many as a byte can name.
pub(super) const WIDTH: usize = 256;
/// Places that all trees may take together, for each node that they have.
pub(super) const MAX_FILL: usize = 3;

/// A branch.
#[derive(Debug, Clone, Copy)]
struct Node<K> {
    threshold: K,
    column: u8,
}

/// The trees, in groups of 16 of one depth.
#[derive(Debug, Clone)]
pub(super) struct Perfect<T: Real> {
    /// The branches of a tree: the root at 1, the children of `at` at `2 × at` and the next. 0 is empty.
    nodes: Vec<Node<T::Key>>,
    groups: Vec<Group>,
    trees: usize,
}

/// Trees that are walked together.
#[derive(Debug, Clone, Copy)]
struct Group {
    depth: u32,
    /// The place of the first tree's nodes, and of its leaves, which are as many: `1 << depth` a tree.
    first: u32,
}

impl<T: Real> Perfect<T> {
    /// Packs the trees, and gives the leaf at each place; none if they are too deep, too empty or too wide.
    pub(super) fn build(
        topology: &Topology,
        branch: impl Fn(u32) -> Option<Branch<T>>,
        missing: Missing,
        columns: usize,
    ) -> Option<(Self, Vec<u32>)> {
        let deepest = topology.trees.iter().map(|tree| tree.depth).max()?;
        let groups = topology.trees.chunks(LANES).map(|group| {
            let depth = group.iter().map(|tree| tree.depth).max().unwrap_or(0);
            (group, depth.max(1))
        });
        if deepest > MAX_DEPTH || missing.width(columns) > WIDTH {
            return None;
        }
        let places: usize = groups
            .clone()
            .map(|(group, depth)| group.len() << depth)
            .sum();
        if places > MAX_FILL * topology.children.len() {
            return None;
        }
        let empty = Node {
            threshold: T::TOP,
            column: 0,
        };
        let mut perfect = Self {
            nodes: vec![empty; places],
            groups: Vec::new(),
            trees: topology.trees.len(),
        };
        let mut leaves = vec![u32::MAX; places];
        let mut first = 0;
        for (group, depth) in groups {
            perfect.groups.push(Group {
                depth: depth as u32,
                first: first as u32,
            });
            for tree in group {
                let size = 1 << depth;
                let own = first..first + size;
                let mut level = vec![tree.order[0]; 1];
                for step in 0..depth {
                    let mut next = Vec::with_capacity(level.len() * 2);
                    for (at, node) in level.iter().enumerate() {
                        // A leaf that comes early stands under both sides of branches that all go left.
                        match branch(*node) {
                            Some(branch) => {
                                let right = branch.sends_missing_right();
                                perfect.nodes[own.start + (1 << step) + at] = Node {
                                    threshold: branch.threshold,
                                    column: missing.column(branch.feature, right) as u8,
                                };
                                next.extend(branch.children);
                            }
                            None => next.extend([*node; 2]),
                        }
                    }
                    level = next;
                }
                leaves[own.clone()].copy_from_slice(&level);
                first = own.end;
            }
        }
        Some((perfect, leaves))
    }

    /// Writes the groups' depths and the branches, by place.
    pub(super) fn pack(&self, out: &mut Writer) {
        out.count(self.trees);
        out.many(self.groups.iter().map(|group| group.depth as u8));
        out.many(self.nodes.iter().map(|node| node.column));
        out.many(self.nodes.iter().map(|node| node.threshold));
    }

    /// Reads what [`Perfect::pack`] wrote, for rows of `width` columns.
    pub(super) fn unpack(input: &mut Reader<'_>, width: usize) -> Result<Self, LoadError> {
        let trees = input.count()?;
        if trees == 0 || width > WIDTH {
            return Err(input.fault(format!("{trees} shallow trees of {width} columns")));
        }
        let depths: Vec<u8> = input.many(trees.div_ceil(LANES))?;
        let mut groups = Vec::with_capacity(depths.len());
        let mut places = 0_usize;
        for (at, depth) in depths.into_iter().enumerate() {
            let depth = u32::from(depth);
            if !(1..=MAX_DEPTH as u32).contains(&depth) {
                return Err(input.fault(format!("a shallow tree has a depth of {depth}")));
            }
            groups.push(Group {
                depth,
                first: places as u32,
            });
            places += (trees - at * LANES).min(LANES) << depth;
        }
        if u32::try_from(places).is_err() {
            return Err(input.fault(format!("{places} places in shallow trees")));
        }
        let columns: Vec<u8> = input.many(places)?;
        if !columns.iter().all(|column| usize::from(*column) < width) {
            return Err(input.fault(format!("a branch reads a column beyond {width}")));
        }
        let thresholds: Vec<T::Key> = input.many(places)?;
        let nodes = thresholds.into_iter().zip(columns);
        let nodes = nodes.map(|(threshold, column)| Node { threshold, column });
        Ok(Self {
            nodes: nodes.collect(),
            groups,
            trees,
        })
    }

    pub(super) fn places(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn tree_count(&self) -> usize {
        self.trees
    }

    /// The places where 16 rows end in one tree.
    #[expect(clippy::inline_always, reason = "the innermost loop")]
    #[inline(always)]
    pub(super) fn end_rows(&self, tree: usize, rows: &[[T::Key; WIDTH]; LANES]) -> [u32; LANES] {
        let group = self.groups[tree / LANES];
        let start = group.first as usize + ((tree % LANES) << group.depth);
        let nodes = &self.nodes[start..start + (1 << group.depth)];
        let mut at = [1_u32; LANES];
        for _ in 0..group.depth {
            each_lane(|lane| {
                let node = nodes[at[lane] as usize];
                let is_greater = node.threshold < rows[lane][usize::from(node.column)];
                at[lane] = at[lane] * 2 + u32::from(is_greater);
            });
        }
        // Leaves begin where the last level does.
        let shift = (start as u32).wrapping_sub(1 << group.depth);
        each_lane(|lane| at[lane] = at[lane].wrapping_add(shift));
        at
    }

    #[expect(clippy::inline_always, reason = "the innermost loop")]
    #[inline(always)]
    /// The places where a row ends in 16 trees, from a multiple of 16 on.
    pub(super) fn end_trees(&self, first: usize, row: &[T::Key; WIDTH]) -> [u32; LANES] {
        let group = self.groups[first / LANES];
        let size = 1_u32 << group.depth;
        let count = (self.trees - first).min(LANES);
        let start = group.first as usize;
        let nodes = &self.nodes[start..start + (count << group.depth)];
        // Where the tree of each lane begins; the last tree stands for those that are not there.
        let mut base = [0; LANES];
        each_lane(|lane| base[lane] = (lane.min(count - 1) as u32) << group.depth);
        let mut at = [1_u32; LANES];
        for _ in 0..group.depth {
            each_lane(|lane| {
                let node = nodes[(base[lane] + at[lane]) as usize];
                let is_greater = node.threshold < row[usize::from(node.column)];
                at[lane] = at[lane] * 2 + u32::from(is_greater);
            });
        }
        each_lane(|lane| at[lane] = group.first + base[lane] + at[lane] - size);
        at
    }
}
