//! The first moments of a function: its log, its settings, and what it does before the first request.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use audit::EventBody;
use audit::event::ProcessStarted;
use domain::{Recorder, SettingsFaults};
use tracing_subscriber::EnvFilter;

use crate::settings::HostSettings;

/// Longest time that a function prepares itself before it takes requests; Lambda ends it after 10 s.
pub const INIT_TIME: Duration = Duration::from_secs(8);

/// Starts the log: one JSON object a line on standard output. Gives the function's own settings, which `from_env` reads
/// by the names of variables, and the host's, or says everything that is wrong with both.
///
/// A function that is set up wrongly ends here: only a new deployment can mend it, and its log says what to mend.
///
/// # Errors
/// The exit code to end with.
pub fn start<Config, Faults: Display>(
    from_env: impl FnOnce(fn(&str) -> Option<String>) -> Result<Config, Faults>,
) -> Result<(Config, HostSettings), ExitCode> {
    let lookup: fn(&str) -> Option<String> = |name| std::env::var(name).ok();
    let (config, host) = (from_env(lookup), HostSettings::from_env(lookup));
    start_log(host.as_ref().map_or("info", |host| &host.log));
    match (config, host) {
        (Ok(config), Ok(host)) => Ok((config, host)),
        (config, host) => {
            say(config.err());
            say::<SettingsFaults>(host.err());
            Err(ExitCode::FAILURE)
        }
    }
}

fn say<Faults: Display>(faults: Option<Faults>) {
    let text = faults.map(|faults| faults.to_string()).unwrap_or_default();
    for fault in text.lines() {
        tracing::error!(fault, "the function cannot start: a setting is wrong");
    }
}

/// A log that cannot be written stops nothing.
fn start_log(filter: &str) {
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::new(filter))
        .log_internal_errors(false);
    if log.try_init().is_err() {
        tracing::warn!("a log was started already");
    }
}

/// Prepares the function, for [`INIT_TIME`] at most: records that it started and with which settings, which opens its audit stream, and
/// beside that lets `prepare` do what the first request would otherwise wait for.
///
/// Nothing that fails here keeps the function from taking requests; they say what is missing.
pub async fn init(
    recorder: &Recorder,
    software: &str,
    host: &HostSettings,
    mut settings: BTreeMap<String, String>,
    prepare: impl Future<Output = ()>,
) {
    settings.extend(host.as_settings());
    let started = EventBody::ProcessStarted(ProcessStarted {
        software: software.to_owned(),
        settings,
    });
    let record = async {
        if let Err(cause) = recorder.record(started).await {
            tracing::error!(error = %cause, "the start was not recorded");
        }
    };
    let both = async { tokio::join!(record, prepare) };
    if tokio::time::timeout(INIT_TIME, both).await.is_err() {
        tracing::warn!("the function takes requests before it is prepared");
    }
}
