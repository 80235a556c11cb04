//! The entries between two seals.

use super::LogFault;
use crate::seal::EventRun;
use crate::stream::{LeafHash, StreamId};

/// The entries since the last seal.
pub(super) struct Block {
    pub(super) size: u64,
    pub(super) root: LeafHash,
    /// False where an entry was not there: the seal cannot be held against the rest.
    pub(super) whole: bool,
    pub(super) sealed: bool,
    pub(super) runs: Vec<EventRun>,
    pub(super) gaps: Vec<Gap>,
}

pub(super) struct Gap {
    pub(super) index: u64,
    pub(super) stream: StreamId,
    pub(super) expected: u64,
    pub(super) found: u64,
}

impl From<&Gap> for LogFault {
    fn from(gap: &Gap) -> Self {
        Self::OutOfOrder {
            index: gap.index,
            stream: gap.stream,
            expected: gap.expected,
            found: gap.found,
        }
    }
}

impl Block {
    pub(super) fn starting_at(size: u64, root: [u8; 32]) -> Self {
        Self {
            size,
            root: LeafHash(root),
            whole: true,
            sealed: false,
            runs: Vec::new(),
            gaps: Vec::new(),
        }
    }
}
