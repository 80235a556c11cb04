//! What the `OpenAPI` document says of these routes is what they answer.

use axum::body::Body;
use domain::StoreError;
use http::Request;
use serde_json::Value;
use testkit::openapi::{check, response_schema};

use crate::fakes::Answer;
use crate::support::{Fleet, NOW, failing, fleet, routing, said, serving};

const DOCUMENT: &str = include_str!("../../../predict/openapi.json");

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

async fn assert_described(fleet: &Fleet) {
    let document = document();
    for (_, path) in health::ROUTES {
        let reply = fleet.get_as(path, &[domain::Role::Auditor]).await;
        let schema = response_schema(&document, path, reply.status.as_u16());
        check(&document, schema, &reply.json, path).unwrap_or_else(|fault| {
            panic!("{fault}: {}", reply.json);
        });
    }
}

#[tokio::test]
async fn every_answer_has_the_form_that_the_document_gives() {
    assert_described(&fleet()).await;

    let fleet = fleet();
    fleet.routing.set(Err(StoreError::Corrupt(String::new())));
    fleet.dependency("models").answer.play(Answer::Never);
    assert_described(&fleet).await;

    let fleet = crate::support::fleet();
    fleet
        .routing
        .set(Ok(routing(2, &[("7", 0.5), ("8", 0.25), ("9", 0.25)])));
    fleet.heartbeats.set(said([
        ("7", serving(NOW, 1)),
        ("8", failing(NOW, "a.code")),
    ]));
    assert_described(&fleet).await;
}

#[tokio::test]
async fn an_answer_of_another_form_does_not_pass() {
    let document = document();
    let schema = response_schema(&document, "/v1/status", 200);
    let good = fleet().status().await;
    assert_eq!(check(&document, schema, &good, ""), Ok(()));
    for (pointer, bad) in [
        ("/status", Value::from("fine")),
        ("/score/value", Value::from("100")),
        ("/dependencies/0/latency_ms", Value::Null),
        ("/versions/0/state", Value::from("asleep")),
    ] {
        let mut bad_answer = good.clone();
        *bad_answer.pointer_mut(pointer).unwrap() = bad;
        assert!(
            check(&document, schema, &bad_answer, "").is_err(),
            "{pointer}"
        );
    }
    let mut more = good.clone();
    more["more"] = Value::from(1);
    assert!(check(&document, schema, &more, "").is_err());
    let mut less = good;
    less.as_object_mut().unwrap().remove("alias");
    assert!(check(&document, schema, &less, "").is_err());
}

#[tokio::test]
async fn the_document_names_every_code() {
    let document = document();
    let listed = &document["components"]["schemas"]["HealthReason"]["properties"]["code"]["enum"];
    let listed: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    let codes: Vec<_> = health::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(listed, codes);
}

#[tokio::test]
async fn nobody_keeps_what_a_probe_was_told() {
    for (_, path) in health::ROUTES {
        let fleet = fleet();
        let request =
            Request::get(path).extension(crate::support::principal(&[domain::Role::Auditor]));
        let response =
            tower::ServiceExt::oneshot(fleet.router, request.body(Body::empty()).unwrap())
                .await
                .unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    }
}
