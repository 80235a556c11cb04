//! The staged record: everything that a run still has to write, in one object.
//!
//! | Bytes | |
//! |---|---|
//! | `sealcast.stage/v1` `0A` | the version |
//! | 4 bytes, big-endian | length of the head |
//! | the head | JSON: the checkpoint's note, sizes and roots, ranges, stream states, path and length of each tile |
//! | the tiles | one behind the other, in the head's order |
//! | 32 bytes | SHA-256 of everything before |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{SealPlan, SealedStream};
use crate::checkpoint::Checkpoint;
use crate::note::SignedNote;
use crate::stream::{LeafHash, StreamId};
use crate::tiles::{TILE_WIDTH, TileId, tiles_added};

const VERSION: &[u8] = b"sealcast.stage/v1\n";

/// Where events of a stream stand in the log: `seq_lo + i` at `index + i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafRange {
    /// How many events.
    pub count: u64,
    /// Index of the first in the log.
    pub index: u64,
    /// Position of the first in its stream.
    pub seq_lo: u64,
    /// The stream.
    pub stream: StreamId,
}

impl LeafRange {
    pub(super) fn follows(&self, seq: u64, index: u64) -> bool {
        self.seq_lo + self.count == seq && self.index + self.count == index
    }
}

/// A signed run that is not wholly written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedSeal {
    /// Head of the log before.
    pub older: Checkpoint,
    /// Head of the log after.
    pub newer: Checkpoint,
    /// The new checkpoint with its signatures.
    pub note: SignedNote,
    /// New tiles and their bytes.
    pub tiles: BTreeMap<TileId, Vec<u8>>,
    /// Where the new events stand.
    pub ranges: Vec<LeafRange>,
    /// States of the streams that changed.
    pub streams: Vec<SealedStream>,
}

/// What comes next, as the lock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The lock still holds the head before: replace it.
    Swap,
    /// The lock holds the new head: write tiles, states and ranges, and publish. All of it may be there already.
    Write,
    /// The log went another way before this run was committed: drop the record.
    Drop,
}

/// A note that is not the plan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The text is another.
    #[error("the signed note is not the plan's checkpoint")]
    OtherText,
    /// Nobody signed.
    #[error("the checkpoint is not signed")]
    Unsigned,
}

/// Bytes that are no staged record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseStageError {
    /// Another version, or something else.
    #[error("not a staged record of version 1")]
    Version,
    /// The record is not whole.
    #[error("the staged record is not whole, or was altered")]
    Checksum,
    /// The head is not of this form.
    #[error("head of the staged record: {0}")]
    Head(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    note: String,
    older_root: LeafHash,
    older_size: u64,
    ranges: Vec<LeafRange>,
    streams: Vec<SealedStream>,
    tiles: Vec<(String, usize)>,
}

impl SealPlan {
    /// Makes the staged record of a plan whose checkpoint is signed.
    ///
    /// # Errors
    /// [`StageError`] where the note is another, or not signed.
    pub fn stage(self, note: SignedNote) -> Result<StagedSeal, StageError> {
        if note.text() != self.text() {
            return Err(StageError::OtherText);
        }
        if note.signatures().is_empty() {
            return Err(StageError::Unsigned);
        }
        Ok(StagedSeal {
            older: self.older,
            newer: self.newer,
            note,
            tiles: self.tiles,
            ranges: self.ranges,
            streams: self.streams,
        })
    }
}

impl StagedSeal {
    /// What comes next where the lock holds this head of the log.
    pub fn next_step(&self, lock: &Checkpoint) -> Step {
        if *lock == self.older {
            Step::Swap
        } else if *lock == self.newer {
            Step::Write
        } else {
            Step::Drop
        }
    }

    /// The record as it is stored. The same record gives the same bytes.
    ///
    /// # Errors
    /// [`ParseStageError::Head`], which no record causes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ParseStageError> {
        let tiles = self.tiles.iter();
        let head = Head {
            note: self.note.to_string(),
            older_root: LeafHash(self.older.root),
            older_size: self.older.size,
            ranges: self.ranges.clone(),
            streams: self.streams.clone(),
            tiles: tiles
                .map(|(tile, bytes)| (tile.to_string(), bytes.len()))
                .collect(),
        };
        let head = serde_json::to_vec(&head).map_err(|e| ParseStageError::Head(e.to_string()))?;
        let length = u32::try_from(head.len())
            .map_err(|_| ParseStageError::Head("longer than 4 GiB".to_owned()))?;
        let mut bytes = [VERSION, &length.to_be_bytes(), &head].concat();
        self.tiles
            .values()
            .for_each(|tile| bytes.extend_from_slice(tile));
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(bytes)
    }

    /// Reads a record, and holds its parts against each other.
    ///
    /// # Errors
    /// [`ParseStageError`] with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseStageError> {
        let body = bytes
            .strip_prefix(VERSION)
            .ok_or(ParseStageError::Version)?;
        let (body, checksum) = body
            .split_last_chunk::<32>()
            .ok_or(ParseStageError::Checksum)?;
        let signed = &bytes[..bytes.len() - checksum.len()];
        if Sha256::digest(signed) != *checksum {
            return Err(ParseStageError::Checksum);
        }
        let wrong = |reason: &str| ParseStageError::Head(reason.to_owned());
        let (length, rest) = body
            .split_first_chunk::<4>()
            .ok_or(ParseStageError::Checksum)?;
        let (head, mut rest) = rest
            .split_at_checked(u32::from_be_bytes(*length) as usize)
            .ok_or(ParseStageError::Checksum)?;
        let head: Head = serde_json::from_slice(head).map_err(|e| wrong(&e.to_string()))?;
        let note = SignedNote::parse(head.note.as_bytes()).map_err(|e| wrong(&e.to_string()))?;
        let newer = Checkpoint::parse(note.text()).map_err(|e| wrong(&e.to_string()))?;
        let mut tiles = BTreeMap::new();
        for (path, length) in head.tiles {
            let tile =
                TileId::parse(&path).ok_or_else(|| wrong("a tile has no path of the log"))?;
            let (bytes, after) = rest
                .split_at_checked(length)
                .ok_or_else(|| wrong("the tiles are longer than the record"))?;
            tiles.insert(tile, bytes.to_vec());
            rest = after;
        }
        let growth = newer.size.saturating_sub(head.older_size);
        if growth == 0 || !rest.is_empty() {
            return Err(wrong("the log does not grow, or bytes follow the tiles"));
        }
        // Hostile sizes would name more tiles than there is memory for.
        let few = growth / TILE_WIDTH as u64 <= tiles.len() as u64;
        if !few
            || !tiles
                .keys()
                .copied()
                .eq(sorted(tiles_added(head.older_size, newer.size)))
        {
            return Err(wrong("the tiles are not those that the growth adds"));
        }
        if let Some(state) = head.streams.iter().find(|s| s.tree_size != newer.size) {
            let (found, size) = (state.tree_size, newer.size);
            return Err(ParseStageError::Head(format!(
                "the state of stream {} is of a tree of {found} leaves, expected {size}",
                state.stream
            )));
        }
        Ok(Self {
            older: Checkpoint {
                origin: newer.origin.clone(),
                size: head.older_size,
                root: head.older_root.0,
            },
            newer,
            note,
            tiles,
            ranges: head.ranges,
            streams: head.streams,
        })
    }
}

fn sorted(mut tiles: Vec<TileId>) -> Vec<TileId> {
    tiles.sort_unstable();
    tiles
}
