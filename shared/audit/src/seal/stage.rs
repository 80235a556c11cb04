//! The staged record: everything that a run still has to write, in one object.
//!
//! | Bytes | |
//! |---|---|
//! | `sealcast.stage/v1` `0A` | the version |
//! | 4 bytes, big-endian | length of the head |
//! | the head | JSON: the checkpoint's note, size and root before, ranges, stream states, path and length of each tile, and the roots of what stays as it was |
//! | the tiles | one behind the other, in the head's order |
//! | 32 bytes | SHA-256 of everything before |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{LogEdge, SealPlan, SealedStream};
use crate::checkpoint::{Checkpoint, OpenCheckpointError, TrustedLog};
use crate::note::SignedNote;
use crate::stream::{LeafHash, PublicKey, StreamId};
use crate::tiles::{TILE_WIDTH, TileId, tiles_added};

mod check;

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
        self.seq_lo.checked_add(self.count) == Some(seq)
            && self.index.checked_add(self.count) == Some(index)
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
    /// Roots of the perfect subtrees of the leaves whose tiles stay as they were, from left to right.
    pub kept: Vec<LeafHash>,
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
    /// A part of the record is not what the signed checkpoint, or what is known of the log, says.
    #[error("the staged record contradicts its checkpoint: {0}")]
    Differs(String),
    /// The checkpoint is not to be trusted.
    #[error("the staged checkpoint: {0}")]
    Checkpoint(#[from] OpenCheckpointError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    kept: Vec<LeafHash>,
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
            kept: self.kept,
        })
    }
}

impl StagedSeal {
    /// The record as it is stored. The same record gives the same bytes.
    ///
    /// # Errors
    /// [`ParseStageError::Head`], which no record causes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ParseStageError> {
        let tiles = self.tiles.iter();
        let head = Head {
            kept: self.kept.clone(),
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

    /// Reads a record, and holds all of it against its checkpoint: tiles and entries lead from the tree before to the
    /// root; ranges are those of the entries; each state is one that the entries, or a seal's findings, give a reason
    /// for; signatures verify by the keys of the states. Who signed the checkpoint and the registrations is not looked
    /// at: see [`Self::open`].
    ///
    /// What no part of the record can prove is what lies before the run: the key and the registration's index of a
    /// stream that was registered earlier ([`SealedStream::follows`] holds them against the state that is stored), and
    /// the signatures in the beginning of the first bundle ([`Self::check_beginning`]).
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
        let count = head.tiles.len();
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
            || tiles.len() != count
            || !tiles
                .keys()
                .copied()
                .eq(sorted(tiles_added(head.older_size, newer.size)))
        {
            return Err(wrong("the tiles are not those that the growth adds"));
        }
        let staged = Self {
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
            kept: head.kept,
        };
        check::check(&staged).map_err(ParseStageError::Differs)?;
        Ok(staged)
    }

    /// Reads a record as [`Self::parse`] does, and verifies who signed its checkpoint and the registrations in it.
    ///
    /// # Errors
    /// [`ParseStageError`] with what is wrong.
    pub fn open(
        bytes: &[u8],
        log: &TrustedLog,
        trusted: &[(String, PublicKey)],
    ) -> Result<Self, ParseStageError> {
        let staged = Self::parse(bytes)?;
        log.open(staged.note.to_string().as_bytes())?;
        check::check_registrations(&staged, trusted).map_err(ParseStageError::Differs)?;
        Ok(staged)
    }

    /// Holds the beginning of the record's first bundles against the end of the log before the run, which is there
    /// until the run has written its tiles, and after.
    ///
    /// # Errors
    /// [`ParseStageError::Differs`] where it is another log's end, or a signature is another.
    pub fn check_beginning(&self, edge: &LogEdge) -> Result<(), ParseStageError> {
        check::check_beginning(self, edge).map_err(ParseStageError::Differs)
    }
}

fn sorted(mut tiles: Vec<TileId>) -> Vec<TileId> {
    tiles.sort_unstable();
    tiles
}
