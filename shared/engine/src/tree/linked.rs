//! Trees of any form, where a value is less or greater. A node's children are neighbours: the walk goes to
//! `left + (value > threshold)`, without a branch. A leaf leads to itself, so that 16 walks go in step, as many steps
//! as the deepest tree asks for.

use super::branch::{Branch, Sets};
use super::lanes::{LANES, each_lane};
use super::real::Real;
use super::rows::Missing;
use super::spelled::{self, Spelled};
use super::topology::Topology;
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::packed::{Reader, Writer};

/// Most steps that are made without a look at whether all walks have ended: a look costs more than a step.
const UNSEEN: u32 = 16;
/// Steps between two looks, while more are left than that.
const STRIDE: u32 = 4;

/// Stands for the column of a leaf in the packed form.
const LEAF: u16 = u16::MAX;

/// A branch or a leaf: 8 bytes for f32.
#[derive(Debug, Clone, Copy)]
struct Node<K> {
    threshold: K,
    /// The left child's place above the column's `BITS` bits; the right child follows it.
    link: u32,
}

/// The trees; rows have `1 << BITS` columns.
#[derive(Debug, Clone)]
pub(super) struct Linked<T: Real> {
    nodes: Vec<Node<T::Key>>,
    roots: Vec<u32>,
    /// Steps from each root to its farthest leaf.
    depths: Vec<u32>,
    bits: u32,
}

impl<T: Real> Linked<T> {
    /// Packs the trees, and gives the leaf at each place; none if places do not fit beside columns of `bits` bits.
    pub(super) fn build(
        topology: &Topology,
        branch: impl Fn(u32) -> Option<Branch<T>>,
        missing: Missing,
        bits: u32,
    ) -> Option<(Self, Vec<u32>)> {
        let count = topology.children.len();
        if (count as u64) << bits > u64::from(u32::MAX) {
            return None;
        }
        let mut nodes = Vec::with_capacity(count);
        let mut leaves = Vec::with_capacity(count);
        let mut roots = Vec::with_capacity(topology.trees.len());
        for tree in &topology.trees {
            roots.push(nodes.len() as u32);
            // Breadth first, the left child before the right one.
            let mut order = Vec::with_capacity(tree.order.len());
            order.push(tree.order[0]);
            let first = nodes.len();
            let mut next = 0;
            while next < order.len() {
                let at = order[next];
                let own = (first + next) as u32;
                next += 1;
                let Some(branch) = branch(at) else {
                    leaves.push(at);
                    nodes.push(Node {
                        threshold: T::TOP,
                        link: own << bits,
                    });
                    continue;
                };
                leaves.push(u32::MAX);
                let column = missing.column(branch.feature, branch.sends_missing_right());
                nodes.push(Node {
                    threshold: branch.threshold,
                    link: (((first + order.len()) as u32) << bits) | column,
                });
                order.extend(branch.children);
            }
        }
        let linked = Self {
            nodes,
            roots,
            depths: topology
                .trees
                .iter()
                .map(|tree| tree.depth as u32)
                .collect(),
            bits,
        };
        Some((linked, leaves))
    }

    /// Writes the columns that the nodes ask for and the branches' thresholds. Nodes stand breadth first: where a
    /// child is need not be said.
    pub(super) fn pack(&self, out: &mut Writer) {
        out.count(self.roots.len());
        out.count(self.nodes.len());
        let mask = (1 << self.bits) - 1;
        out.many(self.nodes.iter().enumerate().map(|(at, node)| {
            if self.is_leaf(at) {
                LEAF
            } else {
                (node.link & mask) as u16
            }
        }));
        let branches = self.nodes.iter().enumerate();
        let branches = branches.filter(|(at, _)| !self.is_leaf(*at));
        out.many(branches.map(|(_, node)| node.threshold));
    }

    /// Reads what [`Linked::pack`] wrote, for rows of `width` columns.
    pub(super) fn unpack(
        input: &mut Reader<'_>,
        width: usize,
        bits: u32,
        limits: &LoadLimits,
    ) -> Result<Self, LoadError> {
        let trees = input.count()?;
        let count = input.count()?;
        if trees == 0 || (count as u64) << bits > u64::from(u32::MAX) {
            return Err(input.fault(format!("{trees} trees of {count} nodes")));
        }
        let columns: Vec<u16> = input.many(count)?;
        let is_right = |column: &u16| *column == LEAF || usize::from(*column) < width;
        if !columns.iter().all(is_right) {
            return Err(input.fault(format!("a branch reads a column beyond {width}")));
        }
        let branches = columns.iter().filter(|column| **column != LEAF).count();
        let thresholds: Vec<T::Key> = input.many(branches)?;
        let mut thresholds = thresholds.into_iter();
        let mut nodes = Vec::with_capacity(count);
        let mut roots = Vec::with_capacity(trees.min(count));
        let mut depths = Vec::with_capacity(trees.min(count));
        while nodes.len() < count {
            roots.push(nodes.len() as u32);
            // Where the next child stands, and where the next level begins.
            let mut end = nodes.len() + 1;
            let mut level = end;
            let mut depth = 0;
            while nodes.len() < end {
                let own = nodes.len();
                if own == level {
                    level = end;
                    depth += 1;
                }
                let Some(&column) = columns.get(own) else {
                    return Err(input.fault("the last tree is cut off"));
                };
                if column == LEAF {
                    nodes.push(Node {
                        threshold: T::TOP,
                        link: (own as u32) << bits,
                    });
                } else {
                    nodes.push(Node {
                        threshold: thresholds.next().unwrap_or(T::TOP),
                        link: ((end as u32) << bits) | u32::from(column),
                    });
                    end += 2;
                }
            }
            if depth > limits.max_tree_depth {
                return Err(input.fault(format!("a tree has a depth of {depth}")));
            }
            depths.push(depth as u32);
        }
        if roots.len() != trees {
            return Err(input.fault(format!("{} trees where {trees} were said", roots.len())));
        }
        Ok(Self {
            nodes,
            roots,
            depths,
            bits,
        })
    }

    /// The trees branch by branch.
    pub(super) fn spell_out(&self, missing: Missing) -> Spelled<T> {
        let mask = (1 << self.bits) - 1;
        let spell = |(at, node): (usize, &Node<T::Key>)| {
            if self.is_leaf(at) {
                return spelled::Node::Leaf(at as u32);
            }
            let left = node.link >> self.bits;
            let asked = missing.feature(node.link & mask);
            spelled::Node::Branch(Branch::simple(node.threshold, asked, [left, left + 1]))
        };
        Spelled {
            nodes: self.nodes.iter().enumerate().map(spell).collect(),
            roots: self.roots.clone(),
            sets: Sets::default(),
        }
    }

    pub(super) fn places(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_leaf(&self, place: usize) -> bool {
        (self.nodes[place].link >> self.bits) as usize == place
    }

    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    pub(super) fn tree_count(&self) -> usize {
        self.roots.len()
    }

    /// The places where 16 rows end in one tree.
    pub(super) fn end_rows<const BITS: u32, const WIDTH: usize>(
        &self,
        tree: usize,
        rows: &[[T::Key; WIDTH]; LANES],
    ) -> [u32; LANES] {
        let mut at = [self.roots[tree]; LANES];
        self.walk::<BITS, WIDTH>(&mut at, self.depths[tree], |lane| &rows[lane]);
        at
    }

    /// The places where a row ends in 16 trees; the last tree stands for those that are not there.
    pub(super) fn end_trees<const BITS: u32, const WIDTH: usize>(
        &self,
        first: usize,
        row: &[T::Key; WIDTH],
    ) -> [u32; LANES] {
        let last = self.roots.len() - 1;
        let mut at = [0; LANES];
        let mut depth = 0;
        each_lane(|lane| {
            let tree = (first + lane).min(last);
            at[lane] = self.roots[tree];
            depth = depth.max(self.depths[tree]);
        });
        self.walk::<BITS, WIDTH>(&mut at, depth, |_| row);
        at
    }

    #[expect(clippy::inline_always, reason = "the innermost loop")]
    #[inline(always)]
    fn walk<'a, const BITS: u32, const WIDTH: usize>(
        &self,
        at: &mut [u32; LANES],
        depth: u32,
        row: impl Fn(usize) -> &'a [T::Key; WIDTH],
    ) where
        T: 'a,
    {
        let nodes = self.nodes.as_slice();
        let step = |at: &mut [u32; LANES]| {
            each_lane(|lane| {
                let node = nodes[at[lane] as usize];
                let column = node.link as usize & (WIDTH - 1);
                let is_greater = node.threshold < row(lane)[column];
                at[lane] = (node.link >> BITS) + u32::from(is_greater);
            });
        };
        let mut left = depth;
        while left > UNSEEN {
            let before = *at;
            for _ in 0..STRIDE {
                step(at);
            }
            if *at == before {
                return;
            }
            left -= STRIDE;
        }
        for _ in 0..left {
            step(at);
        }
    }
}

/// Bits that columns of a row take beside a place; none for rows too wide.
pub(super) fn column_bits(width: usize) -> Option<u32> {
    Some(match width {
        0..=256 => 8,
        257..=1024 => 10,
        _ => return None,
    })
}
