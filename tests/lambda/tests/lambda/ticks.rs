//! Functions that a schedule calls, or that are given events which are no HTTP requests.

use std::path::Path;
use std::time::{Duration, Instant};

use lambda_tests::{Answer, Function, RuntimeApi};
use serde_json::Value;
use store_embedded::EmbeddedStore;

use crate::support::events;

/// The binary of both.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ticks-embedded"))
}

/// What a schedule sends.
const TICK: &str = r#"{"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}"#;

async fn start(kind: &str) -> (tempfile::TempDir, RuntimeApi, Function) {
    let data = tempfile::tempdir().unwrap();
    EmbeddedStore::create(data.path()).unwrap().close();
    let api = RuntimeApi::start().await.unwrap();
    let variables = [("SEALCAST_DATA", data.path().to_str().unwrap())];
    let function = Function::start(binary(), &[kind.to_owned()], &api, &variables).unwrap();
    let polled = tokio::time::timeout(Duration::from_mins(1), api.first_poll()).await;
    assert!(polled.is_ok(), "{:?}", function.log());
    (data, api, function)
}

/// What Lambda is told of an event that failed: its kind and the message.
fn failure(answer: &Answer) -> (String, String) {
    let Answer::Error(bytes) = answer else {
        panic!("expected an error, found {answer:?}");
    };
    let told: Value = serde_json::from_slice(bytes).unwrap();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("errorType"), text("errorMessage"))
}

#[tokio::test]
async fn a_tick_is_told_its_time_and_answered_with_what_was_done() {
    let (_data, api, _function) = start("scheduled").await;
    for seconds in [55, 20] {
        let time = Duration::from_secs(seconds);
        let answer = api.invoke_within(time, TICK).await.json();
        let left_s = answer["left_s"].as_f64().unwrap();
        // A second is kept back for the answer.
        let most_s = seconds as f64 - 1.0;
        assert!((most_s - 10.0..=most_s).contains(&left_s), "{answer}");
    }
}

#[tokio::test]
async fn a_tick_that_fails_is_an_error_for_lambda_and_the_next_one_works() {
    let (data, api, mut function) = start("scheduled").await;
    let fail = data.path().join("fail");
    std::fs::write(&fail, "the lock of the log: \"away\"\nfor now").unwrap();
    for _ in 0..2 {
        let told = failure(&api.invoke(TICK).await);
        let message = "the lock of the log: \"away\"\nfor now".to_owned();
        assert_eq!(told, ("failed".to_owned(), message));
    }
    std::fs::remove_file(&fail).unwrap();
    assert!(api.invoke(TICK).await.json()["left_s"].is_number());
    function.terminate().unwrap();
    assert!(function.wait(Duration::from_secs(10)).unwrap().success());
    let kinds: Vec<_> = events(data.path())
        .await
        .iter()
        .map(|event| event.body.kind())
        .collect();
    assert_eq!(kinds, ["process_started", "security", "process_stopped"]);
}

#[tokio::test]
async fn the_log_of_a_tick_is_written_while_the_function_waits_for_the_next() {
    let (_data, api, function) = start("scheduled").await;
    api.invoke(TICK).await;
    // Lambda freezes a function that waits: what it has not written by then comes late, or never.
    let until = Instant::now() + Duration::from_secs(10);
    let line = loop {
        let lines = function.log_objects();
        let found = lines
            .into_iter()
            .find(|line| line["security.code"] == "test.tick");
        if let Some(line) = found {
            break line;
        }
        assert!(Instant::now() < until, "{:?}", function.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let id = &line["span"]["lambda.request_id"];
    assert_eq!(id, "00000001-0000-4000-8000-000000000000", "{line}");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_an_error_that_says_where_and_the_next_one_works() {
    let (_data, api, _function) = start("events").await;
    for (event, expected) in [
        (r#"{"number": "seven"}"#, "expected u32"),
        (r#"{"number": -7}"#, "expected u32"),
        ("[]", "expected a map"),
        ("{", "EOF"),
    ] {
        let (_, message) = failure(&api.invoke(event).await);
        assert!(message.contains(expected), "{event}: {message}");
        assert!(message.contains("line 1 column"), "{event}: {message}");
    }
    let answer = api.invoke(r#"{"number": 7}"#).await;
    assert_eq!(answer.json()["twice"], 14);
}

#[tokio::test]
async fn a_tick_that_is_no_json_is_an_error_and_the_next_one_works() {
    let (_data, api, _function) = start("scheduled").await;
    let (_, message) = failure(&api.invoke("tick").await);
    assert!(message.contains("line 1 column"), "{message}");
    assert!(api.invoke(TICK).await.json()["left_s"].is_number());
}
