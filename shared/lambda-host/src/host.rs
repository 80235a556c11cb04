//! From the gateway's event to the router's request, and back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use lambda_http::{Body, Context, RequestExt};
use serde_json::json;
use tower::ServiceExt;
use tracing::Instrument;
use web::request::REQUEST_ID_HEADER;
use web::{AuthFailure, Deadline};

use crate::identity::{Identity, identify};
use crate::settings::HostSettings;
use crate::size;

/// The routes under this prefix are the same as those without it; the gateway asks for a JWT there.
const JWT_PREFIX: &str = "/jwt";

/// What is kept of Lambda's deadline to record and send what became of the request.
const MARGIN: Duration = Duration::from_secs(1);

/// 2001-09-09: a deadline before that is no time of day. Local hosts send durations in its place.
const FIRST_DEADLINE_MS: u64 = 1_000_000_000_000;

/// A router that answers a gateway's events.
#[derive(Debug, Clone)]
pub struct Host {
    router: Router,
    settings: Arc<HostSettings>,
}

impl Host {
    /// Lets `router` answer events.
    pub fn new(router: Router, settings: HostSettings) -> Self {
        Self {
            router,
            settings: Arc::new(settings),
        }
    }

    /// Answers one event: of the HTTP API, in payload format 2.0.
    ///
    /// # Errors
    /// None.
    pub async fn answer(self, event: lambda_http::Request) -> Result<Response<Body>, Infallible> {
        let context = event.lambda_context_ref();
        let span = tracing::info_span!(
            "request",
            lambda.request_id = context.map(|c| c.request_id.as_str()),
            lambda.trace_id = context.and_then(|c| c.xray_trace_id.as_deref()),
            function.version = self.settings.version,
        );
        self.answer_here(event).instrument(span).await
    }

    async fn answer_here(self, event: lambda_http::Request) -> Result<Response<Body>, Infallible> {
        let request = self.request_of(event);
        let Ok(response) = self.router.oneshot(request).await;
        Ok(response_of(response).await)
    }

    fn request_of(&self, event: lambda_http::Request) -> Request<axum::body::Body> {
        let context = event.request_context_ref();
        let authorizer = context.and_then(|context| context.authorizer());
        let identity = identify(authorizer, &self.settings.identity);
        let deadline = event
            .lambda_context_ref()
            .and_then(|Context { deadline, .. }| instant_of(*deadline, SystemTime::now()));
        let (mut parts, body) = event.into_parts();
        parts.uri = without_prefix(&parts.uri);
        parts.extensions = http::Extensions::new();
        match identity {
            Identity::Anonymous => {}
            Identity::Known(principal) => {
                parts.extensions.insert(principal);
            }
            Identity::Unclear(reason) => {
                tracing::warn!(reason, "an authorizer let somebody in who cannot be told");
                parts.extensions.insert(AuthFailure);
            }
        }
        if let Some(deadline) = deadline {
            parts.extensions.insert(Deadline(deadline));
        }
        let body = match body {
            Body::Text(text) => axum::body::Body::from(text),
            Body::Binary(bytes) => axum::body::Body::from(bytes),
            _ => axum::body::Body::empty(),
        };
        Request::from_parts(parts, body)
    }
}

/// Until when a request must be answered that Lambda ends at `deadline_ms` (milliseconds since 1970).
pub(crate) fn instant_of(deadline_ms: u64, now: SystemTime) -> Option<Instant> {
    if deadline_ms < FIRST_DEADLINE_MS {
        return None;
    }
    let end = UNIX_EPOCH + Duration::from_millis(deadline_ms);
    let left = end.duration_since(now).unwrap_or_default();
    Some(Instant::now() + left.saturating_sub(MARGIN))
}

fn without_prefix(uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = match path.strip_prefix(JWT_PREFIX) {
        Some(rest) if rest.starts_with('/') => rest,
        Some("") => "/",
        _ => path,
    };
    // Any end of a path that begins with a slash is one.
    rest.parse().unwrap_or_default()
}

/// The response with its body read whole: as text, or as bytes where `lambda_http` encodes them.
async fn response_of(response: Response<axum::body::Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => {
            tracing::error!(error = %error, "an answer ended before it was whole");
            return failure(
                &parts,
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "internal error",
            );
        }
    };
    let is_binary = parts.headers.contains_key(header::CONTENT_ENCODING)
        || !is_text(parts.headers.get(header::CONTENT_TYPE));
    let body = match String::from_utf8(bytes.into()) {
        Ok(text) if !is_binary => Body::Text(text),
        Ok(text) => Body::Binary(text.into_bytes()),
        Err(error) => Body::Binary(error.into_bytes()),
    };
    if size::fits(&body) {
        return Response::from_parts(parts, body);
    }
    failure(
        &parts,
        StatusCode::PAYLOAD_TOO_LARGE,
        "answer.too_large",
        "the answer is recorded but longer than a function can give: send fewer rows, or ask for less at once",
    )
}

fn is_text(content_type: Option<&http::HeaderValue>) -> bool {
    content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.starts_with("text/") || text.starts_with("application/json"))
}

/// What is answered in the place of an answer that cannot be sent; its record stands.
fn failure(
    parts: &http::response::Parts,
    status: StatusCode,
    code: &str,
    error: &str,
) -> Response<Body> {
    let id = parts.headers.get(REQUEST_ID_HEADER);
    let request_id = id.and_then(|value| value.to_str().ok());
    tracing::error!(request.id = request_id, code, "an answer was not sent");
    let body = json!({"error": error, "code": code, "request_id": request_id});
    let mut response = Response::new(Body::Text(body.to_string()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    for name in [REQUEST_ID_HEADER, "sealcast-receipt"] {
        if let Some(value) = parts.headers.get(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_leaves_a_second_for_the_record() {
        let now = UNIX_EPOCH + Duration::from_hours(500_000);
        let left = |deadline_ms| {
            let until = instant_of(deadline_ms, now).unwrap();
            until
                .saturating_duration_since(Instant::now())
                .as_secs_f64()
        };
        assert!((left(1_800_000_015_000) - 14.0).abs() < 0.1);
        assert!(left(1_800_000_000_500) < 0.1);
        assert!(left(1_799_999_999_000) < 0.1);
    }

    #[test]
    fn a_deadline_that_is_no_time_of_day_is_none() {
        for duration_ms in [0, 15_000, 600_000] {
            assert_eq!(instant_of(duration_ms, SystemTime::now()), None);
        }
    }

    #[test]
    fn the_jwt_prefix_is_taken_off_once_and_only_whole() {
        for (uri, path) in [
            ("https://h/jwt/v1/predict?a=b", "/v1/predict?a=b"),
            ("https://h/v1/predict?a=b", "/v1/predict?a=b"),
            ("/jwt/jwt/v1", "/jwt/v1"),
            ("/jwt", "/"),
            ("/jwt/", "/"),
            ("/jwtx/v1", "/jwtx/v1"),
            ("/v2/models/jwt/infer", "/v2/models/jwt/infer"),
            ("https://h", "/"),
        ] {
            assert_eq!(
                without_prefix(&uri.parse().unwrap()).to_string(),
                path,
                "{uri}"
            );
        }
    }

    fn event(path: &str) -> lambda_http::Request {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
            "headers": {"host": "api.example.com"}, "isBase64Encoded": true, "body": "/wA=",
            "requestContext": {"stage": "$default", "timeEpoch": 0, "http": {"method": "POST", "path": path}},
        });
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    /// What `answer` becomes on its way to the gateway.
    async fn sent(answer: Response<axum::body::Body>) -> Response<Body> {
        let answer = std::sync::Mutex::new(Some(answer));
        let give = move || std::future::ready(answer.lock().unwrap().take().unwrap());
        let give = Arc::new(give);
        let handler = move || {
            let give = Arc::clone(&give);
            async move { give().await }
        };
        let settings = HostSettings::from_env(|name| {
            let is_optional = name.starts_with("SEALCAST_");
            (!is_optional).then(|| "7".to_owned())
        });
        let router = Router::new().route("/v1/x", axum::routing::post(handler));
        let host = Host::new(router, settings.unwrap());
        let Ok(response) = host.answer(event("/jwt/v1/x")).await;
        response
    }

    fn response(
        headers: &[(&str, &str)],
        body: impl Into<axum::body::Body>,
    ) -> Response<axum::body::Body> {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(body.into()).unwrap()
    }

    #[tokio::test]
    async fn text_is_sent_as_text_and_everything_else_in_base64() {
        let json = [("content-type", "application/json")];
        assert_eq!(
            *sent(response(&json, "{}")).await.body(),
            Body::Text("{}".to_owned())
        );
        let gzip = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ];
        let octets = [("content-type", "application/octet-stream")];
        for headers in [&gzip[..], &octets[..], &[]] {
            let sent = sent(response(headers, "{}")).await;
            assert_eq!(*sent.body(), Body::Binary(b"{}".to_vec()), "{headers:?}");
        }
        let broken = sent(response(&json, &b"\xff"[..])).await;
        assert_eq!(
            *broken.body(),
            Body::Binary(vec![0xff]),
            "not UTF-8, whatever it says"
        );
    }

    #[tokio::test]
    async fn an_answer_that_lambda_does_not_take_is_413_and_keeps_its_receipt() {
        let headers = [
            ("content-type", "application/json"),
            ("sealcast-receipt", "s:1:h"),
            ("x-request-id", "a"),
        ];
        let sent = sent(response(&headers, vec![b'1'; 6_300_000])).await;
        assert_eq!(sent.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(sent.headers()["sealcast-receipt"], "s:1:h");
        assert_eq!(sent.headers()["x-request-id"], "a");
        let Body::Text(text) = sent.body() else {
            panic!("expected text");
        };
        let body: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            (&body["code"], &body["request_id"]),
            (&json!("answer.too_large"), &json!("a"))
        );
    }
}
