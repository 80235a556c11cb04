//! The sealer over the embedded stores, while many write.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audit::checkpoint::TrustedLog;
use audit::tiles::TileId;
use audit::whole_log::verify_log;
use audit::{Receipt, StreamId};
use audit_seal::{Outcome, Ports, Rules, Sealer, StreamKeys, log_key};
use domain::LogPath;
use domain::ports::{AuditAppender, LogReader, SealIndexReader};
use domain::system::SystemClock;
use store_embedded::EmbeddedStore;
use testkit::TestSigner;
use testkit::build::{TestStream, random};

const ORIGIN: &str = "sealcast.test/log";
const WRITERS: usize = 50;
const STREAMS: usize = 1000;
const EVENTS: usize = 100;

fn sealer(store: &EmbeddedStore, max_leaves: usize) -> Sealer {
    let signer = store.keys().log_signer().unwrap();
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
        max_leaves,
        ..Rules::of(ORIGIN.to_owned(), keys)
    };
    Sealer::new(ports, rules)
}

/// Writes streams one after the other, each in parts; gives the receipts.
async fn write(appender: Arc<dyn AuditAppender>, streams: usize) -> Vec<Receipt> {
    let mut receipts = Vec::with_capacity(streams * EVENTS);
    for _ in 0..streams {
        let now_us = domain::ports::Clock::now_us(&SystemClock);
        let mut test = TestStream::opened_at(random(), "test", now_us);
        appender.register(&test.registration).await.unwrap();
        let records = test.records(EVENTS);
        receipts.extend(records.iter().map(audit::Record::receipt));
        for part in records.chunks(EVENTS / 4) {
            appender.append(part.to_vec()).await.unwrap();
        }
    }
    receipts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_thousand_events_of_fifty_writers_are_sealed_once_while_they_write() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::create(data.path()).unwrap());
    let written = Arc::new(AtomicBool::new(false));
    // Two sealers at once, as after a deployment that overlaps.
    let sealing: Vec<_> = [20, 500]
        .map(Duration::from_millis)
        .into_iter()
        .map(|pause| {
            let (store, written) = (Arc::clone(&store), Arc::clone(&written));
            tokio::spawn(async move {
                let sealer = sealer(&store, 4096);
                let (mut checkpoints, mut overtaken) = (0, 0);
                while !written.load(Ordering::Relaxed) {
                    let report = sealer.run(None).await.unwrap();
                    checkpoints += report.checkpoints;
                    overtaken += u64::from(report.outcome == Outcome::Overtaken);
                    tokio::time::sleep(pause).await;
                }
                (checkpoints, overtaken)
            })
        })
        .collect();
    let writing: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(write(store.audit_appender(), STREAMS / WRITERS)))
        .collect();
    let mut receipts: BTreeMap<StreamId, Vec<Receipt>> = BTreeMap::new();
    for writer in writing {
        for receipt in writer.await.unwrap() {
            receipts.entry(receipt.stream).or_default().push(receipt);
        }
    }
    written.store(true, Ordering::Relaxed);
    let mut checkpoints = 0;
    for sealing in sealing {
        checkpoints += sealing.await.unwrap().0;
    }
    let last = sealer(&store, 4096).run(None).await.unwrap();
    assert_eq!(last.outcome, Outcome::Done);
    assert!(
        checkpoints > 3,
        "{checkpoints} checkpoints while they wrote"
    );

    let signer = store.keys().log_signer().unwrap();
    let key = log_key(ORIGIN, &signer.public_key_pem().await.unwrap()).unwrap();
    let log = store.log();
    let note = log.checkpoint().await.unwrap().unwrap();
    let head = TrustedLog::by_keys(ORIGIN, vec![key])
        .open(&note)
        .unwrap()
        .0;
    let dir = data.path().join("log");
    let mut reader = |tile: TileId| std::fs::read(dir.join(tile.to_string()));
    let trusted = [TestSigner::new(1).trusted()];
    let report = verify_log(&head, &trusted, &mut reader, &mut |_| {});
    assert!(report.is_complete(), "{:?}", report.faults);
    assert!(report.reported.is_empty(), "{:?}", report.reported);
    assert_eq!(report.streams.len(), STREAMS);
    let index = store.seal_index();
    for (stream, receipts) in &receipts {
        let summary = &report.streams[stream];
        assert_eq!(summary.events, EVENTS as u64);
        let newest = receipts.last().unwrap();
        assert_eq!(
            summary.head,
            Some(newest.leaf_hash),
            "what its writer was told"
        );
        let first = index.leaf_index(*stream, 0).await.unwrap();
        assert!(first.is_some_and(|at| at < head.size));
    }
    let staged = LogPath::parse("stage/x").unwrap();
    assert!(log.read(&staged, 1).await.is_err());
    let left = std::fs::read_dir(dir.join("stage")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing staged is left");
}
