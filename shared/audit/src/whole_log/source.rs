//! Tiles as a source gives them, and what is said about those that it does not give.

use std::fmt;

use super::{EntryVerifier, LogFault};
use crate::canonical::leaf_hash;
use crate::checkpoint::Checkpoint;
use crate::stream::LeafHash;
use crate::tiles::{
    NO_SIGNATURE, TILE_WIDTH, TileId, TileKind, TileReader, TreeReader, encode_hashes,
    first_entries, first_hashes, first_signatures,
};
use crate::tree::{Hash, verify_inclusion};

/// Where tiles come from, and where what is found goes to.
pub(super) struct Source<'a, 'r, R> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) entries: EntryVerifier<'r>,
    reader: &'a mut R,
}

/// Up to 256 entries and their signatures, as far as they are there.
pub(super) struct Bundle {
    entries: Option<Vec<Vec<u8>>>,
    signatures: Option<Vec<[u8; 64]>>,
}

impl Bundle {
    pub(super) fn entry(&self, at: usize) -> Option<&[u8]> {
        self.entries.as_ref()?.get(at).map(Vec::as_slice)
    }

    /// The hashes of all entries.
    pub(super) fn hashes(&self) -> Option<Vec<Hash>> {
        let entries = self.entries.as_ref()?;
        Some(entries.iter().map(|entry| leaf_hash(entry)).collect())
    }

    pub(super) fn signature(&self, at: usize) -> [u8; 64] {
        let signature = self.signatures.as_ref().and_then(|all| all.get(at));
        signature.copied().unwrap_or(NO_SIGNATURE)
    }
}

impl<'a, 'r, R: TileReader<Error: fmt::Display>> Source<'a, 'r, R> {
    pub(super) fn new(
        checkpoint: &'a Checkpoint,
        reader: &'a mut R,
        entries: EntryVerifier<'r>,
    ) -> Self {
        Self {
            checkpoint,
            entries,
            reader,
        }
    }

    fn read<T, E: fmt::Display>(
        &mut self,
        tile: TileId,
        parse: impl FnOnce(&[u8], usize) -> Result<T, E>,
    ) -> Option<T> {
        let bytes = match self.reader.read_tile(tile) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.entries.missing(tile.to_string(), error.to_string());
                return None;
            }
        };
        match parse(&bytes, tile.width()) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let (path, reason) = (tile.to_string(), error.to_string());
                self.entries
                    .fault(LogFault::TileUnreadable { path, reason });
                None
            }
        }
    }

    /// The hashes of a tile.
    pub(super) fn hashes(&mut self, tile: TileId) -> Option<Vec<Hash>> {
        self.read(tile, first_hashes)
    }

    /// Entries and signatures beside a tile of leaves.
    pub(super) fn bundle(&mut self, leaves: TileId) -> Bundle {
        let of_kind = |kind| TileId::in_tree(kind, leaves.index(), self.checkpoint.size);
        let (entries, signatures) = (of_kind(TileKind::Entries), of_kind(TileKind::Signatures));
        let owned = |bytes: &[u8], width| {
            let entries = first_entries(bytes, width)?;
            Ok::<_, crate::tiles::ParseTileError>(
                entries.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>(),
            )
        };
        Bundle {
            entries: entries.and_then(|tile| self.read(tile, owned)),
            signatures: signatures.and_then(|tile| self.read(tile, first_signatures)),
        }
    }

    /// True where these hashes, in the place of a tile of leaves, lead to the checkpoint's root by the tiles beside and
    /// above it: they are the ones that were sealed, and the tile is wrong where it differs.
    pub(super) fn lead_to_root(&mut self, leaves: TileId, hashes: &[Hash]) -> bool {
        let Some(first) = hashes.first() else {
            return false;
        };
        let (size, index) = (self.checkpoint.size, leaves.index() * TILE_WIDTH as u64);
        let mut tree = TreeReader::new(size, |tile| {
            if tile == leaves {
                Ok(encode_hashes(hashes))
            } else {
                self.reader.read_tile(tile)
            }
        });
        // The proof of the tile's first leaf is made of all its other hashes.
        let proof = tree.prove_inclusion(index);
        proof.is_ok_and(|proof| {
            verify_inclusion(size, index, first, &proof, &self.checkpoint.root).is_ok()
        })
    }

    /// The leaves lead to another root than the checkpoint's.
    pub(super) fn other_root(&mut self, found: Hash) {
        self.entries.fault(LogFault::Root {
            expected: LeafHash(self.checkpoint.root),
            found: LeafHash(found),
        });
    }
}
