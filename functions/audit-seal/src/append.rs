//! Writes what was planned, in the order that a crash cannot harm.

use audit::checkpoint::{CheckGrowthError, Checkpoint};
use audit::seal::{SealPlan, StagedSeal};
use domain::ports::IndexPosition;
use domain::{LogPath, StoreError};
use futures::future::join_all;

use crate::error::SealError;
use crate::head::{Head, stage_path};
use crate::sealer::{Keys, Sealer};
use crate::tiles::path_of;

/// Tiles that are written at once.
const AT_ONCE: usize = 32;

/// Whether a plan became the log's next part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    Yes,
    Overtaken,
}

impl Sealer {
    /// Signs, stages, commits, carries out and publishes a plan that continues `head`, and moves `head` on.
    pub(crate) async fn append(
        &self,
        keys: &Keys,
        head: &mut Head,
        plan: SealPlan,
    ) -> Result<Appended, SealError> {
        let sign = self.ports.signer.sign(plan.text().as_bytes()).await;
        let signature = sign.map_err(SealError::store("sign a checkpoint"))?;
        let mut note = plan.unsigned();
        note.add(&keys.own, signature)
            .map_err(|_| SealError::Signature)?;
        let edge = plan.edge.clone();
        let staged = plan.stage(note)?;
        let note = staged.note.to_string().into_bytes();
        let path = stage_path(staged.newer.size, &note)?;
        self.stage(&path, &staged).await?;
        if self.commit(head, &note).await? == Appended::Overtaken {
            // Never committed, and never will be: the lock has moved on.
            self.unstage(&staged.newer, &note).await;
            return Ok(Appended::Overtaken);
        }
        head.committed = Some(note.clone());
        self.carry_out(&staged).await?;
        let published = head.published.as_deref();
        self.publish(keys, published, &staged.newer, &note).await?;
        self.unstage(&staged.newer, &note).await;
        head.published = Some(note);
        head.position.tree_size = staged.newer.size;
        head.checkpoint = staged.newer;
        head.edge = edge;
        Ok(Appended::Yes)
    }

    async fn stage(&self, path: &LogPath, staged: &StagedSeal) -> Result<(), SealError> {
        let bytes = staged.to_bytes()?;
        match self.ports.writer.create(path, &bytes).await {
            Err(StoreError::Conflict(reason)) => Err(SealError::StageInvalid {
                path: path.clone(),
                reason,
            }),
            result => result.map_err(SealError::store("stage a checkpoint")),
        }
    }

    async fn commit(&self, head: &Head, note: &[u8]) -> Result<Appended, SealError> {
        let expected = head.committed.as_deref();
        let error = match self.ports.lock.commit(expected, note).await {
            Ok(()) => return Ok(Appended::Yes),
            Err(StoreError::Conflict(_)) => return Ok(Appended::Overtaken),
            Err(error) => error,
        };
        // The reply may be lost, and the commit not.
        let found = self.committed().await?;
        if found.as_deref() == Some(note) {
            Ok(Appended::Yes)
        } else if found == head.committed {
            Err(SealError::store("commit a checkpoint")(error))
        } else {
            Ok(Appended::Overtaken)
        }
    }

    /// Writes everything of a committed run but the published checkpoint. All of it may be there already.
    pub(crate) async fn carry_out(&self, staged: &StagedSeal) -> Result<(), SealError> {
        let tiles: Vec<_> = staged.tiles.iter().collect();
        for part in tiles.chunks(AT_ONCE) {
            let writes = part.iter().map(|(tile, bytes)| async move {
                let path = path_of(**tile).map_err(SealError::store("name a tile"))?;
                match self.ports.writer.create(&path, bytes).await {
                    Err(StoreError::Conflict(reason)) => {
                        Err(SealError::TileDiffers { path, reason })
                    }
                    result => result.map_err(SealError::store("write a tile")),
                }
            });
            let written: Result<Vec<()>, SealError> = join_all(writes).await.into_iter().collect();
            written?;
        }
        let index = &self.ports.index_writer;
        match index.put(&staged.streams, &staged.ranges).await {
            Err(StoreError::Conflict(reason)) => return Err(SealError::IndexDiffers(reason)),
            result => result.map_err(SealError::store("write the index"))?,
        }
        let position = self.ports.index.position().await;
        let position = position.map_err(SealError::store("ask how far the index is"))?;
        let advance = index.advance(IndexPosition {
            tree_size: staged.newer.size,
            listed_until_us: position.listed_until_us,
        });
        advance
            .await
            .map_err(SealError::store("say how far the index is"))
    }

    /// Publishes a checkpoint that is carried out, unless another sealer has published it, or a later one.
    pub(crate) async fn publish(
        &self,
        keys: &Keys,
        expected: Option<&[u8]>,
        newer: &Checkpoint,
        note: &[u8],
    ) -> Result<(), SealError> {
        let Err(error) = self.ports.publisher.publish(expected, note).await else {
            return Ok(());
        };
        let Some(found) = self.published().await? else {
            return Err(SealError::store("publish a checkpoint")(error));
        };
        if found == note {
            return Ok(());
        }
        let shown = keys.log.open(&found).map_err(SealError::Published)?.0;
        if shown.size > newer.size {
            return Ok(());
        }
        if shown.size == newer.size && shown.root != newer.root {
            let (older, newer) = (shown.size, newer.size);
            return Err(CheckGrowthError::Forked { older, newer }.into());
        }
        Err(SealError::store("publish a checkpoint")(error))
    }

    /// Removes a staged record that nobody needs any more. One that stays does no harm.
    pub(crate) async fn unstage(&self, newer: &Checkpoint, note: &[u8]) {
        let Ok(path) = stage_path(newer.size, note) else {
            return;
        };
        if let Err(error) = self.ports.stage.remove(&path).await {
            tracing::warn!(error = %error, log.path = %path, "a staged record was not removed");
        }
    }
}
