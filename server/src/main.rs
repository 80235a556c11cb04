//! `server`: every route of Sealcast in one process.
//!
//! The embedded root keeps everything in one directory; settings come from the
//! environment (see [`config`]). Exit code 0 after SIGTERM or SIGINT, 1 where
//! the server could not start.

mod config;
mod embedded;
mod follow;
mod health;
mod listen;
mod questions;
mod seal;
mod tokens;

use std::process::ExitCode;

use config::Config;
use tracing_subscriber::EnvFilter;

/// A request makes a few hundred short-lived allocations on one thread and frees some on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
    };
    start_log(&config);
    match embedded::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the server stops");
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One JSON object a line on standard error; a log that cannot be written stops nothing.
fn start_log(config: &Config) {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::new(&config.log))
        .log_internal_errors(false)
        .init();
}
