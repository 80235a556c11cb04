//! The ladder, each step visible in the answer and in the record.

use std::path::Path;

use artifact::Manifest;
use artifact::manifest::OutputContract;
use domain::ReleaseRole;
use serde_json::{Value, json};

use crate::support::{Member, Ports, Served, serve};

/// A model `value = x` (or `x / 1000`) whose contract allows answers up to 100.
fn member(name: &str, file: &str, fallback: Value, role: ReleaseRole) -> Member {
    let manifest = json!({
        "format": "sealcast.manifest/v1", "name": name, "version": "1.0.0", "owner": "tests", "algo_id": "T-1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1], "columns": [{"name": "x"}]}],
        "output": {"kind": "regression", "value": "value", "min": -100.0, "max": 100.0},
        "latency_budget_ms": 30_000, "limits": {"max_rows": 16}, "fallback": fallback,
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/models")
        .join(file);
    Member {
        manifest: Manifest::from_json(manifest.to_string().as_bytes()).unwrap(),
        onnx: std::fs::read(path).unwrap(),
        role,
    }
}

async fn served(fallback: Value, with_model: bool) -> Served {
    let mut members = vec![member("same", "same.onnx", fallback, ReleaseRole::Live)];
    if with_model {
        let role = ReleaseRole::FallbackFor(members[0].manifest.name.clone());
        members.push(member("thousandth", "thousandth.onnx", json!({}), role));
    }
    serve(members, |_| Ports::default()).await
}

async fn ask(served: &Served, x: f64) -> Value {
    let body = json!({"symbol": "ES", "features": {"x": x}});
    served.post("/v1/predict", body.to_string()).await.json()
}

#[tokio::test]
async fn an_answer_outside_the_contract_is_never_given_and_the_fallback_model_answers() {
    let served = served(json!({}), true).await;
    assert_eq!(ask(&served, 7.0).await["value"], 7.0);
    let degraded = ask(&served, 500.0).await;
    assert_eq!(degraded["value"], 0.5);
    assert_eq!(degraded["degraded"], true);
    assert_eq!(degraded["fallback_level"], 1);
    assert_eq!(degraded["answered_by"], "thousandth@1.0.0");
    assert_eq!(degraded["reason"], "model.output_out_of_contract");
    let recorded = served.predictions().await.pop().unwrap();
    assert_eq!(recorded.fallback_level, 1);
    assert_eq!(recorded.requested.name, "same");
    assert_eq!(recorded.fallback_model.unwrap().name, "thousandth");
    assert_eq!(recorded.failures[0].code, "model.output_out_of_contract");
    let body =
        json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [500]}]});
    let reply = served
        .post("/v2/models/same/infer", body.to_string())
        .await
        .json();
    assert_eq!(
        reply["outputs"],
        json!([{"name": "value", "shape": [1, 1], "datatype": "FP32", "data": [0.5]}])
    );
    assert_eq!(reply["parameters"]["degraded"], true);
}

#[tokio::test]
async fn the_last_good_answer_is_given_for_its_symbol() {
    let served = served(
        json!({"last_good_max_age_s": 60, "neutral": {"value": 0.0}}),
        false,
    )
    .await;
    assert_eq!(ask(&served, 42.0).await["fallback_level"], 0);
    let degraded = ask(&served, 500.0).await;
    assert_eq!(
        (&degraded["value"], &degraded["fallback_level"]),
        (&json!(42.0), &json!(2))
    );
    assert_eq!(degraded["answered_by"], "last_good");
    let other = json!({"symbol": "NQ", "features": {"x": 500.0}}).to_string();
    let other = served.post("/v1/predict", other).await.json();
    assert_eq!(
        (&other["value"], &other["fallback_level"]),
        (&json!(0.0), &json!(3))
    );
    assert_eq!(other["answered_by"], "neutral");
    let recorded = served.predictions().await.pop().unwrap();
    assert_eq!(recorded.failures.len(), 2);
    assert_eq!(recorded.failures[1].code, "last_good.none");
    assert!(recorded.outputs.is_empty());
}

#[tokio::test]
async fn a_last_good_answer_that_is_too_old_is_not_given() {
    let served = served(
        json!({"last_good_max_age_s": 1, "neutral": {"value": 0.0}}),
        false,
    )
    .await;
    ask(&served, 42.0).await;
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(ask(&served, 500.0).await["fallback_level"], 3);
}

#[tokio::test]
async fn a_fallback_model_that_refuses_a_personal_value_does_not_name_it() {
    let mut members = vec![member("same", "same.onnx", json!({}), ReleaseRole::Live)];
    members[0].manifest.personal_data = vec!["x".to_owned()];
    let role = ReleaseRole::FallbackFor(members[0].manifest.name.clone());
    let mut fallback = member("thousandth", "thousandth.onnx", json!({}), role);
    fallback.manifest.inputs[0].columns[0].max = Some(200.0);
    members.push(fallback);
    let served = serve(members, |_| Ports::default()).await;
    let body = json!({"symbol": "ES", "features": {"x": 543.0}}).to_string();
    assert_eq!(served.post("/v1/predict", body).await.status, 503);
    let refusal = served.last_refusal().await;
    assert_eq!(refusal.failures[1].code, "input.out_of_range");
    assert!(!refusal.failures[1].message.contains("543"), "{refusal:?}");
}

#[tokio::test]
async fn a_fallback_model_keeps_the_range_of_the_model_that_it_stands_in_for() {
    let mut members = vec![member("same", "same.onnx", json!({}), ReleaseRole::Live)];
    let role = ReleaseRole::FallbackFor(members[0].manifest.name.clone());
    let mut fallback = member("thousandth", "thousandth.onnx", json!({}), role);
    let OutputContract::Regression { max, .. } = &mut fallback.manifest.output else {
        panic!("a regression");
    };
    *max = Some(1e9);
    members.push(fallback);
    let served = serve(members, |_| Ports::default()).await;
    let body = json!({"symbol": "ES", "features": {"x": 500_000.0}}).to_string();
    assert_eq!(served.post("/v1/predict", body).await.status, 503);
}

#[tokio::test]
async fn where_no_step_answers_the_request_fails_with_its_reasons_recorded() {
    let served = served(json!({}), true).await;
    let body = json!({"symbol": "ES", "features": {"x": 1e9}}).to_string();
    let reply = served.post("/v1/predict", body).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["code"].clone()),
        (503, json!("model.failed"))
    );
    let refusal = served.last_refusal().await;
    let steps: Vec<_> = refusal
        .failures
        .iter()
        .map(|failure| failure.step.as_str())
        .collect();
    assert_eq!(steps, ["same@1.0.0", "thousandth@1.0.0"]);
    assert!(served.predictions().await.is_empty());
}
