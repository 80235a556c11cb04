//! `/v2/health`: for probes; no credentials, no record.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use web::{ApiError, RequestInfo, error};

use crate::function::Predict;
use crate::routes;

/// `GET /v2/health/live`: the process runs.
pub(in crate::routes) async fn live() -> Result<Response, ApiError> {
    routes::json(StatusCode::OK, &json!({"live": true}))
}

/// `GET /v2/health/ready`: a release serves. Where a pinned release is not loaded yet, this waits for it as any
/// request does.
pub(in crate::routes) async fn ready(
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
) -> Result<Response, ApiError> {
    predict.load_pinned(info.deadline).await;
    let ready = predict.serving().is_some();
    let reason = predict.not_ready().map(|reason| reason.code);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = match reason {
        None => json!({"ready": ready, "live": true}),
        Some(reason) => json!({"ready": ready, "live": true, "reason": reason}),
    };
    Ok(error::unrecorded(routes::json(status, &body)?))
}
