//! Records events: the one way from a decision to the audit log.

mod append;
mod circuit;
mod fallback;
mod tail;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audit::event::Security;
use audit::stream::RecordError;
use audit::{EventBody, Receipt, SignedRegistration, Stream, StreamId};
use futures::future::BoxFuture;

use self::append::{Append, Sent};
use self::fallback::{Fallback, is_outage};
use self::tail::{Place, Tail};
use crate::ports::{AuditAppender, Clock, Entropy, Signer, SpillWriter, StoreError};

/// An event that was not recorded; what it is about must not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRecordedError {
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event is too long or has no canonical form.
    #[error(transparent)]
    Event(#[from] RecordError),
}

/// Where a recorded event is durable. What is spilled or logged comes into the audit log when it is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// In the audit log.
    #[default]
    Recorded,
    /// In the spill.
    Spilled,
    /// In the process's own log: in the audit log once an operator has imported it from there.
    Logged,
}

impl Durability {
    /// How an answer is marked; `None` where there is nothing to say.
    pub fn mark(self) -> Option<&'static str> {
        match self {
            Self::Recorded => None,
            Self::Spilled => Some("spilled"),
            Self::Logged => Some("logged"),
        }
    }

    /// What [`mark`](Self::mark) gave.
    pub fn from_mark(mark: Option<&str>) -> Option<Self> {
        [Self::Recorded, Self::Spilled, Self::Logged]
            .into_iter()
            .find(|durability| durability.mark() == mark)
    }
}

/// An event that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its position, and its hash.
    pub receipt: Receipt,
    /// Where it is durable.
    pub durability: Durability,
}

/// Records events in the process's stream, and opens a new stream where the old one cannot go on.
///
/// A failed append ends a stream: what the store holds of it is whole up to some
/// event, and the next event opens another. So a stream never has a hole, and a
/// store that comes back is used again without a restart. That holds also where the
/// caller of the failed append went away: the next event asks first what became of it.
///
/// With a [spill](Self::with_spill) the stream goes on there: everything that the log has not acknowledged, in order,
/// and all later events. The log is tried again after a pause, with a new stream.
pub struct Recorder {
    host: String,
    appender: Arc<dyn AuditAppender>,
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    fallback: Option<Fallback>,
    stream: Mutex<Option<Open>>,
    /// Held by whoever opens a stream; what became of the last attempt that failed.
    opening: futures::lock::Mutex<Option<NotRecordedError>>,
    /// How many attempts to open a stream have failed.
    failed_openings: AtomicU64,
    /// Appends that nobody waits for any more.
    abandoned: Mutex<Vec<Sent>>,
    /// Streams with records that wait to be spilled, and nobody who waits for that.
    unwatched: Mutex<Vec<Arc<Tail>>>,
    /// When the newest event became durable; 0 before the first.
    newest_us: AtomicU64,
}

/// The stream that events go to.
struct Open {
    stream: Stream,
    tail: Arc<Tail>,
}

/// Ready when records are durable, or never will be.
type Durable = BoxFuture<'static, Result<(), StoreError>>;

impl Recorder {
    /// A recorder for the process `host`; `signer` vouches for its streams. What the log does not take is not recorded.
    pub fn new(
        host: String,
        appender: Arc<dyn AuditAppender>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            host,
            appender,
            signer,
            clock,
            entropy,
            fallback: None,
            stream: Mutex::new(None),
            opening: futures::lock::Mutex::default(),
            failed_openings: AtomicU64::new(0),
            abandoned: Mutex::default(),
            unwatched: Mutex::default(),
            newest_us: AtomicU64::new(0),
        }
    }

    /// The same recorder, which writes what the log does not take to `spill`, and what that does not take either to
    /// `last_resort`.
    #[must_use]
    pub fn with_spill(
        mut self,
        spill: Arc<dyn SpillWriter>,
        last_resort: Arc<dyn SpillWriter>,
    ) -> Self {
        self.fallback = Some(Fallback::new(spill, last_resort));
        self
    }

    /// Records one event; ready when it is durable.
    ///
    /// # Errors
    /// [`NotRecordedError`]: the event is not in the log, or (after a lost reply) may be there all the same.
    pub async fn record(&self, body: EventBody) -> Result<Recorded, NotRecordedError> {
        self.record_all(vec![body]).await
    }

    /// Records a security event. The host says on its log what is recorded; what is not nobody else says, so that is said
    /// here, and whoever counts `security.code` is told either way.
    ///
    /// # Errors
    /// As [`record`](Self::record); it is logged.
    pub async fn record_security(&self, event: Security) -> Result<Recorded, NotRecordedError> {
        let recorded = self.record(EventBody::Security(event.clone())).await;
        if let Err(error) = &recorded {
            tracing::error!(
                event.kind = "security",
                security.code = event.code,
                security.subject = event.subject,
                error = %error,
                "not recorded: {}",
                event.detail
            );
        }
        recorded
    }

    /// Records events one after the other in one stream; ready when all are durable. Gives the last one's receipt.
    ///
    /// # Errors
    /// As [`record`](Self::record); some of the events may be in the log.
    pub async fn record_all(&self, bodies: Vec<EventBody>) -> Result<Recorded, NotRecordedError> {
        self.open_stream().await?;
        let (receipt, first, tail, durable) = {
            let mut guard = self.stream();
            let Some(open) = guard.as_mut() else {
                return Err(
                    StoreError::Unavailable("the audit stream just ended".to_owned()).into(),
                );
            };
            let mut records = Vec::with_capacity(bodies.len());
            for body in bodies {
                match open.stream.record(body, self.clock.now_us()) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        if !records.is_empty() {
                            *guard = None;
                        }
                        return Err(error.into());
                    }
                }
            }
            let (Some(first), Some(last)) = (records.first(), records.last()) else {
                return Err(StoreError::Conflict("no event to record".to_owned()).into());
            };
            let (first, receipt) = (first.seq, last.receipt());
            // The records are sent under the lock that gave them their places.
            let keeps = self.fallback.is_some();
            let durable = open.tail.send(records, &*self.appender, keeps);
            (receipt, first, Arc::clone(&open.tail), durable)
        };
        let durability = self.wait(&tail, first, receipt.seq, durable).await?;
        self.newest_us
            .fetch_max(self.clock.now_us(), Ordering::Relaxed);
        Ok(Recorded {
            receipt,
            durability,
        })
    }

    /// Waits until records are durable, in the log or beside it.
    async fn wait(
        &self,
        tail: &Arc<Tail>,
        first: u64,
        last: u64,
        durable: Option<Durable>,
    ) -> Result<Durability, StoreError> {
        let mut refused = None;
        if let Some(durable) = durable {
            let sent = Some(Sent {
                tail: Arc::clone(tail),
                first,
                last,
                durable,
            });
            let append = Append {
                recorder: self,
                sent,
            };
            match append.await {
                Ok(()) => return Ok(Durability::Recorded),
                Err(error) => refused = Some(error),
            }
        }
        match (&self.fallback, refused) {
            (Some(fallback), None) => self.spilled(fallback, tail, last).await,
            (Some(fallback), Some(error)) if is_outage(&error) => {
                self.spilled(fallback, tail, last).await
            }
            (_, error) => Err(error.unwrap_or_else(|| {
                StoreError::Unavailable("the audit stream just ended".to_owned())
            })),
        }
    }

    /// When the newest event became durable, in microseconds since 1970; `None` before the first.
    pub fn newest_event_us(&self) -> Option<u64> {
        match self.newest_us.load(Ordering::Relaxed) {
            0 => None,
            at_us => Some(at_us),
        }
    }

    /// Opens and registers a stream where none is open, or where a better place than that of the open one is worth
    /// trying; called early, it takes that time off the first request.
    ///
    /// # Errors
    /// [`StoreError`] where the key or the store refuses.
    pub async fn open_stream(&self) -> Result<(), NotRecordedError> {
        self.settle_abandoned();
        if let Some(fallback) = &self.fallback {
            self.spill_unwatched(fallback).await;
        }
        match self.place() {
            None => self.open_first().await,
            Some(place) => {
                self.try_to_improve(place).await;
                Ok(())
            }
        }
    }

    async fn open_first(&self) -> Result<(), NotRecordedError> {
        let failed_before = self.failed_openings.load(Ordering::Acquire);
        let mut last_failure = self.opening.lock().await;
        if self.place().is_some() {
            return Ok(());
        }
        // Whoever waited for an attempt that failed does not wait for another: an outage would add up.
        if self.failed_openings.load(Ordering::Acquire) != failed_before
            && let Some(failure) = last_failure.as_ref()
        {
            return Err(failure.clone());
        }
        let opened = self.register_stream(None).await;
        if let Err(failure) = &opened {
            *last_failure = Some(failure.clone());
            self.failed_openings.fetch_add(1, Ordering::Release);
        }
        opened
    }

    /// Opens a stream in a better place than `place`, if one is due to be tried and nobody else is trying it.
    async fn try_to_improve(&self, place: Place) {
        let Some(fallback) = &self.fallback else {
            return;
        };
        if !fallback.can_improve(place, self.clock.now_us()) {
            return;
        }
        let Some(_opening) = self.opening.try_lock() else {
            return;
        };
        let now_us = self.clock.now_us();
        if self.place() != Some(place) || !fallback.can_improve(place, now_us) {
            return;
        }
        if let Err(error) = self.register_stream(Some(place)).await {
            // The open stream goes on.
            fallback.not_improved(place, now_us);
            tracing::warn!(error = %error, "the audit log is not used again yet");
        }
    }

    /// Registers a stream in the best place that takes it, better than `current`, and lets events go there.
    async fn register_stream(&self, current: Option<Place>) -> Result<(), NotRecordedError> {
        let (stream, signed) = self.make_stream().await?;
        let place = match &self.fallback {
            None => {
                self.appender.register(&signed).await?;
                Place::Log
            }
            Some(fallback) => match self.register_in(fallback, &signed, current).await? {
                Some(place) => place,
                None => return Ok(()),
            },
        };
        let tail = Tail::new(stream.id(), place);
        *self.stream() = Some(Open { stream, tail });
        Ok(())
    }

    /// Registers a stream where it is taken; `None` where that is no better than `current`.
    async fn register_in(
        &self,
        fallback: &Fallback,
        signed: &SignedRegistration,
        current: Option<Place>,
    ) -> Result<Option<Place>, StoreError> {
        let now_us = self.clock.now_us();
        if fallback.log.is_due(now_us) {
            match self.appender.register(signed).await {
                Ok(()) => return Ok(Some(Place::Log)),
                Err(error) if is_outage(&error) => fallback.log_failed(&error, now_us),
                Err(error) => return Err(error),
            }
        }
        if current != Some(Place::Spill) && fallback.register_in_spill(signed, now_us).await? {
            return Ok(Some(Place::Spill));
        }
        if current.is_none() {
            fallback.register_in_lines(signed).await?;
            return Ok(Some(Place::Lines));
        }
        Ok(None)
    }

    /// A stream with keys of its own, and its registration.
    async fn make_stream(&self) -> Result<(Stream, SignedRegistration), NotRecordedError> {
        let (mut id, mut key) = ([0; 16], [0; 32]);
        self.entropy.fill(&mut id)?;
        self.entropy.fill(&mut key)?;
        let (stream, registration) = Stream::open(id, &key, &self.host, self.clock.now_us())?;
        let registration = registration.to_bytes()?;
        let signature = self.signer.sign(&registration).await?;
        let signature = signature.try_into().map_err(|_| {
            StoreError::Corrupt("the registration key gave no Ed25519 signature".to_owned())
        })?;
        let signed = SignedRegistration {
            registration,
            key_id: self.signer.key_id().to_owned(),
            signature,
        };
        Ok((stream, signed))
    }

    /// Where events go, if a stream is open.
    fn place(&self) -> Option<Place> {
        self.stream().as_ref().map(|open| open.tail.place())
    }

    fn stream(&self) -> MutexGuard<'_, Option<Open>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn unwatched(&self) -> MutexGuard<'_, Vec<Arc<Tail>>> {
        self.unwatched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends this stream, unless another one took its place.
    fn end(&self, id: StreamId) {
        let mut guard = self.stream();
        if guard.as_ref().is_some_and(|open| open.stream.id() == id) {
            *guard = None;
        }
    }

    /// What the end of an append means for its stream: it goes on, goes elsewhere, or ends.
    fn settle_tail(&self, tail: &Tail, first: u64, last: u64, outcome: &Result<(), StoreError>) {
        match (outcome, &self.fallback) {
            (Ok(()), None) => {}
            (Ok(()), Some(fallback)) => {
                tail.made_durable(last, Durability::Recorded);
                if tail.place() == Place::Log && fallback.log.succeeded() {
                    tracing::info!(code = "audit.recovered", "the audit log takes events again");
                }
            }
            (Err(error), Some(fallback)) if is_outage(error) => {
                fallback.leave_log(tail, error, self.clock.now_us());
            }
            (Err(error), _) => {
                tail.lose(first, error);
                self.end(tail.stream);
            }
        }
    }
}
