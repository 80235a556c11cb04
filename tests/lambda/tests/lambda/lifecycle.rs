//! A function's start and end, as Lambda sees them.

use std::time::Duration;

use audit::EventBody;
use lambda_tests::{Event, Example, Function, RuntimeApi};
use serde_json::json;

use crate::support::{data, events, predict_embedded, start};

fn ask(x: f64) -> String {
    let body = json!({"symbol": "ES", "features": {"x": x}, "request_id": format!("order-{x}")});
    Event::new("POST", "/v1/predict")
        .iam("arn:aws:sts::111122223333:assumed-role/desk/s1")
        .header("x-request-id", "unused")
        .text(&body.to_string())
        .to_json()
}

async fn data_of_one() -> tempfile::TempDir {
    data(vec![Example::of_one_number("same")]).await
}

#[tokio::test]
async fn a_process_loads_before_it_asks_for_work_and_records_start_load_and_end() {
    let data = data_of_one().await;
    let api = RuntimeApi::start().await.unwrap();
    let mut function = start(&api, data.path(), &[]).await;
    let answer = api.invoke(ask(7.0)).await.json();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let began = std::time::Instant::now();
    function.terminate().unwrap();
    assert!(function.wait(Duration::from_secs(10)).unwrap().success());
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(api.extensions(), ["sealcast-stop"]);
    let events = events(data.path()).await;
    let mut kinds: Vec<_> = events.iter().map(|event| event.body.kind()).collect();
    // The start is recorded beside the load, whichever is first.
    kinds[..2].sort_unstable();
    assert_eq!(
        kinds,
        [
            "model_access",
            "process_started",
            "prediction",
            "process_stopped"
        ]
    );
    let EventBody::ProcessStopped(stopped) = &events.last().unwrap().body else {
        panic!("{kinds:?}");
    };
    assert_eq!(stopped.reason, "SIGTERM: the environment ends");
}

#[tokio::test]
async fn the_log_names_the_invocation_and_repeats_the_hash_of_every_record() {
    let data = data_of_one().await;
    let api = RuntimeApi::start().await.unwrap();
    let mut function = start(&api, data.path(), &[]).await;
    for x in [1.0, 2.0, 3.0] {
        api.invoke(ask(x)).await;
    }
    function.terminate().unwrap();
    function.wait(Duration::from_secs(10)).unwrap();
    let log = function.log_objects();
    // Two that become durable at once are logged in either order.
    let mut logged: Vec<(u64, &str)> = log
        .iter()
        .filter_map(|line| {
            Some((
                line["audit.seq"].as_u64()?,
                line["audit.leaf_hash"].as_str()?,
            ))
        })
        .collect();
    logged.sort_unstable();
    let hashes: Vec<&str> = logged.into_iter().map(|(_, hash)| hash).collect();
    let store = store_embedded::EmbeddedStore::open(data.path()).unwrap();
    let reader = store.audit_reader();
    let stream = reader.streams(None, 1).await.unwrap()[0];
    let records = reader.read(stream, 0, 100).await.unwrap();
    let recorded: Vec<String> = records
        .iter()
        .map(|record| record.receipt().leaf_hash.to_string())
        .collect();
    assert_eq!(hashes, recorded);
    let third = log.iter().find(|line| line["audit.seq"] == 4).unwrap();
    assert_eq!(third["message"], "recorded");
    assert_eq!(
        third["span"]["lambda.request_id"],
        "00000003-0000-4000-8000-000000000000"
    );
    let trace_id = third["span"]["lambda.trace_id"].as_str().unwrap();
    assert!(trace_id.starts_with("Root=1-5759e988-"), "{trace_id}");
    assert_eq!(third["span"]["function.version"], "7");
    let ready = log.iter().find(|line| line["ready"] == true).unwrap();
    assert_eq!(ready["release.id"], "r-000001");
    let registration = reader.registration(stream).await.unwrap();
    let registration: serde_json::Value =
        serde_json::from_slice(&registration.registration).unwrap();
    let arn = "arn:aws:lambda:eu-west-1:111122223333:function:test:7";
    assert_eq!(registration["host"], arn);
}

#[tokio::test]
async fn a_tampered_model_leaves_the_function_running_and_its_security_event_in_the_log() {
    let data = data_of_one().await;
    let sealed = data.path().join("artifacts/same/1.0.0/model.onnx.sealed");
    let mut bytes = std::fs::read(&sealed).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&sealed, bytes).unwrap();
    let api = RuntimeApi::start().await.unwrap();
    let function = start(&api, data.path(), &[]).await;
    let answer = api.invoke(ask(7.0)).await.json();
    assert_eq!(answer["statusCode"], 503);
    let ready = Event::new("GET", "/v2/health/ready").to_json();
    let answer = api.invoke(ready).await.json();
    let body: serde_json::Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let log = function.log_objects();
    let security = log
        .iter()
        .find(|line| line["event.kind"] == "security")
        .unwrap();
    assert_eq!(security["level"], "ERROR");
    assert_eq!(security["security.subject"], "same@1.0.0");
    assert_eq!(security["security.code"], body["reason"]);
    assert!(
        security["security.code"]
            .as_str()
            .unwrap()
            .starts_with("artifact.")
    );
    let not_ready = log.iter().find(|line| line["ready"] == false).unwrap();
    assert_eq!(not_ready["reason"], body["reason"]);
}

#[tokio::test]
async fn a_host_without_extensions_serves_all_the_same() {
    let data = data_of_one().await;
    let api = RuntimeApi::start_without_extensions().await.unwrap();
    let function = start(&api, data.path(), &[]).await;
    assert_eq!(api.invoke(ask(7.0)).await.json()["statusCode"], 200);
    let said = function.log_objects();
    let message =
        |line: &serde_json::Value| line["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        said.iter()
            .any(|line| message(line).starts_with("no SIGTERM will come"))
    );
}

#[tokio::test]
async fn a_function_without_its_settings_ends_and_says_all_of_them() {
    let api = RuntimeApi::start().await.unwrap();
    let variables = [("SEALCAST_IAM_ROLES", "predictor"), ("SEALCAST_LOG", "=x=")];
    let mut function = Function::start(predict_embedded(), &[], &api, &variables).unwrap();
    assert!(!function.wait(Duration::from_secs(10)).unwrap().success());
    let log = function.log_objects();
    let faults: Vec<_> = log
        .iter()
        .map(|line| line["fault"].as_str().unwrap())
        .collect();
    let named: Vec<_> = faults
        .iter()
        .map(|fault| fault.split(':').next().unwrap())
        .collect();
    assert_eq!(
        named,
        ["SEALCAST_DATA", "SEALCAST_LOG", "SEALCAST_IAM_ROLES"]
    );
    assert_eq!(log[0]["level"], "ERROR");
}

#[tokio::test]
async fn an_event_that_is_none_of_the_gateways_fails_and_the_next_one_is_answered() {
    let data = data_of_one().await;
    let api = RuntimeApi::start().await.unwrap();
    let _function = start(&api, data.path(), &[]).await;
    let answer = api.invoke(r#"{"Records": []}"#).await;
    assert!(
        matches!(answer, lambda_tests::Answer::Error(_)),
        "{answer:?}"
    );
    assert_eq!(api.invoke(ask(7.0)).await.json()["statusCode"], 200);
}

#[tokio::test]
async fn a_request_whose_invocation_ends_at_once_is_503_and_recorded() {
    let data = data_of_one().await;
    let api = RuntimeApi::start().await.unwrap();
    let mut function = start(&api, data.path(), &[]).await;
    let answer = api.invoke_within(Duration::ZERO, ask(1.0)).await.json();
    assert_eq!(answer["statusCode"], 503, "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["code"], "request.deadline_exceeded");
    assert_eq!(answer["headers"]["retry-after"], "1");
    // It has an id, so it was carried through; sent again it gets that answer.
    let answer = api.invoke(ask(1.0)).await.json();
    assert_eq!(answer["headers"]["sealcast-replayed"], "true", "{answer}");
    function.terminate().unwrap();
    function.wait(Duration::from_secs(10)).unwrap();
    let events = events(data.path()).await;
    let kinds: Vec<_> = events.iter().map(|event| event.body.kind()).collect();
    let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!(
        (count("refusal"), count("prediction"), count("replay")),
        (1, 1, 1),
        "{kinds:?}"
    );
    // Nobody waited for the prediction's record, and its hash is in the log all the same.
    let log = function.log_objects();
    let hashes = log
        .iter()
        .filter(|line| line["audit.leaf_hash"].is_string());
    assert_eq!(hashes.count(), events.len());
}
