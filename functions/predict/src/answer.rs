//! The use case: one request, claimed, sanitized, scored, recorded and only then answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use audit::Receipt;
use audit::event::Failure;
use domain::ports::ClaimKey;
use domain::{Durability, ModelName, ModelVersion, PrincipalId, ReleaseId, RequestId, Symbol};
use engine::{Answer, Change, InputError, Sanitized, Tensor};
use http::StatusCode;
use tracing::Instrument;
use web::ApiError;

use crate::claim::{Claimed, payload_digest};
use crate::explain::Explanation;
use crate::function::{Predict, not_recorded};
use crate::ladder;
use crate::place::Place;
use crate::record;
use crate::serving::{LiveModel, Serving};

/// A request, parsed, not yet checked against the model's schema.
#[derive(Debug)]
pub struct InferenceRequest {
    /// The request's id.
    pub id: RequestId,
    /// True where the caller gave the id: then it is claimed, and its answer kept.
    pub id_given: bool,
    /// True where the caller named the model's version: then another version is another request.
    pub pinned: bool,
    /// The request's place among those that are handled at once; given back when the request is done with, also
    /// where its caller hangs up before.
    pub place: Place,
    /// Who asks.
    pub principal: PrincipalId,
    /// True where the answer is to be explained.
    pub explain: bool,
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
    /// The labels that the answers' probabilities belong to, in order; none for a regression.
    pub labels: Vec<String>,
    /// Why the answers are as they are, where the request or the manifest asks for it.
    pub explanation: Option<Explanation>,
    /// Where the record stands.
    pub receipt: Receipt,
    /// Where the record is durable.
    pub durability: Durability,
    /// Where the record of its being given again is; nothing to say otherwise.
    pub replay_durability: Durability,
    /// True where the answer was given before.
    pub replayed: bool,
}

impl Predict {
    /// Answers a request to the model. The answer is durable when this returns.
    ///
    /// A request with an id of its own is carried through also where its caller hangs up or its deadline passes:
    /// sent again, it gets the answer that was recorded.
    ///
    /// # Errors
    /// 400 for inputs outside the schema, 403 for symbols outside the limits, 409 for an id that was used
    /// with another payload, 413 for an answer that is too large to be kept, 503 where no step of the ladder answers or a store does not.
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
        let answer = async move { predict.answer_here(&serving, &live, request).await };
        let task = tokio::spawn(answer.in_current_span());
        task.await.unwrap_or_else(|_| Err(ApiError::internal()))
    }

    async fn answer_here(
        &self,
        serving: &Serving,
        live: &LiveModel,
        request: InferenceRequest,
    ) -> Result<Answered, ApiError> {
        let id = request.id.clone();
        let symbol = request.symbols.first().map(ToString::to_string);
        let answered = if request.id_given {
            self.answer_once(serving, live, request).await
        } else {
            self.check_and_infer(serving, live, request).await
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

    /// Answers a request whose id the caller gave: the recorded answer where there is one, whatever serves now.
    async fn answer_once(
        &self,
        serving: &Serving,
        live: &LiveModel,
        request: InferenceRequest,
    ) -> Result<Answered, ApiError> {
        let key = ClaimKey {
            principal: request.principal.clone(),
            request: request.id.clone(),
        };
        let token = match self.claim(&key, payload_digest(live, &request)).await? {
            Claimed::Won(token) => token,
            Claimed::Answered(answered) => return self.replay(&request, *answered).await,
        };
        let answered = match self.check_and_infer(serving, live, request).await {
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

    async fn check_and_infer(
        &self,
        serving: &Serving,
        live: &LiveModel,
        mut request: InferenceRequest,
    ) -> Result<Answered, ApiError> {
        check_symbols(live, &mut request)?;
        let inputs = std::mem::take(&mut request.inputs);
        let raw = live.fallback.is_some().then(|| inputs.clone());
        let sanitized = live
            .model
            .scorer
            .sanitize(inputs)
            .map_err(|error| refuse_input(live, error))?;
        if request.symbols.len() > 1 && request.symbols.len() != sanitized.rows {
            return Err(ApiError::bad_field(
                "input.rows",
                "symbols",
                "expected one symbol a row",
            ));
        }
        self.infer(serving, live, &request, sanitized, raw).await
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
        let climbed = ladder::climb(live, request, sanitized, raw, now_us)
            .await
            .map_err(exhausted)?;
        let events = record::of_answer(serving, live, request, &climbed);
        let recorded = self
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
            labels: live.labels().to_vec(),
            explanation: climbed.explanation,
            receipt: recorded.receipt,
            durability: recorded.durability,
            replay_durability: Durability::default(),
            replayed: false,
        })
    }
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

/// The refusal of an input.
fn refuse_input(live: &LiveModel, error: InputError) -> ApiError {
    let message = live.without_personal_value(&error).to_owned();
    ApiError::bad_field(error.code, error.field, message)
}

/// What answered, by the name that stands in answers and records.
pub(crate) fn answered_by(level: u8, model: Option<&str>) -> String {
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
