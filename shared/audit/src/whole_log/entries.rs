//! What a log's entries say, entry by entry.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{LogFault, LogReport, MAX_FAULTS};
use crate::canonical::leaf_hash;
use crate::event::{Event, EventBody};
use crate::seal::leaf::{count_event, count_registration};
use crate::seal::{EventRun, Finding, SealLeaf};
use crate::stream::{LeafHash, PublicKey, StreamId};
use crate::tiles::NO_SIGNATURE;
use crate::tree::{Frontier, empty_root};
use crate::verify::{check_canonical, is_signed, parse_registration};

/// A stream as a log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamSummary {
    /// Who recorded, as its registration says.
    pub host: String,
    /// Index of its registration.
    pub registration: u64,
    /// Events in the log.
    pub events: u64,
    /// The position after its last event.
    pub next_seq: u64,
    /// Hash of its last event, or of the registration.
    pub head: LeafHash,
    /// True where the stream says itself that it ended.
    pub closed: bool,
}

/// Verifies the entries of a log in their order, in memory that grows with the streams and not with the events.
/// [`verify_log`](super::verify_log) feeds one from tiles.
pub struct EntryVerifier {
    trusted: Vec<PublicKey>,
    streams: BTreeMap<StreamId, StreamWalk>,
    index: u64,
    block: Block,
    report: LogReport,
}

struct StreamWalk {
    key: VerifyingKey,
    head_known: bool,
    /// Positions `from..until` that seals reported as missing or left out.
    reported: Vec<(u64, u64)>,
    summary: StreamSummary,
}

/// The entries since the last seal.
struct Block {
    size: u64,
    root: LeafHash,
    /// False where an entry was not there: the seal cannot be held against the rest.
    whole: bool,
    sealed: bool,
    runs: Vec<EventRun>,
    gaps: Vec<Gap>,
}

struct Gap {
    index: u64,
    stream: StreamId,
    expected: u64,
    found: u64,
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
    fn starting_at(size: u64, root: [u8; 32]) -> Self {
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

#[derive(Deserialize)]
struct FormatOnly<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
}

fn format_of(entry: &[u8]) -> Option<Cow<'_, str>> {
    let read: Result<FormatOnly<'_>, _> = serde_json::from_slice(entry);
    read.ok().map(|entry| entry.format)
}

impl EntryVerifier {
    /// Verifies the log of that origin; registrations must be signed by one of the trusted keys, (key id, key).
    pub fn new(origin: &str, trusted: &[(String, PublicKey)]) -> Self {
        Self {
            trusted: trusted.iter().map(|(_, key)| *key).collect(),
            streams: BTreeMap::new(),
            index: 0,
            block: Block::starting_at(0, empty_root()),
            report: LogReport::of(origin),
        }
    }

    /// Takes note of a fault.
    pub fn fault(&mut self, fault: LogFault) {
        self.report.fault_count += 1;
        if self.report.faults.len() < MAX_FAULTS {
            self.report.faults.push(fault);
        }
    }

    /// Verifies the next entry; `signature` is all zeros where there is none.
    pub fn entry(&mut self, entry: &[u8], signature: &[u8; 64]) {
        self.report.entries += 1;
        match format_of(entry).as_deref() {
            Some("sealcast.event/v1") => self.event(entry, signature),
            Some("sealcast.stream/v1") => self.registration(entry, signature),
            Some("sealcast.seal/v1") => self.seal(entry),
            Some(other) => self.unreadable(format!("unknown format {other:?}")),
            None => self.unreadable("no JSON object with a `format`".to_owned()),
        }
        self.index += 1;
    }

    /// Passes over an entry that is not there. What depends on it is not verified.
    pub fn skip(&mut self) {
        self.index += 1;
        self.block.whole = false;
    }

    /// Takes note of an entry that is not the one that was sealed.
    pub(super) fn altered(&mut self, entry: &[u8], sealed: [u8; 32]) {
        let found = match serde_json::from_slice::<Event>(entry) {
            Ok(event) => format!("event {} of stream {}", event.seq, event.stream),
            Err(_) => match format_of(entry).as_deref() {
                Some("sealcast.stream/v1") => "a registration".to_owned(),
                Some("sealcast.seal/v1") => "a seal".to_owned(),
                _ => "nothing that is known".to_owned(),
            },
        };
        self.fault(LogFault::Entry {
            index: self.index,
            sealed: LeafHash(sealed),
            found,
        });
        self.skip();
    }

    /// Tells the tree after the last entry; the block after a seal begins with it.
    pub fn grown_to(&mut self, tree: &Frontier) {
        if self.block.sealed {
            self.block = Block::starting_at(tree.size(), tree.root());
        }
    }

    /// The report; the caller knows the root, and what was not there.
    pub fn finish(mut self) -> LogReport {
        let from = self.block.size;
        if self.index > from {
            self.fault(LogFault::Unsealed { from });
        }
        let gaps = std::mem::take(&mut self.block.gaps);
        for gap in &gaps {
            self.fault(gap.into());
        }
        let streams = self.streams.into_iter();
        self.report.streams = streams.map(|(id, walk)| (id, walk.summary)).collect();
        self.report
    }

    fn unreadable(&mut self, reason: String) {
        let index = self.index;
        self.fault(LogFault::Unreadable { index, reason });
    }

    fn registration(&mut self, entry: &[u8], signature: &[u8; 64]) {
        let (registration, key) = match parse_registration(entry) {
            Ok(read) => read,
            Err(fault) => return self.unreadable(fault.to_string()),
        };
        let (index, stream) = (self.index, registration.stream);
        count_registration(&mut self.block.runs, stream);
        let refused = |reason: &str| LogFault::Registration {
            index,
            stream,
            reason: reason.to_owned(),
        };
        if *signature == NO_SIGNATURE {
            self.report.signatures_missing += 1;
        } else if self
            .trusted
            .iter()
            .any(|key| is_signed(key, entry, signature))
        {
            self.report.signatures += 1;
        } else {
            self.fault(refused("no trusted key signed it"));
        }
        if self.streams.contains_key(&stream) {
            return self.fault(refused("the stream is registered already"));
        }
        let summary = StreamSummary {
            host: registration.host,
            registration: index,
            events: 0,
            next_seq: 0,
            head: LeafHash(leaf_hash(entry)),
            closed: false,
        };
        let walk = StreamWalk {
            key,
            head_known: true,
            reported: Vec::new(),
            summary,
        };
        self.streams.insert(stream, walk);
    }

    fn event(&mut self, entry: &[u8], signature: &[u8; 64]) {
        let event: Event = match serde_json::from_slice(entry) {
            Ok(event) => event,
            Err(error) => return self.unreadable(error.to_string()),
        };
        if let Err(fault) = check_canonical(entry, &event) {
            self.unreadable(fault.to_string());
        }
        let (index, stream, seq) = (self.index, event.stream, event.seq);
        count_event(&mut self.block.runs, stream, seq);
        let Some(walk) = self.streams.get_mut(&stream) else {
            return self.fault(LogFault::UnknownStream { index, stream, seq });
        };
        let mut faults = Vec::new();
        if walk.summary.next_seq != seq {
            self.block.gaps.push(Gap {
                index,
                stream,
                expected: walk.summary.next_seq,
                found: seq,
            });
        } else if walk.head_known && event.prev != walk.summary.head {
            faults.push(LogFault::Chain { index, stream, seq });
        }
        if *signature == NO_SIGNATURE {
            self.report.signatures_missing += 1;
        } else if (walk
            .key
            .verify_strict(entry, &Signature::from_bytes(signature)))
        .is_ok()
        {
            self.report.signatures += 1;
        } else {
            faults.push(LogFault::Signature { index, stream, seq });
        }
        if walk.summary.closed {
            faults.push(LogFault::AfterClose { index, stream, seq });
        }
        walk.head_known = true;
        walk.summary.events += 1;
        walk.summary.next_seq = seq.saturating_add(1);
        walk.summary.head = LeafHash(leaf_hash(entry));
        walk.summary.closed = matches!(event.body, EventBody::ProcessStopped(_));
        for fault in faults {
            self.fault(fault);
        }
    }

    fn seal(&mut self, entry: &[u8]) {
        let index = self.index;
        self.report.seals += 1;
        self.block.sealed = true;
        let seal = match SealLeaf::parse(entry) {
            Ok(seal) => seal,
            Err(error) => return self.unreadable(error.to_string()),
        };
        let block = &self.block;
        let checks = [
            ("origin", seal.origin == self.report.origin),
            ("previous_size", seal.previous_size == block.size),
            ("previous_root", seal.previous_root == block.root),
            ("runs", !block.whole || seal.runs == block.runs),
        ];
        for (field, _) in checks.into_iter().filter(|(_, holds)| !holds) {
            self.fault(LogFault::Seal { index, field });
        }
        for finding in seal.findings {
            self.note(&finding);
            let code = finding.kind.code().to_owned();
            *self.report.reported.entry(code).or_default() += 1;
        }
        for gap in std::mem::take(&mut self.block.gaps) {
            let walk = self.streams.get(&gap.stream);
            if !walk.is_some_and(|walk| covers(&walk.reported, gap.expected, gap.found)) {
                self.fault((&gap).into());
            }
        }
    }

    /// Remembers which positions a seal says are missing or left out.
    fn note(&mut self, finding: &Finding) {
        let Some(walk) = self.streams.get_mut(&finding.stream) else {
            return;
        };
        let Some(from) = finding.seq.map(|seq| seq.0) else {
            return;
        };
        let until = finding
            .until
            .map_or(from.saturating_add(1), |until| until.0);
        let at = walk
            .reported
            .partition_point(|range| *range <= (from, until));
        walk.reported.insert(at, (from, until));
    }
}

/// Whether every position of `expected..found` is among what was reported, in ascending order.
fn covers(reported: &[(u64, u64)], expected: u64, found: u64) -> bool {
    let mut next = expected;
    for (from, until) in reported {
        if *from <= next {
            next = next.max(*until);
        }
    }
    expected < found && next >= found
}
