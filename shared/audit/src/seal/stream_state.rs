//! How far a stream is sealed, and what is chosen of its next records.

use serde::{Deserialize, Serialize};

use super::finding::{Finding, FindingKind};
use super::look::{Looked, Place};
use crate::canonical::EXACT;
use crate::stream::{LeafHash, PublicKey, Record, StreamId};
use crate::verify::StreamFault;

/// Whether something vouches for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its registration is sealed.
    Registered {
        /// Index of the registration's leaf.
        index: u64,
        /// The stream's key.
        public_key: PublicKey,
    },
    /// Its registration was missing or wrong, and that is reported. None of its records is sealed until it is right.
    Refused,
}

/// Why no event is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    /// The stream closed itself.
    Stopped,
    /// The sealer closed it: nothing came for long.
    Idle,
}

/// How far a stream is sealed. The sealer's memory of it: one row a stream, written from what is staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedStream {
    /// Why no event is expected, where none is.
    pub end: Option<StreamEnd>,
    /// Hash of the event before `next_seq`, or of the registration; none where that event is missing or was left out.
    pub head: Option<LeafHash>,
    /// When one of its leaves was last sealed, or it was first seen, in microseconds since 1970.
    pub last_sealed_us: u64,
    /// The next position to seal.
    pub next_seq: u64,
    /// The highest position beyond `next_seq` at which a faulty record is reported already.
    pub reported_through: Option<u64>,
    /// Whether something vouches for it.
    pub standing: Standing,
    /// The stream.
    pub stream: StreamId,
    /// Leaves of the tree that the run made which wrote this state: of two states the one of the larger tree is newer.
    pub tree_size: u64,
}

/// What becomes of a record.
pub(super) enum Choice {
    /// It is appended; findings may accompany it.
    Seal(Vec<Finding>),
    /// It is left out.
    LeaveOut(Option<Finding>),
}

impl SealedStream {
    /// Whether this can be a later state of the stream whose stored one is `older`, or the same: it goes on, and nobody
    /// gave it another key.
    pub fn follows(&self, older: &Self) -> bool {
        let same_key = older.standing == Standing::Refused || older.standing == self.standing;
        self.stream == older.stream
            && same_key
            && self.next_seq >= older.next_seq
            && (self.tree_size > older.tree_size || self == older)
    }

    /// Decides about the next record, and takes note of it.
    pub(super) fn choose(&mut self, looked: Looked, record: &Record, now_us: u64) -> Choice {
        let leaf = looked.leaf;
        let checked = looked.event.and_then(|place| {
            let fits = self.check_place(record, &place);
            fits.map_err(|fault| (FindingKind::from(&fault), fault.to_string()))?;
            Ok(place)
        });
        match checked {
            Ok(Place { seq, stopped, .. }) => {
                let mut findings = Vec::new();
                if seq > self.next_seq {
                    findings.push(Finding::gap(self.stream, self.next_seq, seq));
                }
                if self.end == Some(StreamEnd::Idle) {
                    let detail = "came after the stream was closed for being idle; it is sealed";
                    let kind = FindingKind::Late;
                    findings.push(Finding::at(self.stream, seq, leaf, kind, detail));
                }
                self.end = stopped.then_some(StreamEnd::Stopped);
                self.next_seq = seq + 1;
                self.head = Some(leaf);
                self.last_sealed_us = now_us;
                Choice::Seal(findings)
            }
            Err((kind, detail)) => {
                // What stands at the next position and is left out is passed by: the rest is sealed all the same.
                if record.seq == self.next_seq {
                    self.next_seq += 1;
                    self.head = None;
                } else if record.seq > self.next_seq {
                    if self.reported_through >= Some(record.seq) {
                        return Choice::LeaveOut(None);
                    }
                    self.reported_through = Some(record.seq);
                }
                let finding = Finding::at(self.stream, record.seq, leaf, kind, &detail);
                Choice::LeaveOut(Some(finding))
            }
        }
    }

    fn check_place(&self, record: &Record, place: &Place) -> Result<(), StreamFault> {
        let (expected, found) = (self.next_seq, place.seq);
        if found != record.seq || found < expected || found >= EXACT {
            return Err(StreamFault::OutOfOrder { expected, found });
        }
        if self.end == Some(StreamEnd::Stopped) {
            return Err(StreamFault::AfterClose(found));
        }
        if found == expected && self.head.is_some_and(|head| head != place.prev) {
            return Err(StreamFault::Chain(found));
        }
        Ok(())
    }
}
