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
//! After a crash between any two steps the lock says how it goes on: what it holds and is not published is carried out
//! from its staged record, which [`StagedSeal::open`] holds against the signed checkpoint. Two sealers never both pass
//! step 3.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crate::checkpoint::{Checkpoint, OriginError, check_origin};
use crate::note::{ParseNoteError, SignedNote};
use crate::stream::{LeafHash, PublicKey, Record, SignedRegistration, StreamId};
use crate::tiles::TileId;

mod edge;
mod finding;
pub(crate) mod leaf;
mod look;
mod run;
mod stage;
mod stream_state;
mod turn;

pub use edge::{EntryTooLong, LogEdge, ReadEdgeError};
pub use finding::{Exact, Finding, FindingKind};
pub use leaf::{EventRun, MAX_FINDINGS, MAX_RUNS, ParseSealError, SealFormat, SealLeaf};
pub use stage::{LeafRange, ParseStageError, StageError, StagedSeal};
pub use stream_state::{SealedStream, Standing, StreamEnd};

use look::look;
use run::Run;
use turn::{Turn, shares};

/// What a sealer is told.
#[derive(Debug, Clone)]
pub struct SealRules<'a> {
    /// Whose signature makes a registration right: (key id, raw Ed25519 public key).
    pub trusted: &'a [(String, PublicKey)],
    /// Ids of those keys that people's commands have: each vouches for streams whose host begins with
    /// [`COMMAND_HOST`](crate::stream::COMMAND_HOST), and for no others.
    pub commands_only: &'a [String],
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
    /// Roots of the perfect subtrees of the leaves whose tiles stay as they were, from left to right: with the new tiles
    /// they give both roots.
    pub kept: Vec<LeafHash>,
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

/// Plans a run. `pages` stand in ascending order of their streams, and so do the leaves of a block; a fault in one stream
/// never keeps another one's records out.
///
/// Where not all records fit, each stream gets the same share of the run, and what small ones leave of theirs goes to
/// the others: no stream starves another. Where there are more streams than leaves, those come first whose last leaf is
/// the oldest (the smallest [`SealedStream::tree_size`]; one that was never sealed has 0).
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
    plan_seal_on(NonZeroUsize::MIN, origin, edge, pages, rules, now_us)
}

/// Plans the same run as [`plan_seal`], and looks at the records on up to `threads` threads, the caller's among them.
///
/// # Errors
/// As [`plan_seal`].
pub fn plan_seal_on(
    threads: NonZeroUsize,
    origin: &str,
    edge: LogEdge,
    pages: Vec<StreamPage>,
    rules: &SealRules<'_>,
    now_us: u64,
) -> Result<SealPlan, PlanSealError> {
    check_origin(origin)?;
    let mut turns = Vec::with_capacity(pages.len());
    let mut last = None;
    for page in pages {
        if last >= Some(page.stream) {
            return Err(PlanSealError::PageOrder(page.stream));
        }
        last = Some(page.stream);
        turns.push(Turn::of(page, rules, now_us)?);
    }
    let room = rules.max_leaves.max(4);
    let mut run = Run::new(origin, edge, room, now_us);
    let shares = shares(&turns, room);
    let looked = look(&turns, &shares, threads);
    for ((turn, share), looked) in turns.into_iter().zip(shares).zip(looked) {
        run.take(turn, share, looked)?;
    }
    run.finish()
}
