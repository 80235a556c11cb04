//! The function's routes; one handler a file, and the file's path is the route's.

mod auditor;
mod dto;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use domain::Durability;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use web::ApiError;

pub(crate) use self::auditor::Auditor;
use self::v1::audit;
use crate::function::AuditQuery;
use crate::head::Head;

/// Leaves of the tree that the answer is as of.
pub const TREE_SIZE_HEADER: HeaderName = HeaderName::from_static("sealcast-tree-size");
/// Root of that tree, base64.
pub const ROOT_HEADER: HeaderName = HeaderName::from_static("sealcast-root");
/// Where the question goes on, where it does.
pub const NEXT_HEADER: HeaderName = HeaderName::from_static("sealcast-next");

/// Before which time events are found no more, where the question begins before it: RFC 3339.
pub const EXPIRED_HEADER: HeaderName = HeaderName::from_static("sealcast-expired-before");

/// Every route, as (method, path): what the `OpenAPI` document must describe. `GET` takes `HEAD` too.
pub const ROUTES: [(&str, &str); 7] = [
    ("get", "/v1/audit/events"),
    ("get", "/v1/audit/events/{stream}/{seq}"),
    ("get", "/v1/audit/events/{stream}/{seq}/proof"),
    ("get", "/v1/audit/streams/{stream}/registration"),
    ("get", "/v1/audit/checkpoint"),
    ("get", "/v1/audit/tile/{path}"),
    ("get", "/v1/audit/log.vkey"),
];

/// The routes over `query`.
pub fn router(query: Arc<AuditQuery>) -> Router {
    Router::new()
        .route("/v1/audit/events", get(audit::events::list))
        .route("/v1/audit/events/{stream}/{seq}", get(audit::event::one))
        .route(
            "/v1/audit/events/{stream}/{seq}/proof",
            get(audit::proof::prove),
        )
        .route(
            "/v1/audit/streams/{stream}/registration",
            get(audit::registration::registration),
        )
        .route("/v1/audit/checkpoint", get(audit::checkpoint::newest))
        .route("/v1/audit/tile/{*path}", get(audit::tile::tile))
        .route("/v1/audit/log.vkey", get(audit::vkey::vkey))
        .with_state(query)
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// For whoever asked only: what is at this path never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

fn response(body: Body, media_type: HeaderValue, cache: HeaderValue) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, cache);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// A JSON response that nobody keeps.
fn json(body: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(error = %error, "an answer has no JSON form");
        ApiError::internal()
    })?;
    Ok(response(bytes.into(), JSON, NO_STORE))
}

/// Says in the headers as of which tree the answer is.
fn as_of(mut response: Response, head: &Head) -> Response {
    let (size, root) = (head.checkpoint.size, dto::root_of(head));
    let headers = response.headers_mut();
    headers.insert(TREE_SIZE_HEADER, HeaderValue::from(size));
    if let Ok(root) = HeaderValue::from_str(&root) {
        headers.insert(ROOT_HEADER, root);
    }
    response
}

/// Says in a header where the record of the question is, if it is not in the audit log yet.
fn recorded(mut response: Response, durability: Durability) -> Response {
    web::request::set_durability(&mut response, durability);
    response
}

/// 404 with this code.
fn not_found(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, code, message)
}
