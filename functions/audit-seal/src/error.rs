//! Why a run ended early.

use audit::checkpoint::{CheckGrowthError, OpenCheckpointError};
use audit::seal::{ParseStageError, PlanSealError, StageError};
use domain::{LogPath, StoreError};

use crate::keys::KeyError;

/// Why a run ended before it was done. What it had committed stays; the next run goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A store did not do its part.
    #[error("{doing}: {source}")]
    Store {
        /// What the sealer was doing.
        doing: &'static str,
        /// What the store said.
        source: StoreError,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log's key made a signature that does not verify.
    #[error("the log's key made a signature that does not verify")]
    Signature,
    /// What the lock holds is no checkpoint of this log.
    #[error("the lock of the log: {0}")]
    Lock(OpenCheckpointError),
    /// What is published is no checkpoint of this log.
    #[error("the published checkpoint: {0}")]
    Published(OpenCheckpointError),
    /// What is published, what is committed and what is indexed are not of one log that only grew.
    #[error(transparent)]
    Growth(#[from] CheckGrowthError),
    /// A tile that is there is not what was sealed: it was swapped, or the log was set back and has two histories.
    #[error("{path} is there with other bytes than were sealed: {reason}")]
    TileDiffers {
        /// The tile.
        path: LogPath,
        /// What the store said.
        reason: String,
    },
    /// The end of the log cannot be read, or is not what was sealed.
    #[error("the end of the log at {size} leaves ({tiles}): {reason}")]
    Edge {
        /// Leaves of the tree.
        size: u64,
        /// The tiles that it is made of.
        tiles: String,
        /// Which tile or entry, and why.
        reason: String,
    },
    /// A run was committed and not carried out, and what it has to write is gone.
    #[error("{path} is gone, and with it what the committed run of {size} leaves has to write")]
    StageMissing {
        /// Where it was.
        path: LogPath,
        /// Leaves of the committed tree.
        size: u64,
    },
    /// A staged record is not what was staged.
    #[error("{path}: {reason}")]
    StageInvalid {
        /// Where it is.
        path: LogPath,
        /// What is wrong.
        reason: String,
    },
    /// Entries of the log are not what was sealed.
    #[error("{tile}: {reason}")]
    Entries {
        /// The tile at fault.
        tile: String,
        /// Which entry, and why.
        reason: String,
    },
    /// The index holds less than the log, and time was too short to make it anew: going on would seal events twice.
    #[error(
        "the index ends at {indexed} leaves, the log at {size}: the index was set back or lost"
    )]
    IndexBehind {
        /// Leaves that the index holds.
        indexed: u64,
        /// Leaves of the log.
        size: u64,
    },
    /// The index says that an event stands elsewhere in the log.
    #[error("the index: {0}")]
    IndexDiffers(String),
    /// Nothing could be planned.
    #[error(transparent)]
    Plan(#[from] PlanSealError),
    /// The run could not be staged.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The staged record has no form, which none has.
    #[error(transparent)]
    Encode(#[from] ParseStageError),
}

impl SealError {
    pub(crate) fn store(doing: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { doing, source }
    }

    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store { .. } => "seal.store",
            Self::Key(_) => "seal.key",
            Self::Signature => "seal.signature",
            Self::Lock(_) => "audit.log_lock_invalid",
            Self::Published(_) => "audit.log_checkpoint_invalid",
            Self::Growth(error) => error.code(),
            Self::TileDiffers { .. } => "audit.log_tile_differs",
            Self::Edge { .. } => "audit.log_edge_differs",
            Self::Entries { .. } => "audit.log_entries_differ",
            Self::StageMissing { .. } => "audit.log_stage_missing",
            Self::StageInvalid { .. } => "audit.log_stage_invalid",
            Self::IndexBehind { .. } => "audit.log_index_behind",
            Self::IndexDiffers(_) | Self::Plan(PlanSealError::State(_)) => {
                "audit.log_index_differs"
            }
            Self::Plan(_) | Self::Stage(_) | Self::Encode(_) => "seal.plan",
        }
    }

    /// True where only an attack, or damage to what must never change, explains it: nothing is sealed until somebody
    /// has looked.
    pub fn is_security(&self) -> bool {
        self.code().starts_with("audit.")
    }
}
