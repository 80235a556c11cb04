//! `GET /v1/status`: everything that is known of the fleet. For any caller with a role; no record.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use web::{ApiError, Caller};

use crate::function::Health;
use crate::routes::{self, dto};

pub(in crate::routes) async fn status(
    caller: Caller,
    State(health): State<Arc<Health>>,
) -> Result<Response, ApiError> {
    if caller.0.roles.is_empty() {
        let message = "this needs a role, and the caller has none";
        return Err(web::caller::role_missing(message));
    }
    let report = health.look_now().await;
    routes::json(StatusCode::OK, &dto::StatusResponse::of(&report))
}
