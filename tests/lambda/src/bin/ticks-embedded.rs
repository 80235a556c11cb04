//! Functions whose events are no HTTP requests, on the stores of a directory: `ticks-embedded scheduled` is one that a
//! schedule calls, `ticks-embedded events` one that is given events.
//!
//! `SEALCAST_DATA` names the directory. A tick is recorded and answered with the time that it was told it has; as long
//! as the directory holds a file `fail` it fails instead, with that file's text. An event `{"number": n}` is answered with
//! twice the number.

use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use audit::EventBody;
use audit::event::Security;
use domain::Recorder;
use domain::system::{SystemClock, SystemEntropy};
use lambda_host::LoggedAudit;
use serde_json::{Value, json};
use store_embedded::EmbeddedStore;

/// What an event may hold.
type Numbers = std::collections::BTreeMap<String, u32>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let data = |env: fn(&str) -> Option<String>| {
        env("SEALCAST_DATA").ok_or("SEALCAST_DATA: expected a directory")
    };
    let (data, host) = match lambda_host::start(data) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let Ok(store) = EmbeddedStore::open(data.as_ref()) else {
        eprintln!("SEALCAST_DATA: expected a data directory that nobody has open");
        return ExitCode::FAILURE;
    };
    let recorder = Arc::new(Recorder::new(
        host.arn("arn:aws:kms:eu-west-1:111122223333:key/test"),
        Arc::new(LoggedAudit::new(store.audit_appender())),
        store.stream_signer(),
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    ));
    lambda_host::init(&recorder, "ticks-embedded", &host, [].into(), async {}).await;
    if std::env::args().nth(1).as_deref() == Some("events") {
        let twice = |numbers: Numbers| async move {
            let number = numbers.get("number").copied().unwrap_or_default();
            Ok::<_, Infallible>(json!({ "twice": 2 * u64::from(number) }))
        };
        return lambda_host::run_events(twice, recorder).await;
    }
    let ticking = Arc::clone(&recorder);
    let work = move |until: Option<Instant>| tick(data.clone(), Arc::clone(&ticking), until);
    lambda_host::run_scheduled(work, recorder).await
}

async fn tick(
    data: String,
    recorder: Arc<Recorder>,
    until: Option<Instant>,
) -> Result<Value, String> {
    if let Ok(reason) = std::fs::read_to_string(Path::new(&data).join("fail")) {
        return Err(reason);
    }
    let tick = EventBody::Security(Security {
        code: "test.tick".to_owned(),
        detail: "a schedule ticked".to_owned(),
        subject: "test".to_owned(),
    });
    recorder
        .record(tick)
        .await
        .map_err(|error| error.to_string())?;
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    Ok(json!({ "left_s": left.map(|left| left.as_secs_f64()) }))
}
