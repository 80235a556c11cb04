//! How fast one stream becomes durable in `DynamoDB` Local: one record at a time, and with callers at once whose records
//! are written together.
//!
//! ```text
//! tests/stack/run.sh cargo run -p aws-tests --example append_rate [RECORDS]
//! ```
//! What it measures is the emulator as much as the store; it shows what writing together brings.

use std::time::{Duration, Instant};

use aws_tests::emulators::Emulator::DynamodbLocal;
use aws_tests::emulators::connect_tables;
use aws_tests::tables;
use domain::ports::AuditAppender;
use futures::StreamExt;
use futures::stream;
use testkit::build::TestStream;

#[tokio::main]
async fn main() {
    let argument = std::env::args().nth(1);
    let count: usize = argument.map_or(2000, |text| text.parse().expect("a number of records"));
    let table = tables::create_audit(DynamodbLocal).await;
    let audit = connect_tables(DynamodbLocal).await.audit(&table);
    println!("callers  records/s  p50 ms  p99 ms");
    // The first run warms the emulator up.
    for callers in [1, 1, 8, 64, 256] {
        let mut test = TestStream::fresh();
        let registered = audit.register(&test.registration).await;
        registered.expect("a registered stream");
        let records = test.records(count);
        let began = Instant::now();
        let appends = stream::iter(records).map(|record| {
            let (sent, append) = (Instant::now(), audit.append(vec![record]));
            async move {
                append.await.expect("a durable record");
                sent.elapsed()
            }
        });
        let mut took: Vec<Duration> = appends.buffered(callers).collect().await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        took.sort_unstable();
        let ms = |share: usize| took[(count - 1) * share / 100].as_secs_f64() * 1000.0;
        println!("{callers:7}  {rate:9.0}  {:6.2}  {:6.2}", ms(50), ms(99));
    }
}
