//! The function `predict` on the AWS stores: the example's model sealed, pushed and released, and requests to it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::{Manifest, PublicKey, Salt, TrustedKey, open, seal};
use audit::{Event, EventBody, StreamVerifier};
use axum::Router;
use axum::body::Body;
use domain::ports::{
    ArtifactFiles, ArtifactWriter, AuditReader, KeyWrapper, ReleaseWriter, Signer, SpillReader,
    SpillWriter,
};
use domain::release::ReleaseFormat;
use domain::spill::{ReplayPorts, ReplayReport, SpilledLines, items_in, replay};
use domain::system::{SystemClock, SystemEntropy};
use domain::{
    AuditMode, Principal, PrincipalId, Recorder, Release, ReleaseModel, ReleaseRole, Role,
};
use engine::LoadLimits;
use http::Request;
use http_body_util::BodyExt;
use predict::{LoadSlot, Loader, Predict};
use serde_json::{Value, json};
use store_aws::{Connection, DynamoAudit, Endpoints, KmsSigner, S3Spill, SigningAlgorithm};
use testkit::build::{random, release_id};
use tower::ServiceExt;
use web::Edge;

use crate::emulators::Emulator::{DynamodbLocal, Ministack, Roto};
use crate::emulators::{Emulator, connect_keys, endpoints};
use crate::proxy::Proxy;
use crate::{fixtures, tables};

/// The function with release 1 of the example's live model, each service behind a proxy of its own.
pub struct Served {
    /// In front of the tables.
    pub tables: Proxy,
    /// In front of the bucket.
    pub bucket: Proxy,
    /// In front of the data key.
    pub keys: Proxy,
    /// Names of the three tables.
    pub names: Names,
    /// The function.
    pub predict: Arc<Predict>,
    stream_signer: Arc<KmsSigner>,
    /// Reads the log past the proxy.
    audit: Arc<DynamoAudit>,
    /// Reads and replays the spill past the proxy.
    spill: Arc<S3Spill>,
    /// What the function wrote to its own log.
    lines: Lines,
    router: Router,
}

/// Where the function's things are.
pub struct Names {
    /// The table of the audit log.
    pub audit: String,
    /// The table of request claims.
    pub requests: String,
    /// The bucket of the models.
    pub bucket: String,
    /// The ARN of the data key.
    pub data_key: String,
}

/// A response, read whole.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub json: Value,
}

/// Seals, pushes and releases the example, and makes the function that is to serve it.
///
/// # Panics
/// Where an emulator refuses.
pub async fn prepare() -> Served {
    prepare_in(AuditMode::Strict).await
}

/// As [`prepare`], in this mode; the spill is in the bucket of the models.
///
/// # Panics
/// Where an emulator refuses.
pub async fn prepare_in(mode: AuditMode) -> Served {
    let names = Names {
        audit: tables::create_audit(DynamodbLocal).await,
        requests: tables::create_requests(DynamodbLocal).await,
        bucket: fixtures::create_bucket().await,
        data_key: fixtures::create_data_key(Roto).await,
    };
    let registry = tables::create_registry(DynamodbLocal).await;
    let (direct, signing) = (
        crate::emulators::connect().await,
        connect_keys(Ministack).await,
    );
    let model_key = fixtures::create_model_signing_key().await;
    let model_signer = signing.signer(&model_key, SigningAlgorithm::P256);
    let pem = model_signer.public_key_pem().await.expect("a public key");
    let trusted = PublicKey::from_pem(&pem).expect("a P-256 key");
    let member = push(&direct, &names, &model_signer, &trusted).await;
    let release = Release {
        format: ReleaseFormat::V1,
        id: release_id(1),
        created_by: PrincipalId::parse("anna").expect("a principal"),
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        models: vec![member],
    };
    let created = direct.releases(&registry).create(&release).await;
    created.expect("a release");

    let stream_key = fixtures::create_stream_key().await;
    let stream_signer = signing.signer(&stream_key, SigningAlgorithm::Ed25519);
    let behind = |emulator: Emulator| Proxy::to(&emulator.url());
    let (tables, bucket, keys) = (behind(DynamodbLocal), behind(Ministack), behind(Roto));
    let aws = Connection::to(&Endpoints {
        s3: Some(bucket.url()),
        kms: Some(keys.url()),
        dynamodb: Some(tables.url()),
        ..endpoints()
    })
    .await;
    let clock = Arc::new(SystemClock);
    let mut recorder = Recorder::new(
        "test".to_owned(),
        aws.audit(&names.audit),
        Arc::clone(&stream_signer) as Arc<dyn Signer>,
        clock.clone(),
        Arc::new(SystemEntropy),
    );
    let lines = Lines::default();
    if mode == AuditMode::Available {
        let last_resort = Arc::new(SpilledLines::new(lines.clone()));
        recorder = recorder.with_spill(aws.spill(&names.bucket), last_resort);
    }
    let recorder = Arc::new(recorder);
    let loader = Loader {
        artifacts: aws.artifacts(&names.bucket),
        releases: aws.releases(&registry),
        unwrapper: aws.data_keys(),
        trusted: vec![TrustedKey::always(trusted)],
        limits: LoadLimits::default(),
        time_limit: Duration::from_secs(30),
        slot: LoadSlot::default(),
        recorder: recorder.clone(),
        clock: clock.clone(),
    };
    let claims = aws.claims(&names.requests);
    let predict = Arc::new(Predict::new(loader, claims, recorder.clone(), clock));
    Served {
        router: Edge::new(recorder).surround(predict::router(predict.clone())),
        audit: direct.audit(&names.audit),
        spill: direct.spill(&names.bucket),
        lines,
        tables,
        bucket,
        keys,
        names,
        predict,
        stream_signer,
    }
}

/// As [`prepare`], and the release serves.
///
/// # Panics
/// Where it cannot be loaded.
pub async fn serve() -> Served {
    let served = prepare().await;
    let activated = served.predict.activate(release_id(1)).await;
    activated.expect("the release serves");
    served
}

/// As [`serve`], in the mode `available`.
///
/// # Panics
/// Where it cannot be loaded.
pub async fn serve_available() -> Served {
    let served = prepare_in(AuditMode::Available).await;
    let activated = served.predict.activate(release_id(1)).await;
    activated.expect("the release serves");
    served
}

/// What a process writes to its own log, kept.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn push(
    aws: &Connection,
    names: &Names,
    signer: &KmsSigner,
    trusted: &PublicKey,
) -> ReleaseModel {
    let read = |name: &str| std::fs::read(example_dir().join(name)).expect("the example");
    let mut manifest = Manifest::from_json(&read("manifest.json")).expect("a manifest");
    // A busy machine and an unoptimised build must not make the ladder's steps late.
    manifest.latency_budget_ms = 30_000;
    let onnx = read("spx-direction.onnx");
    let context = seal::context_of(&manifest, &onnx);
    let generated = aws.data_keys();
    let generated = generated.generate(&names.data_key, &context.to_map()).await;
    let (key, wrapped) = generated.expect("a data key");
    let unsigned = seal::seal(manifest, &onnx, &key, &Salt(random())).expect("a sealed model");
    let signature = signer.sign(unsigned.pae()).await.expect("a signature");
    let sealed = unsigned.sign(&signature, trusted).expect("a signed model");
    let sidecar = sealed.wrap(names.data_key.clone(), wrapped);
    let id = (context.model.clone(), context.version.clone());
    let keys = [TrustedKey::always(trusted.clone())];
    let digest = open::verify(sealed.files(), &id, &keys, 1_800_000_000)
        .expect("a verified artifact")
        .digest();
    let files = ArtifactFiles {
        manifest: sealed.manifest_json.clone(),
        sealed: sealed.sealed.clone(),
        packed: sealed.packed.clone(),
        bundle: sealed.bundle.clone(),
        sidecar: sidecar.to_json().expect("a sidecar"),
    };
    let artifacts = aws.artifacts(&names.bucket);
    let created = artifacts.create(&id.0, &id.1, &files).await;
    created.expect("an artifact");
    ReleaseModel {
        role: ReleaseRole::Live,
        name: id.0,
        version: id.1,
        digest,
    }
}

fn example_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/spx-direction")
}

/// A `/v1/predict` body for a committed row of the example.
///
/// # Panics
/// Where there is no such row.
pub fn body(row: usize, request_id: Option<&str>) -> Value {
    let text = std::fs::read_to_string(example_dir().join("features.csv")).expect("the example");
    let mut lines = text.lines();
    let names = lines.next().expect("a header").split(',').skip(1);
    let values = lines.nth(row).expect("a row").split(',').skip(1);
    let features: serde_json::Map<String, Value> = names
        .map(str::to_owned)
        .zip(values.map(|value| Value::from(value.parse::<f64>().expect("a number"))))
        .collect();
    let mut body = json!({"symbol": "SPX", "features": features});
    if let Some(id) = request_id {
        body["request_id"] = json!(id);
    }
    body
}

impl Served {
    /// Posts to `/v1/predict` as a predictor.
    ///
    /// # Panics
    /// Where the answer is no JSON.
    pub async fn predict(&self, body: &Value) -> Reply {
        let principal = Principal {
            id: PrincipalId::parse("desk-1").expect("a principal"),
            roles: [Role::Predictor].into(),
        };
        let request = Request::post("/v1/predict")
            .extension(principal)
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = self.router.clone().oneshot(request).await;
        let (parts, body) = response.expect("a response").into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Reply {
            status: parts.status.as_u16(),
            json: serde_json::from_slice(&bytes).expect("JSON"),
        }
    }

    /// Every event of every stream, each stream verified under the key that registered it.
    ///
    /// # Panics
    /// At the first stream that does not verify.
    pub async fn events(&self) -> Vec<Event> {
        let pem = self.stream_signer.public_key_pem().await;
        let trusted = [(
            self.stream_signer.key_id().to_owned(),
            ed25519_of(&pem.expect("a public key")),
        )];
        let mut events = Vec::new();
        for stream in self.audit.streams(None, 1000).await.expect("streams") {
            let registration = self.audit.registration(stream).await;
            let registration = registration.expect("a registration");
            let mut verifier = StreamVerifier::new(&registration, &trusted).expect("a stream");
            let records = self.audit.read(stream, 0, 100_000).await;
            for record in records.expect("records") {
                events.push(verifier.check(&record).expect("a record that verifies"));
            }
        }
        events
    }

    /// How many predictions are on record.
    pub async fn predictions(&self) -> usize {
        let events = self.events().await;
        let predictions = events
            .iter()
            .filter(|event| matches!(event.body, EventBody::Prediction(_)));
        predictions.count()
    }

    /// Replays what is in the spill.
    ///
    /// # Panics
    /// Where it cannot be listed.
    pub async fn replay_spill(&self) -> ReplayReport {
        let ports = ReplayPorts {
            reader: self.spill.clone(),
            remover: self.spill.clone(),
            restorer: self.audit.clone(),
            log: self.audit.clone(),
            clock: Arc::new(SystemClock),
        };
        let report = replay(&ports, 10_000, u64::MAX).await;
        assert_eq!(report.unlisted, None, "the spill is listed");
        report
    }

    /// The names of what is in the spill.
    ///
    /// # Panics
    /// Where it cannot be listed.
    pub async fn spilled(&self) -> Vec<String> {
        self.spill.list("", 1000).await.expect("a list")
    }

    /// Puts what the function could only write to its own log into the spill; gives how many items.
    ///
    /// # Panics
    /// Where a line cannot be read or its item not be put.
    pub async fn import_lines(&self) -> usize {
        let lines = std::mem::take(&mut *self.lines.0.lock().expect("a lock"));
        let text = String::from_utf8(lines).expect("text");
        let items = text.lines().flat_map(items_in);
        let mut count = 0;
        for item in items {
            let put = self.spill.put(&item.expect("an item")).await;
            put.expect("it is put");
            count += 1;
        }
        count
    }

    /// Whether the event that a reply's receipt names is on record.
    pub async fn is_recorded(&self, reply: &Reply) -> bool {
        let receipt = &reply.json["receipt"];
        let events = self.events().await;
        events.iter().any(|event| {
            json!(event.stream) == receipt["stream"] && json!(event.seq) == receipt["seq"]
        })
    }
}

/// The raw key in an SPKI of Ed25519: its last 32 bytes (RFC 8410).
fn ed25519_of(pem: &str) -> audit::PublicKey {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64);
    let der = der.expect("base64");
    audit::PublicKey(*der.last_chunk().expect("44 bytes"))
}
