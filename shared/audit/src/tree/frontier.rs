//! The right edge of a growing tree: what has to be known to append.

use super::{Hash, empty_root, node_hash, root_of};
use crate::tiles::{TILE_WIDTH, TileId};

/// The tiles at the right edge of a tree, level by level: at most 255 hashes for each of at most eight levels.
/// Appending and the root need nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// Hashes that are no right edge of a tree of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "level {level} of the edge of a tree of {size} leaves has {found} hashes, expected {expected}"
)]
pub struct FrontierError {
    /// The tree's size.
    pub size: u64,
    /// The tile level.
    pub level: usize,
    /// Hashes that a tree of that size has there.
    pub expected: usize,
    /// Hashes that were given.
    pub found: usize,
}

impl Frontier {
    /// The edge of the tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` leaves from the hashes of its partial tiles, from level 0 up; a level whose
    /// last tile is full has none.
    ///
    /// # Errors
    /// [`FrontierError`] where a level has another number of hashes than a tree of that size.
    pub fn from_levels(size: u64, levels: Vec<Vec<Hash>>) -> Result<Self, FrontierError> {
        let needed = levels_of(size);
        for level in 0..needed.max(levels.len()) {
            let expected = partial_width(size, level);
            let found = levels.get(level).map_or(0, Vec::len);
            if expected != found {
                return Err(FrontierError {
                    size,
                    level,
                    expected,
                    found,
                });
            }
        }
        Ok(Self { size, levels })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The partial tiles: level and hashes, where there are any.
    pub fn partials(&self) -> impl Iterator<Item = (TileId, &[Hash])> {
        self.levels
            .iter()
            .enumerate()
            .filter_map(|(level, hashes)| {
                let tile = TileId::at_edge(level as u8, self.size)?;
                Some((tile, hashes.as_slice()))
            })
    }

    /// Appends a leaf. Gives the tiles that it fills, from level 0 up, with their 256 hashes.
    pub fn append(&mut self, leaf: Hash) -> Vec<(TileId, Vec<Hash>)> {
        self.size += 1;
        self.push(0, leaf)
    }

    /// Appends 256 leaves of which only their tile's root is known. `None`, and nothing is done, where the tree ends
    /// within a tile.
    pub(crate) fn append_tile(&mut self, root: Hash) -> Option<Vec<(TileId, Vec<Hash>)>> {
        let size = self.size.checked_add(TILE_WIDTH as u64)?;
        if !size.is_multiple_of(TILE_WIDTH as u64) {
            return None;
        }
        self.size = size;
        Some(self.push(1, root))
    }

    fn push(&mut self, lowest: usize, hash: Hash) -> Vec<(TileId, Vec<Hash>)> {
        let (mut filled, mut hash) = (Vec::new(), hash);
        for level in lowest.. {
            if level >= self.levels.len() {
                self.levels.resize(level + 1, Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                break;
            }
            let full = std::mem::take(hashes);
            hash = root_of(&full);
            let index = (self.size >> (8 * (level + 1))) - 1;
            filled.push((TileId::full(level as u8, index), full));
        }
        filled
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        self.root_behind(&[])
    }

    /// Root of the tree that has these perfect subtrees, from left to right and all higher, before this one.
    pub(crate) fn root_behind(&self, left: &[Hash]) -> Hash {
        let own = self.perfect_subtrees(0);
        let mut subtrees = left.iter().chain(&own).rev();
        let last = subtrees.next().copied().unwrap_or_else(empty_root);
        subtrees.fold(last, |right, left| node_hash(left, &right))
    }

    /// Roots of the perfect subtrees of the tree from a tile level up, from left to right.
    pub(crate) fn perfect_subtrees(&self, lowest: usize) -> Vec<Hash> {
        let mut subtrees = Vec::new();
        for hashes in self.levels.iter().skip(lowest).rev() {
            let mut rest = hashes.as_slice();
            while let Some(height) = rest.len().checked_ilog2() {
                let (subtree, after) = rest.split_at(1 << height);
                subtrees.push(root_of(subtree));
                rest = after;
            }
        }
        subtrees
    }
}

/// Tile levels of a tree: the smallest number with `256^levels > size`.
pub(crate) fn levels_of(size: u64) -> usize {
    size.checked_ilog2().map_or(0, |top| top as usize / 8 + 1)
}

/// Hashes in the partial tile of a level; 0 where there is none.
fn partial_width(size: u64, level: usize) -> usize {
    size.checked_shr(8 * level as u32)
        .map_or(0, |hashes| (hashes % TILE_WIDTH as u64) as usize)
}

/// Tile levels that the growth of a tree changes, from level 0 up: the hashes of the others stay as they are.
pub(crate) fn levels_changed(older: u64, newer: u64) -> usize {
    (older ^ newer)
        .checked_ilog2()
        .map_or(0, |top| top as usize / 8 + 1)
}
