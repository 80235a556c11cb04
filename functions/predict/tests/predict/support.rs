//! A served release, and requests to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact::Manifest;
use audit::{Event, EventBody, StreamVerifier};
use axum::Router;
use axum::body::Body;
use domain::ports::{
    ArtifactReader, AuditAppender, Clock, HeartbeatWriter, KeyUnwrapper, RequestClaims, SpillWriter,
};
use domain::system::{SystemClock, SystemEntropy};
use domain::{Principal, PrincipalId, Recorder, Release, ReleaseId, ReleaseRole, Role};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use predict::{LoadSlot, Loader, Predict};
use serde_json::{Value, json};
use store_embedded::EmbeddedStore;
use testkit::Sealing;
use tower::ServiceExt;
use web::Edge;

/// A data directory with a release in it, and the function that serves it.
pub(crate) struct Served {
    pub(crate) store: EmbeddedStore,
    pub(crate) predict: Arc<Predict>,
    pub(crate) router: Router,
    pub(crate) dir: tempfile::TempDir,
}

/// A model of a release: manifest, ONNX file, role.
pub(crate) struct Member {
    pub(crate) manifest: Manifest,
    pub(crate) onnx: Vec<u8>,
    pub(crate) role: ReleaseRole,
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn example_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/spx-direction")
}

fn example(manifest: &str, onnx: &str, role: ReleaseRole) -> Member {
    let dir = example_dir();
    let mut manifest = Manifest::from_json(&std::fs::read(dir.join(manifest)).unwrap()).unwrap();
    // A busy machine and an unoptimised build must not make the ladder's steps late.
    manifest.latency_budget_ms = 30_000;
    Member {
        manifest,
        onnx: std::fs::read(dir.join(onnx)).unwrap(),
        role,
    }
}

/// The models of the example's release.
pub(crate) fn example_members() -> Vec<Member> {
    let live = example("manifest.json", "spx-direction.onnx", ReleaseRole::Live);
    let role = ReleaseRole::FallbackFor(live.manifest.name.clone());
    let fallback = example("manifest-mlp.json", "spx-direction-mlp.onnx", role);
    vec![live, fallback]
}

/// What replaces a port of the embedded store in a test.
#[derive(Default)]
pub(crate) struct Ports {
    pub(crate) appender: Option<Arc<dyn AuditAppender>>,
    /// The spill and the last resort of the mode `available`.
    pub(crate) spill: Option<(Arc<dyn SpillWriter>, Arc<dyn SpillWriter>)>,
    pub(crate) claims: Option<Arc<dyn RequestClaims>>,
    pub(crate) unwrapper: Option<Arc<dyn KeyUnwrapper>>,
    pub(crate) artifacts: Option<Arc<dyn ArtifactReader>>,
    pub(crate) heartbeats: Option<Arc<dyn HeartbeatWriter>>,
    /// The clock of the function itself; records keep the real one.
    pub(crate) clock: Option<Arc<dyn Clock>>,
    /// The number of the release that the function is pinned to.
    pub(crate) pinned: Option<u64>,
    pub(crate) load_time_limit: Option<Duration>,
}

/// Serves the example's release.
pub(crate) async fn serve_example() -> Served {
    serve(example_members(), |_| Ports::default()).await
}

/// Seals, pushes and releases the models, and serves them.
pub(crate) async fn serve(
    members: Vec<Member>,
    replace: impl FnOnce(&EmbeddedStore) -> Ports,
) -> Served {
    let served = prepare(members, replace).await;
    served
        .predict
        .activate(ReleaseId::from_number(1).unwrap())
        .await
        .unwrap();
    served
}

/// As [`serve`], but nothing is active yet.
pub(crate) async fn prepare(
    members: Vec<Member>,
    replace: impl FnOnce(&EmbeddedStore) -> Ports,
) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(dir.path()).unwrap();
    create_release(&store, 1, members).await;
    let ports = replace(&store);
    let clock = Arc::new(SystemClock);
    let mut recorder = Recorder::new(
        "test".to_owned(),
        ports.appender.unwrap_or_else(|| store.audit_appender()),
        store.stream_signer(),
        clock.clone(),
        Arc::new(SystemEntropy),
    );
    if let Some((spill, last_resort)) = ports.spill {
        recorder = recorder.with_spill(spill, last_resort);
    }
    let recorder = Arc::new(recorder);
    let loader = Loader {
        artifacts: ports.artifacts.unwrap_or_else(|| store.artifact_reader()),
        releases: store.release_reader(),
        unwrapper: ports.unwrapper.unwrap_or_else(|| store.key_unwrapper()),
        trusted: store.keys().trusted_model_keys(),
        limits: engine::LoadLimits::default(),
        time_limit: ports.load_time_limit.unwrap_or(Duration::from_mins(1)),
        slot: LoadSlot::default(),
        recorder: recorder.clone(),
        clock: clock.clone(),
    };
    let claims = ports.claims.unwrap_or_else(|| store.request_claims());
    let clock = ports.clock.unwrap_or(clock);
    let mut predict = Predict::new(loader, claims, recorder.clone(), clock);
    if let Some(number) = ports.pinned {
        predict = predict.pinned_to(ReleaseId::from_number(number).unwrap());
    }
    if let Some(writer) = ports.heartbeats {
        predict = predict.with_heartbeats(writer, "7".to_owned());
    }
    let predict = Arc::new(predict);
    let router = Edge::new(recorder).surround(predict::router(predict.clone()));
    Served {
        store,
        predict,
        router,
        dir,
    }
}

/// What seals with the keys of a store.
pub(crate) fn sealing(store: &EmbeddedStore) -> Sealing {
    let keys = store.keys();
    Sealing {
        artifacts: store.artifact_writer(),
        releases: store.release_writer(),
        wrapper: store.key_wrapper(),
        data_key: keys.master_key_id().to_owned(),
        signer: store.model_signer(),
        trusted: keys.trusted_model_keys().remove(0),
    }
}

async fn create_release(store: &EmbeddedStore, number: u64, members: Vec<Member>) -> Release {
    let sealing = sealing(store);
    let mut models = Vec::new();
    for member in members {
        models.push(
            sealing
                .push(member.manifest, &member.onnx, member.role)
                .await,
        );
    }
    sealing.release(number, models).await
}

/// Somebody with these roles.
pub(crate) fn principal(roles: &[Role]) -> Principal {
    Principal {
        id: PrincipalId::parse("desk-1").unwrap(),
        roles: roles.iter().copied().collect(),
    }
}

impl Served {
    /// Releases and activates version 1.0.1 of the example's live model.
    pub(crate) async fn release_next_version(&self, change: impl FnOnce(&mut Manifest)) {
        let mut member = example_members().remove(0);
        member.manifest.version = "1.0.1".parse().unwrap();
        change(&mut member.manifest);
        self.release(2, vec![member]).await;
        self.predict
            .activate(ReleaseId::from_number(2).unwrap())
            .await
            .unwrap();
    }

    /// Pushes the models and creates a release of them.
    pub(crate) async fn release(&self, number: u64, members: Vec<Member>) -> Release {
        create_release(&self.store, number, members).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    /// Posts as a predictor.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.post_with(path, &[], body).await
    }

    /// Posts as a predictor, with headers.
    pub(crate) async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let mut request = Request::post(path).extension(principal(&[Role::Predictor]));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.into())).unwrap())
            .await
    }

    /// Posts as a predictor whom the host gives `time` for the answer.
    pub(crate) async fn post_within(&self, time: Duration, path: &str, body: String) -> Reply {
        let request = Request::post(path)
            .extension(principal(&[Role::Predictor]))
            .extension(web::Deadline(Instant::now() + time));
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        let request = Request::get(path).extension(principal(&[Role::Predictor]));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Every event of every stream, each stream verified.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let reader = self.store.audit_reader();
        let trusted = self.store.keys().trusted_stream_keys();
        let mut events = Vec::new();
        for stream in reader.streams(None, 100).await.unwrap() {
            let registration = reader.registration(stream).await.unwrap();
            let mut verifier = StreamVerifier::new(&registration, &trusted).unwrap();
            for record in reader.read(stream, 0, 100_000).await.unwrap() {
                events.push(verifier.check(&record).unwrap());
            }
        }
        events
    }

    /// The refusal recorded last.
    pub(crate) async fn last_refusal(&self) -> audit::event::Refusal {
        let events = self.events().await;
        let mut refusals = events.into_iter().filter_map(|event| match event.body {
            EventBody::Refusal(refusal) => Some(refusal),
            _ => None,
        });
        refusals.next_back().expect("a refusal is recorded")
    }

    /// All predictions recorded.
    pub(crate) async fn predictions(&self) -> Vec<audit::event::Prediction> {
        let events = self.events().await;
        let predictions = events.into_iter().filter_map(|event| match event.body {
            EventBody::Prediction(prediction) => Some(*prediction),
            _ => None,
        });
        predictions.collect()
    }
}

/// The features of a committed row of the example, by name.
pub(crate) fn features(row: usize) -> Value {
    let text = std::fs::read_to_string(example_dir().join("features.csv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').skip(1).collect();
    let values = lines
        .nth(row)
        .unwrap()
        .split(',')
        .skip(1)
        .map(|v| v.parse::<f64>().unwrap());
    Value::Object(
        names
            .into_iter()
            .map(str::to_owned)
            .zip(values.map(Value::from))
            .collect(),
    )
}

/// A `/v1/predict` body for a committed row.
pub(crate) fn v1(row: usize) -> Value {
    json!({"symbol": "SPX", "features": features(row)})
}

/// An Open Inference Protocol body for a committed row.
pub(crate) fn v2(row: usize) -> Value {
    let names = features(row);
    let data: Vec<Value> = column_names()
        .iter()
        .map(|name| names[name].clone())
        .collect();
    json!({"inputs": [{"name": "features", "shape": [1, data.len()], "datatype": "FP32", "data": data}]})
}

/// The example's features, in the model's order.
pub(crate) fn column_names() -> Vec<String> {
    let text = std::fs::read_to_string(example_dir().join("features.csv")).unwrap();
    text.lines()
        .next()
        .unwrap()
        .split(',')
        .skip(1)
        .map(str::to_owned)
        .collect()
}
