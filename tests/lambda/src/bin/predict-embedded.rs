//! The predict function as Lambda runs it, on the stores of a directory: what its tests need no cloud for.
//!
//! `SEALCAST_DATA` names the directory, which holds release 1. As long as it holds a file `log.gone` (`spill.gone`), the
//! audit log (the spill) refuses everything.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::system::{SystemClock, SystemEntropy};
use domain::{AuditMode, Recorder, ReleaseId, SettingsReader};
use engine::LoadLimits;
use lambda_host::{INIT_TIME, LoggedAudit};
use lambda_tests::Gone;
use predict::{LoadSlot, Loader, Predict};
use store_embedded::{EmbeddedStore, FileSpill};
use web::Edge;

#[tokio::main]
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
    let clock = Arc::new(SystemClock);
    let gone = |name: &str| Path::new(&data).join(format!("{name}.gone"));
    let log = Arc::new(Gone::while_exists(gone("log"), store.audit_appender()));
    let mut read = SettingsReader::new(|name| std::env::var(name).ok());
    let recorder = match AuditMode::from_settings(&mut read) {
        AuditMode::Strict => Arc::new(Recorder::new(
            host.arn("arn:aws:kms:eu-west-1:111122223333:key/test"),
            Arc::new(LoggedAudit::new(log)),
            store.stream_signer(),
            clock.clone(),
            Arc::new(SystemEntropy),
        )),
        AuditMode::Available => {
            let Ok(spill) = FileSpill::open(&Path::new(&data).join("spill")) else {
                eprintln!("SEALCAST_DATA: expected a directory that can be written");
                return ExitCode::FAILURE;
            };
            let spill = Gone::while_exists(gone("spill"), Arc::new(spill));
            let signer = store.stream_signer();
            host.available_recorder(log, signer, clock.clone(), Arc::new(spill))
        }
    };
    let loader = Loader {
        artifacts: store.artifact_reader(),
        releases: store.release_reader(),
        unwrapper: store.key_unwrapper(),
        trusted: store.keys().trusted_model_keys(),
        limits: LoadLimits::default(),
        time_limit: Duration::from_secs(30),
        slot: LoadSlot::default(),
        recorder: recorder.clone(),
        clock: clock.clone(),
    };
    let mut predict = Predict::new(loader, store.request_claims(), recorder.clone(), clock);
    if let Some(release) = ReleaseId::from_number(1) {
        predict = predict.pinned_to(release);
    }
    let predict = Arc::new(predict);
    let load = predict.load_pinned(Some(Instant::now() + INIT_TIME));
    lambda_host::init(&recorder, "predict-embedded", &host, [].into(), load).await;
    let routes = Edge::new(recorder.clone()).surround(predict::router(predict));
    lambda_host::run(routes, host, recorder).await
}
