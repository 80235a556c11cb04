//! Audit streams in one `DynamoDB` table.
//!
//! ```text
//! pk                    sk                    holds
//! S#<stream>            <20 digits of seq>    an event: `entry`, `sig`, `kind`, what the indexes need, `ttl`
//! S#<stream>            registration          the stream's registration: `registration`, `key_id`, `sig`
//! G#<yyyymmddhh>#<n>    <stream>              that the stream was registered in that hour
//! G#                    <yyyymmddhh>#<n>      that a stream was registered in that hour with this n
//! ```
//! `n` is the first hexadecimal digit of the stream, in decimal. A row is only
//! ever put where there is none, so `dynamodb:PutItem` is all that appending needs.
//! The indexes spread what happens at one time over 16 partitions, event by event.

#[cfg(test)]
mod hot_keys;
mod reader;
mod restore;
mod rows;
mod search;
mod stream_rows;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use audit::{Record, SignedRegistration, StreamId};
use aws_sdk_dynamodb::Client;
use domain::StoreError;
use domain::ports::AuditAppender;
use futures::future::{BoxFuture, FutureExt, join, ready};
use tokio::sync::{mpsc, oneshot};

pub use self::rows::EVENTS_KEPT_S;
use self::rows::RegistrationRows;
use self::writer::{Job, Writer};
use crate::attempt::Patience;
use crate::table::{Condition, Table};

/// Bytes that may wait to be written, over all streams; appends beyond are refused.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Audit streams in a `DynamoDB` table.
///
/// A stream that was registered here has one task, which takes all records that
/// wait and writes them at once, in the order of the calls: one by a put,
/// several by a transaction. The first failure ends the stream.
#[derive(Debug)]
pub struct DynamoAudit {
    table: Table,
    shared: Arc<Shared>,
}

/// What the adapter and its writers share.
#[derive(Debug, Default)]
struct Shared {
    streams: Mutex<HashMap<StreamId, Registered>>,
    queued_bytes: AtomicUsize,
}

/// A stream that was registered by this process.
#[derive(Debug)]
enum Registered {
    Open(mpsc::UnboundedSender<Job>),
    /// A failure ended it: this one.
    Ended(String),
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, HashMap<StreamId, Registered>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to send records of the stream.
    fn queue(&self, stream: StreamId) -> Result<mpsc::UnboundedSender<Job>, StoreError> {
        match self.streams().get(&stream) {
            Some(Registered::Open(queue)) => Ok(queue.clone()),
            Some(Registered::Ended(reason)) => Err(ended(stream, reason)),
            None => Err(StoreError::NotFound(format!(
                "stream {stream} was not registered by this process"
            ))),
        }
    }
}

fn ended(stream: StreamId, reason: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "stream {stream} was ended by an earlier failure: {reason}"
    ))
}

impl DynamoAudit {
    pub(crate) fn new(client: Client, patience: Patience, table: String) -> Self {
        Self {
            table: Table::new(client, patience, table),
            shared: Arc::default(),
        }
    }

    /// Lists the stream, and makes its registration durable, or finds the same one there.
    async fn put_registration(
        &self,
        rows: &RegistrationRows,
        signed: &SignedRegistration,
    ) -> Result<(), StoreError> {
        let stream = rows.stream;
        let once = [
            (rows.registration.clone(), Condition::absent()),
            (rows.listing.clone(), Condition::absent()),
        ];
        let Err(objections) = self.table.put_all(&once).await? else {
            return Ok(());
        };
        let found = objections.into_iter().next().flatten();
        let found = found.and_then(|refused| refused.found);
        if found.is_some_and(|row| rows::registration_of(&row).as_ref() == Ok(signed)) {
            return Ok(());
        }
        Err(StoreError::Conflict(format!(
            "stream {stream} has another registration"
        )))
    }

    /// Makes a registration durable, and lists it where streams are looked for; gives its stream.
    async fn put_all_of(&self, registration: &SignedRegistration) -> Result<StreamId, StoreError> {
        let rows = RegistrationRows::of(registration)?;
        // The directory's row is the same for every stream of the hour. Outside of the transaction it cannot make
        // two processes that start at once stand in each other's way; where it alone is written, it says nothing
        // wrong: no stream of that hour yet.
        let list = async {
            // Without a condition nothing can be refused.
            self.table.put(&rows.directory, None).await.map(|_| ())
        };
        let (listed, registered) = join(list, self.put_registration(&rows, registration)).await;
        registered?;
        listed.map_err(|error| {
            StoreError::OutcomeUnknown(format!("the stream is registered and not listed: {error}"))
        })?;
        Ok(rows.stream)
    }

    fn open(&self, stream: StreamId) {
        let mut streams = self.shared.streams();
        if streams.contains_key(&stream) {
            return;
        }
        let (queue, jobs) = mpsc::unbounded_channel();
        let writer = Writer::new(self.table.clone(), Arc::clone(&self.shared), stream, jobs);
        tokio::spawn(writer.run());
        streams.insert(stream, Registered::Open(queue));
    }
}

#[async_trait]
impl AuditAppender for DynamoAudit {
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError> {
        let stream = self.put_all_of(registration).await?;
        self.open(stream);
        Ok(())
    }

    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Some(stream) = records.first().map(|record| record.stream) else {
            return ready(Ok(())).boxed();
        };
        let queue = match self.shared.queue(stream) {
            Ok(queue) => queue,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let bytes = records.iter().map(|record| record.entry.len() + 128).sum();
        let queued = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let (reply, result) = oneshot::channel();
        let job = Job {
            // A refusal takes its place in the queue too: what follows would leave a hole.
            records: if queued > MAX_QUEUED_BYTES {
                Err(StoreError::Unavailable(format!(
                    "{queued} bytes wait to be written: the table does not keep up"
                )))
            } else {
                Ok(records)
            },
            bytes,
            reply,
        };
        if queue.send(job).is_err() {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return ready(Err(ended(stream, "its writer is gone"))).boxed();
        }
        async move {
            result.await.unwrap_or_else(|_| {
                Err(StoreError::OutcomeUnknown(
                    "the audit writer stopped before it answered".to_owned(),
                ))
            })
        }
        .boxed()
    }
}
