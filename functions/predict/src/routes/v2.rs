//! `/v2`: the Open Inference Protocol.

pub mod health;
pub mod infer;
pub mod models;

use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use web::ApiError;

use crate::routes;

/// `GET /v2`: what this server is.
pub(super) async fn server_metadata() -> Result<Response, ApiError> {
    let body = json!({
        "name": "sealcast",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "model_repository", "model_configuration", "statistics"],
    });
    routes::json(StatusCode::OK, &body)
}
