//! How fast events are sealed through the embedded stores: read, verified, hashed, staged, committed, written, indexed
//! and published, every step durable.
//!
//! ```text
//! cargo run --profile local -p audit-seal --example seal_rate -- [EVENTS] [STREAMS] [BYTES] [THREADS] [DIRECTORY]
//! ```

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use audit_seal::{Ports, Rules, Sealer, StreamKeys};
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
    let (log, index) = (store.log(), store.seal_index());
    let ports = Ports {
        audit: store.audit_reader(),
        log: log.clone(),
        writer: log.clone(),
        publisher: log.clone(),
        lock: log.clone(),
        stage: log,
        index: index.clone(),
        index_writer: index,
        signer: store.keys().log_signer().context("a log key")?,
        clock: Arc::new(SystemClock),
    };
    let keys = StreamKeys::Given(vec![TestSigner::new(1).trusted()]);
    let rules = Rules {
        threads: number(3, 1)?.try_into()?,
        ..Rules::of("sealcast.example/log".to_owned(), keys)
    };
    let sealer = Sealer::new(ports, rules);
    let began = Instant::now();
    let cpu = cpu_time::ProcessTime::now();
    let report = sealer.run(None).await?;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    let sealed = report.events as f64;
    println!(
        "{} events sealed in {} checkpoints: {wall:.2} s, {:.0} events/s; {cpu:.2} s of one core, {:.0} events/s a core",
        report.events,
        report.checkpoints,
        sealed / wall,
        sealed / cpu,
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("most memory: {}", peak.unwrap_or("unknown").trim());
    let began = Instant::now();
    sealer.run(None).await?;
    println!(
        "an idle run takes {:.1} ms",
        began.elapsed().as_secs_f64() * 1000.0
    );
    Ok(())
}
