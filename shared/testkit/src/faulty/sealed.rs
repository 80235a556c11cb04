//! The ports of the sealed log's index, played by [`Faulty`].

use async_trait::async_trait;
use audit::StreamId;
use audit::seal::{LeafRange, SealedStream};
use domain::ports::{IndexPosition, SealIndexReader, SealIndexWriter, StageRemover};
use domain::{LogPath, StoreError};

use super::Faulty;

#[async_trait]
impl<P: SealIndexReader + ?Sized> SealIndexReader for Faulty<P> {
    async fn state(&self, stream: StreamId) -> Result<Option<SealedStream>, StoreError> {
        self.play("SealIndexReader::state", self.inner.state(stream))
            .await
    }

    async fn leaf_index(&self, stream: StreamId, seq: u64) -> Result<Option<u64>, StoreError> {
        let work = self.inner.leaf_index(stream, seq);
        self.play("SealIndexReader::leaf_index", work).await
    }

    async fn open_streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<SealedStream>, StoreError> {
        let work = self.inner.open_streams(after, limit);
        self.play("SealIndexReader::open_streams", work).await
    }

    async fn position(&self) -> Result<IndexPosition, StoreError> {
        self.play("SealIndexReader::position", self.inner.position())
            .await
    }
}

#[async_trait]
impl<P: SealIndexWriter + ?Sized> SealIndexWriter for Faulty<P> {
    async fn put(&self, streams: &[SealedStream], ranges: &[LeafRange]) -> Result<(), StoreError> {
        let work = self.inner.put(streams, ranges);
        self.play("SealIndexWriter::put", work).await
    }

    async fn advance(&self, position: IndexPosition) -> Result<(), StoreError> {
        let work = self.inner.advance(position);
        self.play("SealIndexWriter::advance", work).await
    }
}

#[async_trait]
impl<P: StageRemover + ?Sized> StageRemover for Faulty<P> {
    async fn remove(&self, path: &LogPath) -> Result<(), StoreError> {
        self.play("StageRemover::remove", self.inner.remove(path))
            .await
    }
}
