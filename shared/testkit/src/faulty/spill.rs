//! The ports of the spill, played by [`Faulty`].

use async_trait::async_trait;
use audit::{Record, SignedRegistration};
use domain::StoreError;
use domain::ports::{AuditRestorer, SpillReader, SpillRemover, SpillWriter};
use domain::spill::{SpillItem, SpillName};

use super::Faulty;

#[async_trait]
impl<P: SpillWriter + ?Sized> SpillWriter for Faulty<P> {
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError> {
        self.play("SpillWriter::put", self.inner.put(item)).await
    }
}

#[async_trait]
impl<P: SpillReader + ?Sized> SpillReader for Faulty<P> {
    async fn list(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.play("SpillReader::list", self.inner.list(after, limit))
            .await
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        self.play("SpillReader::read", self.inner.read(name)).await
    }

    async fn set_aside_count(&self, limit: usize) -> Result<usize, StoreError> {
        let work = self.inner.set_aside_count(limit);
        self.play("SpillReader::set_aside_count", work).await
    }
}

#[async_trait]
impl<P: SpillRemover + ?Sized> SpillRemover for Faulty<P> {
    async fn remove(&self, name: &SpillName) -> Result<(), StoreError> {
        self.play("SpillRemover::remove", self.inner.remove(name))
            .await
    }

    async fn set_aside(&self, name: &str, tag: &str) -> Result<(), StoreError> {
        let work = self.inner.set_aside(name, tag);
        self.play("SpillRemover::set_aside", work).await
    }
}

#[async_trait]
impl<P: AuditRestorer + ?Sized> AuditRestorer for Faulty<P> {
    async fn restore_registration(
        &self,
        registration: &SignedRegistration,
    ) -> Result<(), StoreError> {
        let work = self.inner.restore_registration(registration);
        self.play("AuditRestorer::restore_registration", work).await
    }

    async fn restore(&self, records: &[Record]) -> Result<(), StoreError> {
        self.play("AuditRestorer::restore", self.inner.restore(records))
            .await
    }
}
