//! The function: what it asks, how much of it, and what it records.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use audit::EventBody;
use audit::event::Query;
use audit::note::VerifierKey;
use domain::ports::{AuditReader, AuditSearch, Clock, LogReader, SealIndexReader, Signer};
use domain::{Durability, Recorder, StoreError};
use http::StatusCode;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use web::ApiError;

use crate::alarms::Alarms;
use crate::question::Format;
use crate::routes::Auditor;

/// What is asked.
#[derive(Clone)]
pub struct Ports {
    /// Finds events.
    pub search: Arc<dyn AuditSearch>,
    /// Reads streams.
    pub streams: Arc<dyn AuditReader>,
    /// Knows where sealed events stand.
    pub index: Arc<dyn SealIndexReader>,
    /// Reads the sealed log.
    pub log: Arc<dyn LogReader>,
    /// The key that signs checkpoints. Only its public half is asked for.
    pub log_key: Arc<dyn Signer>,
}

/// How much may be asked for at once, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events of an answer where the question does not say.
    pub default_events: usize,
    /// Most events of a JSON answer.
    pub json_events: usize,
    /// Most events of an NDJSON or CSV answer.
    pub line_events: usize,
    /// An answer ends early after the event that makes it longer than this, in bytes.
    pub answer_bytes: usize,
    /// Whether NDJSON and CSV go on beyond that, written while they are read.
    pub streams: bool,
    /// Longest range without a symbol, model or request id, in microseconds.
    pub range_us: u64,
    /// Longest range of a symbol or model, in microseconds.
    pub range_of_one_us: u64,
    /// How long events are found, in microseconds; for good where it is not said.
    pub kept_us: Option<u64>,
    /// Longest time that finding events may take; an answer ends early then.
    pub find: Duration,
    /// Longest time that any other question to a store may take.
    pub ask: Duration,
    /// Questions that are answered at once.
    pub at_once: usize,
}

impl Limits {
    /// For a process that can stream: 100 events, 1,000, 10,000; 3 MB; 1 day, 31 days; 10 s, 5 s; 16 questions.
    pub const STREAMED: Self = Self {
        default_events: 100,
        json_events: 1000,
        line_events: 10_000,
        answer_bytes: 3_000_000,
        streams: true,
        range_us: 86_400_000_000,
        range_of_one_us: 31 * 86_400_000_000,
        kept_us: None,
        find: Duration::from_secs(10),
        ask: Duration::from_secs(5),
        at_once: 16,
    };

    /// For a host that hands answers over whole, takes 6 MiB, and ends a request after some seconds: every byte of an
    /// answer may take two there, and finding events may take 6 s.
    pub const WHOLE: Self = Self {
        streams: false,
        find: Duration::from_secs(6),
        ..Self::STREAMED
    };

    /// Most events of an answer in this format.
    pub fn most_events(&self, format: Format) -> usize {
        match format {
            Format::Json => self.json_events,
            Format::Ndjson | Format::Csv => self.line_events,
        }
    }
}

/// The function.
pub struct AuditQuery {
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
    pub(crate) origin: String,
    pub(crate) earlier_keys: Vec<VerifierKey>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) alarms: Alarms,
    pub(crate) vkey: OnceCell<VerifierKey>,
    recorder: Arc<Recorder>,
    places: Arc<Semaphore>,
}

impl AuditQuery {
    /// A function that answers from `ports` about the log `origin`, and records questions with `recorder`.
    pub fn new(
        ports: Ports,
        limits: Limits,
        origin: String,
        recorder: Arc<Recorder>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            ports,
            limits,
            origin,
            earlier_keys: Vec::new(),
            clock,
            alarms: Alarms::new(Arc::clone(&recorder)),
            vkey: OnceCell::new(),
            recorder,
            places: Arc::new(Semaphore::new(limits.at_once)),
        }
    }

    /// The same function, which takes a checkpoint that an earlier key of the log signed, too: until the first one under
    /// a new key there is no other.
    #[must_use]
    pub fn trusting(mut self, earlier_keys: Vec<VerifierKey>) -> Self {
        self.earlier_keys = earlier_keys;
        self
    }

    /// Asks what every question asks, and forgets the answers: what the first question to a store costs more than the
    /// next ones is then paid.
    pub async fn warm_up(&self) {
        // What fails here fails again, and is answered, when it is asked for.
        let no_stream = audit::StreamId([0; 16]);
        let _ = tokio::join!(self.head(), self.ports.index.state(no_stream));
    }

    /// A place among the questions that are answered at once; it is free again when it is dropped.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server.overloaded",
                "too many questions are being answered; try again",
            )
        })
    }

    /// What a store answers within its time: a failure that may pass is an error, and what the store says of what it
    /// holds is for the caller to judge.
    pub(crate) async fn ask<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Held<T>, ApiError> {
        match timeout(self.limits.ask, work).await {
            Ok(Ok(found)) => Ok(Held::Found(found)),
            Ok(Err(StoreError::NotFound(_))) => Ok(Held::Missing),
            Ok(Err(StoreError::Corrupt(why))) => {
                tracing::error!(what, error = why, "what a store holds cannot be read");
                Ok(Held::Unreadable(why))
            }
            Ok(Err(error)) => {
                tracing::error!(what, error = %error, "a store does not answer");
                Err(ApiError::store_unavailable())
            }
            Err(_) => {
                tracing::error!(what, "a store did not answer within its time");
                Err(ApiError::store_unavailable())
            }
        }
    }

    /// Records what is about to be answered; ready when that is durable. Gives where the record is, for the answer to
    /// say.
    pub(crate) async fn record(
        &self,
        auditor: &Auditor,
        filters: BTreeMap<String, String>,
        returned: usize,
        tree_size: u64,
    ) -> Result<Durability, ApiError> {
        let event = EventBody::Query(Query {
            filters,
            principal: auditor.principal.to_string(),
            request_id: auditor.request_id.to_string(),
            returned: returned as u64,
            route: auditor.route.clone(),
            tree_size,
        });
        match self.recorder.record(event).await {
            Ok(recorded) => Ok(recorded.durability),
            Err(cause) => {
                tracing::error!(request.id = %auditor.request_id, error = %cause, "a question was not recorded");
                Err(ApiError::audit_unavailable())
            }
        }
    }
}

/// What a store holds.
pub(crate) enum Held<T> {
    /// This.
    Found(T),
    /// Nothing.
    Missing,
    /// Something that cannot be what was written, and why.
    Unreadable(String),
}
