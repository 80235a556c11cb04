//! Request ids: the same id and payload gives the same recorded answer.

use std::time::{Duration, Instant};

use audit::EventBody;
use audit::event::Replay;
use domain::Sha256Digest;
use domain::ports::{Claim, ClaimKey, ClaimToken, StoreError};
use engine::Tensor;
use http::StatusCode;
use sha2::{Digest, Sha256};
use web::ApiError;

use crate::answer::{Answered, InferenceRequest};
use crate::function::{Predict, not_recorded};
use crate::oip::binary;
use crate::serving::LiveModel;
use crate::stored;

/// How long a claim holds without an answer, in microseconds: longer than any request may take.
const LEASE_US: u64 = 120_000_000;

/// How long a recorded answer is given again, in microseconds: a day.
const ANSWER_KEPT_US: u64 = 86_400_000_000;

/// How long the twin of a request that is being answered waits for that answer.
const TWIN_WAIT: Duration = Duration::from_secs(10);

/// What became of a claim.
pub(crate) enum Claimed {
    Won(ClaimToken),
    Answered(Box<Answered>),
}

impl Predict {
    /// Claims the id, waiting for a twin that is being answered.
    pub(crate) async fn claim(
        &self,
        key: &ClaimKey,
        digest: Sha256Digest,
    ) -> Result<Claimed, ApiError> {
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
                    if let Some(answered) = stored::read(&bytes) {
                        return Ok(Claimed::Answered(Box::new(answered)));
                    }
                    tracing::error!(request.id = %key.request, "a recorded answer cannot be read");
                    return Err(ApiError::store_unavailable());
                }
                Ok(Claim::Mismatch) => {
                    return Err(ApiError::new(
                        StatusCode::CONFLICT,
                        "request.id_reused",
                        "this request id was used with another payload",
                    )
                    .at("request_id")
                    .as_security_event());
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
    pub(crate) async fn keep(
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
            Err(StoreError::TooLarge(cause)) => {
                tracing::warn!(request.id = %key.request, error = %cause, "an answer is too large to be kept");
                Err(ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "answer.too_large_to_keep",
                    "the answer is recorded but too large to be kept for its request id: send fewer rows, or no request id",
                ))
            }
            Err(cause) => {
                tracing::error!(request.id = %key.request, error = %cause, "an answer was not kept");
                Err(ApiError::store_unavailable())
            }
        }
    }

    pub(crate) async fn replay(
        &self,
        request: &InferenceRequest,
        mut answered: Answered,
    ) -> Result<Answered, ApiError> {
        let event = EventBody::Replay(Replay {
            request_id: request.id.to_string(),
            principal: request.principal.to_string(),
            receipt: answered.receipt,
        });
        let recorded = self.recorder.record(event).await.map_err(not_recorded)?;
        answered.replay_durability = recorded.durability;
        Ok(answered)
    }
}

/// What makes two payloads the same: model, version where one is named, symbols, whether the answer is to be explained
/// and the bits of every input.
/// A new version that goes live in between leaves a repeated request the same.
pub(crate) fn payload_digest(live: &LiveModel, request: &InferenceRequest) -> Sha256Digest {
    let mut hash = Sha256::new();
    let version = live.version().to_string();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    put(live.name().as_str().as_bytes());
    put(if request.pinned {
        version.as_bytes()
    } else {
        b""
    });
    put(&request.symbols.len().to_le_bytes());
    for symbol in &request.symbols {
        put(symbol.as_str().as_bytes());
    }
    if request.explain {
        put(b"explain");
    }
    let mut inputs: Vec<&Tensor> = request.inputs.iter().collect();
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    for tensor in inputs {
        put(tensor.name.as_bytes());
        put(tensor.data.datatype().name().as_bytes());
        put(&tensor.shape.len().to_le_bytes());
        for dim in &tensor.shape {
            put(&(*dim as u64).to_le_bytes());
        }
        let mut bytes = Vec::new();
        binary::write(&tensor.data, &mut bytes);
        put(&bytes);
    }
    Sha256Digest(hash.finalize().into())
}
