//! A process that is set to serve one release: loaded once, by whoever needs it first, and tried again after a pause.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ports::{ArtifactReader, StoreError};
use serde_json::json;
use testkit::{Fault, Faulty};

use crate::support::{Ports, Served, example_members, prepare, v1};

type Artifacts = Faulty<dyn ArtifactReader>;

/// The example's release, pinned and not loaded, over artifacts that can be made to fail.
async fn pinned(load_time_limit: Option<Duration>) -> (Served, Arc<Artifacts>) {
    let mut faulty = None;
    let served = prepare(example_members(), |store| {
        let artifacts: Arc<Artifacts> = Arc::new(Faulty::new(store.artifact_reader()));
        faulty = Some(artifacts.clone());
        Ports {
            artifacts: Some(artifacts),
            pinned: Some(1),
            load_time_limit,
            ..Ports::default()
        }
    })
    .await;
    (served, faulty.unwrap())
}

fn gone() -> Fault {
    Fault::Before(StoreError::Unavailable("gone".to_owned()))
}

const READ: &str = "ArtifactReader::read_loadable";

#[tokio::test]
async fn the_first_requests_load_the_release_once_and_all_of_them_wait_for_it() {
    let (served, artifacts) = pinned(None).await;
    artifacts.fail_next(READ, Fault::Delay(Duration::from_millis(200)));
    let ask = || served.post("/v1/predict", v1(0).to_string());
    let (a, b, c, ready) = tokio::join!(ask(), ask(), ask(), served.get("/v2/health/ready"));
    for reply in [a, b, c, ready] {
        assert_eq!(reply.status, 200, "{:?}", reply.json());
    }
    // One model and its fallback model, each read once.
    assert_eq!(artifacts.calls(READ), 2);
}

#[tokio::test]
async fn a_failed_load_is_left_alone_for_a_second_and_then_tried_by_the_next_request() {
    let (served, artifacts) = pinned(None).await;
    artifacts.fail_next(READ, gone());
    let ask = || served.post("/v1/predict", v1(0).to_string());
    let began = Instant::now();
    for _ in 0..3 {
        let reply = ask().await;
        assert_eq!(reply.status, 503);
        assert_eq!(reply.json()["code"], "model.not_ready");
        let message = reply.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(message, "no model serves: artifact.unavailable");
        assert_eq!(reply.header("retry-after"), "1");
    }
    let ready = served.get("/v2/health/ready").await;
    assert_eq!(ready.json()["reason"], "artifact.unavailable");
    assert!(began.elapsed() < Duration::from_secs(1), "too slow to tell");
    assert_eq!(artifacts.calls(READ), 1);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(ask().await.status, 200);
    assert_eq!(served.get("/v2/health/ready").await.json()["ready"], true);
    assert_eq!(artifacts.calls(READ), 3);
}

#[tokio::test]
async fn a_request_without_time_to_wait_is_told_so_and_the_load_goes_on() {
    let (served, artifacts) = pinned(None).await;
    artifacts.fail_next(READ, Fault::Delay(Duration::from_millis(600)));
    let time = Duration::from_millis(400);
    let body = v1(0).to_string();
    let reply = served.post_within(time, "/v1/predict", body.clone()).await;
    assert_eq!(reply.json()["code"], "model.not_ready");
    assert_eq!(reply.json()["error"], "no model serves: model.loading");
    let reply = served.post("/v1/predict", body).await;
    assert_eq!(reply.status, 200);
    assert_eq!(artifacts.calls(READ), 2);
}

#[tokio::test]
async fn a_load_that_takes_too_long_is_given_up_and_recorded() {
    let (served, artifacts) = pinned(Some(Duration::from_millis(50))).await;
    artifacts.fail_next(READ, Fault::Delay(Duration::from_secs(20)));
    let reply = served.get("/v2/health/ready").await;
    assert_eq!(reply.json()["reason"], "model.load_timeout");
    let events = served.events().await;
    let event = json!(events.last().unwrap().body);
    assert_eq!(event["kind"], "model_access");
    assert_eq!(event["data"]["outcome"], "failed");
    assert_eq!(event["data"]["code"], "model.load_timeout");
    assert_eq!(event["data"]["error"], "it was not loaded within 0.05 s");
}

#[tokio::test]
async fn callers_that_are_not_let_in_load_nothing() {
    let (served, artifacts) = pinned(None).await;
    let body = axum::body::Body::from(v1(0).to_string());
    let stranger = http::Request::post("/v1/predict").body(body).unwrap();
    assert_eq!(served.send(stranger).await.status, 401);
    assert_eq!(served.get("/v2/health/live").await.status, 200);
    assert_eq!(artifacts.calls(READ), 0);
}

#[tokio::test]
async fn a_process_that_is_pinned_to_nothing_waits_for_nothing() {
    let served = prepare(example_members(), |_| Ports::default()).await;
    let reply = served.post("/v1/predict", v1(0).to_string()).await;
    assert_eq!(
        reply.json()["error"],
        "no model serves: no release is active yet"
    );
}
