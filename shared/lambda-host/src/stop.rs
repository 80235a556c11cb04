//! The end of an environment: SIGTERM, and what is recorded in the moment that is left.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use audit::EventBody;
use audit::event::ProcessStopped;
use domain::Recorder;
use lambda_extension::Extension;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Longest time that the record of the end may take: Lambda kills the process 500 ms after SIGTERM.
const TIME_TO_RECORD: Duration = Duration::from_millis(300);

/// Longest time that Lambda may take to register the extension.
const TIME_TO_REGISTER: Duration = Duration::from_secs(1);

/// Serves until the environment ends, which is then recorded, or until `serve` does, which it never should.
pub(crate) async fn serve_until_the_end<Failure: Display>(
    serve: impl Future<Output = Result<(), Failure>>,
    recorder: &Recorder,
) -> ExitCode {
    let end = ending().await;
    tokio::select! {
        biased;
        reason = end => {
            record(recorder, reason).await;
            ExitCode::SUCCESS
        }
        ended = serve => {
            let error = ended.err().map(|error| error.to_string());
            tracing::error!(error, "the function ends: Lambda's runtime interface is gone");
            ExitCode::FAILURE
        }
    }
}

/// Ready when the environment ends; gives the reason.
///
/// Lambda sends SIGTERM only where an extension is registered, so one that takes no events is. A host that has no
/// extensions is no fault: there the environment ends without notice.
async fn ending() -> impl Future<Output = &'static str> {
    let listening = listen();
    let extension = Extension::new()
        .with_events(&[])
        .with_extension_name("sealcast-stop")
        .register();
    match tokio::time::timeout(TIME_TO_REGISTER, extension).await {
        Ok(Ok(extension)) => {
            // Its request for a first event says that it is ready, and is never answered.
            tokio::spawn(async move { extension.run().await.map_err(drop) });
        }
        Ok(Err(error)) => tracing::info!(error, "no SIGTERM will come: extensions are not offered"),
        Err(_) => tracing::info!("no SIGTERM will come: the extension was not registered in time"),
    }
    async move {
        match listening {
            Ok((terminate, interrupt)) => received(terminate, interrupt).await,
            Err(error) => {
                tracing::warn!(error = %error, "the end of the environment will not be recorded");
                std::future::pending().await
            }
        }
    }
}

fn listen() -> std::io::Result<(Signal, Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    ))
}

async fn received(mut terminate: Signal, mut interrupt: Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM: the environment ends",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Records the end, where anything was recorded before.
async fn record(recorder: &Recorder, reason: &'static str) {
    if recorder.newest_event_us().is_none() {
        return;
    }
    let stopped = EventBody::ProcessStopped(ProcessStopped {
        reason: reason.to_owned(),
    });
    match tokio::time::timeout(TIME_TO_RECORD, recorder.record(stopped)).await {
        Ok(Ok(_)) => tracing::info!(reason, "the function stops"),
        Ok(Err(cause)) => tracing::error!(error = %cause, "the end was not recorded"),
        Err(_) => tracing::error!("the end was not recorded within the time that is left"),
    }
}
