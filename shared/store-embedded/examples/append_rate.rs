//! Measures how many durable appends and answers a second a data directory takes.
//!
//! `cargo run --profile local -p store-embedded --example append_rate -- DIRECTORY [SECONDS]`
//! The directory decides what is measured: a memory file system syncs at once.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use artifact::Sha256Digest;
use audit::event::Security;
use audit::{EventBody, Stream};
use domain::ports::{Claim, ClaimKey};
use domain::system::{SystemClock, SystemEntropy};
use domain::{PrincipalId, Recorder, RequestId};
use futures::future::join_all;
use store_embedded::EmbeddedStore;

const CALLERS: usize = 64;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments
        .next()
        .ok_or("usage: append_rate DIRECTORY [SECONDS]")?;
    let length = Duration::from_secs(arguments.next().map_or(Ok(5), |text| text.parse())?);
    let data = tempfile::tempdir_in(Path::new(&parent))?;
    let store = EmbeddedStore::create(&data.path().join("data"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure_appends(&store))?;
    runtime.block_on(measure_recorder(&store, length))?;
    runtime.block_on(measure_claims(&store, length))?;
    store.close();
    Ok(())
}

/// An event with some 900 bytes of entry, about as long as a small model's answer.
fn sample_event(number: u64) -> EventBody {
    EventBody::Security(Security {
        code: "append_rate.sample".to_owned(),
        subject: format!("event {number:012}"),
        detail: "0.12345678 ".repeat(56),
    })
}

fn report(what: &str, count: u64, elapsed: Duration, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1000].as_micros();
    let rate = count as f64 / elapsed.as_secs_f64();
    println!(
        "{what}: {rate:.0}/s; p50 {} us, p99 {} us, p99.9 {} us",
        at(500),
        at(990),
        at(999)
    );
}

/// The store alone: records are made beforehand.
async fn measure_appends(store: &EmbeddedStore) -> Result<(), Failure> {
    const COUNT: u64 = 200_000;
    let (mut stream, registration) = Stream::open([1; 16], &[2; 32], "append_rate", 0)?;
    let registration = registration.to_bytes()?;
    let signature = store.stream_signer().sign(&registration).await?;
    let signed = audit::SignedRegistration {
        registration,
        key_id: store.stream_signer().key_id().to_owned(),
        signature: signature.try_into().map_err(|_| "expected 64 bytes")?,
    };
    let appender = store.audit_appender();
    appender.register(&signed).await?;
    let mut records = Vec::new();
    let begin = Instant::now();
    for number in 0..COUNT {
        records.push(stream.record(sample_event(number), number)?);
    }
    let each = begin.elapsed().as_micros() as f64 / COUNT as f64;
    println!("  {each:.1} us to make a record: canonical JSON, hash and signature");
    let bytes: usize = records.iter().map(|record| record.entry.len()).sum();
    let records = Arc::new(std::sync::Mutex::new(records.into_iter()));
    let begin = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let (records, appender) = (Arc::clone(&records), Arc::clone(&appender));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let begin = Instant::now();
                let durable = {
                    let mut records = records.lock().map_err(|error| error.to_string())?;
                    let Some(record) = records.next() else {
                        return Ok::<_, Failure>(latencies);
                    };
                    appender.append(vec![record])
                };
                durable.await?;
                latencies.push(begin.elapsed());
            }
        })
    });
    let mut latencies = Vec::new();
    for caller in join_all(callers).await {
        latencies.extend(caller??);
    }
    report("appends", COUNT, begin.elapsed(), latencies);
    println!("  {} bytes an entry on average", bytes as u64 / COUNT);
    let begin = Instant::now();
    let page = store
        .audit_reader()
        .read(audit::StreamId([1; 16]), COUNT - 100, 100)
        .await?;
    println!(
        "  the last {} of {COUNT} read in {} us",
        page.len(),
        begin.elapsed().as_micros()
    );
    Ok(())
}

/// The recorder over the store: canonical JSON, signature and append of each event.
async fn measure_recorder(store: &EmbeddedStore, length: Duration) -> Result<(), Failure> {
    let recorder = Arc::new(Recorder::new(
        "append_rate".to_owned(),
        store.audit_appender(),
        store.stream_signer(),
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    ));
    recorder.open_stream().await?;
    let (count, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let callers = (0..CALLERS).map(|_| {
        let (recorder, count) = (Arc::clone(&recorder), Arc::clone(&count));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while begin.elapsed() < length {
                let body = sample_event(count.fetch_add(1, Ordering::Relaxed));
                let begin = Instant::now();
                recorder.record(body).await?;
                latencies.push(begin.elapsed());
            }
            Ok::<_, Failure>(latencies)
        })
    });
    let mut latencies = Vec::new();
    for caller in join_all(callers).await {
        latencies.extend(caller??);
    }
    report(
        "recorded events",
        count.load(Ordering::Relaxed),
        begin.elapsed(),
        latencies,
    );
    Ok(())
}

/// A claim and its answer.
async fn measure_claims(store: &EmbeddedStore, length: Duration) -> Result<(), Failure> {
    let (count, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let callers = (0..CALLERS).map(|_| {
        let (claims, count) = (store.request_claims(), Arc::clone(&count));
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while begin.elapsed() < length {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let key = ClaimKey {
                    principal: PrincipalId::parse("anna")?,
                    request: RequestId::parse(&format!("request-{number:012}"))?,
                };
                let begin = Instant::now();
                let claim = claims
                    .claim(&key, Sha256Digest([0; 32]), 0, 1_000_000)
                    .await?;
                let Claim::Won(token) = claim else {
                    return Err("a fresh id was not won".into());
                };
                claims
                    .answer(&key, token, &[b'x'; 300], 86_400_000_000)
                    .await?;
                latencies.push(begin.elapsed());
            }
            Ok::<_, Failure>(latencies)
        })
    });
    let mut latencies = Vec::new();
    for caller in join_all(callers).await {
        latencies.extend(caller??);
    }
    report(
        "claims with answers",
        count.load(Ordering::Relaxed),
        begin.elapsed(),
        latencies,
    );
    Ok(())
}
