use async_trait::async_trait;
use audit::{Record, Registration, SignedRegistration, StreamId};
use futures::future::BoxFuture;

use super::StoreError;
use crate::lookup::{EventPage, EventQuery};

/// Reads what is registered. Who signed it is not looked at.
///
/// # Errors
/// [`StoreError::Conflict`] where it is no registration.
pub fn parse_registration(signed: &SignedRegistration) -> Result<Registration, StoreError> {
    serde_json::from_slice(&signed.registration)
        .map_err(|error| StoreError::Conflict(format!("the registration cannot be read: {error}")))
}

/// Writes audit streams.
#[async_trait]
pub trait AuditAppender: Send + Sync {
    /// Makes a new stream's registration durable; it comes before the stream's first record.
    ///
    /// MUST be [`StoreError::Conflict`] where the stream exists with another
    /// registration; the same registration again MUST be a success.
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError>;

    /// Appends records of one stream, all or none acknowledged.
    ///
    /// The call itself, not the first poll, MUST take the records' place in the
    /// queue: records of a stream become durable in the order of the calls, also
    /// where a caller drops its future. The future MUST be ready only when the
    /// records are durable, or never will be.
    /// A record whose position is taken by the same bytes MUST be a success (a
    /// lost reply, sent again), by other bytes [`StoreError::Conflict`]; a gap MUST be
    /// [`StoreError::Conflict`]. After a failed append every later append to that
    /// stream MUST fail too, so that a stream never has a hole.
    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// Reads audit streams.
#[async_trait]
pub trait AuditReader: Send + Sync {
    /// Ids of registered streams in ascending order, after `after`, at most `limit`.
    async fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError>;

    /// The hours, counted since 1970, in which streams were registered, ascending.
    async fn registration_hours(&self) -> Result<Vec<u64>, StoreError>;

    /// Ids of the streams whose registration says a time in this hour, counted since 1970; in ascending order, after
    /// `after`, at most `limit`.
    ///
    /// MUST include every registration that was acknowledged before the call. A stream whose registration says no
    /// time that can be read MUST be in hour 0.
    async fn registered_in(
        &self,
        hour: u64,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError>;

    /// The registration of a stream; [`StoreError::NotFound`] where there is none.
    async fn registration(&self, stream: StreamId) -> Result<SignedRegistration, StoreError>;

    /// Records of a stream from position `from`, in order, at most `limit`; none past the end.
    ///
    /// MUST include every record whose append was acknowledged before the call.
    /// MUST NOT give a record that could still be lost.
    async fn read(
        &self,
        stream: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;
}

/// Finds events.
#[async_trait]
pub trait AuditSearch: Send + Sync {
    /// The next page of the events that the query asks for, ascending.
    ///
    /// Paging until `next` is `None` MUST give every event once whose append was acknowledged 10 s before the first
    /// call, and no event twice, also while others are appended. A page MAY end early, also before its first event; it
    /// then MUST say where to go on, and get on with every call.
    async fn search(&self, query: &EventQuery) -> Result<EventPage, StoreError>;
}
