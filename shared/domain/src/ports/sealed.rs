use async_trait::async_trait;
use audit::StreamId;
use audit::seal::{LeafRange, SealedStream, Standing};

use super::StoreError;
use crate::ids::LogPath;

/// How far the index of the sealed log is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexPosition {
    /// Leaves of the log whose states and ranges the index holds, all of them.
    pub tree_size: u64,
    /// Every stream that was registered before this time was looked for by the sealer, in microseconds since 1970.
    pub listed_until_us: u64,
}

/// Knows where the events of each stream stand in the sealed log.
///
/// MUST include every write of [`SealIndexWriter`] that was acknowledged before the call.
#[async_trait]
pub trait SealIndexReader: Send + Sync {
    /// How far the stream is sealed; `None` where the sealer never saw it.
    async fn state(&self, stream: StreamId) -> Result<Option<SealedStream>, StoreError>;

    /// Where in the log the event `seq` of the stream stands; `None` where it is not sealed.
    async fn leaf_index(&self, stream: StreamId, seq: u64) -> Result<Option<u64>, StoreError>;

    /// The states for which [`expects_events`] says yes, in ascending order of their streams, after `after`, at most
    /// `limit`.
    async fn open_streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<SealedStream>, StoreError>;

    /// How far the index is; all zero before the first [`SealIndexWriter::advance`].
    async fn position(&self) -> Result<IndexPosition, StoreError>;
}

/// Remembers where the events of each stream stand in the sealed log.
#[async_trait]
pub trait SealIndexWriter: Send + Sync {
    /// Keeps states, each in the place of the stream's older one, and ranges.
    ///
    /// MUST NOT replace a state by one of a smaller `tree_size`; that MUST be a success and change nothing of the
    /// stream's state. The same states and ranges again MUST be a success, and list again as open what
    /// [`SealIndexReader::open_streams`] should give and somebody took out of its list. A range where another one begins MUST be
    /// [`StoreError::Conflict`], and that one stay. After an error some of it may be kept: the caller puts the same
    /// again.
    async fn put(&self, streams: &[SealedStream], ranges: &[LeafRange]) -> Result<(), StoreError>;

    /// Says how far the index is.
    ///
    /// A position of a smaller `tree_size`, or of the same and a smaller `listed_until_us`, than the one that is kept
    /// MUST be a success and change nothing.
    async fn advance(&self, position: IndexPosition) -> Result<(), StoreError>;
}

/// Whether the sealer looks for the stream's next events in every run: it is registered, and nothing ended it.
pub fn expects_events(stream: &SealedStream) -> bool {
    stream.end.is_none() && matches!(stream.standing, Standing::Registered { .. })
}

/// Removes staged records, which are objects of the log below `stage/`: [`LogWriter::create`](super::LogWriter::create)
/// stores and [`LogReader::read`](super::LogReader::read) reads them.
#[async_trait]
pub trait StageRemover: Send + Sync {
    /// Removes a staged record that is carried out. Where the store lets such objects expire, an adapter MAY leave it.
    ///
    /// MUST be [`StoreError::Denied`] for a path that does not begin with `stage/`, a success where there is none.
    async fn remove(&self, path: &LogPath) -> Result<(), StoreError>;
}
