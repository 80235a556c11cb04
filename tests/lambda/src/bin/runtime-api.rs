//! `runtime-api`: starts a function's binary again and again and measures, without a network or a cloud's share,
//! how long it takes to its first request for an event, to its first answer, and to further ones.
//!
//! ```text
//! runtime-api --event events/predict/v1-iam.json --runs 20 --warm 1000 --env SEALCAST_DATA=/tmp/data -- BOOTSTRAP
//! ```
//!
//! Any Lambda function can be measured so, in any language. One JSON object a run on standard output, then a summary.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use lambda_tests::{Function, RuntimeApi};
use serde_json::{Value, json};

/// Measures how a Lambda function starts and answers.
#[derive(Parser)]
struct Arguments {
    /// The event that is sent: a file with JSON.
    #[arg(long)]
    event: PathBuf,
    /// How often the binary is started.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// How many further events each run answers, one after the other.
    #[arg(long, default_value_t = 0)]
    warm: usize,
    /// A variable for the function, NAME=VALUE; or NAME, to hand on the caller's own.
    #[arg(long)]
    env: Vec<String>,
    /// Answers every write to `DynamoDB` at once, without keeping it; other calls go to this `http://` address.
    #[arg(long, value_name = "URL")]
    instant_dynamodb: Option<String>,
    /// The function's binary and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let path = &arguments.event;
    let event = std::fs::read(path).with_context(|| format!("--event {}", path.display()))?;
    let mut variables = Vec::new();
    for given in &arguments.env {
        variables.push(match given.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (
                given.clone(),
                std::env::var(given).with_context(|| format!("--env {given}: it is not set"))?,
            ),
        });
    }
    if let Some(real) = &arguments.instant_dynamodb {
        let addr = lambda_tests::instant_dynamodb::start(real.clone()).await?;
        variables.push((
            "AWS_ENDPOINT_URL_DYNAMODB".to_owned(),
            format!("http://{addr}"),
        ));
    }
    let mut runs = Vec::new();
    for _ in 0..arguments.runs {
        let run = run(&arguments, &event, &variables).await?;
        println!("{run}");
        runs.push(run);
    }
    let median = |name: &str| {
        let mut values: Vec<f64> = runs.iter().filter_map(|run| run[name].as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let names = [
        "first_next_ms",
        "first_answer_ms",
        "warm_p50_us",
        "warm_p99_us",
        "memory_kib",
    ];
    let medians: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!(median(name))))
        .collect();
    println!("{}", json!({"runs": runs.len(), "median": medians}));
    Ok(())
}

/// One start: process start → first request for an event → first answer → further ones.
async fn run(
    arguments: &Arguments,
    event: &[u8],
    variables: &[(String, String)],
) -> anyhow::Result<Value> {
    let (binary, rest) = arguments
        .command
        .split_first()
        .context("expected a command")?;
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let api = RuntimeApi::start().await?;
    let mut function = Function::start(binary.as_ref(), rest, &api, &variables)?;
    let since_start = |moment: Instant| ms(moment.saturating_duration_since(function.started()));
    // The event waits, as it does where a request makes Lambda start an environment.
    let answer = tokio::time::timeout(Duration::from_secs(30), api.invoke(event.to_vec()))
        .await
        .ok()
        .with_context(|| {
            format!(
                "no answer within 30 s; the function wrote:\n{}",
                function.log().join("\n")
            )
        })?;
    let first_answer = Instant::now();
    let first_next = api.first_poll().await;
    let status = answer.json()["statusCode"].clone();
    let mut warm_us = Vec::with_capacity(arguments.warm);
    for _ in 0..arguments.warm {
        let began = Instant::now();
        let answer = api.invoke(event.to_vec()).await;
        warm_us.push(began.elapsed().as_secs_f64() * 1e6);
        anyhow::ensure!(
            answer.json()["statusCode"] == status,
            "a later answer differs: {}",
            answer.json()
        );
    }
    warm_us.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        warm_us
            .get(((warm_us.len() as f64) * q) as usize)
            .map(|us| us.round())
    };
    let measured = json!({
        "first_next_ms": since_start(first_next),
        "first_answer_ms": since_start(first_answer),
        "status": status,
        "warm_p50_us": quantile(0.5),
        "warm_p99_us": quantile(0.99),
        "memory_kib": function.most_memory_kib(),
    });
    function.terminate()?;
    function.wait(Duration::from_secs(5))?;
    Ok(measured)
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
