//! The function's routes; one handler a file, and the file's path is the route's.

mod dto;
mod healthz;
mod readyz;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use web::ApiError;

use crate::function::Health;

/// Every route, as (method, path): what the `OpenAPI` document must describe.
pub const ROUTES: [(&str, &str); 3] = [
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/v1/status"),
];

/// The routes over `health`.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(healthz::alive))
        .route("/readyz", get(readyz::ready))
        .route("/v1/status", get(v1::status::status))
        .with_state(health)
}

/// A JSON response that nobody keeps.
fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(body).map_err(|_| ApiError::internal())?;
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
