//! What can be wrong in a log, and where.

use serde::Serialize;

use crate::stream::{LeafHash, StreamId};

/// What is wrong, and where. `index` is an entry's index in the log, `seq` an event's position in its stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the messages and the words above say it")]
pub enum LogFault {
    /// The bytes of a tile or bundle are none.
    #[error("{path}: {reason}")]
    TileUnreadable { path: String, reason: String },
    /// A tile does not hold the hashes of what is below it: it was swapped or altered. `at` is the first that differs.
    #[error("{path}: hash {at} is not that of the tiles below it")]
    TileHash { path: String, at: usize },
    /// A tile is not the one whose hash stands in the tile above it: it was swapped or altered.
    #[error("{path}: not the tile that the tree has there")]
    TileSwapped { path: String },
    /// The entry is not the one whose hash was sealed there. `found` is what it claims to be.
    #[error("entry {index}: not the entry that was sealed there ({sealed}); it reads as {found}")]
    Entry {
        index: u64,
        sealed: LeafHash,
        found: String,
    },
    /// The leaves lead to another root than the checkpoint's.
    #[error("the leaves lead to the root {found}, the checkpoint says {expected}")]
    Root { expected: LeafHash, found: LeafHash },
    /// An entry is neither event nor registration nor seal of a version that this one reads.
    #[error("entry {index}: cannot be read: {reason}")]
    Unreadable { index: u64, reason: String },
    /// A registration that no trusted key signed, or the second of its stream.
    #[error("entry {index}: registration of stream {stream}: {reason}")]
    Registration {
        index: u64,
        stream: StreamId,
        reason: String,
    },
    /// An event of a stream that no registration before it vouches for.
    #[error("entry {index}: event {seq} of stream {stream}, which has no registration before it")]
    UnknownStream {
        index: u64,
        stream: StreamId,
        seq: u64,
    },
    /// Events of a stream are missing, doubled or out of order, and no seal says so.
    #[error("entry {index}: stream {stream} goes on with event {found}, expected {expected}")]
    OutOfOrder {
        index: u64,
        stream: StreamId,
        expected: u64,
        found: u64,
    },
    /// `prev` is not the hash of the event before.
    #[error(
        "entry {index}: event {seq} of stream {stream}: `prev` is not the hash of the event before it"
    )]
    Chain {
        index: u64,
        stream: StreamId,
        seq: u64,
    },
    /// An event's signature does not verify.
    #[error("entry {index}: event {seq} of stream {stream}: the signature does not verify")]
    Signature {
        index: u64,
        stream: StreamId,
        seq: u64,
    },
    /// An event follows the one with which its stream closed itself.
    #[error("entry {index}: event {seq} of stream {stream} follows the event that closed it")]
    AfterClose {
        index: u64,
        stream: StreamId,
        seq: u64,
    },
    /// A seal says something else than the leaves before it.
    #[error("entry {index}: the seal's {field} differs from the leaves that it covers")]
    Seal { index: u64, field: &'static str },
    /// Entries that no seal covers.
    #[error("entries from {from} on: no seal covers them")]
    Unsealed { from: u64 },
}

/// What was not there, which accuses nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Path of a tile or bundle, or `registration of stream …`.
    pub what: String,
    /// Why, as the source says.
    pub reason: String,
}

impl LogFault {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TileUnreadable { .. } => "audit.tile_unreadable",
            Self::TileHash { .. } | Self::TileSwapped { .. } => "audit.tile_differs",
            Self::Entry { .. } => "audit.entry_differs",
            Self::Root { .. } => "audit.root_differs",
            Self::Unreadable { .. } => "audit.entry_unreadable",
            Self::Registration { .. } => "audit.registration_unknown",
            Self::UnknownStream { .. } => "audit.stream_unknown",
            Self::OutOfOrder { .. } => "audit.event_out_of_order",
            Self::Chain { .. } => "audit.chain_broken",
            Self::Signature { .. } => "audit.event_signature_invalid",
            Self::AfterClose { .. } => "audit.event_after_close",
            Self::Seal { .. } => "audit.seal_differs",
            Self::Unsealed { .. } => "audit.entries_unsealed",
        }
    }
}
