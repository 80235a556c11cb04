//! Verification of a whole log, or of a part of it: everything that can be computed again is.
//!
//! A report keeps three things apart. A [`LogFault`] accuses: something is there and is wrong. What is [`Missing`] was
//! not given by the source, and what depends on it is not verified; it accuses nobody, since a source may be down, or
//! a copy not whole. And counters say how much of each kind was verified.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::stream::{PublicKey, SignedRegistration, StreamId};
use crate::tiles::TileReader;

mod entries;
mod fault;
mod part;
mod source;
mod walk;

pub use entries::{EntryVerifier, StreamSummary};
pub use fault::{LogFault, Missing};

use source::Source;

/// Most faults, and most missing parts, that a report names; the rest is counted.
pub const MAX_FAULTS: usize = 1000;

/// What of a log was verified, and what could not be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogReport {
    /// The log.
    pub origin: String,
    /// Leaves that the checkpoint covers.
    pub size: u64,
    /// First leaf that was to be verified; 0 for a whole log.
    pub from: u64,
    /// The leaf after the last that was to be verified; `size` for a whole log.
    pub until: u64,
    /// True where the leaves' hashes lead to the checkpoint's root.
    pub root_verified: bool,
    /// Entries whose bytes were there and are the ones that were sealed.
    pub entries: u64,
    /// Entries whose bytes were not there, or are not the ones that were sealed.
    pub entries_missing: u64,
    /// Seals among the entries.
    pub seals: u64,
    /// Registrations and events whose signature was verified.
    pub signatures: u64,
    /// Registrations and events whose signature was not there.
    pub signatures_missing: u64,
    /// Events whose signature was there, but not their stream's registration, and so no key; and registrations, where
    /// no key is trusted at all.
    pub keys_missing: u64,
    /// Events that could not be held against the event before them in their stream: that is outside of what was to be
    /// verified, or was not there.
    pub unjoined: u64,
    /// Findings that the sealer reported, by their code.
    pub reported: BTreeMap<String, u64>,
    /// The streams, by id.
    pub streams: BTreeMap<StreamId, StreamSummary>,
    /// What does not hold, with its place; at most [`MAX_FAULTS`].
    pub faults: Vec<LogFault>,
    /// All faults, the ones that are not named too.
    pub fault_count: u64,
    /// What the source did not give; at most [`MAX_FAULTS`].
    pub missing: Vec<Missing>,
    /// Everything that the source did not give.
    pub missing_count: u64,
}

impl LogReport {
    fn of(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            size: 0,
            from: 0,
            until: 0,
            root_verified: false,
            entries: 0,
            entries_missing: 0,
            seals: 0,
            signatures: 0,
            signatures_missing: 0,
            keys_missing: 0,
            unjoined: 0,
            reported: BTreeMap::new(),
            streams: BTreeMap::new(),
            faults: Vec::new(),
            fault_count: 0,
            missing: Vec::new(),
            missing_count: 0,
        }
    }

    /// True where nothing that was there is wrong. What was not there is not verified: see [`Self::is_complete`].
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    /// True where nothing is wrong and nothing was missing. Gaps that the sealer reported itself are in `reported`. Of
    /// a part of a log, events before its first ones are outside (`unjoined`): that is no lack.
    pub fn is_complete(&self) -> bool {
        self.root_verified
            && self.is_sound()
            && self.entries_missing == 0
            && self.signatures_missing == 0
            && self.keys_missing == 0
            && self.missing_count == 0
    }
}

/// Verifies a whole log of a trusted checkpoint from its tiles, in memory that grows with the streams and not with the
/// events: every entry against its hash, every tile against the hashes below it, the root, each stream's chain and
/// signatures, and what each seal says. Registrations must be signed by one of the `trusted` keys, (key id, key).
/// `progress` is told the number of leaves that are done, after each bundle.
pub fn verify_log<R: TileReader<Error: fmt::Display>>(
    checkpoint: &Checkpoint,
    trusted: &[(String, PublicKey)],
    reader: &mut R,
    progress: &mut dyn FnMut(u64),
) -> LogReport {
    let entries = EntryVerifier::new(&checkpoint.origin, trusted);
    walk::verify(Source::new(checkpoint, reader, entries), progress)
}

/// Verifies the leaves `part` of a log of a trusted checkpoint from its tiles, without reading the others: that each
/// stands in the tree of the checkpoint (by the tiles above it, up to the root), each stream's chain inside the part
/// and from its registration where that is in the part, signatures, and what each seal says whose leaves all are in the
/// part. `part` ends with the log where it reaches beyond.
///
/// Whoever knows the registrations of streams that began before the part gives them by `registrations`: only they
/// vouch for the keys, and are verified themselves. Where it gives none, the signatures of such a stream's events are
/// not verified, and the report says so (`keys_missing`). `progress` is told the number of leaves of the part that are
/// done, after each bundle.
pub fn verify_part<R: TileReader<Error: fmt::Display>>(
    checkpoint: &Checkpoint,
    part: Range<u64>,
    trusted: &[(String, PublicKey)],
    registrations: &mut dyn FnMut(StreamId) -> Option<SignedRegistration>,
    reader: &mut R,
    progress: &mut dyn FnMut(u64),
) -> LogReport {
    let entries = EntryVerifier::new(&checkpoint.origin, trusted).with_registrations(registrations);
    let source = Source::new(checkpoint, reader, entries);
    part::verify(source, part, progress)
}
