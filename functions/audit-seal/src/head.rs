//! The head of the log: what is committed, made whole where an earlier run was interrupted.

use audit::checkpoint::{CheckGrowthError, Checkpoint};
use audit::seal::{LogEdge, SealedStream, StagedSeal};
use audit::tree::empty_root;
use domain::ports::IndexPosition;
use domain::{LogPath, StoreError};
use futures::future::join_all;
use sha2::{Digest, Sha256};

use crate::error::SealError;
use crate::report::RunReport;
use crate::sealer::{Keys, Sealer};
use crate::tiles::{check_grown, read_edge};

/// Longest staged record in bytes.
const MAX_STAGE_BYTES: u64 = 1 << 30;
/// States of streams that are read at once.
const AT_ONCE: usize = 16;
/// How often the head is read again while other sealers move it.
const ATTEMPTS: usize = 4;

/// The head of the log, and what is needed to append to it.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) checkpoint: Checkpoint,
    /// What the lock holds.
    pub(crate) committed: Option<Vec<u8>>,
    /// What is published.
    pub(crate) published: Option<Vec<u8>>,
    pub(crate) edge: LogEdge,
    pub(crate) position: IndexPosition,
    /// When the last seal was made, in microseconds since 1970.
    pub(crate) sealed_us: Option<u64>,
}

/// What was found.
pub(crate) enum Opened {
    Head(Box<Head>),
    /// Other sealers move the log faster than it can be read.
    Overtaken,
}

/// Where the staged record of a checkpoint is. The lock alone says which one has to be carried out.
pub(crate) fn stage_path(size: u64, note: &[u8]) -> Result<LogPath, SealError> {
    let name = format!("stage/{size:020}-{}", hex::encode(Sha256::digest(note)));
    LogPath::parse(&name)
        .map_err(|error| StoreError::Conflict(error.to_string()))
        .map_err(SealError::store("name a staged record"))
}

impl Sealer {
    /// Reads the head of the log, and carries out what was committed and is not published yet.
    pub(crate) async fn open(
        &self,
        keys: &Keys,
        report: &mut RunReport,
    ) -> Result<Opened, SealError> {
        let empty = || Checkpoint {
            origin: self.rules.origin.clone(),
            size: 0,
            root: empty_root(),
        };
        let mut missing = None;
        for _ in 0..ATTEMPTS {
            // In this order: what is published was committed before.
            let published = self.published().await?;
            let committed = self.committed().await?;
            let shown = match &published {
                Some(note) => keys.log.open(note).map_err(SealError::Published)?.0,
                None => empty(),
            };
            let head = match &committed {
                Some(note) => keys.log.open(note).map_err(SealError::Lock)?.0,
                None => empty(),
            };
            if shown == head {
                return self.at(head, committed, published).await;
            }
            if shown.size > head.size {
                let (from, to) = (shown.size, head.size);
                return Err(CheckGrowthError::RolledBack { from, to }.into());
            }
            if shown.size == head.size {
                let (older, newer) = (shown.size, head.size);
                return Err(CheckGrowthError::Forked { older, newer }.into());
            }
            let note = committed.unwrap_or_default();
            match self.staged(keys, &head, &note).await {
                Ok(staged) => {
                    self.carry_out(&staged).await?;
                    check_grown(&*self.ports.log, &shown, &head).await?;
                    self.publish(keys, published.as_deref(), &head, &note)
                        .await?;
                    self.unstage(&head, &note).await;
                    report.recovered = true;
                }
                // Another sealer has carried it out meanwhile, or it is gone.
                Err(SealError::StageMissing { path, size }) => {
                    if missing == Some(size) {
                        return Err(SealError::StageMissing { path, size });
                    }
                    missing = Some(size);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Opened::Overtaken)
    }

    async fn at(
        &self,
        checkpoint: Checkpoint,
        committed: Option<Vec<u8>>,
        published: Option<Vec<u8>>,
    ) -> Result<Opened, SealError> {
        let (edge, sealed_us) = read_edge(&*self.ports.log, &checkpoint).await?;
        let position = self.ports.index.position().await;
        let position = position.map_err(SealError::store("ask how far the index is"))?;
        let head = Head {
            checkpoint,
            committed,
            published,
            edge,
            position,
            sealed_us,
        };
        let (indexed, size) = (position.tree_size, head.checkpoint.size);
        if indexed == size {
            return Ok(Opened::Head(Box::new(head)));
        }
        if self.has_moved(&head).await? {
            return Ok(Opened::Overtaken);
        }
        if indexed > size {
            return Err(CheckGrowthError::RolledBack {
                from: indexed,
                to: size,
            }
            .into());
        }
        // What is lost of it stands in the log.
        Ok(Opened::Head(Box::new(head)))
    }

    /// Whether the lock holds something else than when the head was read.
    pub(crate) async fn has_moved(&self, head: &Head) -> Result<bool, SealError> {
        Ok(self.committed().await? != head.committed)
    }

    pub(crate) async fn committed(&self) -> Result<Option<Vec<u8>>, SealError> {
        let committed = self.ports.lock.committed().await;
        committed.map_err(SealError::store("read the lock of the log"))
    }

    pub(crate) async fn published(&self) -> Result<Option<Vec<u8>>, SealError> {
        let published = self.ports.log.checkpoint().await;
        published.map_err(SealError::store("read the published checkpoint"))
    }

    /// The staged record of a head that is committed.
    async fn staged(
        &self,
        keys: &Keys,
        head: &Checkpoint,
        note: &[u8],
    ) -> Result<StagedSeal, SealError> {
        let path = stage_path(head.size, note)?;
        let invalid = |reason: String| SealError::StageInvalid {
            path: path.clone(),
            reason,
        };
        let bytes = match self.ports.log.read(&path, MAX_STAGE_BYTES).await {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound(_)) => {
                let size = head.size;
                return Err(SealError::StageMissing { path, size });
            }
            Err(StoreError::Corrupt(reason)) => return Err(invalid(reason)),
            Err(error) => return Err(SealError::store("read a staged record")(error)),
        };
        let staged = StagedSeal::open(&bytes, &keys.log, &keys.streams)
            .map_err(|error| invalid(error.to_string()))?;
        if staged.note.to_string().as_bytes() != note {
            return Err(invalid("it is that of another checkpoint".to_owned()));
        }
        let (edge, _) = read_edge(&*self.ports.log, &staged.older).await?;
        let checked = staged.check_beginning(&edge);
        checked.map_err(|error| invalid(error.to_string()))?;
        for states in staged.streams.chunks(AT_ONCE) {
            let known = states
                .iter()
                .map(|state| self.ports.index.state(state.stream));
            for (state, known) in states.iter().zip(join_all(known).await) {
                let known = known.map_err(SealError::store("read a stream's state"))?;
                // One of a larger tree is of another sealer, which has carried this out meanwhile.
                let other = |known: &SealedStream| {
                    known.tree_size <= state.tree_size && !state.follows(known)
                };
                if known.as_ref().is_some_and(other) {
                    let reason = format!("the state of stream {} does not go on", state.stream);
                    return Err(invalid(reason));
                }
            }
        }
        Ok(staged)
    }
}
