//! What a log's entries say, entry by entry.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ed25519_dalek::Signature;
use serde::Deserialize;

use super::{LogFault, LogReport, MAX_FAULTS, Missing};
use crate::canonical::leaf_hash;
use crate::event::{Event, EventBody};
use crate::seal::SealLeaf;
use crate::seal::leaf::{count_event, count_registration};
use crate::stream::{LeafHash, PublicKey, SignedRegistration, StreamId};
use crate::tiles::NO_SIGNATURE;
use crate::tree::{Frontier, empty_root};
use crate::verify::{check_canonical, is_signed, parse_registration};

mod block;
mod stream_walk;

pub use stream_walk::StreamSummary;

use block::{Block, Gap};
use stream_walk::StreamWalk;

/// Verifies the entries of a log in their order, in memory that grows with the streams and not with the events.
/// [`verify_log`](super::verify_log) and [`verify_part`](super::verify_part) feed one from tiles.
pub struct EntryVerifier<'r> {
    trusted: Vec<PublicKey>,
    registrations: Option<&'r mut dyn FnMut(StreamId) -> Option<SignedRegistration>>,
    streams: BTreeMap<StreamId, StreamWalk>,
    index: u64,
    /// Entries before `index` that were not verified: what is not seen may have been there.
    skipped: u64,
    last: LastEntry,
    block: Block,
    report: LogReport,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LastEntry {
    Seal,
    Other,
    /// Not there, or none.
    Unseen,
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

impl<'r> EntryVerifier<'r> {
    /// Verifies the log of that origin; registrations must be signed by one of the trusted keys, (key id, key).
    pub fn new(origin: &str, trusted: &[(String, PublicKey)]) -> Self {
        Self {
            trusted: trusted.iter().map(|(_, key)| *key).collect(),
            registrations: None,
            streams: BTreeMap::new(),
            index: 0,
            skipped: 0,
            last: LastEntry::Unseen,
            block: Block::starting_at(0, empty_root()),
            report: LogReport::of(origin),
        }
    }

    /// Asks there for the registrations of streams whose own leaf is not among the entries.
    #[must_use]
    pub fn with_registrations(
        mut self,
        registrations: &'r mut dyn FnMut(StreamId) -> Option<SignedRegistration>,
    ) -> Self {
        self.registrations = Some(registrations);
        self
    }

    /// Begins with the entry at `index`, before the first one.
    pub(super) fn begin_at(&mut self, index: u64) {
        self.index = index;
        self.report.from = index;
        self.skipped = index;
        self.block.size = index;
        self.block.whole = index == 0;
    }

    /// Takes note of a fault.
    pub fn fault(&mut self, fault: LogFault) {
        self.report.fault_count += 1;
        if self.report.faults.len() < MAX_FAULTS {
            self.report.faults.push(fault);
        }
    }

    /// Takes note of something that was not there.
    pub fn missing(&mut self, what: String, reason: String) {
        self.report.missing_count += 1;
        if self.report.missing.len() < MAX_FAULTS {
            self.report.missing.push(Missing { what, reason });
        }
    }

    /// Verifies the next entry; `signature` is all zeros where there is none.
    pub fn entry(&mut self, entry: &[u8], signature: &[u8; 64]) {
        self.report.entries += 1;
        self.last = LastEntry::Other;
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
        self.skip_many(1);
    }

    /// Passes over entries that are not there.
    pub fn skip_many(&mut self, count: u64) {
        if count > 0 {
            self.index += count;
            self.skipped += count;
            self.report.entries_missing += count;
            self.last = LastEntry::Unseen;
            self.block.whole = false;
        }
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

    /// The report at the end of the log; the caller knows the root.
    pub fn finish(mut self) -> LogReport {
        if self.last == LastEntry::Other {
            let from = self.block.size;
            self.fault(LogFault::Unsealed { from });
        }
        if self.block.whole {
            for gap in std::mem::take(&mut self.block.gaps) {
                self.fault((&gap).into());
            }
        }
        self.finish_part()
    }

    /// The report where the log goes on: a later seal may cover the last entries.
    pub(super) fn finish_part(mut self) -> LogReport {
        self.report.unjoined += self.block.gaps.len() as u64;
        self.report.until = self.index;
        let streams = self.streams.into_iter();
        self.report.streams = streams.map(|(id, walk)| (id, walk.summary)).collect();
        self.report
    }

    fn unreadable(&mut self, reason: String) {
        let index = self.index;
        self.fault(LogFault::Unreadable { index, reason });
    }

    fn is_vouched_for(&self, registration: &[u8], signature: &[u8; 64]) -> bool {
        let mut trusted = self.trusted.iter();
        trusted.any(|key| is_signed(key, registration, signature))
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
        } else if self.is_vouched_for(entry, signature) {
            self.report.signatures += 1;
        } else if self.trusted.is_empty() {
            self.report.keys_missing += 1;
        } else {
            let host = &registration.host;
            self.fault(refused(&format!(
                "no trusted key signed it; it names the host {host:?}"
            )));
        }
        if self.streams.contains_key(&stream) {
            return self.fault(refused("the stream is registered already"));
        }
        let walk = StreamWalk::new(Some((registration, key)), 0, Some(leaf_hash(entry)));
        self.streams.insert(
            stream,
            StreamWalk {
                skipped: self.skipped,
                summary: StreamSummary {
                    registration: Some(index),
                    ..walk.summary
                },
                ..walk
            },
        );
    }

    /// Takes up a stream in its middle: its registration is among the entries that are not there.
    fn take_up(&mut self, stream: StreamId, seq: u64) -> StreamWalk {
        let ask = self.registrations.as_mut();
        let given = ask.and_then(|registrations| registrations(stream));
        let checked = given.map(|signed| {
            if !self.is_vouched_for(&signed.registration, &signed.signature) {
                return Err("no trusted key signed it".to_owned());
            }
            match parse_registration(&signed.registration) {
                Ok((registration, _)) if registration.stream != stream => {
                    Err(format!("it is that of stream {}", registration.stream))
                }
                Ok(read) => Ok((read, leaf_hash(&signed.registration))),
                Err(fault) => Err(fault.to_string()),
            }
        });
        match checked {
            Some(Ok((read, leaf))) => {
                StreamWalk::new(Some(read), seq, Some(leaf).filter(|_| seq == 0))
            }
            Some(Err(reason)) => {
                self.missing(format!("registration of stream {stream}"), reason);
                StreamWalk::new(None, seq, None)
            }
            None => StreamWalk::new(None, seq, None),
        }
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
        let known = self.streams.remove(&stream);
        let mut walk = match known {
            Some(walk) => walk,
            None if self.skipped > 0 => self.take_up(stream, seq),
            None => return self.fault(LogFault::UnknownStream { index, stream, seq }),
        };
        let expected = walk.summary.next_seq;
        if seq > expected && self.skipped > walk.skipped {
            // What is missing, or a seal that says so, may be among the entries that are not there.
            self.report.unjoined += 1;
        } else if seq != expected {
            self.block.gaps.push(Gap {
                index,
                stream,
                expected,
                found: seq,
            });
        } else {
            match walk.head {
                Some(head) if head == event.prev => {}
                Some(_) => self.fault(LogFault::Chain { index, stream, seq }),
                None => self.report.unjoined += 1,
            }
        }
        if *signature == NO_SIGNATURE {
            self.report.signatures_missing += 1;
        } else if let Some(key) = &walk.key {
            let signature = Signature::from_bytes(signature);
            if key.verify_strict(entry, &signature).is_ok() {
                self.report.signatures += 1;
            } else {
                self.fault(LogFault::Signature { index, stream, seq });
            }
        } else {
            self.report.keys_missing += 1;
        }
        if walk.summary.closed {
            self.fault(LogFault::AfterClose { index, stream, seq });
        }
        walk.skipped = self.skipped;
        let leaf = LeafHash(leaf_hash(entry));
        walk.head = Some(leaf);
        let summary = &mut walk.summary;
        if summary.events == 0 {
            summary.first_seq = seq;
        }
        summary.events += 1;
        summary.next_seq = seq.saturating_add(1);
        summary.head = Some(leaf);
        summary.closed = matches!(event.body, EventBody::ProcessStopped(_));
        self.streams.insert(stream, walk);
    }

    fn seal(&mut self, entry: &[u8]) {
        let index = self.index;
        self.report.seals += 1;
        self.last = LastEntry::Seal;
        self.block.sealed = true;
        let seal = match SealLeaf::parse(entry) {
            Ok(seal) => seal,
            Err(error) => return self.unreadable(error.to_string()),
        };
        let block = &self.block;
        // Of a block that is not whole even its beginning may be unknown: a seal may be missing.
        let part = !block.whole && seal.previous_size <= index;
        let checks = [
            ("origin", seal.origin == self.report.origin),
            ("previous_size", part || seal.previous_size == block.size),
            ("previous_root", part || seal.previous_root == block.root),
            ("runs", part || seal.runs == block.runs),
        ];
        for (field, _) in checks.into_iter().filter(|(_, holds)| !holds) {
            self.fault(LogFault::Seal { index, field });
        }
        let mut found = Vec::new();
        for finding in seal.findings {
            found.push(finding.stream);
            if let Some(walk) = self.streams.get_mut(&finding.stream) {
                walk.note(&finding);
            }
            let code = finding.kind.code().to_owned();
            *self.report.reported.entry(code).or_default() += 1;
        }
        for gap in std::mem::take(&mut self.block.gaps) {
            let walk = self.streams.get(&gap.stream);
            if walk.is_some_and(|walk| walk.is_reported(gap.expected, gap.found)) {
                continue;
            }
            if gap.expected < gap.found && !self.block.whole {
                self.report.unjoined += 1;
            } else {
                self.fault((&gap).into());
            }
        }
        for stream in found {
            if let Some(walk) = self.streams.get_mut(&stream) {
                walk.forget_passed();
            }
        }
    }
}
