//! The growing end of a log, and the tiles that its growth writes.

use std::collections::BTreeMap;

use crate::canonical::leaf_hash;
use crate::checkpoint::Checkpoint;
use crate::stream::{LeafHash, MAX_ENTRY_BYTES};
use crate::tiles::{
    ParseTileError, ReadTileError, TILE_WIDTH, TileId, TileKind, TileReader, encode_entries,
    encode_hashes, encode_signatures, first_entries, first_signatures, read_frontier,
};
use crate::tree::{Frontier, Hash, levels_changed};

/// What of a log has to be known to append: the right edge of the tree, and the last bundles as far as they are not
/// full. At most 255 entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogEdge {
    frontier: Frontier,
    entries: Vec<Vec<u8>>,
    signatures: Vec<[u8; 64]>,
}

/// Why the end of a log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadEdgeError<E> {
    /// A tile of hashes.
    #[error(transparent)]
    Tile(#[from] ReadTileError<E>),
    /// The store did not give a bundle.
    #[error("{0}: {1}")]
    Store(TileId, E),
    /// The bytes are no such bundle.
    #[error("{0}: {1}")]
    Malformed(TileId, ParseTileError),
    /// An entry is not the one that was sealed there.
    #[error("entry {0} is not the one whose hash was sealed there")]
    Entry(u64),
    /// The tiles are not those of the checkpoint.
    #[error("the tiles lead to another root than the checkpoint of {0} leaves")]
    Root(u64),
}

impl LogEdge {
    /// The end of a log without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the end of a log from its partial tiles, and holds it against the checkpoint.
    ///
    /// # Errors
    /// [`ReadEdgeError`] with the tile or the entry at fault.
    pub fn read<R: TileReader>(
        checkpoint: &Checkpoint,
        reader: &mut R,
    ) -> Result<Self, ReadEdgeError<R::Error>> {
        let size = checkpoint.size;
        let frontier = read_frontier(size, reader)?;
        if frontier.root() != checkpoint.root {
            return Err(ReadEdgeError::Root(size));
        }
        let mut edge = Self {
            frontier,
            ..Self::default()
        };
        let index = size / TILE_WIDTH as u64;
        let mut read = |kind| {
            let Some(tile) = TileId::in_tree(kind, index, size) else {
                return Ok(None);
            };
            let bytes = reader.read_tile(tile);
            bytes
                .map(|bytes| Some((tile, bytes)))
                .map_err(|error| ReadEdgeError::Store(tile, error))
        };
        if let Some((tile, bytes)) = read(TileKind::Entries)? {
            let entries = first_entries(&bytes, tile.width())
                .map_err(|error| ReadEdgeError::Malformed(tile, error))?;
            edge.entries = entries.into_iter().map(<[u8]>::to_vec).collect();
        }
        if let Some((tile, bytes)) = read(TileKind::Signatures)? {
            edge.signatures = first_signatures(&bytes, tile.width())
                .map_err(|error| ReadEdgeError::Malformed(tile, error))?;
        }
        let leaves = edge
            .frontier
            .partials()
            .next()
            .filter(|(tile, _)| tile.kind() == TileKind::Hashes(0));
        let leaves: &[Hash] = leaves.map_or(&[], |(_, hashes)| hashes);
        let differs = |(entry, leaf): (&Vec<u8>, &Hash)| leaf_hash(entry) != *leaf;
        match edge.entries.iter().zip(leaves).position(differs) {
            Some(at) => Err(ReadEdgeError::Entry(index * TILE_WIDTH as u64 + at as u64)),
            None => Ok(edge),
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The head of the log under its name.
    pub fn checkpoint(&self, origin: &str) -> Checkpoint {
        Checkpoint {
            origin: origin.to_owned(),
            size: self.size(),
            root: self.root(),
        }
    }

    /// Roots of the perfect subtrees of the leaves whose tiles the growth from `older` leaves left as they were, from
    /// left to right.
    pub(super) fn kept(&self, older: u64) -> Vec<LeafHash> {
        let subtrees = self
            .frontier
            .perfect_subtrees(levels_changed(older, self.size()));
        subtrees.into_iter().map(LeafHash).collect()
    }

    /// The entries and signatures of the last bundles, as far as they are not full.
    pub(super) fn last_bundle(&self) -> (&[Vec<u8>], &[[u8; 64]]) {
        (&self.entries, &self.signatures)
    }

    /// Appends an entry of at most [`MAX_ENTRY_BYTES`] and collects the tiles that it fills.
    pub(super) fn append(
        &mut self,
        entry: Vec<u8>,
        signature: [u8; 64],
        tiles: &mut BTreeMap<TileId, Vec<u8>>,
    ) -> Result<(), EntryTooLong> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(EntryTooLong(entry.len()));
        }
        let filled = self.frontier.append(leaf_hash(&entry));
        self.entries.push(entry);
        self.signatures.push(signature);
        if !filled.is_empty() {
            self.write_bundles(tiles)?;
            self.entries.clear();
            self.signatures.clear();
        }
        tiles.extend(
            filled
                .into_iter()
                .map(|(tile, hashes)| (tile, encode_hashes(&hashes))),
        );
        Ok(())
    }

    /// Collects the partial tiles that the tree of `older` leaves had not.
    pub(super) fn write_partials(
        &self,
        older: u64,
        tiles: &mut BTreeMap<TileId, Vec<u8>>,
    ) -> Result<(), EntryTooLong> {
        for (tile, hashes) in self.frontier.partials() {
            if TileId::in_tree(tile.kind(), tile.index(), older) != Some(tile) {
                tiles.insert(tile, encode_hashes(hashes));
            }
        }
        if self.size() > older && !self.entries.is_empty() {
            self.write_bundles(tiles)?;
        }
        Ok(())
    }

    /// Writes the last bundles, full or not.
    fn write_bundles(&self, tiles: &mut BTreeMap<TileId, Vec<u8>>) -> Result<(), EntryTooLong> {
        let index = (self.size() - 1) / TILE_WIDTH as u64;
        let tile = |kind| TileId::in_tree(kind, index, self.size());
        let entries = encode_entries(&self.entries).ok_or(EntryTooLong(MAX_ENTRY_BYTES + 1))?;
        tiles.extend(tile(TileKind::Entries).map(|tile| (tile, entries)));
        let signatures = encode_signatures(&self.signatures);
        tiles.extend(tile(TileKind::Signatures).map(|tile| (tile, signatures)));
        Ok(())
    }
}

/// An entry that no log can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {0} bytes is longer than {MAX_ENTRY_BYTES}")]
pub struct EntryTooLong(pub usize);
