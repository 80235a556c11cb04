//! The edge of every function: gives each request its id, records each refusal
//! and writes every error body in the one form.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::EventBody;
use audit::event::{Refusal, Security};
use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use domain::{Durability, Principal, Recorder, RequestId};
use futures::FutureExt;
use http::{HeaderValue, StatusCode, header};
use tracing::Instrument;

use crate::error::{ApiError, Unrecorded};

/// The header that carries a request's id.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// The header of a response whose record is not in the audit log yet: `spilled` or `logged`.
pub const AUDIT_HEADER: &str = "sealcast-audit";

/// Until when a request must be answered, because its host ends it then. The host puts it into the request's
/// extensions; the [`Edge`] ends the handler at that moment with 503 `request.deadline_exceeded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// How long after its [`Deadline`] a refusal may take to become durable; a host sets its deadlines earlier than
/// its end by more than this.
const RECORD_GRACE: Duration = Duration::from_millis(700);

/// Which request this is.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The id: the caller's, or one that we made (UUID, version 7).
    pub id: RequestId,
    /// True where the caller gave the id in the header.
    pub given: bool,
    /// When the request's head arrived.
    pub arrived: Instant,
    /// Until when it must be answered, where the host sets a [`Deadline`].
    pub deadline: Option<Instant>,
}

/// What surrounds a function's routes.
#[derive(Clone)]
pub struct Edge {
    recorder: Arc<Recorder>,
}

impl Edge {
    /// An edge that records refusals with `recorder`.
    pub fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder }
    }

    /// Puts the edge around all routes of the router, unknown ones included.
    pub fn surround(self, routes: Router) -> Router {
        routes
            .method_not_allowed_fallback(|| async {
                ApiError::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "route.method_not_allowed",
                    "this path does not take this method",
                )
            })
            .fallback(|| async {
                ApiError::new(
                    StatusCode::NOT_FOUND,
                    "route.unknown",
                    "there is nothing at this path",
                )
            })
            .layer(middleware::from_fn_with_state(self, handle))
    }

    /// Records a refusal, and waits for that no longer than there is time to answer.
    async fn record(
        &self,
        events: Vec<EventBody>,
        deadline: Option<Instant>,
    ) -> Result<Durability, String> {
        let recorder = Arc::clone(&self.recorder);
        let append = async move {
            match recorder.record_all(events).await {
                Ok(last) => Ok(last.durability),
                Err(cause) => Err(cause.to_string()),
            }
        };
        let Some(deadline) = deadline else {
            return append.await;
        };
        // A task of its own: the append goes on, and ends its stream where it fails, also where nobody waits.
        let task = tokio::spawn(append.in_current_span());
        match tokio::time::timeout_at((deadline + RECORD_GRACE).into(), task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("the task that records ended".to_owned()),
            Err(_) => Err("the time for the request ran out".to_owned()),
        }
    }

    async fn finish(&self, error: ApiError, info: &RequestInfo, seen: Seen) -> Response {
        let request_id = error
            .context
            .request_id
            .as_ref()
            .unwrap_or(&info.id)
            .clone();
        let refusal = Refusal {
            request_id: request_id.to_string(),
            principal: seen.principal.map(|p| p.id.to_string()),
            route: seen.route,
            status: error.status.as_u16(),
            code: error.code.to_owned(),
            error: error.message.chars().take(1000).collect(),
            field: error
                .field
                .as_ref()
                .map(|field| field.chars().take(200).collect()),
            requested: error.context.requested.clone(),
            symbol: error.context.symbol.clone(),
            failures: error.context.failures.clone(),
        };
        let security = error.context.is_security_event;
        let security = security.then(|| EventBody::Security(security_of(&refusal)));
        let events = [EventBody::Refusal(refusal)].into_iter().chain(security);
        let (error, durability) = match self.record(events.collect(), info.deadline).await {
            Ok(durability) => (error, durability),
            Err(cause) => {
                tracing::error!(request.id = %request_id, error = cause, "a refusal was not recorded");
                (ApiError::audit_unavailable(), Durability::default())
            }
        };
        let mut response = Response::new(Body::from(error.body(&request_id)));
        *response.status_mut() = error.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if error.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if error.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        set_request_id(&mut response, &request_id);
        set_durability(&mut response, durability);
        response
    }
}

/// What the security event says that goes with a refusal.
fn security_of(refusal: &Refusal) -> Security {
    let (route, id) = (&refusal.route, &refusal.request_id);
    Security {
        code: refusal.code.clone(),
        detail: format!("{route}, request {id}: {}", refusal.error),
        subject: match &refusal.principal {
            Some(principal) => principal.clone(),
            None => "unknown caller".to_owned(),
        },
    }
}

/// What must be remembered of a request, because the handler takes it.
struct Seen {
    principal: Option<Principal>,
    route: String,
}

async fn handle(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let (info, fault) = identify(&request);
    request.extensions_mut().insert(info.clone());
    let seen = Seen {
        principal: request.extensions().get::<Principal>().cloned(),
        route: route_of(&request),
    };
    if let Some(error) = fault {
        return edge.finish(error, &info, seen).await;
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = match info.deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), answer)
            .await
            .unwrap_or_else(|_| Ok(ApiError::deadline_exceeded().into_response())),
        None => answer.await,
    };
    let response = response.unwrap_or_else(|_| {
        tracing::error!(request.id = %info.id, route = seen.route, "a handler panicked");
        ApiError::internal().into_response()
    });
    if let Some(error) = response.extensions().get::<ApiError>() {
        let error = error.clone();
        return edge.finish(error, &info, seen).await;
    }
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && response.extensions().get::<Unrecorded>().is_none() {
        // A rejection by the framework itself, which has a body of its own.
        let error = ApiError::new(
            response.status(),
            "request.rejected",
            "the request was not understood",
        );
        return edge.finish(error, &info, seen).await;
    }
    let mut response = response;
    if !response.headers().contains_key(REQUEST_ID_HEADER) {
        set_request_id(&mut response, &info.id);
    }
    response
}

fn identify(request: &Request) -> (RequestInfo, Option<ApiError>) {
    let arrived = Instant::now();
    let deadline = request.extensions().get::<Deadline>().map(|d| d.0);
    let made = || RequestInfo {
        id: new_request_id(),
        given: false,
        arrived,
        deadline,
    };
    let Some(header) = request.headers().get(REQUEST_ID_HEADER) else {
        return (made(), None);
    };
    let given = header
        .to_str()
        .ok()
        .and_then(|text| RequestId::parse(text).ok());
    let Some(id) = given else {
        let error = ApiError::bad_field(
            "request.id_invalid",
            REQUEST_ID_HEADER,
            "expected 1 to 128 visible ASCII characters",
        );
        return (made(), Some(error));
    };
    let info = RequestInfo {
        id,
        given: true,
        arrived,
        deadline,
    };
    (info, None)
}

fn route_of(request: &Request) -> String {
    let path = request.extensions().get::<MatchedPath>().map_or_else(
        || request.uri().path().chars().take(200).collect(),
        |matched| matched.as_str().to_owned(),
    );
    format!("{} {path}", request.method())
}

fn new_request_id() -> RequestId {
    let mut buffer = uuid::Uuid::encode_buffer();
    let text = uuid::Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    #[expect(
        clippy::expect_used,
        reason = "36 characters of 0-9 a-f and '-' are a request id"
    )]
    RequestId::parse(text).expect("a UUID is a request id")
}

/// Says in the response's header where its record is, if it is not in the audit log.
pub fn set_durability(response: &mut Response, durability: Durability) {
    if let Some(mark) = durability.mark() {
        let mark = HeaderValue::from_static(mark);
        response.headers_mut().insert(AUDIT_HEADER, mark);
    }
}

/// Names the request in the response's header.
pub fn set_request_id(response: &mut Response, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
}
