//! A recorder over a log and a spill that fail on cue.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::{Event, EventBody, Receipt, StreamId};
use domain::ports::{
    AuditAppender, AuditReader, AuditRestorer, Clock, Signer, SpillReader, SpillRemover,
    SpillWriter,
};
use domain::spill::{ReplayPorts, ReplayReport, replay};
use domain::{Recorded, Recorder, StoreError};
use testkit::build::{event, verify};
use testkit::{Fault, Faulty, ManualClock, MemoryAudit, MemorySpill, SeededEntropy, TestSigner};

pub(crate) const SECOND: u64 = 1_000_000;

/// The log, the spill and the last resort, which outlive processes.
pub(crate) struct World {
    pub(crate) log: Arc<MemoryAudit>,
    pub(crate) spill: Arc<MemorySpill>,
    /// What was written to processes' own logs.
    pub(crate) lines: Arc<MemorySpill>,
    pub(crate) clock: Arc<ManualClock>,
    processes: u64,
}

/// One process's recorder, and what makes its stores fail.
pub(crate) struct Process {
    pub(crate) log: Arc<Faulty<dyn AuditAppender>>,
    pub(crate) spill: Arc<Faulty<dyn SpillWriter>>,
    pub(crate) lines: Arc<Faulty<dyn SpillWriter>>,
    pub(crate) signer: Arc<Faulty<dyn Signer>>,
    pub(crate) recorder: Arc<Recorder>,
}

pub(crate) fn down() -> Fault {
    Fault::Before(StoreError::Unavailable("down".to_owned()))
}

pub(crate) const REGISTER: &str = "AuditAppender::register";
pub(crate) const APPEND: &str = "AuditAppender::append";
pub(crate) const PUT: &str = "SpillWriter::put";

impl Process {
    /// Records an event that says `subject`, as this process must be able to.
    pub(crate) async fn record(&self, subject: &str) -> Recorded {
        self.recorder.record(event(subject)).await.unwrap()
    }

    pub(crate) fn take_away_log(&self) {
        self.log.fail_always(APPEND, down());
        self.log.fail_always(REGISTER, down());
    }

    pub(crate) fn bring_back_log(&self) {
        self.log.heal(APPEND);
        self.log.heal(REGISTER);
    }
}

impl World {
    /// A world with one process.
    pub(crate) fn started() -> (Self, Process) {
        let mut world = Self::new();
        let process = world.start();
        (world, process)
    }

    pub(crate) fn new() -> Self {
        Self {
            log: Arc::new(MemoryAudit::new()),
            spill: Arc::new(MemorySpill::new()),
            lines: Arc::new(MemorySpill::new()),
            clock: Arc::new(ManualClock::default()),
            processes: 0,
        }
    }

    pub(crate) fn start(&mut self) -> Process {
        self.processes += 1;
        let log = Arc::new(Faulty::new(self.log.clone() as Arc<dyn AuditAppender>));
        let spill = Arc::new(Faulty::new(self.spill.clone() as Arc<dyn SpillWriter>));
        let lines = Arc::new(Faulty::new(self.lines.clone() as Arc<dyn SpillWriter>));
        let signer = Arc::new(Faulty::new(Arc::new(TestSigner::new(1)) as Arc<dyn Signer>));
        let recorder = Recorder::new(
            format!("process {}", self.processes),
            log.clone(),
            signer.clone(),
            self.clock.clone(),
            Arc::new(SeededEntropy::new(self.processes)),
        )
        .with_spill(spill.clone(), lines.clone());
        Process {
            log,
            spill,
            lines,
            signer,
            recorder: Arc::new(recorder),
        }
    }

    pub(crate) fn ports(&self) -> ReplayPorts {
        ReplayPorts {
            reader: self.spill.clone() as Arc<dyn SpillReader>,
            remover: self.spill.clone() as Arc<dyn SpillRemover>,
            restorer: self.log.clone() as Arc<dyn AuditRestorer>,
            log: self.log.clone() as Arc<dyn AuditReader>,
            clock: self.clock.clone() as Arc<dyn Clock>,
        }
    }

    pub(crate) async fn replay(&self) -> ReplayReport {
        let report = replay(&self.ports(), 100_000, u64::MAX).await;
        assert_eq!(report.unlisted, None);
        report
    }

    /// Puts what processes wrote to their logs into the spill, as an operator does.
    pub(crate) fn import_lines(&self) {
        for name in self.lines.names() {
            self.spill.plant(&name, &self.lines.bytes(&name).unwrap());
        }
    }

    /// Every event in the log, every stream verified: subject and position.
    pub(crate) async fn events(&self) -> BTreeMap<String, (StreamId, u64)> {
        let mut events = BTreeMap::new();
        for stream in self.log.streams(None, usize::MAX).await.unwrap() {
            let registration = self.log.registration(stream).await.unwrap();
            let records = self.log.read(stream, 0, usize::MAX).await.unwrap();
            verify(&registration, &records).unwrap();
            for record in records {
                let event: Event = serde_json::from_slice(&record.entry).unwrap();
                let EventBody::Security(security) = event.body else {
                    panic!("only such events were recorded")
                };
                let before = events.insert(security.subject, (stream, record.seq));
                assert_eq!(before, None, "an event is in the log twice");
            }
        }
        events
    }

    /// Asserts that every acknowledged event is in the log, once and where its receipt says.
    pub(crate) async fn assert_whole(&self, acknowledged: &BTreeMap<String, Receipt>) {
        let events = self.events().await;
        for (subject, receipt) in acknowledged {
            assert_eq!(
                events.get(subject),
                Some(&(receipt.stream, receipt.seq)),
                "{subject} is not where its receipt says"
            );
        }
    }
}
