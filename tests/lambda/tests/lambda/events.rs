//! Every event of `events/`, through the host's own conversion and the function's routes, against its snapshot.
//!
//! `SEALCAST_WRITE_SNAPSHOTS=1` writes the snapshots anew; what changed is then for the reviewer to see.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit_query::AuditQuery;
use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Recorder;
use domain::ports::{
    Alias, Dependency, Heartbeat, HeartbeatWriter, Routing, RoutingReader, StoreError, Target,
};
use engine::LoadLimits;
use flate2::read::GzDecoder;
use health::{Health, Limits, Needed, Versions};
use lambda_host::{Host, HostSettings};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, LambdaEvent, service_fn};
use lambda_tests::Example;
use lambda_tests::example::root;
use predict::{LoadSlot, Loader, Predict};
use serde_json::{Value, json};
use store_embedded::{EmbeddedStore, MemoryHeartbeats};
use testkit::build::{TestStream, prediction, release, release_id};
use testkit::{FixedClock, MemoryAudit, SeededEntropy, TestSigner};
use tower::Service;
use web::Edge;

/// Headers that a snapshot shows, with their values.
const SHOWN: [&str; 10] = [
    "cache-control",
    "content-encoding",
    "content-type",
    "retry-after",
    "sealcast-next",
    "sealcast-replayed",
    "sealcast-root",
    "sealcast-tree-size",
    "set-cookie",
    "www-authenticate",
];

/// Members of bodies that differ from run to run.
const MASKED: [&str; 7] = [
    "latency_ms",
    "leaf_hash",
    "receipt_leaf_hash",
    "receipt_seq",
    "receipt_stream",
    "seq",
    "stream",
];

fn host(routes: Router) -> Host {
    let settings = HostSettings::from_env(|name| {
        let value = match name {
            "SEALCAST_IAM_ROLES" => crate::support::IAM_ROLES,
            "SEALCAST_LOG" | "SEALCAST_JWT_ROLES_CLAIM" => return None,
            _ => "1",
        };
        Some(value.to_owned())
    });
    Host::new(routes, settings.unwrap())
}

fn recorder() -> Arc<Recorder> {
    Arc::new(Recorder::new(
        "test".to_owned(),
        Arc::new(MemoryAudit::new()),
        Arc::new(TestSigner::new(1)),
        Arc::new(FixedClock::default()),
        Arc::new(SeededEntropy::new(1)),
    ))
}

async fn predict_routes(dir: &Path) -> Router {
    let store = EmbeddedStore::create(dir).unwrap();
    Example::release(&store, Example::spx_direction()).await;
    let recorder = recorder();
    let loader = Loader {
        artifacts: store.artifact_reader(),
        releases: store.release_reader(),
        unwrapper: store.key_unwrapper(),
        trusted: store.keys().trusted_model_keys(),
        limits: LoadLimits::default(),
        time_limit: std::time::Duration::from_mins(1),
        slot: LoadSlot::default(),
        recorder: recorder.clone(),
        clock: Arc::new(FixedClock::default()),
    };
    let claims = store.request_claims();
    let clock = Arc::new(FixedClock::default());
    let predict = Predict::new(loader, claims, recorder.clone(), clock).pinned_to(release_id(1));
    Edge::new(recorder).surround(predict::router(Arc::new(predict)))
}

/// An alias that points to version 7, which serves release 1.
struct ToVersion7;

#[async_trait::async_trait]
impl RoutingReader for ToVersion7 {
    async fn routing(&self, _: &str) -> Result<Routing, StoreError> {
        Ok(Routing {
            alias: Some(Alias {
                release: release_id(1),
                revision: 1,
            }),
            targets: vec![Target {
                version: "7".to_owned(),
                weight: 1.0,
            }],
        })
    }
}

/// Something that is there.
struct There(&'static str);

#[async_trait::async_trait]
impl Dependency for There {
    fn name(&self) -> &str {
        self.0
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn health_routes(dir: &Path) -> Router {
    let store = EmbeddedStore::create(dir).unwrap();
    store.release_writer().create(&release(1)).await.unwrap();
    let now_us = FixedClock::default().0;
    let heartbeats = Arc::new(MemoryHeartbeats::default());
    let heartbeat = Heartbeat {
        version: "7".to_owned(),
        at_us: now_us - 5_000_000,
        release: Some(release_id(1)),
        reason: None,
        newest_event_us: Some(now_us - 6_000_000),
    };
    heartbeats.beat(&heartbeat).await.unwrap();
    let ports = health::Ports {
        spill: None,
        routing: Arc::new(ToVersion7),
        heartbeats,
        releases: store.release_reader(),
        dependencies: ["registry", "stream-key"]
            .map(|name| Needed::to_start(Arc::new(There(name))))
            .into(),
    };
    let recorder = recorder();
    let clock = Arc::new(FixedClock::default());
    let limits = Limits::default();
    let health = Health::new(ports, Versions::Pinned, limits, recorder.clone(), clock);
    Edge::new(recorder).surround(health::router(Arc::new(health)))
}

/// A stream of three sealed events and one that is not.
async fn audit_query_routes(dir: &Path) -> Router {
    let store = EmbeddedStore::create(dir).unwrap();
    let now_us = FixedClock::default().0;
    let clock = Arc::new(FixedClock::default());
    let (log, index) = (store.log(), store.seal_index());
    let log_key = Arc::new(TestSigner::new(9));
    let sealer = audit_seal::Sealer::new(
        audit_seal::Ports {
            audit: store.audit_reader(),
            log: log.clone(),
            writer: log.clone(),
            publisher: log.clone(),
            lock: log.clone(),
            stage: log.clone(),
            index: index.clone(),
            index_writer: index.clone(),
            signer: log_key.clone(),
            clock: clock.clone(),
        },
        audit_seal::Rules::of(
            "sealcast.test".to_owned(),
            audit_seal::StreamKeys::Given(vec![TestSigner::new(1).trusted()]),
        ),
    );
    let appender = store.audit_appender();
    let mut test = TestStream::of([1; 16], "test");
    appender.register(&test.registration).await.unwrap();
    for (number, symbol) in (0_u64..).zip(["SPX", "NDX", "SPX", "SPX"]) {
        if number == 3 {
            sealer.run(None).await.unwrap();
        }
        let body = prediction(&format!("request-{number}"), &[symbol]);
        let record = test.stream.record(body, now_us + number * 1_000_000);
        appender.append(vec![record.unwrap()]).await.unwrap();
    }
    let ports = audit_query::Ports {
        search: store.audit_search(),
        streams: store.audit_reader(),
        index,
        log,
        log_key,
    };
    let (limits, origin) = (audit_query::Limits::WHOLE, "sealcast.test".to_owned());
    let recorder = recorder();
    let query = AuditQuery::new(ports, limits, origin, recorder.clone(), clock);
    Edge::new(recorder).surround(audit_query::router(Arc::new(query)))
}

/// What Lambda would hand back to the gateway.
async fn answer(host: Host, event: &str) -> Value {
    let request: LambdaRequest = serde_json::from_str(event).unwrap();
    let mut service = Adapter::from(service_fn(move |request| host.clone().answer(request)));
    let answered = service
        .call(LambdaEvent::new(request, lambda_http::Context::default()))
        .await;
    serde_json::to_value(answered.unwrap()).unwrap()
}

/// The answer without what differs from run to run, its body readable.
fn snapshot(answer: &Value) -> Value {
    let headers = answer["headers"].as_object().unwrap();
    let mut shown: BTreeMap<&str, Value> = headers
        .iter()
        .filter(|(name, _)| SHOWN.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    // Its value counts the digits of a receipt.
    if headers.contains_key("inference-header-content-length") {
        shown.insert("inference-header-content-length", json!("…"));
    }
    for name in ["x-request-id", "sealcast-receipt"] {
        if let Some(value) = headers.get(name) {
            shown.insert(
                name,
                json!(if is_made(value) {
                    "…"
                } else {
                    value.as_str().unwrap()
                }),
            );
        }
    }
    json!({
        "statusCode": answer["statusCode"],
        "isBase64Encoded": answer["isBase64Encoded"],
        "headers": shown,
        "body": body(answer, headers.get("inference-header-content-length")),
    })
}

fn body(answer: &Value, head_length: Option<&Value>) -> Value {
    let text = answer["body"].as_str().unwrap_or_default();
    if answer["isBase64Encoded"] == false {
        return readable(text.as_bytes());
    }
    let mut bytes = STANDARD.decode(text).unwrap();
    if answer["headers"]["content-encoding"] == "gzip" {
        let mut plain = Vec::new();
        GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
        bytes = plain;
    }
    let Some(length) = head_length else {
        return readable(&bytes);
    };
    let (head, raw) = bytes.split_at(length.as_str().unwrap().parse().unwrap());
    let floats = raw
        .chunks(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    json!({
        "json": masked(serde_json::from_slice(head).unwrap()),
        "raw_fp32": floats.collect::<Vec<_>>(),
    })
}

/// JSON without what differs from run to run, else the lines of text, else how many bytes there are.
fn readable(bytes: &[u8]) -> Value {
    if let Ok(json) = serde_json::from_slice(bytes) {
        return masked(json);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.split('\n').map(Value::from).collect(),
        Err(_) => json!({"bytes": bytes.len()}),
    }
}

/// A request id that was made and not given, or a receipt.
fn is_made(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let is_uuid = text.len() == 36 && text.split('-').count() == 5;
    is_uuid || text.split(':').count() == 3
}

fn masked(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let is_masked = MASKED.contains(&name.as_str());
                let is_id = ["request_id", "id"].contains(&name.as_str());
                let value = if is_masked || (is_id && is_made(&value)) {
                    json!("…")
                } else {
                    masked(value)
                };
                (name, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        other => other,
    }
}

/// The files of a folder by their names without `.json`.
fn cases(dir: &Path) -> BTreeMap<String, PathBuf> {
    let files = std::fs::read_dir(dir).into_iter().flatten();
    files
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

async fn check(function: &str, routes: Router) {
    let events = cases(&root().join("events").join(function));
    assert!(!events.is_empty(), "events/{function} is empty");
    let dir = root().join("tests/lambda/tests/snapshots").join(function);
    let is_writing = std::env::var_os("SEALCAST_WRITE_SNAPSHOTS").is_some();
    let mut faults = Vec::new();
    for (case, path) in &events {
        let event = std::fs::read_to_string(path).unwrap();
        let found = snapshot(&answer(host(routes.clone()), &event).await);
        let kept = dir.join(format!("{case}.json"));
        if is_writing {
            std::fs::create_dir_all(&dir).unwrap();
            let text = serde_json::to_string_pretty(&found).unwrap();
            std::fs::write(kept, text + "\n").unwrap();
            continue;
        }
        match std::fs::read(&kept) {
            Err(_) => faults.push(format!("events/{function}/{case}.json has no snapshot")),
            Ok(bytes) => {
                let wanted: Value = serde_json::from_slice(&bytes).unwrap();
                if wanted != found {
                    faults.push(format!(
                        "{function}/{case}: expected {wanted:#}\nfound {found:#}"
                    ));
                }
            }
        }
    }
    let left: BTreeSet<_> = cases(&dir).into_keys().collect();
    let without_event = left.iter().filter(|case| !events.contains_key(*case));
    faults.extend(without_event.map(|case| format!("the snapshot {function}/{case} has no event")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn every_event_of_predict_is_answered_as_its_snapshot_says() {
    let dir = tempfile::tempdir().unwrap();
    check("predict", predict_routes(dir.path()).await).await;
}

#[tokio::test]
async fn every_event_of_health_is_answered_as_its_snapshot_says() {
    let dir = tempfile::tempdir().unwrap();
    check("health", health_routes(dir.path()).await).await;
}

#[tokio::test]
async fn every_event_of_audit_query_is_answered_as_its_snapshot_says() {
    let dir = tempfile::tempdir().unwrap();
    check("audit-query", audit_query_routes(dir.path()).await).await;
}

#[tokio::test]
async fn every_folder_of_events_belongs_to_a_function_that_is_tested() {
    let folders = std::fs::read_dir(root().join("events")).unwrap();
    let mut names: Vec<_> = folders
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["audit-query", "health", "predict"]);
}
