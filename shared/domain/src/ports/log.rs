use async_trait::async_trait;

use super::StoreError;
use crate::ids::LogPath;

/// Reads the sealed log.
#[async_trait]
pub trait LogReader: Send + Sync {
    /// The object at this path, of at most `max` bytes; [`StoreError::NotFound`] where there is none,
    /// [`StoreError::Corrupt`] where it is longer.
    async fn read(&self, path: &LogPath, max: u64) -> Result<Vec<u8>, StoreError>;

    /// The newest checkpoint that was published; `None` before the first.
    ///
    /// MUST be one that [`LogPublisher::publish`] acknowledged, or was asked to publish after that.
    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Writes the objects of the sealed log, each once.
#[async_trait]
pub trait LogWriter: Send + Sync {
    /// Creates the object.
    ///
    /// MUST be [`StoreError::Conflict`] where the path holds other bytes, and change nothing; the same bytes again
    /// MUST be a success.
    async fn create(&self, path: &LogPath, bytes: &[u8]) -> Result<(), StoreError>;
}

/// Says to the world how long the log is.
#[async_trait]
pub trait LogPublisher: Send + Sync {
    /// Publishes `next` in the place of `expected` (`None`: nothing was published before).
    ///
    /// MUST be [`StoreError::Conflict`] where something else than `expected` is published, and change nothing;
    /// `next` published already MUST be a success.
    async fn publish(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError>;
}

/// The one place that decides which history of the log is true.
#[async_trait]
pub trait LogLock: Send + Sync {
    /// What was committed last; `None` before the first.
    ///
    /// MUST include every commit that was acknowledged before the call.
    async fn committed(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Commits `next` where `expected` was committed last (`None`: nothing).
    ///
    /// Of calls with the same `expected` and different `next`, at most one MUST succeed; the others MUST be
    /// [`StoreError::Conflict`] and change nothing. `next` committed already MUST be a success.
    async fn commit(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError>;
}
