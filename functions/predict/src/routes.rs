//! The function's routes; one handler a file, and the file's path is the route's.

pub mod v1;
pub mod v2;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use domain::Role;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use web::{ApiError, Caller};

use crate::answer::Answered;
use crate::function::Predict;
use crate::place::Place;

/// Names the record of the answer: `stream:seq:leaf_hash`.
pub const RECEIPT_HEADER: HeaderName = HeaderName::from_static("sealcast-receipt");

/// `true` where the answer was given before.
pub const REPLAYED_HEADER: HeaderName = HeaderName::from_static("sealcast-replayed");

/// The `OpenAPI` document of all functions, as it is served.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Every route of this function, as (method, path): what the `OpenAPI` document must describe.
pub const ROUTES: [(&str, &str); 20] = [
    ("get", "/v2"),
    ("get", "/v2/"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models"),
    ("get", "/v2/models/{model}"),
    ("get", "/v2/models/{model}/versions/{version}"),
    ("get", "/v2/models/{model}/ready"),
    ("get", "/v2/models/{model}/versions/{version}/ready"),
    ("get", "/v2/models/{model}/config"),
    ("get", "/v2/models/{model}/versions/{version}/config"),
    ("get", "/v2/models/{model}/stats"),
    ("get", "/v2/models/{model}/versions/{version}/stats"),
    ("post", "/v2/models/{model}/infer"),
    ("post", "/v2/models/{model}/versions/{version}/infer"),
    ("post", "/v2/repository/index"),
    ("post", "/v1/predict"),
    ("post", "/v1/predict/batch"),
    ("post", "/v1/outcomes"),
    ("get", "/openapi.json"),
];

/// The routes over `predict`.
pub fn router(predict: Arc<Predict>) -> Router {
    Router::new()
        .route("/v2", get(v2::server_metadata))
        .route("/v2/", get(v2::server_metadata))
        .route("/v2/health/live", get(v2::health::live))
        .route("/v2/health/ready", get(v2::health::ready))
        .route("/v2/models", get(v2::models::list))
        .route("/v2/models/{model}", get(v2::models::metadata))
        .route(
            "/v2/models/{model}/versions/{version}",
            get(v2::models::metadata),
        )
        .route("/v2/models/{model}/ready", get(v2::models::ready))
        .route(
            "/v2/models/{model}/versions/{version}/ready",
            get(v2::models::ready),
        )
        .route("/v2/models/{model}/config", get(v2::models::config))
        .route(
            "/v2/models/{model}/versions/{version}/config",
            get(v2::models::config),
        )
        .route("/v2/models/{model}/stats", get(v2::models::stats))
        .route(
            "/v2/models/{model}/versions/{version}/stats",
            get(v2::models::stats),
        )
        .route("/v2/models/{model}/infer", post(v2::infer::infer))
        .route(
            "/v2/models/{model}/versions/{version}/infer",
            post(v2::infer::infer),
        )
        .route("/v2/repository/index", post(v2::models::index))
        .route("/v1/predict", post(v1::predict::predict))
        .route("/v1/predict/batch", post(v1::batch::predict_batch))
        .route("/v1/outcomes", post(v1::outcomes::report))
        .route("/openapi.json", get(openapi))
        .with_state(predict)
}

/// `GET /openapi.json`: the description of these routes, and of the other functions' beside them.
async fn openapi() -> Response {
    let mut response = Response::new(OPENAPI.into());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Lets a predictor's request in: gives it a place among those that are handled at once, and reads its body.
async fn admit(
    caller: &Caller,
    predict: &Predict,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Place, Bytes), ApiError> {
    caller.must_be(Role::Predictor)?;
    let mut place = predict.admit(web::body::most_bytes(headers))?;
    let body = web::body::read(headers, body).await?;
    place.keep(body.len());
    Ok((place, body))
}

/// A JSON response; the content type is exactly `application/json`.
fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(body).map_err(|_| ApiError::internal())?;
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// Names the request and its record in the response's headers.
fn mark(mut response: Response, answered: &Answered) -> Response {
    web::request::set_request_id(&mut response, &answered.request_id);
    let receipt = &answered.receipt;
    let receipt = format!("{}:{}:{}", receipt.stream, receipt.seq, receipt.leaf_hash);
    if let Ok(value) = HeaderValue::from_str(&receipt) {
        response.headers_mut().insert(RECEIPT_HEADER, value);
    }
    let weaker = answered.durability.max(answered.replay_durability);
    web::request::set_durability(&mut response, weaker);
    if answered.replayed {
        response
            .headers_mut()
            .insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    }
    response
}
