use async_trait::async_trait;
use audit::{Record, SignedRegistration};

use super::StoreError;
use crate::spill::{SpillItem, SpillName};

/// Keeps what the audit log did not take, until it is replayed.
#[async_trait]
pub trait SpillWriter: Send + Sync {
    /// Makes the item durable under its name.
    ///
    /// MUST be [`StoreError::Conflict`] where the name holds other bytes, and change nothing; the same item again
    /// MUST be a success.
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError>;
}

/// Reads what is kept.
#[async_trait]
pub trait SpillReader: Send + Sync {
    /// Names in ascending order (of their bytes), after `after`, at most `limit`. MUST include every item whose put
    /// was acknowledged before the call, and what nobody spilled too: it stands in the way, and must be seen.
    /// MUST NOT include what was set aside.
    async fn list(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError>;

    /// The bytes under this name; [`StoreError::NotFound`] where there are none, [`StoreError::Corrupt`] where there
    /// are more than [`MAX_ITEM_BYTES`](crate::spill::MAX_ITEM_BYTES).
    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError>;

    /// How many objects were set aside, counted up to `limit`.
    async fn set_aside_count(&self, limit: usize) -> Result<usize, StoreError>;
}

/// Takes away what was replayed, or never can be.
#[async_trait]
pub trait SpillRemover: Send + Sync {
    /// Removes an item. One that is not there any more MUST be a success.
    async fn remove(&self, name: &SpillName) -> Result<(), StoreError>;

    /// Moves what is under this name to where nothing is replayed from, marked with `tag`; nothing is lost if it is
    /// cut short. What is not there any more MUST be a success.
    async fn set_aside(&self, name: &str, tag: &str) -> Result<(), StoreError>;
}

/// Puts records where they belong that were kept elsewhere: in streams of other processes, which appended to them
/// until the log failed.
#[async_trait]
pub trait AuditRestorer: Send + Sync {
    /// As [`AuditAppender::register`](super::AuditAppender::register).
    async fn restore_registration(
        &self,
        registration: &SignedRegistration,
    ) -> Result<(), StoreError>;

    /// Makes consecutive records of one stream durable at their positions.
    ///
    /// MUST be [`StoreError::NotFound`] where what comes before the first of them is not in the log (the record
    /// before it, for record 0 the registration), so that a stream never has a hole. A position that holds the same
    /// bytes MUST be a success, one that holds others [`StoreError::Conflict`]; after an error some of the records
    /// MAY be in the log, and then all before them are. A failure MUST NOT keep a later call from succeeding.
    async fn restore(&self, records: &[Record]) -> Result<(), StoreError>;
}
