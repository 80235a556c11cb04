//! How fast events are sealed, proofs are made, and logs are verified: CPU time of one thread, which other work on the
//! machine disturbs little.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use audit::checkpoint::Checkpoint;
use audit::event::{EventBody, ModelRef, Prediction, RecordedList, RecordedTensor};
use audit::seal::{LogEdge, SealRules, StreamPage, plan_seal, plan_seal_on};
use audit::tiles::{TileId, TileKind, TileReader, TreeReader};
use audit::tree::{Frontier, Hash, node_hash, verify_inclusion};
use audit::whole_log::verify_log;
use audit::{PublicKey, SignedRegistration, Stream, StreamVerifier};
use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signer, SigningKey};

const START_US: u64 = 1_700_000_000_000_000;
const EVENTS: u64 = 2_000;

/// What one row of the example model leaves in the log: 14 features, two probabilities.
fn prediction(n: u64) -> EventBody {
    let data = |count: u64| {
        (0..count)
            .map(|i| serde_json::json!((n + i) as f64 / 7.0))
            .collect()
    };
    let tensor = |name: &str, count: u64| RecordedTensor {
        data: data(count),
        datatype: "FP32".to_owned(),
        name: name.to_owned(),
        offset: 0,
        redacted: Vec::new(),
        shape: vec![1, count as usize],
    };
    EventBody::Prediction(Box::new(Prediction {
        answered_by: "direction@1.0.0".to_owned(),
        answers: RecordedList {
            offset: 0,
            values: vec![serde_json::json!({"label": 1, "probabilities": [0.25, 0.75]})],
        },
        changes: RecordedList::default(),
        duration_us: 90,
        explanation: None,
        failures: Vec::new(),
        fallback_level: 0,
        fallback_model: None,
        inputs: vec![tensor("features", 14)],
        outputs: vec![tensor("probabilities", 2)],
        part: 1,
        parts: 1,
        principal: "desk".to_owned(),
        release: "r-000001".to_owned(),
        request_id: format!("0191d2a4-0000-7000-8000-{n:012}"),
        requested: ModelRef {
            algo_id: "ALGO-1".to_owned(),
            name: "direction".to_owned(),
            sha256: "ab".repeat(32),
            version: "1.0.0".to_owned(),
        },
        rows: 1,
        symbols: RecordedList {
            offset: 0,
            values: vec![serde_json::json!("ACME")],
        },
    }))
}

fn page(id: u8, count: u64) -> StreamPage {
    let (mut stream, registration) = Stream::open([id; 16], &[id; 32], "bench", START_US).unwrap();
    let registration = registration.to_bytes().unwrap();
    let signature = SigningKey::from_bytes(&[9; 32])
        .sign(&registration)
        .to_bytes();
    StreamPage {
        stream: stream.id(),
        known: None,
        registration: Some(SignedRegistration {
            registration,
            key_id: "r".to_owned(),
            signature,
        }),
        records: (0..count)
            .map(|n| stream.record(prediction(n), START_US + n).unwrap())
            .collect(),
    }
}

fn trusted() -> Vec<(String, PublicKey)> {
    let key = SigningKey::from_bytes(&[9; 32]).verifying_key();
    vec![("r".to_owned(), PublicKey(key.to_bytes()))]
}

/// Time that the thread had a core.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn sealing(c: &mut Criterion<CpuTime>) {
    let trusted = trusted();
    let rules = SealRules {
        commands_only: &[],
        trusted: &trusted,
        idle_after_us: 1 << 50,
        max_leaves: 1 << 40,
    };
    let page = page(1, EVENTS);
    let bytes: usize = page.records.iter().map(|record| record.entry.len()).sum();
    println!("{} bytes an entry", bytes as u64 / EVENTS);
    let mut group = c.benchmark_group("seal");
    group
        .throughput(Throughput::Elements(EVENTS))
        .sample_size(10);
    group.bench_function("events, verified and appended", |b| {
        b.iter_batched(
            || vec![page.clone()],
            |pages| {
                plan_seal("example.com/audit", LogEdge::new(), pages, &rules, START_US).unwrap()
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("records, signature and chain alone", |b| {
        b.iter(|| {
            let mut verifier =
                StreamVerifier::new(page.registration.as_ref().unwrap(), &trusted).unwrap();
            page.records.iter().for_each(|record| {
                verifier.check(record).unwrap();
            });
        });
    });
    let key = SigningKey::from_bytes(&[1; 32]).verifying_key();
    group.bench_function("Ed25519 signatures alone, one by one", |b| {
        b.iter(|| {
            for record in &page.records {
                let signature = ed25519_dalek::Signature::from_bytes(&record.signature);
                key.verify_strict(&record.entry, &signature).unwrap();
            }
        });
    });
    group.bench_function("entries read and found canonical, alone", |b| {
        b.iter(|| {
            for record in &page.records {
                let event: audit::Event = serde_json::from_slice(&record.entry).unwrap();
                assert_eq!(
                    audit::canonical::to_canonical_json_sorted(&event).unwrap(),
                    record.entry
                );
            }
        });
    });
    group.bench_function("leaves appended to the tree, alone", |b| {
        b.iter(|| {
            let mut frontier = Frontier::new();
            for record in &page.records {
                black_box(frontier.append(audit::canonical::leaf_hash(&record.entry)));
            }
            frontier.root()
        });
    });
    group.finish();

    let plan = plan_seal(
        "example.com/audit",
        LogEdge::new(),
        vec![page],
        &rules,
        START_US,
    )
    .unwrap();
    let tiles: BTreeMap<TileId, Vec<u8>> = plan.tiles;
    let mut group = c.benchmark_group("verify");
    group
        .throughput(Throughput::Elements(plan.newer.size))
        .sample_size(10);
    group.bench_function("a whole log", |b| {
        b.iter(|| {
            let mut reader = |tile: TileId| tiles.get(&tile).cloned().ok_or("not found");
            let report = verify_log(&plan.newer, &trusted, &mut reader, &mut |_| {});
            assert!(report.is_complete());
        });
    });
    group.finish();
}

/// A tree of any size whose leaves are all the same: its tiles are made, not held.
struct Uniform(Vec<Hash>);

impl TileReader for &Uniform {
    type Error = Infallible;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Infallible> {
        let level = match tile.kind() {
            TileKind::Hashes(level) => usize::from(level),
            TileKind::Entries | TileKind::Signatures => 0,
        };
        Ok(self.0[level].repeat(tile.width()))
    }
}

fn proofs(c: &mut Criterion<CpuTime>) {
    let level = |level: u32| (0..8 * level).fold([5; 32], |hash, _| node_hash(&hash, &hash));
    let tiles = Uniform((0..8).map(level).collect());
    let mut group = c.benchmark_group("proof");
    for size in [1_000, 1_000_000, 100_000_000_u64] {
        let index = size / 3;
        let mut tree = TreeReader::new(size, &tiles);
        let proof = tree.prove_inclusion(index).unwrap();
        println!(
            "{size} leaves: {} tiles read, {} hashes",
            tree.reads(),
            proof.len()
        );
        let checkpoint = Checkpoint {
            origin: String::new(),
            size,
            root: tree.root().unwrap(),
        };
        group.bench_function(format!("inclusion of {size}"), |b| {
            b.iter(|| {
                TreeReader::new(size, &tiles)
                    .prove_inclusion(black_box(index))
                    .unwrap()
            });
        });
        group.bench_function(format!("consistency of {size}"), |b| {
            b.iter(|| {
                TreeReader::new(size, &tiles)
                    .prove_consistency(black_box(index))
                    .unwrap()
            });
        });
        group.bench_function(format!("verification of {size}"), |b| {
            b.iter(|| verify_inclusion(size, index, &[5; 32], &proof, &checkpoint.root).unwrap());
        });
    }
    group.finish();
}

/// What further threads give, by the clock on the wall: other work on the machine disturbs it.
fn sealing_on_threads(c: &mut Criterion) {
    let trusted = trusted();
    let rules = SealRules {
        commands_only: &[],
        trusted: &trusted,
        idle_after_us: 1 << 50,
        max_leaves: 1 << 40,
    };
    let page = page(1, EVENTS);
    let mut group = c.benchmark_group("seal, by the clock");
    group
        .throughput(Throughput::Elements(EVENTS))
        .sample_size(10);
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).unwrap();
        group.bench_function(format!("on {threads} threads"), |b| {
            b.iter_batched(
                || vec![page.clone()],
                |pages| {
                    let (origin, edge) = ("example.com/audit", LogEdge::new());
                    plan_seal_on(threads, origin, edge, pages, &rules, START_US).unwrap()
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(by_the_clock, sealing_on_threads);
criterion_group!(
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = sealing, proofs
);
criterion_main!(benches, by_the_clock);
