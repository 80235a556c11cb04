//! `audit-watch`: the function on Lambda, at the stream of the audit table.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use audit_watch::config::Config;
use audit_watch::{Changes, Watch};
use domain::system::SystemClock;
use store_aws::{Connection, SigningAlgorithm};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (config, host) = match lambda_host::start(Config::from_env) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let aws = Connection::from_env().await;
    let recorder = host.recorder(
        aws.audit(&config.audit_table),
        aws.signer(&config.stream_key, SigningAlgorithm::Ed25519),
        Arc::new(SystemClock),
    );
    let software = concat!("sealcast audit-watch ", env!("CARGO_PKG_VERSION"));
    lambda_host::init(&recorder, software, &host, config.as_settings(), async {}).await;
    let watch = Arc::new(Watch::new(recorder.clone()));
    let look = move |changes: Changes| {
        let watch = Arc::clone(&watch);
        async move { Ok::<_, Infallible>(watch.look(changes).await) }
    };
    lambda_host::run_events(look, recorder).await
}
