//! What a process takes at once, and what a store keeps.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use domain::Role;
use domain::ports::{AuditAppender, RequestClaims, StoreError};
use http::Request;
use predict::place::{MAX_BODIES_KIB, MAX_IN_FLIGHT};
use serde_json::json;
use testkit::{Fault, Faulty};

use crate::support::{Ports, example_members, principal, serve, serve_example, v1};

#[tokio::test]
async fn more_requests_at_once_than_there_are_places_are_turned_away_and_recorded() {
    let served = serve_example().await;
    let places: Vec<_> = (0..MAX_IN_FLIGHT)
        .map(|_| served.predict.admit(100).unwrap())
        .collect();
    let reply = served.post("/v1/predict", v1(0).to_string()).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["code"], "server.overloaded");
    assert_eq!(
        reply.json()["error"],
        "more than 512 requests at once; try again"
    );
    assert_eq!(served.last_refusal().await.code, "server.overloaded");
    drop(places);
    assert_eq!(
        served.post("/v1/predict", v1(0).to_string()).await.status,
        200
    );
}

#[tokio::test]
async fn bodies_take_no_more_memory_together_than_there_is_for_them() {
    let served = serve_example().await;
    let mut place = served.predict.admit(MAX_BODIES_KIB * 1024).unwrap();
    let body = v1(0).to_string();
    let reply = served.post("/v1/predict", body.clone()).await;
    assert_eq!(reply.json()["code"], "server.overloaded");
    assert_eq!(
        reply.json()["error"],
        "more than 256 MiB of requests at once; try again"
    );
    // What turns out shorter gives the rest back. Without a declared length 6 MiB are reckoned, and gzip may hold
    // as much again.
    place.keep((MAX_BODIES_KIB - 6 * 1024) * 1024);
    assert_eq!(served.post("/v1/predict", body.clone()).await.status, 200);
    let gzip = [("content-encoding", "gzip"), ("content-length", "100")];
    let reply = served.post_with("/v1/predict", &gzip, body).await;
    assert_eq!(reply.json()["code"], "server.overloaded");
    drop(place);
    served.predict.admit(MAX_BODIES_KIB * 1024).unwrap();
}

#[tokio::test]
async fn an_answer_that_is_too_large_to_be_kept_is_recorded_and_refused_with_what_to_do() {
    let mut faulty = None;
    let served = serve(example_members(), |store| {
        let claims: Arc<Faulty<dyn RequestClaims>> = Arc::new(Faulty::new(store.request_claims()));
        faulty = Some(claims.clone());
        Ports {
            claims: Some(claims),
            ..Ports::default()
        }
    })
    .await;
    let too_large = Fault::Before(StoreError::TooLarge("500,000 bytes, deflated".to_owned()));
    faulty
        .unwrap()
        .fail_next("RequestClaims::answer", too_large);
    let mut body = v1(0);
    body["request_id"] = json!("large");
    let reply = served.post("/v1/predict", body.to_string()).await;
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["code"], "answer.too_large_to_keep");
    assert!(
        reply.json()["error"]
            .as_str()
            .unwrap()
            .contains("no request id")
    );
    assert_eq!(served.predictions().await[0].request_id, "large");
    assert_eq!(served.last_refusal().await.request_id, "large");
    // The id is free again.
    assert_eq!(
        served.post("/v1/predict", body.to_string()).await.status,
        200
    );
}

#[tokio::test]
async fn a_request_with_an_id_goes_on_past_its_deadline_and_sent_again_gets_its_one_answer() {
    let mut faulty = None;
    let served = serve(example_members(), |store| {
        let log: Arc<Faulty<dyn AuditAppender>> = Arc::new(Faulty::new(store.audit_appender()));
        faulty = Some(log.clone());
        Ports {
            appender: Some(log),
            ..Ports::default()
        }
    })
    .await;
    let slow = Fault::Delay(Duration::from_millis(400));
    faulty.unwrap().fail_next("AuditAppender::append", slow);
    let time = Duration::from_millis(150);
    let mut body = v1(0);
    body["request_id"] = json!("slow");
    let reply = served
        .post_within(time, "/v1/predict", body.to_string())
        .await;
    assert_eq!(reply.json()["code"], "request.deadline_exceeded");
    assert_eq!(reply.header("retry-after"), "1");
    let reply = served.post("/v1/predict", body.to_string()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("sealcast-replayed")),
        (200, "true")
    );
    let predictions = served.predictions().await;
    assert_eq!(predictions.len(), 1);
    assert_eq!(predictions[0].request_id, "slow");
}

#[tokio::test]
async fn a_place_is_free_again_where_the_caller_hung_up() {
    let served = serve_example().await;
    let hung = Request::post("/v1/predict")
        .extension(principal(&[Role::Predictor]))
        .body(Body::from_stream(futures::stream::pending::<
            Result<String, std::io::Error>,
        >()))
        .unwrap();
    let time = Duration::from_millis(50);
    assert!(tokio::time::timeout(time, served.send(hung)).await.is_err());
    let places: Vec<_> = (0..MAX_IN_FLIGHT)
        .map(|_| served.predict.admit(1).unwrap())
        .collect();
    assert_eq!(places.len(), MAX_IN_FLIGHT);
}
