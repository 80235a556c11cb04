//! `GET /healthz`: the process runs. No credentials, no record; nothing is asked.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use web::ApiError;

use crate::routes;

pub(in crate::routes) async fn alive() -> Result<Response, ApiError> {
    routes::json(StatusCode::OK, &json!({"status": "alive"}))
}
