//! `health`: the function on Lambda, with the tables, bucket, keys and alias of the stack behind its ports.

use std::process::ExitCode;
use std::sync::Arc;

use domain::AuditMode;
use domain::ports::SpillReader;
use domain::system::SystemClock;
use health::config::Config;
use health::{Health, Limits, Needed, Ports, Versions};
use lambda_host::INIT_TIME;
use store_aws::{Connection, SigningAlgorithm};
use web::Edge;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (config, host) = match lambda_host::start(Config::from_env) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let aws = Connection::from_env().await;
    let clock = Arc::new(SystemClock);
    let audit = aws.audit(&config.audit_table);
    let signer = aws.signer(&config.stream_key, SigningAlgorithm::Ed25519);
    let spill = config.spill_bucket.as_ref().map(|name| aws.spill(name));
    let recorder = match (config.audit_mode, &spill) {
        (AuditMode::Available, Some(spill)) => {
            host.available_recorder(audit, signer, clock.clone(), spill.clone())
        }
        _ => host.recorder(audit, signer, clock.clone()),
    };
    let audit_table = aws.table_dependency("audit", &config.audit_table, "G#");
    let ports = Ports {
        routing: aws.aliases(&config.predict_function),
        heartbeats: aws.heartbeats(&config.requests_table),
        releases: aws.releases(&config.registry_table),
        dependencies: vec![
            // The partitions are those that the function's role may read.
            Needed::to_start(aws.table_dependency("registry", &config.registry_table, "REL")),
            match config.audit_mode {
                AuditMode::Strict => Needed::to_answer(audit_table),
                // What runs already answers without it.
                AuditMode::Available => Needed::to_start(audit_table),
            },
            Needed::to_answer(aws.table_dependency("requests", &config.requests_table, "H#")),
            Needed::to_start(aws.bucket_dependency("models", &config.models_bucket)),
            Needed::to_start(aws.key_dependency("data-key", &config.data_key)),
            Needed::to_start(aws.key_dependency("stream-key", &config.stream_key)),
        ],
        spill: spill.map(|spill| spill as Arc<dyn SpillReader>),
    };
    let health = Arc::new(Health::new(
        ports,
        Versions::Pinned,
        Limits::default(),
        recorder.clone(),
        clock,
    ));
    let software = concat!("sealcast health ", env!("CARGO_PKG_VERSION"));
    let warm_up = health.warm_up(INIT_TIME);
    lambda_host::init(&recorder, software, &host, config.as_settings(), warm_up).await;
    let routes = Edge::new(recorder.clone()).surround(health::router(health));
    lambda_host::run(routes, host, recorder).await
}
