//! Stores that fail, before or after they did what was asked: no answer without a durable record, and the
//! same id never two answers.

use std::sync::Arc;
use std::time::Duration;

use domain::ReleaseId;
use domain::ports::{ArtifactReader, AuditAppender, KeyUnwrapper, RequestClaims, StoreError};
use serde_json::{Value, json};
use testkit::{Fault, Faulty};

use crate::support::{Ports, Served, example_members, prepare, serve, v1};

fn gone() -> Fault {
    Fault::Before(StoreError::Unavailable("gone".to_owned()))
}

fn with_id(id: &str) -> String {
    let mut body = v1(0);
    body["request_id"] = json!(id);
    body.to_string()
}

/// The example served over a log that can be made to fail.
async fn serve_with_faulty_log() -> (Served, Arc<Faulty<dyn AuditAppender>>) {
    let mut faulty = None;
    let served = serve(example_members(), |store| {
        let appender: Arc<Faulty<dyn AuditAppender>> =
            Arc::new(Faulty::new(store.audit_appender()));
        faulty = Some(appender.clone());
        Ports {
            appender: Some(appender),
            ..Ports::default()
        }
    })
    .await;
    (served, faulty.unwrap())
}

#[tokio::test]
async fn an_answer_that_is_not_recorded_is_not_given_and_the_next_one_is() {
    for fault in [gone(), Fault::After] {
        let (served, faulty) = serve_with_faulty_log().await;
        faulty.fail_next("AuditAppender::append", fault.clone());
        let reply = served.post("/v1/predict", with_id("a")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["code"].clone()),
            (503, json!("audit.unavailable"))
        );
        let reply = served.post("/v1/predict", with_id("a")).await;
        assert_eq!(reply.status, 200, "{fault:?}");
        // Every stream verifies, and what was answered stands in one of them.
        let receipt = reply.json()["receipt"].clone();
        let events = served.events().await;
        assert!(
            events
                .iter()
                .any(|e| json!(e.stream) == receipt["stream"] && json!(e.seq) == receipt["seq"])
        );
    }
}

#[tokio::test]
async fn while_the_log_is_gone_nothing_is_answered() {
    let (served, faulty) = serve_with_faulty_log().await;
    faulty.fail_always("AuditAppender::append", gone());
    for body in [v1(0).to_string(), "not json".to_owned()] {
        let reply = served.post("/v1/predict", body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["code"].clone()),
            (503, json!("audit.unavailable"))
        );
    }
    faulty.heal("AuditAppender::append");
    assert_eq!(
        served.post("/v1/predict", v1(0).to_string()).await.status,
        200
    );
}

#[tokio::test]
async fn an_answer_whose_keeping_is_in_doubt_is_the_one_that_is_given_again() {
    for (call, fault, first) in [
        ("RequestClaims::answer", Fault::After, 200),
        ("RequestClaims::answer", gone(), 503),
        ("RequestClaims::claim", gone(), 503),
    ] {
        let mut faulty = None;
        let served = serve(example_members(), |store| {
            let claims: Arc<Faulty<dyn RequestClaims>> =
                Arc::new(Faulty::new(store.request_claims()));
            faulty = Some(claims.clone());
            Ports {
                claims: Some(claims),
                ..Ports::default()
            }
        })
        .await;
        faulty.unwrap().fail_next(call, fault);
        let reply = served.post("/v1/predict", with_id("b")).await;
        assert_eq!(reply.status, first, "{call}");
        let mut answers: Vec<Value> = vec![];
        if first == 200 {
            answers.push(reply.json());
        }
        for _ in 0..2 {
            let reply = served.post("/v1/predict", with_id("b")).await;
            assert_eq!(reply.status, 200, "{call}: {:?}", reply.json());
            answers.push(reply.json());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{call}");
    }
}

#[tokio::test]
async fn a_slow_log_makes_a_slow_answer_not_an_unrecorded_one() {
    let (served, faulty) = serve_with_faulty_log().await;
    faulty.fail_next(
        "AuditAppender::append",
        Fault::Delay(Duration::from_millis(200)),
    );
    let began = std::time::Instant::now();
    assert_eq!(
        served.post("/v1/predict", v1(0).to_string()).await.status,
        200
    );
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(served.predictions().await.len(), 1);
}

#[tokio::test]
async fn a_key_service_that_refuses_leaves_nothing_served_and_says_why() {
    for (cause, code, security) in [
        (
            StoreError::Corrupt("tampered".to_owned()),
            "key.unwrap_refused",
            true,
        ),
        (
            StoreError::NotFound("disabled".to_owned()),
            "key.unknown",
            true,
        ),
        (
            StoreError::Unavailable("gone".to_owned()),
            "key.unavailable",
            false,
        ),
    ] {
        let mut faulty = None;
        let served = prepare(example_members(), |store| {
            let unwrapper: Arc<Faulty<dyn KeyUnwrapper>> =
                Arc::new(Faulty::new(store.key_unwrapper()));
            faulty = Some(unwrapper.clone());
            Ports {
                unwrapper: Some(unwrapper),
                ..Ports::default()
            }
        })
        .await;
        faulty
            .unwrap()
            .fail_next("KeyUnwrapper::unwrap", Fault::Before(cause));
        let release = ReleaseId::from_number(1).unwrap();
        assert_eq!(
            served.predict.activate(release).await.unwrap_err().code(),
            code
        );
        let ready = served.get("/v2/health/ready").await;
        assert_eq!(
            (ready.status.as_u16(), ready.json()["reason"].clone()),
            (503, json!(code))
        );
        let kinds: Vec<_> = served
            .events()
            .await
            .iter()
            .map(|e| e.body.kind())
            .collect();
        assert_eq!(kinds.contains(&"security"), security, "{kinds:?}");
        // The service comes back: the same process serves.
        served.predict.activate(release).await.unwrap();
        assert_eq!(served.get("/v2/health/ready").await.status, 200);
    }
}

#[tokio::test]
async fn a_released_artifact_that_is_gone_is_a_security_event_and_an_outage_is_none() {
    for (cause, code, security) in [
        (
            StoreError::NotFound("deleted".to_owned()),
            "artifact.not_found",
            true,
        ),
        (
            StoreError::Corrupt("a file is missing".to_owned()),
            "artifact.corrupt",
            true,
        ),
        (
            StoreError::Unavailable("gone".to_owned()),
            "artifact.unavailable",
            false,
        ),
    ] {
        let mut faulty = None;
        let served = prepare(example_members(), |store| {
            let artifacts: Arc<Faulty<dyn ArtifactReader>> =
                Arc::new(Faulty::new(store.artifact_reader()));
            faulty = Some(artifacts.clone());
            Ports {
                artifacts: Some(artifacts),
                ..Ports::default()
            }
        })
        .await;
        faulty
            .unwrap()
            .fail_next("ArtifactReader::read_loadable", Fault::Before(cause));
        let release = ReleaseId::from_number(1).unwrap();
        let refused = served.predict.activate(release).await.unwrap_err();
        assert_eq!(refused.code(), code);
        let ready = served.get("/v2/health/ready").await;
        assert_eq!(
            (ready.status.as_u16(), ready.json()["reason"].clone()),
            (503, json!(code))
        );
        let events = served.events().await;
        let kinds: Vec<_> = events.iter().map(|event| event.body.kind()).collect();
        assert_eq!(kinds.contains(&"security"), security, "{kinds:?}");
    }
}
