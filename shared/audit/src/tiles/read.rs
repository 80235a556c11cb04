//! Proofs and roots from tiles.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{ParseTileError, first_hashes};
use super::{TILE_WIDTH, TileId, TileKind};
use crate::tree::{
    Frontier, FrontierError, Hash, LeafSpan, consistency_path, inclusion_path, node_hash, root_of,
};

/// Gives the bytes of tiles. A caller whose store is asynchronous fetches what [`inclusion_tiles`] or
/// [`consistency_tiles`] name, all at once, and gives them from memory.
pub trait TileReader {
    /// Why a tile could not be read.
    type Error;

    /// The tile's bytes. A partial tile may be answered with a wider one of the same place, as it is when the log
    /// has grown since.
    ///
    /// # Errors
    /// The store's own.
    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Self::Error>;
}

impl<E, F: FnMut(TileId) -> Result<Vec<u8>, E>> TileReader for F {
    type Error = E;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, E> {
        self(tile)
    }
}

/// Asks for the full tile where a partial one cannot be read: a log may have deleted the partial one since. The error is
/// that of the partial tile where there is neither.
#[derive(Debug, Clone)]
pub struct OrFull<R>(pub R);

impl<R: TileReader> TileReader for OrFull<R> {
    type Error = R::Error;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, R::Error> {
        match self.0.read_tile(tile) {
            Err(error) if !tile.is_full() => {
                self.0.read_tile(tile.widened()).map_err(|_full| error)
            }
            read => read,
        }
    }
}

/// Why a proof could not be made from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadTileError<E> {
    /// The store did not give the tile.
    #[error("{0}: {1}")]
    Store(TileId, E),
    /// The bytes are no such tile.
    #[error("{0}: {1}")]
    Malformed(TileId, ParseTileError),
    /// The tiles are no right edge of the tree.
    #[error("{0}")]
    Edge(FrontierError),
    /// The tree has no such leaf, or is smaller than the tree that should be its beginning.
    #[error("{asked} is beyond the tree of {size} leaves")]
    Beyond {
        /// The leaf's index, or the older size.
        asked: u64,
        /// The tree's size.
        size: u64,
    },
}

/// A tree of a given size behind its tiles. Keeps each tile that it read.
#[derive(Debug)]
pub struct TreeReader<R> {
    size: u64,
    reader: R,
    tiles: BTreeMap<TileId, Vec<Hash>>,
    reads: u64,
}

impl<R: TileReader> TreeReader<R> {
    /// Reads a tree of `size` leaves.
    pub fn new(size: u64, reader: R) -> Self {
        Self {
            size,
            reader,
            tiles: BTreeMap::new(),
            reads: 0,
        }
    }

    /// Tiles read so far.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Hash of the leaf at `index`.
    ///
    /// # Errors
    /// [`ReadTileError`] where a tile cannot be read, or the tree has no such leaf.
    pub fn leaf(&mut self, index: u64) -> Result<Hash, ReadTileError<R::Error>> {
        if index >= self.size {
            return Err(self.beyond(index));
        }
        self.perfect(0, index)
    }

    /// Root of the tree.
    ///
    /// # Errors
    /// [`ReadTileError`] where a tile cannot be read.
    pub fn root(&mut self) -> Result<Hash, ReadTileError<R::Error>> {
        self.root_at(self.size)
    }

    /// Root of the tree of the first `older` leaves.
    ///
    /// # Errors
    /// [`ReadTileError`] where a tile cannot be read, or `older` is more than the tree's size.
    pub fn root_at(&mut self, older: u64) -> Result<Hash, ReadTileError<R::Error>> {
        if older > self.size {
            return Err(self.beyond(older));
        }
        self.span(LeafSpan {
            start: 0,
            end: older,
        })
    }

    /// The hashes that prove the inclusion of the leaf at `index`, from its sibling upwards.
    ///
    /// # Errors
    /// [`ReadTileError`] where a tile cannot be read, or the tree has no such leaf.
    pub fn prove_inclusion(&mut self, index: u64) -> Result<Vec<Hash>, ReadTileError<R::Error>> {
        let path = inclusion_path(self.size, index).ok_or_else(|| self.beyond(index))?;
        path.into_iter().map(|span| self.span(span)).collect()
    }

    /// The hashes that prove that the tree of `older` leaves is the beginning of this one.
    ///
    /// # Errors
    /// [`ReadTileError`] where a tile cannot be read, or `older` is more than the tree's size.
    pub fn prove_consistency(&mut self, older: u64) -> Result<Vec<Hash>, ReadTileError<R::Error>> {
        let path = consistency_path(older, self.size).ok_or_else(|| self.beyond(older))?;
        path.into_iter().map(|span| self.span(span)).collect()
    }

    fn beyond(&self, asked: u64) -> ReadTileError<R::Error> {
        ReadTileError::Beyond {
            asked,
            size: self.size,
        }
    }

    fn span(&mut self, span: LeafSpan) -> Result<Hash, ReadTileError<R::Error>> {
        let mut hashes = Vec::new();
        for (height, index) in span.perfect_subtrees() {
            hashes.push(self.perfect(height, index)?);
        }
        let right = hashes.pop().unwrap_or_else(crate::tree::empty_root);
        Ok(hashes
            .iter()
            .rev()
            .fold(right, |right, left| node_hash(left, &right)))
    }

    fn perfect(&mut self, height: u32, index: u64) -> Result<Hash, ReadTileError<R::Error>> {
        let Some((tile, first, count)) = tile_of(height, index, self.size) else {
            return Err(self.beyond(index));
        };
        if !self.tiles.contains_key(&tile) {
            self.reads += 1;
            let hashes = read_hashes(&mut self.reader, tile)?;
            self.tiles.insert(tile, hashes);
        }
        let hashes = self
            .tiles
            .get(&tile)
            .and_then(|h| h.get(first..first + count));
        hashes.map(root_of).ok_or_else(|| self.beyond(index))
    }
}

/// The tile that holds the perfect subtree, and the place and number of its hashes there.
fn tile_of(height: u32, index: u64, size: u64) -> Option<(TileId, usize, usize)> {
    let (level, within) = (height / 8, height % 8);
    let first = index.checked_shl(within)?;
    let kind = TileKind::Hashes(u8::try_from(level).ok()?);
    let tile = TileId::in_tree(kind, first / TILE_WIDTH as u64, size)?;
    Some((tile, (first % TILE_WIDTH as u64) as usize, 1 << within))
}

/// Reads a tile of hashes; of a wider one its beginning.
pub(super) fn read_hashes<R: TileReader>(
    reader: &mut R,
    tile: TileId,
) -> Result<Vec<Hash>, ReadTileError<R::Error>> {
    let bytes = reader
        .read_tile(tile)
        .map_err(|error| ReadTileError::Store(tile, error))?;
    first_hashes(&bytes, tile.width()).map_err(|error| ReadTileError::Malformed(tile, error))
}

fn tiles_of(spans: impl IntoIterator<Item = LeafSpan>, size: u64) -> Vec<TileId> {
    let spans = spans.into_iter();
    let tiles: BTreeSet<TileId> = spans
        .flat_map(LeafSpan::perfect_subtrees)
        .filter_map(|(height, index)| tile_of(height, index, size))
        .map(|(tile, ..)| tile)
        .collect();
    tiles.into_iter().collect()
}

/// The tiles that a proof of inclusion is read from; none where the tree has no such leaf.
pub fn inclusion_tiles(size: u64, index: u64) -> Vec<TileId> {
    tiles_of(inclusion_path(size, index).into_iter().flatten(), size)
}

/// The tiles that a proof of consistency is read from; none where the older tree is not smaller.
pub fn consistency_tiles(older: u64, newer: u64) -> Vec<TileId> {
    tiles_of(consistency_path(older, newer).into_iter().flatten(), newer)
}

/// The tiles that [`check_growth`](crate::checkpoint::check_growth) may ask for: those of the proof of consistency, and
/// those that tell a fork from a damaged tile where the proof does not hold.
pub fn growth_tiles(older: u64, newer: u64) -> Vec<TileId> {
    let beginning = LeafSpan {
        start: 0,
        end: older,
    };
    let path = consistency_path(older, newer);
    let spans = path.map(|path| path.into_iter().chain([beginning]));
    tiles_of(spans.into_iter().flatten(), newer)
}

/// Reads the edge of a tree from its partial tiles.
///
/// # Errors
/// [`ReadTileError`] where a tile cannot be read or is no tile.
pub fn read_frontier<R: TileReader>(
    size: u64,
    reader: &mut R,
) -> Result<Frontier, ReadTileError<R::Error>> {
    let mut levels = vec![Vec::new(); crate::tree::levels_of(size)];
    for (level, hashes) in levels.iter_mut().enumerate() {
        if let Some(tile) = TileId::at_edge(level as u8, size) {
            *hashes = read_hashes(reader, tile)?;
        }
    }
    Frontier::from_levels(size, levels).map_err(ReadTileError::Edge)
}
