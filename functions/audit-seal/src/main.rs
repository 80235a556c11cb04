//! `audit-seal`: the function on Lambda, called by a schedule.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use audit_seal::config::Config;
use audit_seal::{Ports, Rules, Sealer, Spill, StreamKeys};
use domain::ports::Signer;
use domain::spill::ReplayPorts;
use domain::system::SystemClock;
use store_aws::{Connection, SigningAlgorithm};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (config, host) = match lambda_host::start(Config::from_env) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let aws = Connection::from_env().await;
    let clock = Arc::new(SystemClock);
    let audit = aws.audit(&config.audit_table);
    let stream_signer = aws.signer(&config.stream_key, SigningAlgorithm::Ed25519);
    let recorder = host.recorder(audit.clone(), stream_signer.clone(), clock.clone());
    let origin = config.seal.origin.clone();
    let ports = Ports::of_stores(
        audit.clone(),
        aws.locked_log_objects(&config.log_bucket),
        aws.log_lock(&config.log_table, &origin),
        aws.seal_index(&config.log_table, &origin),
        aws.signer(&config.log_key, SigningAlgorithm::Ed25519),
        clock.clone(),
    );
    let operators = config.operator_stream_key.as_deref();
    let operators = operators.map(|key| aws.signer(key, SigningAlgorithm::Ed25519));
    let registrars = std::iter::once(stream_signer).chain(operators);
    let registrars = registrars.map(|signer| signer as Arc<dyn Signer>).collect();
    let stream_keys = match config.trusted_stream_keys.as_slice() {
        [] => StreamKeys::Of(registrars),
        keys => StreamKeys::Given(keys.to_vec()),
    };
    let rules = Rules {
        commands_only: config.operator_stream_key.iter().cloned().collect(),
        earlier_keys: config.earlier_log_keys.clone(),
        heartbeat_us: config.seal.heartbeat_s * 1_000_000,
        idle_after_us: config.seal.idle_after_s * 1_000_000,
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        ..Rules::of(origin, stream_keys)
    };
    let mut sealer = Sealer::new(ports, rules);
    if let Some(bucket) = &config.spill_bucket {
        let spill = aws.spill(bucket);
        let ports = ReplayPorts {
            reader: spill.clone(),
            remover: spill,
            restorer: audit.clone(),
            log: audit,
            clock,
        };
        let recorder = recorder.clone();
        sealer = sealer.with_spill(Spill { ports, recorder });
    }
    let software = concat!("sealcast audit-seal ", env!("CARGO_PKG_VERSION"));
    lambda_host::init(&recorder, software, &host, config.as_settings(), async {}).await;
    let sealer = Arc::new(sealer);
    let run = move |deadline| {
        let sealer = Arc::clone(&sealer);
        async move { sealer.run(deadline).await.map(|report| report.to_json()) }
    };
    lambda_host::run_scheduled(run, recorder).await
}
