//! A run of the sealer: leaves, blocks and seals.

use std::collections::BTreeMap;

use super::leaf::{count_event, count_registration};
use super::look::Looked;
use super::stream_state::Choice;
use super::turn::{Turn, Way};
use super::{
    EntryTooLong, EventRun, Finding, FindingKind, LeafRange, LogEdge, MAX_FINDINGS, MAX_RUNS,
    PlanSealError, SealFormat, SealLeaf, SealPlan, SealedStream, Standing, StreamEnd,
};
use crate::canonical::leaf_hash;
use crate::checkpoint::Checkpoint;
use crate::note::SignedNote;
use crate::stream::{LeafHash, Record, StreamId, rfc3339};
use crate::tiles::{NO_SIGNATURE, TileId};

/// The leaves since the last seal.
#[derive(Debug)]
struct Block {
    previous_size: u64,
    previous_root: LeafHash,
    runs: Vec<EventRun>,
    findings: Vec<Finding>,
    idle: Vec<StreamId>,
}

impl Block {
    fn starting_at(head: &Checkpoint) -> Self {
        Self {
            previous_size: head.size,
            previous_root: LeafHash(head.root),
            runs: Vec::new(),
            findings: Vec::new(),
            idle: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        // One record can bring two findings, and with a gap a run of its own.
        self.findings.len() + 2 > MAX_FINDINGS
            || self.runs.len() == MAX_RUNS
            || self.idle.len() == MAX_RUNS
    }
}

/// A run while its leaves are taken.
pub(super) struct Run<'a> {
    origin: &'a str,
    now_us: u64,
    room: u64,
    older: Checkpoint,
    edge: LogEdge,
    block: Block,
    tiles: BTreeMap<TileId, Vec<u8>>,
    ranges: Vec<LeafRange>,
    streams: Vec<SealedStream>,
    findings: Vec<Finding>,
    waiting: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(origin: &'a str, edge: LogEdge, room: u64, now_us: u64) -> Self {
        let older = edge.checkpoint(origin);
        Self {
            origin,
            now_us,
            room,
            block: Block::starting_at(&older),
            older,
            edge,
            tiles: BTreeMap::new(),
            ranges: Vec::new(),
            streams: Vec::new(),
            findings: Vec::new(),
            waiting: 0,
        }
    }

    /// Takes at most `share` leaves of a stream, of whose records the first ones were looked at.
    pub(super) fn take(
        &mut self,
        turn: Turn,
        share: u64,
        looked: Vec<Looked>,
    ) -> Result<(), PlanSealError> {
        let Turn {
            page, way, need, ..
        } = turn;
        if need > 0 && (share == 0 || !self.has_room()?) {
            self.waiting += page.records.len().max(1) as u64;
            return Ok(());
        }
        let mut state = match way {
            Way::Wait => return Ok(()),
            Way::Refuse(reason) => {
                let kind = FindingKind::UnknownRegistration;
                self.report([Finding::of_stream(page.stream, kind, &reason)]);
                self.streams.push(self.unsealed(page.stream));
                return Ok(());
            }
            Way::Register(signed, public_key, _) => {
                let state = SealedStream {
                    head: Some(LeafHash(leaf_hash(&signed.registration))),
                    standing: Standing::Registered {
                        index: self.edge.size(),
                        public_key,
                    },
                    ..self.unsealed(page.stream)
                };
                count_registration(&mut self.block.runs, page.stream);
                self.append(signed.registration, signed.signature)?;
                state
            }
            Way::Close(known) => {
                self.block.idle.push(page.stream);
                let end = Some(StreamEnd::Idle);
                SealedStream { end, ..known }
            }
            Way::Continue(known, _) => known,
        };
        let mut records = page.records.into_iter();
        let mut looked = looked.into_iter();
        while records.len() > 0 {
            let next = if self.has_room()? {
                looked.next()
            } else {
                None
            };
            let Some((looked, record)) = next.and_then(|next| Some((next, records.next()?))) else {
                self.waiting += records.len() as u64;
                break;
            };
            match state.choose(looked, &record, self.now_us) {
                Choice::Seal(findings) => {
                    self.report(findings);
                    self.append_event(page.stream, record)?;
                }
                Choice::LeaveOut(finding) => self.report(finding),
            }
        }
        if page.known.as_ref() != Some(&state) {
            self.streams.push(state);
        }
        Ok(())
    }

    /// The state of a stream of which nothing is sealed.
    fn unsealed(&self, stream: StreamId) -> SealedStream {
        SealedStream {
            end: None,
            head: None,
            last_sealed_us: self.now_us,
            next_seq: 0,
            reported_through: None,
            standing: Standing::Refused,
            stream,
            tree_size: 0,
        }
    }

    /// Whether another leaf fits into the run, beside the seals that it needs. Ends the block where that is full.
    fn has_room(&mut self) -> Result<bool, PlanSealError> {
        if self.block.is_full() && self.room > 2 {
            self.seal_block()?;
        }
        Ok(self.room > 1 && !self.block.is_full())
    }

    fn report(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.block.findings.push(finding.clone());
            self.findings.push(finding);
        }
    }

    fn append_event(&mut self, stream: StreamId, record: Record) -> Result<(), EntryTooLong> {
        let seq = record.seq;
        let index = self.edge.size();
        count_event(&mut self.block.runs, stream, seq);
        match self.ranges.last_mut() {
            Some(range) if range.stream == stream && range.follows(seq, index) => range.count += 1,
            _ => self.ranges.push(LeafRange {
                count: 1,
                index,
                seq_lo: seq,
                stream,
            }),
        }
        self.append(record.entry, record.signature)
    }

    fn append(&mut self, entry: Vec<u8>, signature: [u8; 64]) -> Result<(), EntryTooLong> {
        self.room = self.room.saturating_sub(1);
        self.edge.append(entry, signature, &mut self.tiles)
    }

    fn seal_block(&mut self) -> Result<(), PlanSealError> {
        let block = &mut self.block;
        let seal = SealLeaf {
            findings: std::mem::take(&mut block.findings),
            format: SealFormat::V1,
            idle: std::mem::take(&mut block.idle),
            origin: self.origin.to_owned(),
            previous_root: block.previous_root,
            previous_size: block.previous_size,
            runs: std::mem::take(&mut block.runs),
            time: rfc3339(self.now_us),
        };
        self.append(seal.to_bytes()?, NO_SIGNATURE)?;
        self.block = Block::starting_at(&self.edge.checkpoint(self.origin));
        Ok(())
    }

    /// Seals what is taken.
    pub(super) fn finish(mut self) -> Result<SealPlan, PlanSealError> {
        self.seal_block()?;
        self.edge.write_partials(self.older.size, &mut self.tiles)?;
        let newer = self.edge.checkpoint(self.origin);
        for state in &mut self.streams {
            state.tree_size = newer.size;
        }
        let text = SignedNote::new(newer.to_string())?;
        Ok(SealPlan {
            older: self.older.clone(),
            newer,
            tiles: self.tiles,
            ranges: self.ranges,
            streams: self.streams,
            kept: self.edge.kept(self.older.size),
            findings: self.findings,
            edge: self.edge,
            waiting: self.waiting,
            text,
        })
    }
}
