//! A function on a data directory, and what it recorded.

use std::path::Path;
use std::time::Duration;

use audit::{Event, StreamVerifier};
use lambda_tests::{Example, Function, RuntimeApi};
use store_embedded::EmbeddedStore;

/// The binary of the predict function on embedded stores.
pub(crate) fn predict_embedded() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_predict-embedded"))
}

/// Callers of `arn:…assumed-role/desk/*` predict.
pub(crate) const IAM_ROLES: &str =
    r#"{"arn:aws:sts::111122223333:assumed-role/desk/*": ["predictor"]}"#;

/// A data directory that holds these models as release 1.
pub(crate) async fn data(models: Vec<Example>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(dir.path()).unwrap();
    Example::release(&store, models).await;
    store.close();
    dir
}

/// Starts the function on the directory, and waits until it asks for its first event.
pub(crate) async fn start(api: &RuntimeApi, data: &Path, variables: &[(&str, &str)]) -> Function {
    let mut all = vec![
        ("SEALCAST_DATA", data.to_str().unwrap()),
        ("SEALCAST_IAM_ROLES", IAM_ROLES),
    ];
    all.extend_from_slice(variables);
    let function = Function::start(predict_embedded(), &[], api, &all).unwrap();
    let polled = tokio::time::timeout(Duration::from_mins(1), api.first_poll()).await;
    assert!(polled.is_ok(), "{:?}", function.log());
    function
}

/// Every event that the directory holds, each stream verified.
pub(crate) async fn events(data: &Path) -> Vec<Event> {
    let store = EmbeddedStore::open(data).unwrap();
    let reader = store.audit_reader();
    let trusted = store.keys().trusted_stream_keys();
    let mut events = Vec::new();
    for stream in reader.streams(None, 100).await.unwrap() {
        let registration = reader.registration(stream).await.unwrap();
        let mut verifier = StreamVerifier::new(&registration, &trusted).unwrap();
        for record in reader.read(stream, 0, 1_000_000).await.unwrap() {
            events.push(verifier.check(&record).unwrap());
        }
    }
    events
}
