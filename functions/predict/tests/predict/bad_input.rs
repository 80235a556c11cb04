//! What bad input gets: the table of `docs/predict.md`, row by row. Every refusal leaves its record.

use std::io::Write;

use axum::body::Body;
use domain::Role;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::support::{Reply, Served, principal, serve_example, v1, v2};

const INFER: &str = "/v2/models/spx-direction/infer";

/// Asserts the refusal's form and that its record says the same.
async fn refused(served: &Served, reply: &Reply, status: u16, code: &str, field: Option<&str>) {
    let text = String::from_utf8_lossy(&reply.bytes);
    assert_eq!(reply.status.as_u16(), status, "{text}");
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    assert_eq!(body["code"], code, "{text}");
    assert_eq!(body["field"].as_str(), field, "{text}");
    assert!(body["error"].as_str().unwrap().len() > 5, "{text}");
    assert_eq!(body["request_id"], reply.header("x-request-id"));
    let known = ["error", "code", "field", "request_id"];
    assert!(
        body.as_object()
            .unwrap()
            .keys()
            .all(|key| known.contains(&key.as_str())),
        "{text}"
    );
    let recorded = served.last_refusal().await;
    assert_eq!((recorded.status, recorded.code.as_str()), (status, code));
    assert_eq!(recorded.field.as_deref(), field);
    assert_eq!(recorded.request_id, reply.header("x-request-id"));
}

async fn v1_refused(body: &str, status: u16, code: &str, field: Option<&str>) {
    let served = serve_example().await;
    let reply = served.post("/v1/predict", body).await;
    refused(&served, &reply, status, code, field).await;
    assert!(
        served.predictions().await.is_empty(),
        "it never reaches the model"
    );
}

async fn v2_refused(change: impl FnOnce(&mut Value), code: &str, field: &str) {
    let served = serve_example().await;
    let mut body = v2(0);
    change(&mut body);
    let reply = served.post(INFER, body.to_string()).await;
    refused(&served, &reply, 400, code, Some(field)).await;
    assert!(
        served.predictions().await.is_empty(),
        "it never reaches the model"
    );
}

fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut body = v1(0);
    change(&mut body);
    body.to_string()
}

#[tokio::test]
async fn malformed_json_is_400() {
    v1_refused("{\"symbol\": \"SPX\",", 400, "request.malformed_json", None).await;
    v1_refused("", 400, "request.malformed_json", None).await;
}

#[tokio::test]
async fn an_unknown_field_is_400_and_named() {
    v1_refused(
        &changed(|b| b["simbol"] = json!("SPX")),
        400,
        "request.unknown_field",
        Some("simbol"),
    )
    .await;
    v2_refused(
        |b| b["inputs"][0]["dtype"] = json!("FP32"),
        "request.unknown_field",
        "inputs[0].dtype",
    )
    .await;
}

#[tokio::test]
async fn a_missing_field_is_400_and_named() {
    let body = changed(|b| drop(b.as_object_mut().unwrap().remove("symbol")));
    v1_refused(&body, 400, "request.field_missing", Some("symbol")).await;
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_400_and_named() {
    v1_refused(
        &changed(|b| b["symbol"] = json!(7)),
        400,
        "request.field_type",
        Some("symbol"),
    )
    .await;
    v1_refused(
        &changed(|b| b["features"] = json!("none")),
        400,
        "request.field_type",
        Some("features"),
    )
    .await;
}

#[tokio::test]
async fn an_unknown_feature_is_400_and_named() {
    let body = changed(|b| b["features"]["rsi_15"] = json!(1));
    v1_refused(&body, 400, "input.unknown", Some("features.rsi_15")).await;
}

#[tokio::test]
async fn an_absent_feature_is_400_and_named() {
    let body = changed(|b| drop(b["features"].as_object_mut().unwrap().remove("rsi_14")));
    v1_refused(&body, 400, "input.missing_tensor", Some("features.rsi_14")).await;
}

#[tokio::test]
async fn too_few_listed_features_are_400() {
    v1_refused(
        &changed(|b| b["features"] = json!([1, 2, 3])),
        400,
        "input.count",
        Some("features"),
    )
    .await;
}

#[tokio::test]
async fn a_feature_of_the_wrong_type_is_400_and_named() {
    let body = changed(|b| b["features"]["rsi_14"] = json!("high"));
    v1_refused(&body, 400, "request.field_type", Some("features.rsi_14")).await;
}

#[tokio::test]
async fn a_missing_value_that_the_manifest_rejects_is_400_and_named() {
    let body = changed(|b| b["features"]["rsi_14"] = Value::Null);
    v1_refused(&body, 400, "input.missing_value", Some("features.rsi_14")).await;
}

#[tokio::test]
async fn a_value_outside_the_hard_range_is_400_and_named() {
    let body = changed(|b| b["features"]["rsi_14"] = json!(1e6));
    v1_refused(&body, 400, "input.out_of_range", Some("features.rsi_14")).await;
}

#[tokio::test]
async fn an_unknown_input_is_400_and_named() {
    v2_refused(
        |b| b["inputs"][0]["name"] = json!("prices"),
        "input.unknown",
        "inputs.prices",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_datatype_is_400() {
    v2_refused(
        |b| b["inputs"][0]["datatype"] = json!("FP64"),
        "input.datatype",
        "inputs.features",
    )
    .await;
    v2_refused(
        |b| b["inputs"][0]["datatype"] = json!("BF16"),
        "input.datatype",
        "inputs.features.datatype",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_shape_is_400() {
    v2_refused(
        |b| b["inputs"][0]["shape"] = json!([14]),
        "input.shape",
        "inputs.features",
    )
    .await;
    v2_refused(
        |b| b["inputs"][0]["shape"] = json!([1_u64 << 40, 1_u64 << 40]),
        "input.shape",
        "inputs.features.shape",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_element_count_is_400() {
    v2_refused(
        |b| b["inputs"][0]["shape"] = json!([2, 14]),
        "input.count",
        "inputs.features.data",
    )
    .await;
}

#[tokio::test]
async fn an_empty_batch_is_400() {
    let empty = |b: &mut Value| {
        b["inputs"][0]["shape"] = json!([0, 14]);
        b["inputs"][0]["data"] = json!([]);
    };
    v2_refused(empty, "input.rows", "inputs.features").await;
    let served = serve_example().await;
    let reply = served.post("/v1/predict/batch", "{\"rows\": []}").await;
    refused(&served, &reply, 400, "input.rows", Some("rows")).await;
}

#[tokio::test]
async fn too_many_rows_are_400() {
    let many = |b: &mut Value| {
        b["inputs"][0]["shape"] = json!([1025, 14]);
        b["inputs"][0]["data"] = json!(vec![0; 1025 * 14]);
    };
    v2_refused(many, "input.rows", "inputs.features").await;
    let served = serve_example().await;
    let rows = json!({"rows": vec![v1(0); 1025]}).to_string();
    let reply = served.post("/v1/predict/batch", rows).await;
    refused(&served, &reply, 400, "input.rows", Some("rows")).await;
}

#[tokio::test]
async fn nan_and_infinity_are_not_json() {
    for word in ["NaN", "Infinity", "-Infinity"] {
        let body = v2(0)
            .to_string()
            .replacen("\"data\":[", &format!("\"data\":[{word},"), 1);
        let served = serve_example().await;
        let reply = served.post(INFER, body).await;
        refused(&served, &reply, 400, "request.malformed_json", None).await;
        assert!(
            reply.json()["error"].as_str().unwrap().contains("null"),
            "{:?}",
            reply.json()
        );
    }
}

#[tokio::test]
async fn a_nan_or_an_infinity_in_a_raw_tensor_is_400() {
    for (value, code) in [
        (f32::NAN, "input.missing_value"),
        (f32::INFINITY, "input.not_finite"),
    ] {
        let served = serve_example().await;
        let raw: Vec<u8> = [value; 14].iter().flat_map(|v| v.to_le_bytes()).collect();
        let reply = served
            .post_with(INFER, &[("inference-header-content-length", "0")], raw)
            .await;
        refused(
            &served,
            &reply,
            400,
            code,
            Some("inputs.features[0].ret_1d"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_number_that_is_too_large_is_400() {
    v2_refused(
        |b| b["inputs"][0]["data"][3] = json!(1e39),
        "request.number_too_large",
        "inputs.features.data[3]",
    )
    .await;
    let body = changed(|b| b["features"]["rsi_14"] = json!(1e39));
    v1_refused(
        &body,
        400,
        "request.number_too_large",
        Some("features.rsi_14"),
    )
    .await;
    let body =
        changed(|b| b["features"]["rsi_14"] = json!(7)).replace("\"rsi_14\":7", "\"rsi_14\":1e999");
    v1_refused(
        &body,
        400,
        "request.number_too_large",
        Some("features.rsi_14"),
    )
    .await;
}

#[tokio::test]
async fn an_unknown_output_is_400_and_named() {
    v2_refused(
        |b| b["outputs"] = json!([{"name": "label"}, {"name": "score"}]),
        "request.output_unknown",
        "outputs.score",
    )
    .await;
}

#[tokio::test]
async fn an_output_that_is_asked_for_twice_is_400() {
    v2_refused(
        |b| b["outputs"] = json!([{"name": "label"}, {"name": "label"}]),
        "request.output_duplicate",
        "outputs.label",
    )
    .await;
}

#[tokio::test]
async fn a_parameter_that_would_change_the_answer_is_400() {
    let shared =
        |b: &mut Value| b["inputs"][0]["parameters"] = json!({"shared_memory_region": "r"});
    v2_refused(
        shared,
        "request.parameter_unsupported",
        "inputs.features.parameters.shared_memory_region",
    )
    .await;
}

#[tokio::test]
async fn a_model_name_that_is_not_the_paths_is_400() {
    v2_refused(
        |b| b["model_name"] = json!("another"),
        "request.model_mismatch",
        "model_name",
    )
    .await;
}

#[tokio::test]
async fn a_missing_symbol_is_400_where_the_model_is_limited_to_several() {
    let mut members = crate::support::example_members();
    let symbols = ["SPX", "NDX"].map(|s| s.parse().unwrap());
    members[0].manifest.limits.symbols = Some(symbols.to_vec());
    let served = crate::support::serve(members, |_| crate::support::Ports::default()).await;
    let reply = served.post(INFER, v2(0).to_string()).await;
    refused(
        &served,
        &reply,
        400,
        "symbol.missing",
        Some("parameters.symbol"),
    )
    .await;
}

#[tokio::test]
async fn a_request_id_that_cannot_be_one_is_400() {
    v1_refused(
        &changed(|b| b["request_id"] = json!("")),
        400,
        "request.field_type",
        Some("request_id"),
    )
    .await;
    v2_refused(|b| b["id"] = json!("a b"), "request.id_invalid", "id").await;
    let served = serve_example().await;
    let long = "x".repeat(200);
    let reply = served
        .post_with("/v1/predict", &[("x-request-id", &long)], v1(0).to_string())
        .await;
    refused(
        &served,
        &reply,
        400,
        "request.id_invalid",
        Some("x-request-id"),
    )
    .await;
}

#[tokio::test]
async fn a_header_length_beyond_the_body_is_400() {
    for length in ["999999", "-1", "ten"] {
        let served = serve_example().await;
        let headers = [("inference-header-content-length", length)];
        let reply = served.post_with(INFER, &headers, v2(0).to_string()).await;
        refused(
            &served,
            &reply,
            400,
            "request.header_length",
            Some("Inference-Header-Content-Length"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let served = serve_example().await;
    let reply = served
        .post("/v1/predict", vec![b' '; web::body::MAX_BODY_BYTES + 1])
        .await;
    refused(&served, &reply, 413, "request.too_large", None).await;
}

#[tokio::test]
async fn a_zip_bomb_is_413() {
    let zeros = vec![b' '; web::body::MAX_BODY_BYTES * 20];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&zeros).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(&zeros).unwrap();
    for (encoding, bomb) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
    ] {
        assert!(bomb.len() < 200_000);
        let served = serve_example().await;
        let reply = served
            .post_with("/v1/predict", &[("content-encoding", encoding)], bomb)
            .await;
        refused(&served, &reply, 413, "request.too_large", None).await;
    }
}

#[tokio::test]
async fn an_encoding_that_is_broken_or_unknown_is_refused() {
    let served = serve_example().await;
    let reply = served
        .post_with("/v1/predict", &[("content-encoding", "gzip")], "no gzip")
        .await;
    refused(
        &served,
        &reply,
        400,
        "request.encoding_broken",
        Some("Content-Encoding"),
    )
    .await;
    let reply = served
        .post_with("/v1/predict", &[("content-encoding", "br")], "x")
        .await;
    refused(
        &served,
        &reply,
        415,
        "request.encoding_unsupported",
        Some("Content-Encoding"),
    )
    .await;
}

#[tokio::test]
async fn an_unknown_model_or_version_is_404() {
    let served = serve_example().await;
    for name in ["nothing", "spx-direction-mlp", "..%2f..", "%00"] {
        let reply = served
            .post(&format!("/v2/models/{name}/infer"), v2(0).to_string())
            .await;
        refused(&served, &reply, 404, "model.unknown", Some("model")).await;
    }
    let reply = served
        .post(
            "/v2/models/spx-direction/versions/9.9.9/infer",
            v2(0).to_string(),
        )
        .await;
    refused(
        &served,
        &reply,
        404,
        "model.version_unknown",
        Some("model_version"),
    )
    .await;
    let reply = served
        .post("/v1/predict", changed(|b| b["model"] = json!("nothing")))
        .await;
    refused(&served, &reply, 404, "model.unknown", Some("model")).await;
}

#[tokio::test]
async fn an_unknown_path_is_404_and_an_unknown_method_405() {
    let served = serve_example().await;
    let reply = served.get("/v3/models").await;
    refused(&served, &reply, 404, "route.unknown", None).await;
    let reply = served.get("/v1/predict").await;
    refused(&served, &reply, 405, "route.method_not_allowed", None).await;
}

#[tokio::test]
async fn a_symbol_outside_the_limits_is_403() {
    let served = serve_example().await;
    let reply = served
        .post("/v1/predict", changed(|b| b["symbol"] = json!("GME")))
        .await;
    refused(&served, &reply, 403, "symbol.not_allowed", Some("symbol")).await;
    assert_eq!(served.last_refusal().await.symbol.as_deref(), Some("GME"));
    let mut body = v2(0);
    body["parameters"] = json!({"symbol": "GME"});
    let reply = served.post(INFER, body.to_string()).await;
    refused(&served, &reply, 403, "symbol.not_allowed", Some("symbol")).await;
    assert!(served.predictions().await.is_empty());
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_401() {
    let served = serve_example().await;
    for path in ["/v1/predict", INFER, "/v2/repository/index"] {
        let reply = served
            .send(
                Request::post(path)
                    .body(Body::from(v1(0).to_string()))
                    .unwrap(),
            )
            .await;
        refused(&served, &reply, 401, "auth.missing", None).await;
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let request = Request::post("/v1/predict").extension(web::AuthFailure);
    let reply = served
        .send(request.body(Body::from(v1(0).to_string())).unwrap())
        .await;
    refused(&served, &reply, 401, "auth.invalid", None).await;
}

#[tokio::test]
async fn a_wrong_role_is_403() {
    let served = serve_example().await;
    for path in ["/v1/predict", "/v1/predict/batch", "/v1/outcomes", INFER] {
        let request = Request::post(path).extension(principal(&[Role::Auditor]));
        let reply = served
            .send(request.body(Body::from(v1(0).to_string())).unwrap())
            .await;
        refused(&served, &reply, 403, "auth.role_missing", None).await;
        assert_eq!(
            served.last_refusal().await.principal.as_deref(),
            Some("desk-1")
        );
    }
}

#[tokio::test]
async fn nothing_serves_before_a_release_is_active() {
    let served = crate::support::prepare(crate::support::example_members(), |_| {
        crate::support::Ports::default()
    })
    .await;
    let reply = served.post("/v1/predict", v1(0).to_string()).await;
    refused(&served, &reply, 503, "model.not_ready", None).await;
    let reply = served.get("/v2/health/ready").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["ready"], false);
}
