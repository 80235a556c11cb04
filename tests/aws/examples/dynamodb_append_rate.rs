//! How fast records become durable in `DynamoDB` Local: those of callers of one process, which are written together, and
//! those of processes with one caller each, as on Lambda, where each record is a put of its own.
//!
//! ```text
//! tests/stack/run.sh cargo run -p aws-tests --example dynamodb_append_rate -- [RECORDS]
//! ```
//! What it measures is the emulator as much as the store. `docs/performance.md` has its figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::{EventBody, Record};
use aws_tests::emulators::Emulator::DynamodbLocal;
use aws_tests::emulators::connect_tables;
use aws_tests::tables;
use domain::ports::AuditAppender;
use futures::future::join_all;
use futures::{StreamExt, stream};
use testkit::FixedClock;
use testkit::build::{TestStream, prediction};

#[tokio::main]
async fn main() {
    let argument = std::env::args().nth(1);
    let count: usize = argument.map_or(4000, |text| text.parse().expect("a number of records"));
    let table = tables::create_audit(DynamodbLocal).await;
    let audit = connect_tables(DynamodbLocal).await.audit(&table);
    let bytes = predictions(&mut TestStream::fresh(), 1)[0].entry.len();
    println!("entries of {bytes} bytes\nprocesses  callers of each  records/s  p50 ms  p99 ms");
    // The first run warms the emulator up.
    for (processes, callers) in [(1, 1), (1, 1), (1, 16), (1, 64), (16, 1), (64, 1)] {
        let mut streams = Vec::new();
        for _ in 0..processes {
            let mut test = TestStream::fresh();
            let registered = audit.register(&test.registration).await;
            registered.expect("a registered stream");
            streams.push(predictions(&mut test, count / processes));
        }
        let began = Instant::now();
        let appends = streams
            .into_iter()
            .map(|records| tokio::spawn(append(audit.clone(), records, callers)));
        let took = join_all(appends).await.into_iter();
        let mut took: Vec<Duration> = took
            .flat_map(|took| took.expect("durable records"))
            .collect();
        let rate = took.len() as f64 / began.elapsed().as_secs_f64();
        took.sort_unstable();
        let ms = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1000.0;
        println!(
            "{processes:9}  {callers:15}  {rate:9.0}  {:6.2}  {:6.2}",
            ms(50),
            ms(99)
        );
    }
}

/// The next records of a stream: one row of a small model each, which stands in all four indexes.
fn predictions(of: &mut TestStream, count: usize) -> Vec<Record> {
    let now_us = FixedClock::default().0;
    let record = |number: usize| {
        let mut body = prediction(&format!("request-{number:012}"), &["SPX"]);
        if let EventBody::Prediction(prediction) = &mut body {
            prediction.answers.values = vec![0.123_456_78.into(); 45];
        }
        of.stream.record(body, now_us).expect("a record")
    };
    (0..count).map(record).collect()
}

/// Appends a stream's records one by one, up to `callers` at once; gives how long each took.
async fn append(
    audit: Arc<dyn AuditAppender>,
    records: Vec<Record>,
    callers: usize,
) -> Vec<Duration> {
    let appends = stream::iter(records).map(|record| {
        let (sent, append) = (Instant::now(), audit.append(vec![record]));
        async move {
            append.await.expect("a durable record");
            sent.elapsed()
        }
    });
    appends.buffered(callers).collect().await
}
