//! `predict`: the function on Lambda, with S3, KMS and `DynamoDB` behind its ports.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::system::SystemClock;
use engine::LoadLimits;
use lambda_host::INIT_TIME;
use predict::config::Config;
use predict::{LoadSlot, Loader, Predict};
use store_aws::{Connection, SigningAlgorithm};
use web::Edge;

/// A request makes a few hundred short-lived allocations on one thread and frees some on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longest time that loading one model may take: a request waits at most 14 s, and the next attempt should not have
/// to wait for one that hangs.
const LOAD_TIME_LIMIT: Duration = Duration::from_secs(12);

#[tokio::main]
async fn main() -> ExitCode {
    let began = Instant::now();
    let (config, host) = match lambda_host::start(Config::from_env) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let aws = Connection::from_env().await;
    let clock = Arc::new(SystemClock);
    let audit = aws.audit(&config.audit_table);
    let signer = aws.signer(&config.stream_key, SigningAlgorithm::Ed25519);
    let recorder = match &config.spill_bucket {
        None => host.recorder(audit, signer, clock.clone()),
        Some(bucket) => host.available_recorder(audit, signer, clock.clone(), aws.spill(bucket)),
    };
    let loader = Loader {
        artifacts: aws.artifacts(&config.models_bucket),
        releases: aws.releases(&config.registry_table),
        unwrapper: aws.data_keys(),
        trusted: config.trusted_keys.clone(),
        limits: LoadLimits::default(),
        time_limit: LOAD_TIME_LIMIT,
        slot: LoadSlot::default(),
        recorder: recorder.clone(),
        clock: clock.clone(),
    };
    let claims = aws.claims(&config.requests_table);
    let heartbeats = aws.heartbeats(&config.requests_table);
    let mut predict = Predict::new(loader, claims, recorder.clone(), clock)
        .with_heartbeats(heartbeats, host.version.clone());
    if let Some(release) = config.release {
        predict = predict.pinned_to(release);
    }
    let predict = Arc::new(predict);
    let load = predict.load_pinned(Some(began + INIT_TIME));
    let software = concat!("sealcast predict ", env!("CARGO_PKG_VERSION"));
    lambda_host::init(&recorder, software, &host, config.as_settings(), load).await;
    let routes = Edge::new(recorder.clone()).surround(predict::router(predict));
    lambda_host::run(routes, host, recorder).await
}
