//! The seal leaf: what a sealer says about the leaves before it.

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::canonical::to_canonical_json;
use crate::stream::{LeafHash, StreamId};

/// Most runs of a seal; a further one needs a further seal.
pub const MAX_RUNS: usize = 256;
/// Most findings of a seal.
pub const MAX_FINDINGS: usize = 32;

/// The version tag of a seal's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealFormat {
    /// The only version so far.
    #[serde(rename = "sealcast.seal/v1")]
    V1,
}

/// Events of a stream that stand one after another in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRun {
    /// How many; 0 where only the stream's registration was sealed.
    pub count: u64,
    /// Position of the first in its stream.
    pub first: u64,
    /// The stream.
    pub stream: StreamId,
}

/// The last leaf of a block: it covers the leaves since the seal before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealLeaf {
    /// What was wrong, in the order in which it was found; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// Version of this form.
    pub format: SealFormat,
    /// Streams that are closed now because nothing came for long; at most [`MAX_RUNS`].
    pub idle: Vec<StreamId>,
    /// The log.
    pub origin: String,
    /// Root of the tree before the block.
    pub previous_root: LeafHash,
    /// Leaves of the tree before the block.
    pub previous_size: u64,
    /// The block's events, in order; at most [`MAX_RUNS`].
    pub runs: Vec<EventRun>,
    /// The sealer's clock, RFC 3339 in UTC with microseconds.
    pub time: String,
}

/// Bytes that are no seal leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a seal: {0}")]
pub struct ParseSealError(pub String);

impl SealLeaf {
    /// The entry, canonical JSON.
    ///
    /// # Errors
    /// [`ParseSealError`], which no seal causes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ParseSealError> {
        to_canonical_json(self).map_err(|e| ParseSealError(e.to_string()))
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`ParseSealError`] where it is of another form or not canonical.
    pub fn parse(entry: &[u8]) -> Result<Self, ParseSealError> {
        let seal: Self =
            serde_json::from_slice(entry).map_err(|e| ParseSealError(e.to_string()))?;
        if seal.to_bytes()? == entry {
            Ok(seal)
        } else {
            Err(ParseSealError("not canonical JSON".to_owned()))
        }
    }
}

/// Counts the leaves of a block; the sealer and the verifier count alike.
pub(crate) fn count_registration(runs: &mut Vec<EventRun>, stream: StreamId) {
    runs.push(EventRun {
        count: 0,
        first: 0,
        stream,
    });
}

/// Counts an event; see [`count_registration`].
pub(crate) fn count_event(runs: &mut Vec<EventRun>, stream: StreamId, seq: u64) {
    match runs.last_mut() {
        Some(run) if run.stream == stream && run.first.checked_add(run.count) == Some(seq) => {
            run.count += 1;
        }
        _ => runs.push(EventRun {
            count: 1,
            first: seq,
            stream,
        }),
    }
}
