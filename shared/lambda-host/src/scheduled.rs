//! Functions that a schedule calls.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use lambda_http::lambda_runtime::{Diagnostic, LambdaEvent};
use lambda_http::service_fn;
use serde_json::Value;
use tracing::Instrument;

use crate::host::instant_of;
use crate::settings::HostSettings;

/// Does `work` for every event, whatever it says, until the function's environment ends. `work` is told until when it
/// must have ended, where Lambda says so; what it gives is the function's answer.
///
/// An error is the invocation's: Lambda counts it, and the schedule calls again.
pub async fn run_scheduled<F, E: Display>(
    settings: HostSettings,
    work: impl Fn(Option<Instant>) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Value, E>>,
{
    let serve = lambda_http::lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let context = event.context;
        let span = tracing::info_span!(
            "scheduled",
            lambda.request_id = context.request_id,
            function.version = settings.version,
        );
        let deadline = instant_of(context.deadline, SystemTime::now());
        let work = work(deadline);
        async move {
            work.await.map_err(|error| Diagnostic {
                error_type: "failed".to_owned(),
                error_message: error.to_string(),
            })
        }
        .instrument(span)
    }));
    let ended = serve.await.err().map(|error| error.to_string());
    tracing::error!(
        error = ended,
        "the function ends: Lambda's runtime interface is gone"
    );
    ExitCode::FAILURE
}
