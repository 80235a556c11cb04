//! Records events: the one way from a decision to the audit log.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use audit::stream::RecordError;
use audit::{EventBody, Receipt, SignedRegistration, Stream, StreamId};
use futures::future::BoxFuture;

use crate::ports::{AuditAppender, Clock, Entropy, Signer, StoreError};

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

/// Records events in the process's stream, and opens a new stream where the old one cannot go on.
///
/// A failed append ends a stream: what the store holds of it is whole up to some
/// event, and the next event opens another. So a stream never has a hole, and a
/// store that comes back is used again without a restart. That holds also where the
/// caller of the failed append went away: the next event asks first what became of it.
pub struct Recorder {
    host: String,
    appender: Arc<dyn AuditAppender>,
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    stream: Mutex<Option<Stream>>,
    /// Held by whoever opens a stream; what became of the last attempt that failed.
    opening: futures::lock::Mutex<Option<NotRecordedError>>,
    /// How many attempts to open a stream have failed.
    failed_openings: AtomicU64,
    /// Appends that nobody waits for any more, and their streams.
    abandoned: Mutex<Vec<(StreamId, Durable)>>,
    /// When the newest event became durable; 0 before the first.
    newest_us: AtomicU64,
}

/// Ready when records are durable, or never will be.
type Durable = BoxFuture<'static, Result<(), StoreError>>;

impl Recorder {
    /// A recorder for the process `host`; `signer` vouches for its streams.
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
            stream: Mutex::new(None),
            opening: futures::lock::Mutex::default(),
            failed_openings: AtomicU64::new(0),
            abandoned: Mutex::default(),
            newest_us: AtomicU64::new(0),
        }
    }

    /// Records one event; ready when it is durable.
    ///
    /// # Errors
    /// [`NotRecordedError`]: the event is not in the log, or (after a lost reply) may be there all the same.
    pub async fn record(&self, body: EventBody) -> Result<Receipt, NotRecordedError> {
        self.record_all(vec![body]).await
    }

    /// Records events one after the other in one stream; ready when all are durable. Gives the last one's receipt.
    ///
    /// # Errors
    /// As [`record`](Self::record); some of the events may be in the log.
    pub async fn record_all(&self, bodies: Vec<EventBody>) -> Result<Receipt, NotRecordedError> {
        self.open_stream().await?;
        let (receipt, append) = {
            let mut guard = self.stream();
            let Some(stream) = guard.as_mut() else {
                return Err(
                    StoreError::Unavailable("the audit stream just ended".to_owned()).into(),
                );
            };
            let mut records = Vec::with_capacity(bodies.len());
            for body in bodies {
                match stream.record(body, self.clock.now_us()) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        if !records.is_empty() {
                            *guard = None;
                        }
                        return Err(error.into());
                    }
                }
            }
            let Some(receipt) = records.last().map(audit::Record::receipt) else {
                return Err(StoreError::Conflict("no event to record".to_owned()).into());
            };
            // The append takes its place in the queue here, under the lock that gave the records theirs.
            let append = Append {
                recorder: self,
                stream: receipt.stream,
                durable: Some(self.appender.append(records)),
            };
            (receipt, append)
        };
        append.await?;
        self.newest_us
            .fetch_max(self.clock.now_us(), Ordering::Relaxed);
        Ok(receipt)
    }

    /// When the newest event became durable, in microseconds since 1970; `None` before the first.
    pub fn newest_event_us(&self) -> Option<u64> {
        match self.newest_us.load(Ordering::Relaxed) {
            0 => None,
            at_us => Some(at_us),
        }
    }

    /// Opens and registers a stream where none is open; called early, it takes that time off the first request.
    ///
    /// # Errors
    /// [`StoreError`] where the key or the store refuses.
    pub async fn open_stream(&self) -> Result<(), NotRecordedError> {
        self.settle_abandoned();
        if self.is_open() {
            return Ok(());
        }
        let failed_before = self.failed_openings.load(Ordering::Acquire);
        let mut last_failure = self.opening.lock().await;
        if self.is_open() {
            return Ok(());
        }
        // Whoever waited for an attempt that failed does not wait for another: an outage would add up.
        if self.failed_openings.load(Ordering::Acquire) != failed_before
            && let Some(failure) = last_failure.as_ref()
        {
            return Err(failure.clone());
        }
        let opened = self.register_stream().await;
        if let Err(failure) = &opened {
            *last_failure = Some(failure.clone());
            self.failed_openings.fetch_add(1, Ordering::Release);
        }
        opened
    }

    async fn register_stream(&self) -> Result<(), NotRecordedError> {
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
        self.appender.register(&signed).await?;
        *self.stream() = Some(stream);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.stream().is_some()
    }

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<(StreamId, Durable)>> {
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends this stream, unless another one took its place.
    fn end(&self, id: StreamId) {
        let mut guard = self.stream();
        if guard.as_ref().is_some_and(|stream| stream.id() == id) {
            *guard = None;
        }
    }

    /// Asks, without waiting, what became of the appends whose callers went away, and ends the streams that failed.
    fn settle_abandoned(&self) {
        let mut context = Context::from_waker(Waker::noop());
        self.abandoned().retain_mut(|(stream, durable)| {
            match durable.as_mut().poll(&mut context) {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.end(*stream),
            }
            false
        });
    }
}

/// An append under way; where its caller drops it, the recorder keeps what tells how it ended.
struct Append<'a> {
    recorder: &'a Recorder,
    stream: StreamId,
    /// `None` once it ended.
    durable: Option<Durable>,
}

impl Future for Append<'_> {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(durable) = self.durable.as_mut() else {
            return Poll::Pending;
        };
        let outcome = ready!(durable.as_mut().poll(context));
        self.durable = None;
        if outcome.is_err() {
            self.recorder.end(self.stream);
        }
        Poll::Ready(outcome)
    }
}

impl Drop for Append<'_> {
    fn drop(&mut self) {
        if let Some(durable) = self.durable.take() {
            self.recorder.abandoned().push((self.stream, durable));
        }
    }
}
