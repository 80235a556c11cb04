//! `audit-query`: the function on Lambda, with the tables, bucket and keys of the stack behind its ports.

use std::process::ExitCode;
use std::sync::Arc;

use audit_query::config::Config;
use audit_query::{AuditQuery, Limits, Ports};
use domain::system::SystemClock;
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
    let recorder = host.recorder(
        audit.clone(),
        aws.signer(&config.stream_key, SigningAlgorithm::Ed25519),
        clock.clone(),
    );
    let ports = Ports {
        search: audit.clone(),
        streams: audit,
        index: aws.seal_index(&config.log_table, &config.log_origin),
        log: aws.log_objects(&config.log_bucket, None),
        log_key: aws.signer(&config.log_key, SigningAlgorithm::Ed25519),
    };
    let origin = config.log_origin.clone();
    let limits = Limits {
        kept_us: Some(store_aws::EVENTS_KEPT_S * 1_000_000),
        ..Limits::WHOLE
    };
    let query = AuditQuery::new(ports, limits, origin, recorder.clone(), clock)
        .trusting(config.earlier_log_keys.clone());
    let query = Arc::new(query);
    let software = concat!("sealcast audit-query ", env!("CARGO_PKG_VERSION"));
    let warm_up = query.warm_up();
    lambda_host::init(&recorder, software, &host, config.as_settings(), warm_up).await;
    let routes = Edge::new(recorder.clone()).surround(audit_query::router(query));
    lambda_host::run(routes, host, recorder).await
}
