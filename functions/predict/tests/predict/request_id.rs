//! The same id and payload: the same recorded answer. The same id, another payload: 409.

use artifact::manifest::OutputContract;
use audit::EventBody;
use serde_json::json;

use crate::support::{serve_example, v1, v2};

#[tokio::test]
async fn the_same_request_gets_the_same_recorded_answer() {
    let served = serve_example().await;
    let mut body = v1(0);
    body["request_id"] = json!("order-1");
    let first = served.post("/v1/predict", body.to_string()).await;
    let second = served.post("/v1/predict", body.to_string()).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(first.header("sealcast-replayed"), "");
    assert_eq!(second.header("sealcast-replayed"), "true");
    assert_eq!(served.predictions().await.len(), 1);
    let kinds: Vec<_> = served
        .events()
        .await
        .iter()
        .map(|e| e.body.kind())
        .collect();
    assert_eq!(kinds.last(), Some(&"replay"));
}

#[tokio::test]
async fn an_id_in_the_header_or_in_the_protocols_body_counts_too() {
    let served = serve_example().await;
    let path = "/v2/models/spx-direction/infer";
    let header = [("x-request-id", "order-2")];
    let first = served.post_with(path, &header, v2(0).to_string()).await;
    let mut body = v2(0);
    body["id"] = json!("order-2");
    let second = served.post(path, body.to_string()).await;
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(first.json()["id"], "order-2");
    assert_eq!(first.header("x-request-id"), "order-2");
}

#[tokio::test]
async fn the_same_id_with_another_payload_is_409() {
    let served = serve_example().await;
    let mut body = v1(0);
    body["request_id"] = json!("order-3");
    assert_eq!(
        served.post("/v1/predict", body.to_string()).await.status,
        200
    );
    body["features"] = v1(1)["features"].clone();
    let reply = served.post("/v1/predict", body.to_string()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["code"].clone()),
        (409, json!("request.id_reused"))
    );
    assert_eq!(reply.json()["request_id"], "order-3");
    assert_eq!(served.last_refusal().await.request_id, "order-3");
    let last = served.events().await.pop().unwrap();
    let EventBody::Security(security) = last.body else {
        panic!("{last:?}");
    };
    assert_eq!(security.code, "request.id_reused");
    assert!(security.detail.contains("order-3"), "{security:?}");
}

#[tokio::test]
async fn concurrent_twins_answer_identically() {
    let served = serve_example().await;
    let mut body = v1(0);
    body["request_id"] = json!("order-4");
    let text = body.to_string();
    let mut replies = Vec::new();
    let mut set: tokio::task::JoinSet<_> = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (router, text) = (served.router.clone(), text.clone());
        set.spawn(async move {
            use http_body_util::BodyExt;
            use tower::ServiceExt;
            let request = http::Request::post("/v1/predict")
                .extension(crate::support::principal(&[domain::Role::Predictor]))
                .body(axum::body::Body::from(text))
                .unwrap();
            let response = router.oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
    }
    while let Some(reply) = set.join_next().await {
        replies.push(reply.unwrap());
    }
    assert!(
        replies.iter().all(|reply| *reply == replies[0]),
        "{:?}",
        replies[0]
    );
    assert_eq!(served.predictions().await.len(), 1);
}

#[tokio::test]
async fn requests_without_an_id_are_each_answered_anew() {
    let served = serve_example().await;
    let first = served.post("/v1/predict", v1(0).to_string()).await.json();
    let second = served.post("/v1/predict", v1(0).to_string()).await.json();
    assert_ne!(first["request_id"], second["request_id"]);
    assert_eq!(first["probabilities"], second["probabilities"]);
    assert_eq!(served.predictions().await.len(), 2);
}

#[tokio::test]
async fn a_new_version_in_between_leaves_a_repeated_request_the_same() {
    let served = serve_example().await;
    let mut body = v1(0);
    body["request_id"] = json!("order-5");
    let first = served.post("/v1/predict", body.to_string()).await;
    served
        .release_next_version(|manifest| {
            // The new version names its classes otherwise and takes neither this symbol nor such a value.
            if let OutputContract::Classification { labels, .. } = &mut manifest.output {
                labels.rotate_left(1);
            }
            manifest.limits.symbols = Some(vec!["NDX".parse().unwrap()]);
            manifest.inputs[0].columns[6].max = Some(0.5);
        })
        .await;
    let second = served.post("/v1/predict", body.to_string()).await;
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(second.json()["model_version"], "1.0.0");
    let fresh = served.post("/v1/predict", v1(0).to_string()).await;
    assert_eq!(fresh.json()["code"], "symbol.not_allowed");
    assert_eq!(
        served.last_refusal().await.requested.as_deref(),
        Some("spx-direction@1.0.1")
    );
    body["model_version"] = json!("1.0.1");
    assert_eq!(
        served.post("/v1/predict", body.to_string()).await.status,
        409
    );
    let unloaded = served
        .events()
        .await
        .iter()
        .filter(|e| json!(e.body)["data"]["outcome"] == "unloaded")
        .count();
    assert_eq!(unloaded, 2);
}
