//! `audit-seal`: the function on Lambda, called by a schedule.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use audit_seal::config::Config;
use audit_seal::{Ports, Rules, Sealer, StreamKeys};
use domain::system::SystemClock;
use store_aws::{Connection, SigningAlgorithm};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let (config, host) = match lambda_host::start(Config::from_env(env), env) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let aws = Connection::from_env().await;
    let origin = config.seal.origin.clone();
    let retention = config
        .retention_days
        .map(|days| Duration::from_hours(24 * days));
    let log = aws.log_objects(&config.log_bucket, retention);
    let index = aws.seal_index(&config.log_table, &origin);
    let ports = Ports {
        audit: aws.audit(&config.audit_table),
        log: log.clone(),
        writer: log.clone(),
        publisher: log.clone(),
        lock: aws.log_lock(&config.log_table, &origin),
        stage: log,
        index: index.clone(),
        index_writer: index,
        signer: aws.signer(&config.log_key, SigningAlgorithm::Ed25519),
        clock: Arc::new(SystemClock),
    };
    let stream_keys = if config.trusted_stream_keys.is_empty() {
        StreamKeys::Of(aws.signer(&config.stream_key, SigningAlgorithm::Ed25519))
    } else {
        StreamKeys::Given(config.trusted_stream_keys)
    };
    let rules = Rules {
        earlier_keys: config.earlier_log_keys,
        heartbeat_us: config.seal.heartbeat_s * 1_000_000,
        idle_after_us: config.seal.idle_after_s * 1_000_000,
        ..Rules::of(origin, stream_keys)
    };
    let sealer = Arc::new(Sealer::new(ports, rules));
    lambda_host::run_scheduled(host, |deadline| {
        let sealer = Arc::clone(&sealer);
        async move { sealer.run(deadline).await.map(|report| report.to_json()) }
    })
    .await
}
