//! Runs a router as a Lambda function behind an HTTP API: who calls, until
//! when, what the log says, and how it stops.
//!
//! A function that a schedule calls has no router: its main ends with [`run_scheduled`].
//!
//! The same binary serves classic Lambda, one request at a time, and Managed
//! Instances, as many as `AWS_LAMBDA_MAX_CONCURRENCY` says. A function's main is
//! [`start`], its ports and its router, and [`run`].

mod audit_log;
mod events;
mod host;
mod iam_roles;
mod identity;
mod settings;
mod size;
mod spill_log;
mod start;
mod stop;

pub use audit_log::LoggedAudit;
pub use events::{run_events, run_scheduled};
pub use host::Host;
pub use iam_roles::{IamRoles, IamRolesError};
pub use identity::{Identity, IdentityRules, identify};
pub use settings::HostSettings;
pub use spill_log::LoggedSpill;
pub use start::{INIT_TIME, init, start};

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use domain::Recorder;
use lambda_http::service_fn;

/// Serves requests until the function's environment ends; what stops it is recorded with `recorder`.
///
/// Call it within 10 seconds of the process's start: until then Lambda takes the function to be initialising.
pub async fn run(router: Router, settings: HostSettings, recorder: Arc<Recorder>) -> ExitCode {
    let host = Host::new(router, settings);
    let serve = lambda_http::run_concurrent(service_fn(move |event| {
        let host = host.clone();
        async move { host.answer(event).await }
    }));
    stop::serve_until_the_end(serve, &recorder).await
}
