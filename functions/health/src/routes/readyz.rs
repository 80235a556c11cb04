//! `GET /readyz`: whether the fleet can answer. No credentials, no record.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use web::{ApiError, error};

use crate::function::Health;
use crate::routes::{self, dto};

pub(in crate::routes) async fn ready(
    State(health): State<Arc<Health>>,
) -> Result<Response, ApiError> {
    let report = health.look_now().await;
    let status = if report.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = dto::ReadyResponse::of(&report);
    Ok(error::unrecorded(routes::json(status, &body)?))
}
