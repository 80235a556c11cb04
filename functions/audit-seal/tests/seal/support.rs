//! A world in memory: streams, the sealed log, its index, a clock, and sealers over them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use audit::checkpoint::{Checkpoint, TrustedLog, check_growth};
use audit::event::ProcessStopped;
use audit::note::VerifierKey;
use audit::seal::SealLeaf;
use audit::tiles::{TILE_WIDTH, TileId, TileKind, parse_entries};
use audit::whole_log::{LogReport, verify_log};
use audit::{EventBody, Record, StreamId};
use audit_seal::{Outcome, Ports, Rules, RunReport, SealError, Sealer, StreamKeys, log_key};
use domain::ports::{AuditAppender, AuditReader, Clock, LogReader, SealIndexReader, Signer};
use domain::{LogPath, StoreError};
use testkit::build::TestStream;
use testkit::{Faulty, ManualClock, MemoryAudit, MemoryLog, MemorySealIndex, TestSigner};

pub(crate) const ORIGIN: &str = "sealcast.test/log";
pub(crate) const HOUR_US: u64 = 3_600_000_000;

/// Runs a future that waits for nothing but its turn.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Everything that outlives a sealer.
pub(crate) struct World {
    pub(crate) audit: Arc<MemoryAudit>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) index: Arc<MemorySealIndex>,
    pub(crate) clock: Arc<ManualClock>,
}

/// The stores of one sealer, which fail on cue.
pub(crate) struct Stores {
    pub(crate) audit: Arc<Faulty<MemoryAudit>>,
    pub(crate) log: Arc<Faulty<MemoryLog>>,
    pub(crate) index: Arc<Faulty<MemorySealIndex>>,
    pub(crate) signer: Arc<Faulty<TestSigner>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            audit: Arc::new(MemoryAudit::new()),
            log: Arc::new(MemoryLog::new()),
            index: Arc::new(MemorySealIndex::new()),
            clock: Arc::new(ManualClock::default()),
        }
    }

    pub(crate) fn stores(&self) -> Stores {
        Stores {
            audit: Arc::new(Faulty::new(Arc::clone(&self.audit))),
            log: Arc::new(Faulty::new(Arc::clone(&self.log))),
            index: Arc::new(Faulty::new(Arc::clone(&self.index))),
            signer: Arc::new(Faulty::new(Arc::new(TestSigner::new(2)))),
        }
    }

    pub(crate) fn rules() -> Rules {
        Rules::of(
            ORIGIN.to_owned(),
            StreamKeys::Given(vec![TestSigner::new(1).trusted()]),
        )
    }

    pub(crate) fn sealer(&self) -> Sealer {
        self.sealer_over(&self.stores(), Self::rules())
    }

    pub(crate) fn sealer_over(&self, stores: &Stores, rules: Rules) -> Sealer {
        let ports = Ports::of_stores(
            stores.audit.clone(),
            stores.log.clone(),
            stores.log.clone(),
            stores.index.clone(),
            stores.signer.clone(),
            self.clock.clone(),
        );
        Sealer::new(ports, rules)
    }

    /// Runs a fresh sealer without faults until nothing is left.
    pub(crate) fn seal(&self) -> RunReport {
        let report = self.try_seal().unwrap();
        assert_eq!(report.outcome, Outcome::Done);
        report
    }

    pub(crate) fn try_seal(&self) -> Result<RunReport, SealError> {
        block_on(self.sealer().run(None))
    }

    /// A new stream whose registration is stored.
    pub(crate) fn open(&self, id: [u8; 16]) -> TestStream {
        let test = TestStream::opened_at(id, "test", self.clock.now_us());
        block_on(self.audit.register(&test.registration)).unwrap();
        test
    }

    pub(crate) fn append(&self, records: Vec<Record>) {
        block_on(self.audit.append(records)).unwrap();
    }

    /// The published checkpoint.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let note = block_on(self.log.checkpoint()).unwrap().unwrap();
        trusted_log().open(&note).unwrap().0
    }

    pub(crate) fn read_tile(&self, tile: TileId) -> Result<Vec<u8>, StoreError> {
        let path = LogPath::parse(&tile.to_string()).unwrap();
        block_on(self.log.read(&path, 1 << 30))
    }

    pub(crate) fn verify(&self) -> LogReport {
        let mut reader = |tile: TileId| self.read_tile(tile);
        let trusted = [TestSigner::new(1).trusted()];
        verify_log(&self.checkpoint(), &trusted, &mut reader, &mut |_| {})
    }

    /// Every entry of the log.
    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        let size = self.checkpoint().size;
        let bundles = size.div_ceil(TILE_WIDTH as u64);
        let read = |index| {
            let tile = TileId::in_tree(TileKind::Entries, index, size).unwrap();
            let bytes = self.read_tile(tile).unwrap();
            let entries = parse_entries(&bytes, tile.width()).unwrap();
            entries.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        (0..bundles).flat_map(read).collect()
    }

    /// The last seal of the log.
    pub(crate) fn last_seal(&self) -> SealLeaf {
        SealLeaf::parse(self.entries().last().unwrap()).unwrap()
    }

    /// Asserts that the log is whole, that every stored event is in it once and where the index says, and that what was
    /// published only grew.
    pub(crate) fn assert_all_sealed_once(&self) {
        let report = self.verify();
        assert!(report.is_complete(), "{report:?}");
        assert!(report.reported.is_empty(), "{:?}", report.reported);
        let entries = self.entries();
        let records = self.audit.records();
        let mut counts: BTreeMap<StreamId, u64> = BTreeMap::new();
        for record in &records {
            *counts.entry(record.stream).or_default() += 1;
            let at = block_on(self.index.leaf_index(record.stream, record.seq)).unwrap();
            let at = usize::try_from(at.expect("the event has a place in the log")).unwrap();
            assert_eq!(entries[at], record.entry, "it stands where the index says");
        }
        for stream in block_on(self.audit.streams(None, usize::MAX)).unwrap() {
            let sealed = report.streams.get(&stream).map(|summary| summary.events);
            let appended = counts.get(&stream).copied().unwrap_or(0);
            assert_eq!(sealed, Some(appended), "events of stream {stream}");
        }
        self.assert_only_grew();
        let position = block_on(self.index.position()).unwrap();
        assert_eq!(position.tree_size, self.checkpoint().size);
    }

    /// Asserts that every published checkpoint continues the one before.
    pub(crate) fn assert_only_grew(&self) {
        let notes = self.log.all_published();
        let heads: Vec<Checkpoint> = notes
            .iter()
            .map(|note| trusted_log().open(note).unwrap().0)
            .collect();
        for pair in heads.windows(2) {
            let reader = |tile: TileId| self.read_tile(tile);
            assert_eq!(check_growth(&pair[0], &pair[1], reader), Ok(()));
            assert!(pair[0].size < pair[1].size);
        }
    }
}

/// What verifies the log's checkpoints.
pub(crate) fn log_vkey() -> VerifierKey {
    let pem = block_on(TestSigner::new(2).public_key_pem()).unwrap();
    log_key(ORIGIN, &pem).unwrap()
}

pub(crate) fn trusted_log() -> TrustedLog {
    TrustedLog::by_keys(ORIGIN, vec![log_vkey()])
}

/// The event with which a stream closes itself.
pub(crate) fn stopped(test: &mut TestStream, now_us: u64) -> Record {
    let body = EventBody::ProcessStopped(ProcessStopped {
        reason: "asked to stop".to_owned(),
    });
    test.stream.record(body, now_us).unwrap()
}

pub(crate) fn unavailable() -> testkit::Fault {
    testkit::Fault::Before(StoreError::Unavailable("down".to_owned()))
}
