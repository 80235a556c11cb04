//! The use case: one request, claimed, sanitized, scored, recorded and only then answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use artifact::manifest::OutputContract;
use audit::event::{Failure, ModelAccess, Outcome, Prediction, RecordedList, Replay};
use audit::{EventBody, Receipt};
use domain::ports::{Claim, ClaimKey, ClaimToken, Clock, RequestClaims, StoreError};
use domain::recorder::NotRecordedError;
use domain::{
    ModelName, ModelVersion, PrincipalId, Recorder, ReleaseId, RequestId, Sha256Digest, Symbol,
};
use engine::{Answer, Change, Sanitized, Tensor};
use http::StatusCode;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use web::ApiError;

use crate::ladder::{self, Climbed};
use crate::load::{LoadReleaseError, Loader};
use crate::oip::binary;
use crate::record::{self, Contents};
use crate::serving::{LiveModel, Serving};
use crate::stored;

/// How long a claim holds without an answer, in microseconds: longer than any request may take.
const LEASE_US: u64 = 120_000_000;

/// How long a recorded answer is given again, in microseconds: a day.
const ANSWER_KEPT_US: u64 = 86_400_000_000;

/// How long the twin of a request that is being answered waits for that answer.
const TWIN_WAIT: Duration = Duration::from_secs(10);

/// Most requests at once; more are turned away before their bodies are read.
const MAX_IN_FLIGHT: usize = 512;

/// A request, parsed, not yet checked against the model's schema.
#[derive(Debug, Clone)]
pub struct InferenceRequest {
    /// The request's id.
    pub id: RequestId,
    /// True where the caller gave the id: then it is claimed, and its answer kept.
    pub id_given: bool,
    /// Who asks.
    pub principal: PrincipalId,
    /// None, one for the whole request, or one a row.
    pub symbols: Vec<Symbol>,
    /// The inputs as they were sent.
    pub inputs: Vec<Tensor>,
    /// When the request arrived.
    pub arrived: Instant,
}

/// An answer whose record is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The request's id.
    pub request_id: RequestId,
    /// The release that served.
    pub release: ReleaseId,
    /// The model that was asked.
    pub model: ModelName,
    /// Its version.
    pub version: ModelVersion,
    /// `name@version` of the model that answered, `last_good` or `neutral`.
    pub answered_by: String,
    /// 0 live model, 1 fallback model, 2 last good answer, 3 neutral answer.
    pub level: u8,
    /// Code of what kept the live model from answering.
    pub reason: Option<String>,
    /// The request's symbols.
    pub symbols: Vec<Symbol>,
    /// What the sanitizer changed.
    pub changes: Vec<Change>,
    /// Output tensors, named as the live model's.
    pub outputs: Vec<Tensor>,
    /// One answer a row.
    pub answers: Vec<Answer>,
    /// Where the record stands.
    pub receipt: Receipt,
    /// True where the answer was given before.
    pub replayed: bool,
}

/// The function: what serves, and what an answer needs.
pub struct Predict {
    serving: ArcSwapOption<Serving>,
    not_ready: ArcSwapOption<NotReady>,
    loader: Loader,
    claims: Arc<dyn RequestClaims>,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    in_flight: Semaphore,
}

/// Why nothing serves, or why a newer release does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// Stable code.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
}

impl Predict {
    /// A function that serves nothing yet.
    pub fn new(
        loader: Loader,
        claims: Arc<dyn RequestClaims>,
        recorder: Arc<Recorder>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            serving: ArcSwapOption::empty(),
            not_ready: ArcSwapOption::empty(),
            loader,
            claims,
            recorder,
            clock,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }
    }

    /// Loads the release and lets it serve. Whatever served before goes on until then, and for good where the
    /// load fails.
    ///
    /// # Errors
    /// [`LoadReleaseError`]; it is recorded, and shown as the reason for not being ready.
    pub async fn activate(&self, id: ReleaseId) -> Result<(), LoadReleaseError> {
        match self.loader.load(id).await {
            Ok(serving) => {
                let before = self.serving.swap(Some(Arc::new(serving)));
                self.not_ready.store(None);
                if let Some(before) = before {
                    self.recorder.record_all(unloaded(&before)).await?;
                }
                Ok(())
            }
            Err(error) => {
                let reason = NotReady {
                    code: error.code(),
                    message: error.to_string(),
                };
                self.not_ready.store(Some(Arc::new(reason)));
                Err(error)
            }
        }
    }

    /// What serves now.
    pub fn serving(&self) -> Option<Arc<Serving>> {
        self.serving.load_full()
    }

    /// Why the release that should serve does not.
    pub fn not_ready(&self) -> Option<Arc<NotReady>> {
        self.not_ready.load_full()
    }

    /// What serves now, or the 503 that says that nothing does.
    ///
    /// # Errors
    /// 503 `model.not_ready`.
    pub fn must_serve(&self) -> Result<Arc<Serving>, ApiError> {
        self.serving().ok_or_else(|| {
            let reason = self
                .not_ready()
                .map_or("no release is active yet", |reason| reason.code);
            let message = format!("no model serves: {reason}");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "model.not_ready", message)
        })
    }

    /// A place among the requests that are handled at once.
    ///
    /// # Errors
    /// 503 `server.overloaded` where there is none.
    pub fn admit(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.in_flight.try_acquire().map_err(|_| {
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server.overloaded",
                format!("more than {MAX_IN_FLIGHT} requests at once"),
            )
        })
    }

    /// Answers a request to the model. The answer is durable when this returns.
    ///
    /// A request with an id of its own is carried through also where its caller hangs up: sent again, it gets
    /// the answer that was recorded.
    ///
    /// # Errors
    /// 400 for inputs outside the schema, 403 for symbols outside the limits, 409 for an id that was used
    /// with another payload, 503 where no step of the ladder answers or a store does not.
    pub async fn answer(
        self: &Arc<Self>,
        serving: &Arc<Serving>,
        live: &Arc<LiveModel>,
        request: InferenceRequest,
    ) -> Result<Answered, ApiError> {
        if !request.id_given {
            return self.answer_here(serving, live, request).await;
        }
        let (predict, serving, live) = (Arc::clone(self), Arc::clone(serving), Arc::clone(live));
        let task = tokio::spawn(async move { predict.answer_here(&serving, &live, request).await });
        task.await.unwrap_or_else(|_| Err(ApiError::internal()))
    }

    async fn answer_here(
        &self,
        serving: &Serving,
        live: &LiveModel,
        mut request: InferenceRequest,
    ) -> Result<Answered, ApiError> {
        let id = request.id.clone();
        let symbol = request.symbols.first().map(ToString::to_string);
        let answered = match check_symbols(live, &mut request) {
            Ok(()) => self.answer_claimed(serving, live, request).await,
            Err(error) => Err(error),
        };
        if answered.is_err() {
            live.stats.failed.fetch_add(1, Ordering::Relaxed);
        }
        answered.map_err(|error| {
            let mut error = error.for_request(&id).for_model(&live.model.label);
            error.context.symbol = symbol;
            error
        })
    }

    async fn answer_claimed(
        &self,
        serving: &Serving,
        live: &LiveModel,
        mut request: InferenceRequest,
    ) -> Result<Answered, ApiError> {
        let digest = request.id_given.then(|| payload_digest(live, &request));
        let inputs = std::mem::take(&mut request.inputs);
        let raw = live.fallback.is_some().then(|| inputs.clone());
        let sanitized = live
            .model
            .scorer
            .sanitize(inputs)
            .map_err(|error| ApiError::bad_field(error.code, error.field, error.message))?;
        if request.symbols.len() > 1 && request.symbols.len() != sanitized.rows {
            return Err(ApiError::bad_field(
                "input.rows",
                "symbols",
                "expected one symbol a row",
            ));
        }
        let Some(digest) = digest else {
            return self.infer(serving, live, &request, sanitized, raw).await;
        };
        let key = ClaimKey {
            principal: request.principal.clone(),
            request: request.id.clone(),
        };
        let token = match self.claim(&key, digest).await? {
            Claimed::Won(token) => token,
            Claimed::Answered(answered) => return self.replay(&request, *answered).await,
        };
        let answered = match self.infer(serving, live, &request, sanitized, raw).await {
            Ok(answered) => self.keep(&key, token, answered).await,
            Err(error) => Err(error),
        };
        if answered.is_err()
            && let Err(cause) = self.claims.release(&key, token).await
        {
            tracing::warn!(request.id = %key.request, error = %cause, "a claim was not released");
        }
        answered
    }

    async fn infer(
        &self,
        serving: &Serving,
        live: &LiveModel,
        request: &InferenceRequest,
        sanitized: Sanitized,
        raw: Option<Vec<Tensor>>,
    ) -> Result<Answered, ApiError> {
        let now_us = self.clock.now_us();
        let climbed = ladder::climb(live, sanitized, raw, &request.symbols, now_us)
            .await
            .map_err(exhausted)?;
        let events = events(serving, live, request, &climbed);
        let receipt = self
            .recorder
            .record_all(events)
            .await
            .map_err(not_recorded)?;
        if let (0, [symbol], [answer]) = (climbed.level, &request.symbols[..], &climbed.answers[..])
        {
            live.remember(symbol, answer, now_us);
        }
        let stats = &live.stats;
        stats.answered.fetch_add(1, Ordering::Relaxed);
        stats
            .rows
            .fetch_add(climbed.answers.len() as u64, Ordering::Relaxed);
        let spent_ns = request.arrived.elapsed().as_nanos() as u64;
        stats.answered_ns.fetch_add(spent_ns, Ordering::Relaxed);
        stats.last_ms.store(now_us / 1000, Ordering::Relaxed);
        let outputs = if climbed.level == 0 {
            climbed.outputs
        } else {
            let model = &live.model;
            ladder::outputs_from_answers(
                &model.manifest,
                model.scorer.model().outputs(),
                &climbed.answers,
            )
        };
        Ok(Answered {
            request_id: request.id.clone(),
            release: serving.release,
            model: live.name().clone(),
            version: live.version().clone(),
            answered_by: answered_by(
                climbed.level,
                climbed.model.as_ref().map(|m| m.label.as_str()),
            ),
            level: climbed.level,
            reason: climbed.failures.first().map(|failure| failure.code.clone()),
            symbols: request.symbols.clone(),
            changes: climbed.changes,
            outputs,
            answers: climbed.answers,
            receipt,
            replayed: false,
        })
    }

    /// Claims the id, waiting for a twin that is being answered.
    async fn claim(&self, key: &ClaimKey, digest: Sha256Digest) -> Result<Claimed, ApiError> {
        let until = Instant::now() + TWIN_WAIT;
        let mut pause = Duration::from_millis(1);
        loop {
            match self
                .claims
                .claim(key, digest, self.clock.now_us(), LEASE_US)
                .await
            {
                Ok(Claim::Won(token)) => return Ok(Claimed::Won(token)),
                Ok(Claim::Answered(bytes)) => {
                    return match stored::read(&bytes) {
                        Some(answered) => Ok(Claimed::Answered(Box::new(answered))),
                        None => {
                            tracing::error!(request.id = %key.request, "a recorded answer cannot be read");
                            Err(ApiError::store_unavailable())
                        }
                    };
                }
                Ok(Claim::Mismatch) => {
                    return Err(ApiError::new(
                        StatusCode::CONFLICT,
                        "request.id_reused",
                        "this request id was used with another payload",
                    )
                    .at("request_id"));
                }
                Ok(Claim::InProgress) if Instant::now() < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Ok(Claim::InProgress) => {
                    return Err(ApiError::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "request.in_progress",
                        "the same request is still being answered; try again",
                    ));
                }
                Err(cause) => {
                    tracing::error!(request.id = %key.request, error = %cause, "a request id was not claimed");
                    return Err(ApiError::store_unavailable());
                }
            }
        }
    }

    /// Keeps the answer for requests that are sent again. Until that is durable it is not given: its twin
    /// could otherwise be given another one.
    async fn keep(
        &self,
        key: &ClaimKey,
        token: ClaimToken,
        answered: Answered,
    ) -> Result<Answered, ApiError> {
        let bytes = stored::write(&answered).map_err(|_| ApiError::internal())?;
        let expires_us = self.clock.now_us() + ANSWER_KEPT_US;
        let mut kept = self.claims.answer(key, token, &bytes, expires_us).await;
        if matches!(kept, Err(StoreError::OutcomeUnknown(_))) {
            // The same answer under the same token again is a success, so asking twice settles it.
            kept = self.claims.answer(key, token, &bytes, expires_us).await;
        }
        match kept {
            Ok(()) => Ok(answered),
            Err(cause) => {
                tracing::error!(request.id = %key.request, error = %cause, "an answer was not kept");
                Err(ApiError::store_unavailable())
            }
        }
    }

    async fn replay(
        &self,
        request: &InferenceRequest,
        answered: Answered,
    ) -> Result<Answered, ApiError> {
        let event = EventBody::Replay(Replay {
            request_id: request.id.to_string(),
            principal: request.principal.to_string(),
            receipt: answered.receipt,
        });
        self.recorder.record(event).await.map_err(not_recorded)?;
        Ok(answered)
    }

    /// Records what came of a prediction.
    ///
    /// # Errors
    /// 503 where it was not recorded.
    pub async fn report(&self, outcome: Outcome) -> Result<Receipt, ApiError> {
        self.recorder
            .record(EventBody::Outcome(outcome))
            .await
            .map_err(not_recorded)
    }
}

enum Claimed {
    Won(ClaimToken),
    Answered(Box<Answered>),
}

fn unloaded(serving: &Serving) -> Vec<EventBody> {
    let mut models = Vec::new();
    for live in serving.all() {
        for model in std::iter::once(&live.model).chain(&live.fallback) {
            models.push(EventBody::ModelAccess(ModelAccess {
                model: model.label.clone(),
                release: serving.release.to_string(),
                outcome: "unloaded".to_owned(),
                sha256: Some(model.reference.sha256.clone()),
                code: None,
                error: None,
                duration_us: 0,
            }));
        }
    }
    models
}

/// Holds the symbols to the manifest's limits; where it allows exactly one and none is named, that one is meant.
fn check_symbols(live: &LiveModel, request: &mut InferenceRequest) -> Result<(), ApiError> {
    let Some(allowed) = &live.model.manifest.limits.symbols else {
        return Ok(());
    };
    if request.symbols.is_empty() {
        let [only] = &allowed[..] else {
            return Err(ApiError::bad_field(
                "symbol.missing",
                "parameters.symbol",
                "expected the symbol that the prediction is for: this model is limited to some",
            ));
        };
        request.symbols.push(only.clone());
        return Ok(());
    }
    match request
        .symbols
        .iter()
        .find(|symbol| !allowed.contains(symbol))
    {
        None => Ok(()),
        Some(symbol) => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "symbol.not_allowed",
            format!("this model must not be used for {symbol}"),
        )
        .at("symbol")),
    }
}

/// What makes two payloads the same: model, version, symbols and the bits of every input.
fn payload_digest(live: &LiveModel, request: &InferenceRequest) -> Sha256Digest {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    put(live.model.label.as_bytes());
    for symbol in &request.symbols {
        put(symbol.as_str().as_bytes());
    }
    let mut inputs: Vec<&Tensor> = request.inputs.iter().collect();
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    for tensor in inputs {
        put(tensor.name.as_bytes());
        put(tensor.data.datatype().name().as_bytes());
        for dim in &tensor.shape {
            put(&(*dim as u64).to_le_bytes());
        }
        let mut bytes = Vec::new();
        binary::write(&tensor.data, &mut bytes);
        put(&bytes);
    }
    Sha256Digest(hash.finalize().into())
}

fn answered_by(level: u8, model: Option<&str>) -> String {
    match (level, model) {
        (_, Some(label)) => label.to_owned(),
        (2, None) => "last_good".to_owned(),
        (_, None) => "neutral".to_owned(),
    }
}

fn exhausted(failures: Vec<Failure>) -> ApiError {
    let code = failures
        .first()
        .map_or("unknown", |failure| failure.code.as_str());
    let mut error = ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "model.failed",
        format!("no model gave an answer that keeps its contract ({code})"),
    );
    error.context.failures = failures;
    error
}

fn not_recorded(cause: NotRecordedError) -> ApiError {
    match cause {
        NotRecordedError::Event(cause) => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request.too_large_to_record",
            format!("one value is too long to be recorded: {cause}"),
        ),
        NotRecordedError::Store(cause) => {
            tracing::error!(error = %cause, "an event was not recorded");
            ApiError::audit_unavailable()
        }
    }
}

fn events(
    serving: &Serving,
    live: &LiveModel,
    request: &InferenceRequest,
    climbed: &Climbed,
) -> Vec<EventBody> {
    let model = climbed.model.as_ref().unwrap_or(&live.model);
    let head = Prediction {
        request_id: request.id.to_string(),
        principal: request.principal.to_string(),
        release: serving.release.to_string(),
        requested: live.model.reference.clone(),
        answered_by: answered_by(
            climbed.level,
            climbed.model.as_ref().map(|m| m.label.as_str()),
        ),
        fallback_model: (climbed.level == 1).then(|| model.reference.clone()),
        fallback_level: climbed.level,
        failures: climbed.failures.clone(),
        rows: climbed.answers.len(),
        part: 1,
        parts: 1,
        symbols: RecordedList::default(),
        inputs: Vec::new(),
        changes: RecordedList::default(),
        outputs: Vec::new(),
        answers: RecordedList::default(),
        duration_us: request.arrived.elapsed().as_micros() as u64,
    };
    let manifest = &model.manifest;
    let contents = Contents {
        symbols: request.symbols.iter().map(record::json).collect(),
        inputs: climbed
            .inputs
            .iter()
            .map(|tensor| record::tensor(tensor, manifest))
            .collect(),
        changes: climbed
            .changes
            .iter()
            .map(|change| record_change(change, manifest))
            .collect(),
        outputs: climbed
            .outputs
            .iter()
            .map(|tensor| record::tensor(tensor, manifest))
            .collect(),
        answers: climbed.answers.iter().map(record::json).collect(),
    };
    record::events(head, contents)
}

/// A change as it is recorded: without the values, where the column holds personal data.
fn record_change(change: &Change, manifest: &artifact::Manifest) -> serde_json::Value {
    let personal = change
        .column
        .as_ref()
        .is_some_and(|c| manifest.personal_data.contains(c));
    if personal {
        record::json(&Change {
            from: None,
            to: None,
            ..change.clone()
        })
    } else {
        record::json(change)
    }
}

/// The labels of a classification; none for a regression.
pub(crate) fn labels(live: &LiveModel) -> &[String] {
    match &live.model.manifest.output {
        OutputContract::Classification { labels, .. } => labels,
        OutputContract::Regression { .. } => &[],
    }
}
