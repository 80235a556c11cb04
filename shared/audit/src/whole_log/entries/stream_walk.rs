//! A stream among the entries of a log.

use ed25519_dalek::VerifyingKey;
use serde::Serialize;

use crate::seal::{Finding, FindingKind};
use crate::stream::{LeafHash, Registration};

/// A stream as a log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamSummary {
    /// Who recorded, as its registration says; none where that was not there.
    pub host: Option<String>,
    /// Index of its registration, where that was among the entries.
    pub registration: Option<u64>,
    /// Events that were there.
    pub events: u64,
    /// Position of the first of them; 0 where there are none.
    pub first_seq: u64,
    /// The position after its last event.
    pub next_seq: u64,
    /// Hash of its last event that was there, or of the registration.
    pub head: Option<LeafHash>,
    /// True where the stream says itself that it ended.
    pub closed: bool,
}

/// A stream while the log is walked through.
pub(super) struct StreamWalk {
    /// None where its registration was not there.
    pub(super) key: Option<VerifyingKey>,
    /// Hash of the event before the next, or of the registration, where that was there.
    pub(super) head: Option<LeafHash>,
    /// Entries that had been skipped when its last one came.
    pub(super) skipped: u64,
    /// Positions `from..until` that seals reported as missing or left out.
    pub(super) reported: Vec<(u64, u64)>,
    pub(super) summary: StreamSummary,
}

impl StreamWalk {
    pub(super) fn new(
        registration: Option<(Registration, VerifyingKey)>,
        next_seq: u64,
        head: Option<[u8; 32]>,
    ) -> Self {
        let (registration, key) = registration.unzip();
        let head = head.map(LeafHash);
        Self {
            key,
            head,
            skipped: 0,
            reported: Vec::new(),
            summary: StreamSummary {
                host: registration.map(|registration| registration.host),
                registration: None,
                events: 0,
                first_seq: 0,
                next_seq,
                head,
                closed: false,
            },
        }
    }

    /// Remembers which positions a seal says are missing or left out. A late event is neither.
    pub(super) fn note(&mut self, finding: &Finding) {
        let Some(from) = finding.seq.map(|seq| seq.0) else {
            return;
        };
        let until = match finding.kind {
            FindingKind::Late => return,
            FindingKind::Gap => finding.until.map_or(from, |until| until.0),
            _ => from.saturating_add(1),
        };
        let range = (from, until);
        let at = self.reported.partition_point(|other| *other <= range);
        self.reported.insert(at, range);
    }

    /// Whether seals reported every position of `expected..found`.
    pub(super) fn is_reported(&self, expected: u64, found: u64) -> bool {
        let mut next = expected;
        for (from, until) in &self.reported {
            if *from <= next {
                next = next.max(*until);
            }
        }
        expected < found && next >= found
    }

    /// Forgets what was reported of positions that the stream has passed.
    pub(super) fn forget_passed(&mut self) {
        let next = self.summary.next_seq;
        self.reported.retain(|(_, until)| *until > next);
    }
}
