//! `load`: keep-alive HTTP/1.1 load on a server of this machine, and what it measured.
//!
//! Closed loop: every connection sends its next request when the answer to the last one is there, so
//! latencies are those of a client that waits, and the rate is what that many clients get. Only answers
//! with status 200 count as successes, and only theirs are the latencies.

mod connection;
mod options;
mod process;
mod request;
mod run;
mod summary;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::options::Options;
use crate::request::RequestTemplate;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let template = read_template(&options)?;
    let mut builder = if options.threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder
        .worker_threads(options.threads)
        .enable_all()
        .build()?;
    let summary = runtime.block_on(run::measure(&options, &template))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{summary}");
    }
    Ok(if summary.successes > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read_template(options: &Options) -> anyhow::Result<RequestTemplate> {
    let body = std::fs::read(&options.body)
        .with_context(|| format!("reading {}", options.body.display()))?;
    let token = match &options.token_file {
        Some(path) => {
            let token = std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?;
            Some(token.trim().to_owned())
        }
        None => None,
    };
    let form = options.form();
    RequestTemplate::build(options.addr, &options.path, token.as_deref(), &body, form)
        .with_context(|| format!("body {}", options.body.display()))
}
