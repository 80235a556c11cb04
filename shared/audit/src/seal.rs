//! Sealing: streams into leaves of one log.
//!
//! [`plan_seal`] decides, from the end of the log, the streams' states and their next records, what is appended, and
//! makes everything that a store has to write. It reads and writes nothing itself, and the same arguments give the same
//! plan. What is done with a plan, in this order:
//!
//! 1. sign [`SealPlan::text`], and [`SealPlan::stage`] it;
//! 2. store the staged record's bytes, whole;
//! 3. replace the log's checkpoint in the lock, if it still is the one that the plan began with;
//! 4. write the tiles, none of which may exist with other bytes, the ranges, and the streams' states, none of which
//!    may take the place of one of a larger tree ([`SealedStream::tree_size`]): this may be the end of a run that died,
//!    and a later one may have written already;
//! 5. publish the checkpoint, if the published one is not of a larger tree, and only then delete the staged record.
//!
//! After a crash between any two steps [`StagedSeal::next_step`] says from the staged record and the lock alone how it
//! goes on. Two sealers never both pass step 3.

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, OriginError, check_origin};
use crate::note::{ParseNoteError, SignedNote};
use crate::stream::{
    LeafHash, MAX_ENTRY_BYTES, PublicKey, Record, SignedRegistration, StreamId, rfc3339,
};
use crate::tiles::{NO_SIGNATURE, TileId};
use crate::verify::open_registration;
use ed25519_dalek::VerifyingKey;

mod edge;
mod finding;
pub(crate) mod leaf;
mod stage;
mod stream_state;

pub use edge::{EntryTooLong, LogEdge, ReadEdgeError};
pub use finding::{Exact, Finding, FindingKind};
pub use leaf::{EventRun, MAX_FINDINGS, MAX_RUNS, ParseSealError, SealFormat, SealLeaf};
pub use stage::{LeafRange, ParseStageError, StageError, StagedSeal, Step};
pub use stream_state::{SealedStream, Standing, StreamEnd};

use leaf::{count_event, count_registration};
use stream_state::Choice;

/// What a sealer is told.
#[derive(Debug, Clone)]
pub struct SealRules<'a> {
    /// Whose signature makes a registration right: (key id, raw Ed25519 public key).
    pub trusted: &'a [(String, PublicKey)],
    /// A stream is closed where nothing came for longer than this, in microseconds.
    pub idle_after_us: u64,
    /// Most leaves of one run, its seals included; what is left waits for the next run. At least 4 are taken.
    pub max_leaves: u64,
}

/// A stream's part in a run: its state, and its next records.
#[derive(Debug, Clone)]
pub struct StreamPage {
    /// The stream.
    pub stream: StreamId,
    /// How far it is sealed; none where it never was.
    pub known: Option<SealedStream>,
    /// Its registration; needed until it is sealed.
    pub registration: Option<SignedRegistration>,
    /// Its records from `known.next_seq` on, by position. None where there are no new ones: the stream may be idle.
    pub records: Vec<Record>,
}

/// Why nothing can be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanSealError {
    /// The pages do not stand in the order of their streams, each once.
    #[error("the page of stream {0} does not stand in the order of the streams")]
    PageOrder(StreamId),
    /// A stream's state is another stream's, or its key is none.
    #[error("the state of stream {0} is not its own")]
    State(StreamId),
    /// The origin makes no checkpoint.
    #[error("the origin makes no checkpoint: {0}")]
    Origin(#[from] OriginError),
    /// The new checkpoint is no note, which none is.
    #[error("the new checkpoint is no note: {0}")]
    Note(#[from] ParseNoteError),
    /// A seal does not fit into a log, which every one does.
    #[error(transparent)]
    Seal(#[from] EntryTooLong),
    /// A seal has no canonical form, which none has.
    #[error(transparent)]
    Encode(#[from] ParseSealError),
}

/// What a run appends, and everything that has to be written for it.
#[derive(Debug, Clone)]
pub struct SealPlan {
    /// Head of the log that the plan continues.
    pub older: Checkpoint,
    /// Head of the log that the plan makes.
    pub newer: Checkpoint,
    /// New tiles, none of which the log had.
    pub tiles: BTreeMap<TileId, Vec<u8>>,
    /// Where the new events stand, in the order of the log.
    pub ranges: Vec<LeafRange>,
    /// The states of all streams that changed.
    pub streams: Vec<SealedStream>,
    /// What was wrong.
    pub findings: Vec<Finding>,
    /// The end of the log after the plan.
    pub edge: LogEdge,
    /// Records, or whole pages, that had to wait because the run was full.
    pub waiting: u64,
    text: SignedNote,
}

impl SealPlan {
    /// True where the run only says that nothing happened. Whether that is worth a leaf is for the caller to decide.
    pub fn is_idle(&self) -> bool {
        self.newer.size - self.older.size == 1
            && self.findings.is_empty()
            && self.streams.is_empty()
    }

    /// The text of the new checkpoint: what is to be signed.
    pub fn text(&self) -> &str {
        self.text.text()
    }

    /// The new checkpoint without signatures, to which [`SignedNote::add`] adds them.
    pub fn unsigned(&self) -> SignedNote {
        self.text.clone()
    }
}

/// Plans a run. `pages` stand in ascending order of their streams; a fault in one stream never keeps another one's
/// records out.
///
/// # Errors
/// [`PlanSealError`] where the arguments do not fit each other; what is wrong in a stream is a [`Finding`].
pub fn plan_seal(
    origin: &str,
    edge: LogEdge,
    pages: Vec<StreamPage>,
    rules: &SealRules<'_>,
    now_us: u64,
) -> Result<SealPlan, PlanSealError> {
    check_origin(origin)?;
    let older = edge.checkpoint(origin);
    let mut run = Run {
        origin,
        now_us,
        room: rules.max_leaves.max(4),
        block: Block::starting_at(&older),
        older,
        edge,
        tiles: BTreeMap::new(),
        ranges: Vec::new(),
        streams: Vec::new(),
        findings: Vec::new(),
        waiting: 0,
    };
    let mut last = None;
    for page in pages {
        if last >= Some(page.stream) {
            return Err(PlanSealError::PageOrder(page.stream));
        }
        last = Some(page.stream);
        run.take(page, rules)?;
    }
    run.finish()
}

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

struct Run<'a> {
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

impl Run<'_> {
    fn take(&mut self, page: StreamPage, rules: &SealRules<'_>) -> Result<(), PlanSealError> {
        let before = page.known.clone();
        if before
            .as_ref()
            .is_some_and(|known| known.stream != page.stream)
        {
            return Err(PlanSealError::State(page.stream));
        }
        if !self.has_room()? {
            self.waiting += page.records.len().max(1) as u64;
            return Ok(());
        }
        let standing = before.as_ref().map(|known| known.standing);
        let (mut state, key) = match (before.clone(), standing) {
            (Some(known), Some(Standing::Registered { public_key, .. })) => {
                let key = VerifyingKey::from_bytes(&public_key.0)
                    .map_err(|_| PlanSealError::State(page.stream))?;
                (known, key)
            }
            (refused, _) => {
                let Some(registered) = self.register(&page, rules, refused.is_some())? else {
                    return Ok(());
                };
                registered
            }
        };
        if page.records.is_empty() {
            let silent_us = self.now_us.saturating_sub(state.last_sealed_us);
            if state.end.is_none() && silent_us > rules.idle_after_us {
                state.end = Some(StreamEnd::Idle);
                self.block.idle.push(state.stream);
            }
        }
        let mut records = page.records.into_iter();
        while records.len() > 0 {
            if !self.has_room()? {
                self.waiting += records.len() as u64;
                break;
            }
            let Some(record) = records.next() else { break };
            match state.choose(&key, &record, self.now_us) {
                Choice::Seal(findings) => {
                    self.report(findings);
                    self.append_event(record)?;
                }
                Choice::LeaveOut(finding) => self.report(finding),
            }
        }
        if before.as_ref() != Some(&state) {
            self.streams.push(state);
        }
        Ok(())
    }

    /// Seals a stream's registration, or reports once that there is no right one.
    fn register(
        &mut self,
        page: &StreamPage,
        rules: &SealRules<'_>,
        reported: bool,
    ) -> Result<Option<(SealedStream, VerifyingKey)>, PlanSealError> {
        let refusal = match &page.registration {
            None => "no registration vouches for the stream".to_owned(),
            Some(signed) if signed.registration.len() > MAX_ENTRY_BYTES => {
                format!("the registration is longer than {MAX_ENTRY_BYTES} bytes")
            }
            Some(signed) => match open_registration(signed, rules.trusted) {
                Ok((registration, key)) if registration.stream == page.stream => {
                    let leaf = LeafHash(crate::canonical::leaf_hash(&signed.registration));
                    let state = SealedStream {
                        end: None,
                        head: Some(leaf),
                        last_sealed_us: self.now_us,
                        next_seq: 0,
                        reported_through: None,
                        standing: Standing::Registered {
                            index: self.edge.size(),
                            public_key: registration.public_key,
                        },
                        stream: page.stream,
                        tree_size: 0,
                    };
                    count_registration(&mut self.block.runs, page.stream);
                    self.append(signed.registration.clone(), signed.signature)?;
                    return Ok(Some((state, key)));
                }
                Ok((registration, _)) => {
                    format!("the registration is that of stream {}", registration.stream)
                }
                Err(fault) => fault.to_string(),
            },
        };
        if !reported {
            let kind = FindingKind::UnknownRegistration;
            self.report([Finding::of_stream(page.stream, kind, &refusal)]);
            self.streams.push(SealedStream {
                end: None,
                head: None,
                last_sealed_us: self.now_us,
                next_seq: 0,
                reported_through: None,
                standing: Standing::Refused,
                stream: page.stream,
                tree_size: 0,
            });
        }
        Ok(None)
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

    fn append_event(&mut self, record: Record) -> Result<(), EntryTooLong> {
        let (stream, seq) = (record.stream, record.seq);
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

    fn finish(mut self) -> Result<SealPlan, PlanSealError> {
        self.seal_block()?;
        self.edge.write_partials(self.older.size, &mut self.tiles)?;
        let newer = self.edge.checkpoint(self.origin);
        for state in &mut self.streams {
            state.tree_size = newer.size;
        }
        let text = SignedNote::new(newer.to_string())?;
        Ok(SealPlan {
            older: self.older,
            newer,
            tiles: self.tiles,
            ranges: self.ranges,
            streams: self.streams,
            findings: self.findings,
            edge: self.edge,
            waiting: self.waiting,
            text,
        })
    }
}
