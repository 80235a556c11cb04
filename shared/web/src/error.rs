//! Errors: one sentence, one stable code, one field; the cause stays in the log.

use audit::event::Failure;
use axum::response::{IntoResponse, Response};
use domain::RequestId;
use http::StatusCode;
use serde::Serialize;

/// An error as the caller sees it.
///
/// As a response it carries itself to [`Edge`](crate::request::Edge), which records the refusal and only
/// then writes the body `{"error", "code", "field"?, "request_id"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code, for example `input.shape`.
    pub code: &'static str,
    /// One sentence that says what was wrong and what was expected.
    pub message: String,
    /// The field at fault.
    pub field: Option<String>,
    /// What the record of the refusal says besides.
    pub context: Box<RefusalContext>,
}

/// What the record of a refusal says besides the error.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RefusalContext {
    /// The caller's own request id, where the body holds it.
    pub request_id: Option<RequestId>,
    /// The model that was asked for.
    pub requested: Option<String>,
    /// The symbol that was asked for.
    pub symbol: Option<String>,
    /// Why each step of the ladder did not answer.
    pub failures: Vec<Failure>,
    /// True where the refusal is recorded as a security event, too: somebody who may not, or is not who they say.
    pub is_security_event: bool,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    request_id: &'a str,
}

impl ApiError {
    /// An error without a field.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            field: None,
            context: Box::default(),
        }
    }

    /// A 400 about `field`.
    pub fn bad_field(
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message).at(field)
    }

    /// The same error about `field`.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same error, recorded as an answer to the caller's own request id.
    #[must_use]
    pub fn for_request(mut self, id: &RequestId) -> Self {
        self.context.request_id = Some(id.clone());
        self
    }

    /// The same error, recorded as one about this model (cut to 200 characters).
    #[must_use]
    pub fn for_model(mut self, requested: &str) -> Self {
        self.context.requested = Some(requested.chars().take(200).collect());
        self
    }

    /// The same error, recorded as a security event, too.
    #[must_use]
    pub fn as_security_event(mut self) -> Self {
        self.context.is_security_event = true;
        self
    }

    /// The record could not be made durable, so nothing is answered.
    pub fn audit_unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "audit.unavailable",
            "the answer could not be recorded, so it is not given; try again",
        )
    }

    /// A store that the answer depends on does not answer.
    pub fn store_unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store.unavailable",
            "a store does not answer; try again",
        )
    }

    /// The host's time for the request ran out. A request with an id of its own is carried through all the same.
    pub fn deadline_exceeded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "request.deadline_exceeded",
            "the time for this request ran out; try again, with the same request id where it has one",
        )
    }

    /// Something that should not have happened; the cause is in the log under the request's id.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error",
        )
    }

    /// The response's body.
    pub(crate) fn body(&self, request_id: &RequestId) -> Vec<u8> {
        let body = ErrorBody {
            error: &self.message,
            code: self.code,
            field: self.field.as_deref(),
            request_id: request_id.as_str(),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Marks a response as one that is no refusal, although its status is an error: a probe's 503.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unrecorded;

/// The same response, passed on as it is and not recorded as a refusal.
#[must_use]
pub fn unrecorded(mut response: Response) -> Response {
    response.extensions_mut().insert(Unrecorded);
    response
}
