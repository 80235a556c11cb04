use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::EventBody;
use audit::event::{Refusal, Security};
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use domain::{Principal, PrincipalId, Recorder, Role, StoreError};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use testkit::{Fault, Faulty, FixedClock, MemoryAudit, SeededEntropy, TestSigner};
use tower::ServiceExt;
use web::{ApiError, AuthFailure, Caller, Deadline, Edge, RequestInfo};

type FaultyLog = Faulty<dyn domain::ports::AuditAppender>;

struct Site {
    log: Arc<MemoryAudit>,
    appender: Arc<FaultyLog>,
    recorder: Arc<Recorder>,
    router: Router,
}

struct Reply {
    status: StatusCode,
    retry_after: String,
    request_id: String,
    body: Value,
}

fn site() -> Site {
    let log = Arc::new(MemoryAudit::new());
    let appender: Arc<FaultyLog> = Arc::new(Faulty::new(log.clone()));
    let recorder = Arc::new(Recorder::new(
        "test".to_owned(),
        appender.clone(),
        Arc::new(TestSigner::new(1)),
        Arc::new(FixedClock::default()),
        Arc::new(SeededEntropy::new(1)),
    ));
    let routes = Router::new()
        .route("/quick", get(|| async { "quick" }))
        .route("/hang", post(std::future::pending::<String>))
        .route("/panic", get(panics))
        .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route("/number", post(|_: axum::Json<u32>| async { "a number" }))
        .route("/deadline", get(tell_deadline))
        .route("/auditors", get(only_auditors));
    Site {
        log,
        appender,
        router: Edge::new(recorder.clone()).surround(routes),
        recorder,
    }
}

async fn panics() -> Result<(), ApiError> {
    assert!(std::env::args().count() == 0, "a bug");
    Ok(())
}

async fn only_auditors(caller: Caller) -> Result<(), ApiError> {
    caller.must_be(Role::Auditor)
}

async fn tell_deadline(Extension(info): Extension<RequestInfo>) -> impl IntoResponse {
    if info.deadline.is_some() {
        "set"
    } else {
        "none"
    }
}

impl Site {
    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let header = |name: &str| {
            let value = parts.headers.get(name);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        Reply {
            status: parts.status,
            retry_after: header("retry-after"),
            request_id: header("x-request-id"),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    fn refusals(&self) -> Vec<Refusal> {
        let refusal = |event: audit::Event| match event.body {
            EventBody::Refusal(refusal) => refusal,
            other => panic!("expected only refusals, found {}", other.kind()),
        };
        self.log.events().into_iter().map(refusal).collect()
    }
}

fn within(path: &str, time: Duration) -> Request<Body> {
    Request::post(path)
        .header("x-request-id", "order-1")
        .extension(Deadline(Instant::now() + time))
        .body(Body::empty())
        .unwrap()
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_request_that_outlives_its_deadline_is_503_and_recorded() {
    let site = site();
    let began = Instant::now();
    let reply = site.send(within("/hang", Duration::from_millis(50))).await;
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body["code"], "request.deadline_exceeded");
    assert_eq!((&*reply.retry_after, &*reply.request_id), ("1", "order-1"));
    let refusal = site.refusals().remove(0);
    assert_eq!(refusal.code, "request.deadline_exceeded");
    assert_eq!((refusal.status, &*refusal.route), (503, "POST /hang"));
    assert_eq!(refusal.request_id, "order-1");
}

#[tokio::test]
async fn a_refusal_whose_record_takes_longer_than_there_is_time_is_not_given_but_goes_on() {
    let site = site();
    let slow = Fault::Delay(Duration::from_secs(1));
    site.appender.fail_next("AuditAppender::append", slow);
    let began = Instant::now();
    let reply = site.send(within("/hang", Duration::from_millis(20))).await;
    assert!(
        began.elapsed() < Duration::from_millis(950),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(reply.body["code"], "audit.unavailable");
    assert_eq!(site.recorder.newest_event_us(), None);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(site.recorder.newest_event_us().is_some());
    assert_eq!(site.refusals()[0].code, "request.deadline_exceeded");
}

#[tokio::test]
async fn handlers_know_the_deadline_and_quick_ones_are_not_touched_by_it() {
    let site = site();
    let mut request = get_request("/deadline");
    assert_eq!(
        site.router
            .clone()
            .oneshot(get_request("/quick"))
            .await
            .unwrap()
            .status(),
        200
    );
    let told = |response: axum::response::Response| async {
        response.into_body().collect().await.unwrap().to_bytes()
    };
    let response = site
        .router
        .clone()
        .oneshot(get_request("/deadline"))
        .await
        .unwrap();
    assert_eq!(told(response).await, "none");
    request
        .extensions_mut()
        .insert(Deadline(Instant::now() + Duration::from_secs(5)));
    let response = site.router.clone().oneshot(request).await.unwrap();
    assert_eq!(told(response).await, "set");
    assert!(site.refusals().is_empty());
}

#[tokio::test]
async fn what_the_framework_refuses_has_the_one_error_form_and_a_record() {
    let site = site();
    let not_json = Request::post("/number")
        .header("content-type", "application/json")
        .body(Body::from("{"))
        .unwrap();
    for (request, status) in [(not_json, 422), (get_request("/teapot"), 418)] {
        let reply = site.send(request).await;
        assert_eq!(reply.status.as_u16(), status);
        assert_eq!(reply.body["code"], "request.rejected");
        assert_eq!(reply.body["error"], "the request was not understood");
        assert_eq!(reply.body["request_id"], reply.request_id);
        let refusal = site.refusals().pop().unwrap();
        assert_eq!(
            (refusal.status, &*refusal.code),
            (status, "request.rejected")
        );
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_500_without_its_cause() {
    let site = site();
    let reply = site.send(get_request("/panic")).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(reply.body["error"], "internal error");
    assert_eq!(site.refusals()[0].code, "internal");
}

#[tokio::test]
async fn unknown_paths_and_methods_and_ids_that_are_none_are_refused_by_name() {
    let site = site();
    let bad_id = Request::get("/quick")
        .header("x-request-id", "a b")
        .body(Body::empty())
        .unwrap();
    for (request, status, code) in [
        (get_request("/nowhere"), 404, "route.unknown"),
        (get_request("/hang"), 405, "route.method_not_allowed"),
        (bad_id, 400, "request.id_invalid"),
    ] {
        let reply = site.send(request).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body["code"]),
            (status, &json!(code))
        );
        assert_eq!(site.refusals().pop().unwrap().code, code);
    }
}

#[tokio::test]
async fn a_refusal_names_who_was_refused_and_is_itself_refused_where_it_cannot_be_recorded() {
    let site = site();
    let principal = domain::Principal {
        id: PrincipalId::parse("desk-1").unwrap(),
        roles: std::collections::BTreeSet::new(),
    };
    let mut request = get_request("/teapot");
    request.extensions_mut().insert(principal);
    site.send(request).await;
    assert_eq!(site.refusals()[0].principal.as_deref(), Some("desk-1"));
    let gone = Fault::Before(StoreError::Unavailable("gone".to_owned()));
    site.appender.fail_next("AuditAppender::append", gone);
    let reply = site.send(get_request("/teapot")).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.body["code"]),
        (503, &json!("audit.unavailable"))
    );
}

#[tokio::test]
async fn whoever_is_not_let_in_is_a_refusal_and_a_security_event_in_one_append() {
    let site = site();
    let anonymous = || Request::get("/auditors").header("x-request-id", "knock");
    let predictor = Principal {
        id: PrincipalId::parse("desk-1").unwrap(),
        roles: [Role::Predictor].into(),
    };
    let auditor = Principal {
        roles: [Role::Auditor].into(),
        ..predictor.clone()
    };
    let error = "GET /auditors, request knock: this needs the role auditor";
    for (request, status, code, subject) in [
        (anonymous(), 401, "auth.missing", "unknown caller"),
        (
            anonymous().extension(AuthFailure),
            401,
            "auth.invalid",
            "unknown caller",
        ),
        (
            anonymous().extension(predictor),
            403,
            "auth.role_missing",
            "desk-1",
        ),
    ] {
        let appends = site.appender.calls("AuditAppender::append");
        let reply = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status);
        assert_eq!(site.appender.calls("AuditAppender::append"), appends + 1);
        let mut events = site.log.events().into_iter().rev().map(|event| event.body);
        let Some(EventBody::Security(security)) = events.next() else {
            panic!("no security event for {code}");
        };
        let Some(EventBody::Refusal(refusal)) = events.next() else {
            panic!("no refusal for {code}");
        };
        assert_eq!((&*refusal.code, refusal.status), (code, status));
        let found: Security = security;
        assert_eq!((&*found.code, &*found.subject), (code, subject));
        if status == 403 {
            assert_eq!(found.detail, error);
        }
    }
    let before = site.log.events().len();
    let request = anonymous().extension(auditor).body(Body::empty()).unwrap();
    assert_eq!(site.send(request).await.status, StatusCode::OK);
    site.send(get_request("/nowhere")).await;
    let after = site.log.events();
    assert_eq!(after.len(), before + 1, "a path that is none is no attack");
}
