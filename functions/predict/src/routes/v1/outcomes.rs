//! `POST /v1/outcomes`

use std::sync::Arc;

use audit::canonical;
use audit::event::Outcome;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use web::{ApiError, Caller, RequestInfo};

use super::dto::{AuditMark, OutcomeRequest, OutcomeResponse};
use super::predict::read;
use crate::function::Predict;
use crate::routes;

/// Records what came of a prediction. Whether the prediction exists is for the report to say, which reads the
/// whole log: this function may not read it.
pub(in crate::routes) async fn report(
    caller: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (_place, body) = routes::admit(&caller, &predict, &headers, body).await?;
    let request = read::<OutcomeRequest>(&body)?;
    check(&request)?;
    let outcome = Outcome {
        request_id: info.id.to_string(),
        principal: caller.0.id.to_string(),
        of_request: request.request_id.map(|id| id.to_string()),
        of_receipt: request.receipt,
        outcome: exact(request.outcome),
        pnl: request.pnl,
        observed_at: request.observed_at,
    };
    let recorded = predict.report(outcome).await?;
    let body = OutcomeResponse {
        request_id: &info.id,
        receipt: recorded.receipt,
        audit: AuditMark::of(recorded.durability),
    };
    let mut response = routes::json(StatusCode::ACCEPTED, &body)?;
    web::request::set_durability(&mut response, recorded.durability);
    Ok(response)
}

/// An integer that a double does not hold is recorded as text, so that it is recorded exactly.
fn exact(outcome: Value) -> Value {
    let integer = outcome
        .as_i64()
        .map(i128::from)
        .or_else(|| outcome.as_u64().map(i128::from));
    integer.map_or(outcome, canonical::integer)
}

fn check(request: &OutcomeRequest) -> Result<(), ApiError> {
    if request.request_id.is_some() == request.receipt.is_some() {
        return Err(ApiError::bad_field(
            "request.field_missing",
            "request_id",
            "expected either the prediction's request_id or its receipt",
        ));
    }
    let fits = match &request.outcome {
        Value::String(label) => (1..=200).contains(&label.len()),
        Value::Number(_) => true,
        _ => false,
    };
    if !fits {
        let message = "expected the realised label (1 to 200 bytes) or value";
        return Err(ApiError::bad_field(
            "request.field_type",
            "outcome",
            message,
        ));
    }
    if request
        .receipt
        .is_some_and(|receipt| receipt.seq > canonical::EXACT)
    {
        let message = "expected a position as a receipt gives it";
        return Err(ApiError::bad_field(
            "request.number_too_large",
            "receipt.seq",
            message,
        ));
    }
    if request
        .observed_at
        .as_ref()
        .is_some_and(|time| time.len() > 40 || !time.contains('T'))
    {
        let message = "expected RFC 3339, for example 2026-11-22T16:00:00Z";
        return Err(ApiError::bad_field(
            "request.field_type",
            "observed_at",
            message,
        ));
    }
    Ok(())
}
