//! The Open Inference Protocol and `/v1`, on real rows, against the training library's own outputs.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::{
    Ports, column_names, example_dir, example_members, features, serve, serve_example, v1, v2,
};

const INFER: &str = "/v2/models/spx-direction/infer";

fn expected() -> Value {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(example_dir().join("expected.json")).unwrap())
            .unwrap();
    expected
}

fn near(a: &Value, b: &Value) {
    let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
    assert!((a - b).abs() <= 1e-5, "{a} {b}");
}

/// The library's label (index) and probabilities for a committed row.
fn of_library(row: usize) -> (i64, Vec<Value>) {
    let expected = expected();
    let model = &expected["models"]["spx-direction"];
    let label = model["labels"][row].as_i64().unwrap();
    (
        label,
        model["probabilities"][row].as_array().unwrap().clone(),
    )
}

#[tokio::test]
async fn committed_rows_give_the_librarys_labels_and_probabilities() {
    let served = serve_example().await;
    let names = ["sell", "hold", "buy"];
    for row in (0..300).step_by(30) {
        let (label, probabilities) = of_library(row);
        let reply = served.post("/v1/predict", v1(row).to_string()).await;
        let body = reply.json();
        assert_eq!(body["label"], names[label as usize], "{body}");
        for (name, probability) in names.iter().zip(&probabilities) {
            near(&body["probabilities"][name], probability);
        }
        let reply = served.post(INFER, v2(row).to_string()).await;
        let body = reply.json();
        assert_eq!(body["outputs"][0]["name"], "label");
        assert_eq!(body["outputs"][0]["data"], json!([label]));
        for (at, probability) in probabilities.iter().enumerate() {
            near(&body["outputs"][1]["data"][at], probability);
        }
    }
}

#[tokio::test]
async fn an_answer_says_what_answered_and_carries_its_receipt() {
    let served = serve_example().await;
    let reply = served.post("/v1/predict", v1(0).to_string()).await;
    let body = reply.json();
    assert_eq!(body["model"], "spx-direction");
    assert_eq!(body["model_version"], "1.0.0");
    assert_eq!(body["release"], "r-000001");
    assert_eq!(body["answered_by"], "spx-direction@1.0.0");
    assert_eq!(
        (&body["degraded"], &body["fallback_level"]),
        (&json!(false), &json!(0))
    );
    let receipt = &body["receipt"];
    let header = format!(
        "{}:{}:{}",
        receipt["stream"].as_str().unwrap(),
        receipt["seq"],
        receipt["leaf_hash"].as_str().unwrap()
    );
    assert_eq!(reply.header("sealcast-receipt"), header);
    let recorded = served.predictions().await.pop().unwrap();
    assert_eq!(recorded.request_id, body["request_id"]);
    assert_eq!(recorded.requested.algo_id, "EXAMPLE-SPX-0001");
    assert_eq!(recorded.answers.values[0]["label"], body["label"]);
    assert_eq!(recorded.inputs[0].data.len(), 14);
    assert_eq!(recorded.symbols.values, [json!("SPX")]);
    let first = &column_names()[0];
    assert_eq!(recorded.inputs[0].data[0], features(0)[first]);
}

#[tokio::test]
async fn the_batch_answers_row_by_row() {
    let served = serve_example().await;
    let rows: Vec<Value> = (0..3).map(v1).collect();
    let reply = served
        .post("/v1/predict/batch", json!({"rows": rows}).to_string())
        .await;
    let body = reply.json();
    let predictions = body["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 3);
    for (row, prediction) in predictions.iter().enumerate() {
        let (label, _) = of_library(row);
        assert_eq!(prediction["label"], ["sell", "hold", "buy"][label as usize]);
    }
    assert_eq!(served.predictions().await.len(), 1);
}

#[tokio::test]
async fn a_large_batch_is_recorded_whole_in_several_events() {
    let served = serve_example().await;
    let rows: Vec<Value> = (0..1024).map(|row| v1(row % 300)).collect();
    let reply = served
        .post("/v1/predict/batch", json!({"rows": rows}).to_string())
        .await;
    let body = reply.json();
    assert_eq!(
        body["predictions"].as_array().unwrap().len(),
        1024,
        "{body}"
    );
    let recorded = served.predictions().await;
    assert!(recorded.len() > 1);
    assert_eq!(recorded.last().unwrap().part, recorded[0].parts);
    let inputs: usize = recorded
        .iter()
        .flat_map(|p| &p.inputs)
        .map(|t| t.data.len())
        .sum();
    let answers: usize = recorded.iter().map(|p| p.answers.values.len()).sum();
    assert_eq!((inputs, answers), (1024 * 14, 1024));
}

#[tokio::test]
async fn features_may_be_listed_and_data_nested() {
    let served = serve_example().await;
    let by_name = served.post("/v1/predict", v1(5).to_string()).await.json();
    let listed: Vec<Value> = column_names()
        .iter()
        .map(|name| features(5)[name].clone())
        .collect();
    let reply = served
        .post(
            "/v1/predict",
            json!({"symbol": "SPX", "features": listed}).to_string(),
        )
        .await;
    assert_eq!(reply.json()["probabilities"], by_name["probabilities"]);
    let mut nested = v2(5);
    nested["inputs"][0]["data"] = json!([nested["inputs"][0]["data"]]);
    assert_eq!(
        served.post(INFER, nested.to_string()).await.json()["outputs"],
        served.post(INFER, v2(5).to_string()).await.json()["outputs"]
    );
}

#[tokio::test]
async fn members_that_clients_write_as_null_or_repeat_from_the_path_are_taken() {
    let served = serve_example().await;
    let mut body = v2(0);
    body["model_name"] = json!("spx-direction");
    body["model_version"] = json!("1.0.0");
    for member in ["id", "parameters", "outputs"] {
        body[member] = Value::Null;
    }
    body["inputs"][0]["parameters"] = Value::Null;
    assert_eq!(served.post(INFER, body.to_string()).await.status, 200);
}

#[tokio::test]
async fn an_imputed_and_a_clipped_value_are_reported_and_recorded() {
    let served = serve_example().await;
    let mut body = v1(0);
    body["features"]["volume_z_20d"] = Value::Null;
    let reply = served.post("/v1/predict", body.to_string()).await.json();
    assert_eq!(reply["changes"][0]["kind"], "imputed");
    assert_eq!(reply["changes"][0]["column"], "volume_z_20d");
    let recorded = served.predictions().await.pop().unwrap();
    assert_eq!(recorded.changes.values[0], reply["changes"][0]);
}

#[tokio::test]
async fn personal_values_stand_in_no_record() {
    for holder in [0, 1] {
        personal_values_of(holder).await;
    }
}

/// `rsi_14` is personal for the live model (0) or for its fallback model (1); either keeps it out.
async fn personal_values_of(holder: usize) {
    let mut members = example_members();
    members[holder].manifest.personal_data = vec!["rsi_14".to_owned()];
    let served = serve(members, |_| Ports::default()).await;
    assert_eq!(
        served.post("/v1/predict", v1(0).to_string()).await.status,
        200
    );
    let input = served.predictions().await.pop().unwrap().inputs.remove(0);
    let at = column_names()
        .iter()
        .position(|name| name == "rsi_14")
        .unwrap();
    assert_eq!(
        (&input.data[at], &input.redacted),
        (&Value::Null, &vec!["rsi_14".to_owned()])
    );
    let mut body = v1(0);
    body["features"]["rsi_14"] = json!(123_456.5);
    assert_eq!(
        served.post("/v1/predict", body.to_string()).await.status,
        400
    );
    let refusal = served.last_refusal().await;
    assert_eq!(refusal.field.as_deref(), Some("features.rsi_14"));
    assert!(!refusal.error.contains("123456"), "{}", refusal.error);
}

#[tokio::test]
async fn raw_tensors_go_in_and_come_out() {
    let served = serve_example().await;
    let json_reply = served.post(INFER, v2(3).to_string()).await.json();
    let raw: Vec<u8> = v2(3)["inputs"][0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|v| (v.as_f64().unwrap() as f32).to_le_bytes())
        .collect();
    let head = json!({
        "inputs": [{"name": "features", "shape": [1, 14], "datatype": "FP32", "parameters": {"binary_data_size": raw.len()}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": true}}, {"name": "label"}],
    })
    .to_string();
    let length = head.len().to_string();
    let body = [head.as_bytes(), &raw].concat();
    let reply = served
        .post_with(INFER, &[("inference-header-content-length", &length)], body)
        .await;
    assert_eq!(reply.header("content-type"), "application/octet-stream");
    let split: usize = reply
        .header("inference-header-content-length")
        .parse()
        .unwrap();
    let head: Value = serde_json::from_slice(&reply.bytes[..split]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 12);
    assert_eq!(head["outputs"][1]["data"], json_reply["outputs"][0]["data"]);
    let probabilities: Vec<f32> = reply.bytes[split..]
        .chunks(4)
        .map(|c| f32::from_le_bytes(c.try_into().unwrap()))
        .collect();
    for (at, probability) in probabilities.iter().enumerate() {
        let in_json = json_reply["outputs"][1]["data"][at].as_f64().unwrap() as f32;
        assert_eq!(probability.to_bits(), in_json.to_bits());
    }
}

#[tokio::test]
async fn a_raw_body_is_the_one_input() {
    let served = serve_example().await;
    let raw: Vec<u8> = [v2(3), v2(4)]
        .iter()
        .flat_map(|body| body["inputs"][0]["data"].as_array().unwrap().clone())
        .flat_map(|v| (v.as_f64().unwrap() as f32).to_le_bytes())
        .collect();
    let headers = [
        ("inference-header-content-length", "0"),
        ("x-request-id", "raw-1"),
    ];
    let reply = served.post_with(INFER, &headers, raw.clone()).await;
    let split: usize = reply
        .header("inference-header-content-length")
        .parse()
        .unwrap();
    let head: Value = serde_json::from_slice(&reply.bytes[..split]).unwrap();
    assert_eq!(head["outputs"][1]["shape"], json!([2, 3]));
    assert_eq!(head["id"], "raw-1");
    let reply = served
        .post_with(INFER, &headers[..1], raw[1..].to_vec())
        .await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let served = serve_example().await;
    let plain = v2(1).to_string();
    let expected = served.post(INFER, plain.clone()).await.json()["outputs"].clone();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(plain.as_bytes()).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(plain.as_bytes()).unwrap();
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
    bare.write_all(plain.as_bytes()).unwrap();
    for (encoding, body) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
    ] {
        let reply = served
            .post_with(INFER, &[("content-encoding", encoding)], body)
            .await;
        assert_eq!(reply.json()["outputs"], expected);
    }
}

#[tokio::test]
async fn long_answers_are_compressed_where_the_caller_takes_it() {
    let served = serve_example().await;
    let mut body = v2(0);
    let row = body["inputs"][0]["data"].as_array().unwrap().clone();
    body["inputs"][0]["shape"] = json!([300, 14]);
    body["inputs"][0]["data"] = json!(vec![row; 300]);
    let plain = served.post(INFER, body.to_string()).await;
    assert_eq!(plain.header("content-encoding"), "");
    for (accept, coding) in [
        ("gzip, deflate", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0, br", ""),
    ] {
        let reply = served
            .post_with(INFER, &[("accept-encoding", accept)], body.to_string())
            .await;
        assert_eq!(reply.header("content-encoding"), coding);
        let mut text = Vec::new();
        match coding {
            "gzip" => drop(
                GzDecoder::new(&*reply.bytes)
                    .read_to_end(&mut text)
                    .unwrap(),
            ),
            "deflate" => drop(
                ZlibDecoder::new(&*reply.bytes)
                    .read_to_end(&mut text)
                    .unwrap(),
            ),
            _ => text.clone_from(&reply.bytes),
        }
        let unpacked: Value = serde_json::from_slice(&text).unwrap();
        assert!(unpacked["outputs"] == plain.json()["outputs"], "{coding}");
    }
}

#[tokio::test]
async fn metadata_says_what_serves() {
    let served = serve_example().await;
    for path in ["/v2", "/v2/"] {
        let body = served.get(path).await.json();
        assert_eq!(body["name"], "sealcast");
        assert_eq!(body["extensions"][0], "binary_tensor_data");
    }
    assert_eq!(
        served.get("/v2/health/live").await.json(),
        json!({"live": true})
    );
    assert_eq!(
        served.get("/v2/health/ready").await.json(),
        json!({"ready": true, "live": true})
    );
    assert_eq!(
        served.get("/v2/models").await.json(),
        json!({"models": ["spx-direction"]})
    );
    let metadata = served.get("/v2/models/spx-direction").await.json();
    assert_eq!(
        metadata,
        served
            .get("/v2/models/spx-direction/versions/1.0.0")
            .await
            .json()
    );
    assert_eq!(metadata["platform"], "onnx_onnxv1");
    assert_eq!(metadata["versions"], json!(["1.0.0"]));
    assert_eq!(
        metadata["inputs"],
        json!([{"name": "features", "datatype": "FP32", "shape": [-1, 14]}])
    );
    let ready = served
        .get("/v2/models/spx-direction/versions/1.0.0/ready")
        .await;
    assert_eq!(
        (ready.status.as_u16(), ready.json()["ready"].clone()),
        (200, json!(true))
    );
    assert_eq!(
        served
            .get("/v2/models/spx-direction/versions/2.0.0/ready")
            .await
            .status,
        404
    );
    let index = served.post("/v2/repository/index", "").await.json();
    assert_eq!(index[0]["state"], "READY");
    let config = served.get("/v2/models/spx-direction/config").await.json();
    assert_eq!(
        config["input"][0],
        json!({"name": "features", "data_type": "TYPE_FP32", "dims": [14]})
    );
    served.post(INFER, v2(0).to_string()).await;
    let stats = served.get("/v2/models/spx-direction/stats").await.json();
    assert_eq!(
        stats["model_stats"][0]["inference_stats"]["success"]["count"],
        1
    );
}

#[tokio::test]
async fn an_outcome_is_recorded() {
    let served = serve_example().await;
    let receipt = served.post("/v1/predict", v1(0).to_string()).await.json()["receipt"].clone();
    let body = json!({"receipt": receipt, "outcome": "buy", "pnl": -12.5, "observed_at": "2026-11-22T16:00:00Z"});
    let reply = served.post("/v1/outcomes", body.to_string()).await;
    assert_eq!(reply.status, 202);
    let events = served.events().await;
    let outcome = events.iter().find(|e| e.body.kind() == "outcome").unwrap();
    assert_eq!(json!(outcome.body)["data"]["of_receipt"], receipt);
    for (sent, recorded) in [
        (json!(9_007_199_254_740_993_u64), json!("9007199254740993")),
        (json!(u64::MAX), json!("18446744073709551615")),
        (json!(-7), json!(-7)),
        (json!(0.25), json!(0.25)),
    ] {
        let body = json!({"request_id": "a", "outcome": sent}).to_string();
        assert_eq!(served.post("/v1/outcomes", body).await.status, 202);
        // Reading the events verifies their stream.
        let events = served.events().await;
        assert_eq!(json!(events.last().unwrap())["data"]["outcome"], recorded);
    }
    let mut far = receipt.clone();
    far["seq"] = json!(u64::MAX);
    for wrong in [
        json!({"receipt": far, "outcome": "buy"}),
        json!({"outcome": "buy"}),
        json!({"request_id": "a", "receipt": receipt, "outcome": "buy"}),
        json!({"request_id": "a", "outcome": null}),
        json!({"request_id": "a", "outcome": "buy", "observed_at": "yesterday"}),
    ] {
        assert_eq!(
            served.post("/v1/outcomes", wrong.to_string()).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn the_openapi_document_describes_every_route_of_this_function() {
    let served = serve_example().await;
    let document = served.get("/openapi.json").await.json();
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
        {
            described.push((method.clone(), path.clone()));
        }
    }
    for (method, path) in predict::routes::ROUTES {
        let route = (method.to_owned(), path.to_owned());
        assert!(described.contains(&route), "{method} {path}");
        let path = path
            .replace("{model}", "spx-direction")
            .replace("{version}", "1.0.0");
        let reply = if method == "get" {
            served.get(&path).await
        } else {
            served.post(&path, "").await
        };
        assert!(
            ![404, 405].contains(&reply.status.as_u16()),
            "{method} {path}"
        );
    }
}
