//! The objects of the sealed log in S3.
//!
//! ```text
//! tile/…       hash tiles and entries: write-once, and kept as long as the law asks
//! stage/…      what a commit needs to be carried out: write-once, expires
//! checkpoint   replaced where its log grew
//! ```

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use domain::ports::{LogPublisher, LogReader, LogWriter, StageRemover};
use domain::{LogPath, StoreError};

use crate::attempt::Patience;
use crate::bucket::{Bucket, Object, Replaces};

const CHECKPOINT: &str = "checkpoint";
/// Longest checkpoint in bytes: a note with every signature that it may carry.
const MAX_CHECKPOINT_BYTES: u64 = 64 << 10;
/// Longest object in bytes: a bundle of 256 entries has at most 16 MiB, a staged commit holds many.
const MAX_OBJECT_BYTES: u64 = 1 << 30;
/// What begins so expires.
const STAGE: &str = "stage/";
/// How long what is staged stays as it is in a bucket that locks what it gets: a committed run whose tiles are not
/// written yet has nothing else. The template lets it expire a day later.
const STAGED_FOR: Duration = Duration::from_hours(30 * 24);

/// The objects of the sealed log in an S3 bucket.
#[derive(Debug)]
pub struct S3Log {
    bucket: Bucket,
    retained: Bucket,
    staged: Bucket,
}

impl S3Log {
    pub(crate) fn new(
        client: Client,
        patience: Patience,
        bucket: String,
        retention: Option<Duration>,
    ) -> Self {
        let bucket = Bucket::new(client, patience, bucket);
        let retained = match retention {
            Some(retention) => bucket.clone().retaining(retention),
            None => bucket.clone(),
        };
        let staged = bucket.clone();
        Self {
            bucket,
            retained,
            staged,
        }
    }

    /// In a bucket that locks by itself what it gets: only what is staged says how long, which is less.
    pub(crate) fn locked(client: Client, patience: Patience, bucket: String) -> Self {
        let log = Self::new(client, patience, bucket, None);
        let staged = log.bucket.clone().retaining(STAGED_FOR);
        Self { staged, ..log }
    }

    async fn published(&self) -> Result<Option<Object>, StoreError> {
        let size = MAX_CHECKPOINT_BYTES;
        match self.bucket.get(CHECKPOINT, 0, size).await {
            Ok(object) => Ok(Some(object)),
            Err(unread) => match unread.into_store() {
                StoreError::NotFound(_) => Ok(None),
                // Who may not list is not told what is missing: nothing published is no word to guess.
                error => Err(error),
            },
        }
    }
}

#[async_trait]
impl LogReader for S3Log {
    async fn read(&self, path: &LogPath, max: u64) -> Result<Vec<u8>, StoreError> {
        match self.bucket.get(path.as_str(), max, max).await {
            Ok(object) => Ok(object.bytes),
            Err(unread) if unread.is_missing() => Err(StoreError::NotFound(format!(
                "s3://{}/{path}: there is no such object, or reading it is not allowed",
                self.bucket.name
            ))),
            Err(unread) => Err(unread.into_store()),
        }
    }

    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.published().await?.map(|object| object.bytes))
    }
}

#[async_trait]
impl LogWriter for S3Log {
    async fn create(&self, path: &LogPath, bytes: &[u8]) -> Result<(), StoreError> {
        let bucket = if path.as_str().starts_with(STAGE) {
            &self.staged
        } else {
            &self.retained
        };
        bucket
            .create_same(path.as_str(), bytes, MAX_OBJECT_BYTES)
            .await
    }
}

#[async_trait]
impl LogPublisher for S3Log {
    async fn publish(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        let before = self.published().await?;
        let found = before.as_ref().map(|object| object.bytes.as_slice());
        if found == Some(next) {
            return Ok(());
        }
        let overtaken = || {
            StoreError::Conflict(format!(
                "s3://{}/{CHECKPOINT} is not what was expected",
                self.bucket.name
            ))
        };
        if found != expected {
            return Err(overtaken());
        }
        let replaces = match before {
            None => Replaces::Nothing,
            Some(object) => Replaces::Tagged(object.etag.ok_or_else(|| {
                StoreError::Corrupt(format!(
                    "s3://{}/{CHECKPOINT} has no ETag",
                    self.bucket.name
                ))
            })?),
        };
        let bytes = Bytes::copy_from_slice(next);
        let Err(failed) = self.bucket.put(CHECKPOINT, bytes, replaces).await else {
            return Ok(());
        };
        // 409: another put was under way.
        let refused = matches!(failed.status(), Some(409 | 412));
        if !refused && !failed.in_doubt {
            return Err(failed.into_store());
        }
        match self.checkpoint().await {
            Ok(Some(stored)) if stored == next => Ok(()),
            // It may have been published, and overtaken already.
            _ if failed.in_doubt => Err(StoreError::OutcomeUnknown(
                self.bucket.what("write", CHECKPOINT),
            )),
            Ok(stored) if stored.as_deref() != expected => Err(overtaken()),
            // Another put was under way, and changed nothing.
            _ => Err(StoreError::Unavailable(
                self.bucket.what("write", CHECKPOINT),
            )),
        }
    }
}

/// The bucket's lifecycle lets staged records expire: who may write the log need not be allowed to delete in it.
#[async_trait]
impl StageRemover for S3Log {
    async fn remove(&self, path: &LogPath) -> Result<(), StoreError> {
        if path.as_str().starts_with(STAGE) {
            return Ok(());
        }
        Err(StoreError::Denied(format!(
            "{path} is not removed: it does not begin with {STAGE}"
        )))
    }
}
