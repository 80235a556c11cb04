//! Stores that are gone as long as a file says so: what a test does to a function that runs as a process of its own.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use audit::{Record, SignedRegistration};
use domain::StoreError;
use domain::ports::{AuditAppender, SpillWriter};
use domain::spill::SpillItem;
use futures::future::{BoxFuture, FutureExt, ready};

/// A store that refuses everything while the file exists.
pub struct Gone<S: ?Sized> {
    inner: Arc<S>,
    file: PathBuf,
}

impl<S: ?Sized> Gone<S> {
    /// `inner`, which is gone while `file` exists.
    pub fn while_exists(file: PathBuf, inner: Arc<S>) -> Self {
        Self { inner, file }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.file.exists() {
            return Err(StoreError::Unavailable(format!(
                "{} says so",
                self.file.display()
            )));
        }
        Ok(())
    }
}

#[async_trait]
impl<S: AuditAppender + ?Sized> AuditAppender for Gone<S> {
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError> {
        self.check()?;
        self.inner.register(registration).await
    }

    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        match self.check() {
            Ok(()) => self.inner.append(records),
            Err(error) => ready(Err(error)).boxed(),
        }
    }
}

#[async_trait]
impl<S: SpillWriter + ?Sized> SpillWriter for Gone<S> {
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError> {
        self.check()?;
        self.inner.put(item).await
    }
}
