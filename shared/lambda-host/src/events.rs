//! Functions whose events are no HTTP requests: those of a stream, and ticks of a schedule.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use domain::Recorder;
use lambda_http::lambda_runtime::{self, Diagnostic};
use lambda_http::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::host::instant_of;
use crate::stop;

/// Handles events until the function's environment ends; what stops it is recorded with `recorder`. An event that
/// `Event` cannot be read from fails for Lambda, which then does what its caller asked for.
///
/// Call it within 10 seconds of the process's start, as [`run`](crate::run).
pub async fn run_events<Event, Answer, Failure, Handling>(
    handle: impl Fn(Event) -> Handling,
    recorder: Arc<Recorder>,
) -> ExitCode
where
    Event: DeserializeOwned,
    Answer: Serialize,
    Failure: Into<Diagnostic> + std::fmt::Debug,
    Handling: Future<Output = Result<Answer, Failure>>,
{
    serve(|event: LambdaEvent<Event>| handle(event.payload), recorder).await
}

/// Does `work` for every tick of a schedule until the function's environment ends; what stops it is recorded with
/// `recorder`. `work` is told until when it must have ended, where Lambda says so. An error is the tick's: Lambda counts
/// it, and the schedule ticks again.
///
/// Call it within 10 seconds of the process's start, as [`run`](crate::run).
pub async fn run_scheduled<Answer, Failure, Work>(
    work: impl Fn(Option<Instant>) -> Work,
    recorder: Arc<Recorder>,
) -> ExitCode
where
    Answer: Serialize,
    Failure: Display,
    Work: Future<Output = Result<Answer, Failure>>,
{
    let tick = |event: LambdaEvent<serde_json::Value>| {
        let work = work(instant_of(event.context.deadline, SystemTime::now()));
        async move {
            work.await.map_err(|error| Diagnostic {
                error_type: "failed".to_owned(),
                error_message: error.to_string(),
            })
        }
    };
    serve(tick, recorder).await
}

async fn serve<Event, Answer, Failure, Handling>(
    handle: impl Fn(LambdaEvent<Event>) -> Handling,
    recorder: Arc<Recorder>,
) -> ExitCode
where
    Event: DeserializeOwned,
    Answer: Serialize,
    Failure: Into<Diagnostic> + std::fmt::Debug,
    Handling: Future<Output = Result<Answer, Failure>>,
{
    let serve = lambda_runtime::run(service_fn(|event: LambdaEvent<Event>| {
        let request_id = &event.context.request_id;
        let span = tracing::info_span!("event", lambda.request_id = request_id);
        handle(event).instrument(span)
    }));
    stop::serve_until_the_end(serve, &recorder).await
}
