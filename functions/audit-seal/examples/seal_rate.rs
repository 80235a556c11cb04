//! How fast events are sealed through the embedded stores: read, verified, hashed, staged, committed, written, indexed
//! and published, every step durable.
//!
//! ```text
//! cargo run --profile local -p audit-seal --example seal_rate -- [EVENTS] [STREAMS] [BYTES] [THREADS] [DIRECTORY] [SECONDS]
//! ```
//!
//! With `SECONDS` they are sealed in as many runs as it takes, each of which has a deadline, as on Lambda: a run begins
//! no page that it could not end 3 s before that, so it takes more than 3.

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use audit_seal::{Outcome, Ports, Rules, Sealer, StreamKeys};
use domain::system::SystemClock;
use store_embedded::EmbeddedStore;
use testkit::TestSigner;
use testkit::build::{TestStream, random};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        let given = arguments.get(at).map(|text| text.parse());
        given.unwrap_or(Ok(default))
    };
    let (events, streams) = (number(0, 1_000_000)?, number(1, 100)?);
    let bytes = number(2, 1000)?;
    let parent = arguments
        .get(4)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = match number(5, 0)? as u64 {
        0 => None,
        seconds @ 1..=3 => anyhow::bail!("SECONDS: expected more than 3, found {seconds}"),
        seconds => Some(Duration::from_secs(seconds)),
    };
    let data = tempfile::tempdir_in(parent)?;
    let store = EmbeddedStore::create(data.path())?;
    let appender = store.audit_appender();
    // Entries of about the size asked for.
    let filler = "x".repeat(bytes.saturating_sub(250));
    let per_stream = (events / streams).max(1);
    let began = Instant::now();
    for _ in 0..streams {
        let now_us = domain::ports::Clock::now_us(&SystemClock);
        let mut test = TestStream::opened_at(random(), "test", now_us);
        appender.register(&test.registration).await?;
        for from in (0..per_stream).step_by(1000) {
            let count = 1000.min(per_stream - from);
            let records = (0..count).map(|_| test.record(&filler)).collect();
            appender.append(records).await?;
        }
    }
    println!(
        "{events} events of {streams} streams written in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let signer = store.keys().log_signer().context("a log key")?;
    let ports = Ports::of_stores(
        store.audit_reader(),
        store.log(),
        store.log(),
        store.seal_index(),
        signer,
        Arc::new(SystemClock),
    );
    let keys = StreamKeys::Given(vec![TestSigner::new(1).trusted()]);
    let rules = Rules {
        threads: number(3, 1)?.try_into()?,
        ..Rules::of("sealcast.example/log".to_owned(), keys)
    };
    let sealer = Sealer::new(ports, rules);
    forget_peak();
    let cpu = cpu_time::ProcessTime::now();
    let (mut done, mut checkpoints, mut runs, mut spent) = (0, 0, 0, Duration::ZERO);
    loop {
        let began = Instant::now();
        let report = sealer.run(seconds.map(|s| began + s)).await?;
        let took = began.elapsed();
        done += report.events;
        checkpoints += report.checkpoints;
        runs += 1;
        spent += took;
        if seconds.is_some() {
            let (events, size) = (report.events, report.size);
            println!(
                "run {runs}: {events} events in {} checkpoints, {:.2} s, {size} leaves, {:?}, at most {}",
                report.checkpoints,
                took.as_secs_f64(),
                report.outcome,
                peak()
            );
        }
        match report.outcome {
            Outcome::Done => break,
            Outcome::More if seconds.is_some() => {}
            outcome => anyhow::bail!("a run ended with {outcome:?}"),
        }
    }
    let cpu = cpu.elapsed().as_secs_f64();
    let written = (per_stream * streams) as u64;
    anyhow::ensure!(done == written, "{done} of {written} events are sealed");
    let (wall, count) = (spent.as_secs_f64(), done as f64);
    println!(
        "{done} events sealed in {runs} runs, {checkpoints} checkpoints: {wall:.2} s, {:.0} events/s; {cpu:.2} s of one core, {:.0} events/s a core",
        count / wall,
        count / cpu,
    );
    println!("most memory while sealing: {}", peak());
    let began = Instant::now();
    sealer.run(None).await?;
    println!(
        "an idle run takes {:.1} ms",
        began.elapsed().as_secs_f64() * 1000.0
    );
    Ok(())
}

/// Begins to measure the most memory anew, where the system lets it.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that the process held.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.unwrap_or("unknown").trim().to_owned()
}
