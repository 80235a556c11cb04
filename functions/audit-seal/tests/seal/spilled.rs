//! Spilled events: put into their streams and sealed, also where those are closed or the run does not come to its end.

use std::sync::Arc;

use audit::Record;
use audit::event::EventBody;
use audit::seal::{FindingKind, StreamEnd};
use audit_seal::{Outcome, Sealer, Spill};
use domain::ports::{AuditAppender, Clock, SealIndexReader, SpillWriter};
use domain::spill::{ReplayPorts, SpillItem};
use domain::{Recorder, StoreError};
use testkit::build::{TestStream, random};
use testkit::{Fault, Faulty, MemorySpill, SeededEntropy, TestSigner};

use crate::support::{HOUR_US, Stores, World, block_on, stopped, unavailable};
use crate::unsealed::logged;

struct Spilled {
    world: World,
    spill: Arc<MemorySpill>,
    reader: Arc<Faulty<MemorySpill>>,
}

impl Spilled {
    fn new() -> Self {
        let spill = Arc::new(MemorySpill::new());
        Self {
            world: World::new(),
            reader: Arc::new(Faulty::new(spill.clone())),
            spill,
        }
    }

    /// A sealer that replays; what it finds in the spill goes to `appender`.
    fn sealer(&self, stores: &Stores, appender: Arc<dyn AuditAppender>) -> Sealer {
        let world = &self.world;
        let recorder = Recorder::new(
            "audit-seal".to_owned(),
            appender,
            Arc::new(TestSigner::new(1)),
            world.clock.clone(),
            Arc::new(SeededEntropy::new(1)),
        );
        let ports = ReplayPorts {
            reader: self.reader.clone(),
            remover: self.spill.clone(),
            restorer: world.audit.clone(),
            log: world.audit.clone(),
            clock: world.clock.clone(),
        };
        let sealer = world.sealer_over(stores, World::rules());
        sealer.with_spill(Spill {
            ports,
            recorder: Arc::new(recorder),
        })
    }

    fn honest_sealer(&self) -> Sealer {
        self.sealer(&self.world.stores(), self.world.audit.clone())
    }

    /// A stream that was closed for being idle, with three further records in the spill.
    fn closed_stream(&self) -> TestStream {
        let world = &self.world;
        let mut test = world.open(random());
        world.append(test.records(2));
        world.seal();
        world.clock.advance(World::rules().idle_after_us + 1);
        world.seal();
        let state = block_on(world.index.state(test.stream.id())).unwrap();
        assert_eq!(state.unwrap().end, Some(StreamEnd::Idle));
        self.put_records(&test.records(3));
        test
    }

    /// What was recorded about the spill: code and subject.
    fn found(&self) -> Vec<(String, String)> {
        let events = self.world.audit.events().into_iter();
        let found = events.filter_map(|event| match event.body {
            EventBody::Security(security) => Some((security.code, security.subject)),
            _ => None,
        });
        found
            .filter(|(code, _)| code.starts_with("spill."))
            .collect()
    }

    fn put(&self, item: &SpillItem) {
        block_on(self.spill.put(item)).unwrap();
    }

    fn put_records(&self, records: &[Record]) {
        self.put(&SpillItem::of_records(records.to_vec()).unwrap());
    }

    /// A stream of two events and its end, hours ago, without the log: it is in the spill alone, and no run looks for
    /// such old registrations any more.
    fn old_stream(&self) -> TestStream {
        let world = &self.world;
        // After wherever a replay begins, as its first page.
        let id = [0xff; 16];
        let mut test = TestStream::opened_at(id, "test", world.clock.now_us());
        for _ in 0..5 * HOUR_US / World::rules().heartbeat_us {
            world.clock.advance(World::rules().heartbeat_us);
            world.seal();
        }
        let mut records = test.records(2);
        records.push(stopped(&mut test, world.clock.now_us()));
        self.put(&SpillItem::of_registration(&test.registration).unwrap());
        self.put_records(&records);
        test
    }
}

#[test]
fn what_is_spilled_is_sealed_by_the_run_that_replays_it_however_old_its_stream() {
    let spilled = Spilled::new();
    let test = spilled.old_stream();
    let report = block_on(spilled.honest_sealer().run(None)).unwrap();
    assert_eq!((report.events, report.findings), (3, 0));
    assert!(spilled.spill.names().is_empty());
    let sealed = spilled.world.verify().streams[&test.stream.id()].events;
    assert_eq!(sealed, 3);
    spilled.world.assert_all_sealed_once();
}

#[test]
fn what_is_replayed_after_its_stream_was_closed_is_sealed_at_once_and_said() {
    let spilled = Spilled::new();
    let world = &spilled.world;
    let id = spilled.closed_stream().stream.id();
    let report = block_on(spilled.honest_sealer().run(None)).unwrap();
    assert_eq!((report.events, report.findings), (3, 1));
    let finding = &world.last_seal().findings[0];
    assert_eq!((finding.kind, finding.stream), (FindingKind::Late, id));
    assert_eq!(finding.kind.code(), "audit.event_late");
    let verified = world.verify();
    assert!(verified.is_complete(), "{verified:?}");
    assert_eq!(verified.streams[&id].events, 5);
    let again = block_on(spilled.honest_sealer().run(None)).unwrap();
    assert_eq!((again.events, again.findings), (0, 0), "once");
}

#[test]
fn a_run_that_ends_between_replaying_and_sealing_leaves_its_streams_to_the_next() {
    let spilled = Spilled::new();
    spilled.old_stream();
    let stores = spilled.world.stores();
    let sealer = spilled.sealer(&stores, spilled.world.audit.clone());
    stores.signer.fail_next("Signer::sign", unavailable());
    block_on(sealer.run(None)).unwrap_err();
    assert!(spilled.spill.names().is_empty(), "it was replayed");
    assert_eq!(block_on(sealer.run(None)).unwrap().events, 3);
    spilled.world.clock.advance(1_000_000);
    let idle = block_on(sealer.run(None)).unwrap();
    assert_eq!(idle.streams, 0, "it is not looked at again");
    spilled.world.assert_all_sealed_once();
}

#[test]
fn what_was_replayed_before_the_spill_could_not_be_listed_is_sealed_and_said() {
    let spilled = Spilled::new();
    spilled.old_stream();
    spilled.spill.plant("readme.txt", b"not ours");
    spilled
        .reader
        .fail_nth("SpillReader::list", 2, unavailable());
    let report = block_on(spilled.honest_sealer().run(None)).unwrap();
    spilled.reader.assert_all_took_place();
    assert_eq!(report.events, 4, "with that of the finding");
    let found = ("spill.item_unreadable".to_owned(), "readme.txt".to_owned());
    assert_eq!(spilled.found(), [found]);
    spilled.world.assert_all_sealed_once();
}

#[test]
fn a_closed_stream_that_cannot_be_read_after_it_was_replayed_is_sealed_by_the_next_run() {
    for fault in [unavailable(), Fault::After] {
        let spilled = Spilled::new();
        let world = &spilled.world;
        let id = spilled.closed_stream().stream.id();
        let stores = world.stores();
        let sealer = spilled.sealer(&stores, world.audit.clone());
        stores.audit.fail_next("AuditReader::read", fault);
        let report = block_on(sealer.run(None)).unwrap();
        assert!(spilled.spill.names().is_empty(), "it was replayed");
        assert_eq!((report.events, report.unreadable), (0, 1));
        assert_eq!(report.outcome, Outcome::More);
        let report = block_on(sealer.run(None)).unwrap();
        assert_eq!((report.events, report.outcome), (3, Outcome::Done));
        assert_eq!(world.verify().streams[&id].events, 5);
    }
}

#[test]
fn a_replayed_stream_that_never_can_be_read_keeps_no_run_from_its_end() {
    let spilled = Spilled::new();
    spilled.closed_stream();
    let stores = spilled.world.stores();
    let sealer = spilled.sealer(&stores, spilled.world.audit.clone());
    let denied = StoreError::Denied("no".to_owned());
    stores
        .audit
        .fail_next("AuditReader::read", Fault::Before(denied));
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.unreadable, report.outcome), (1, Outcome::Done));
}

#[test]
fn what_a_killed_run_replayed_is_sealed_within_a_day() {
    let spilled = Spilled::new();
    let world = &spilled.world;
    spilled.old_stream();
    let stores = world.stores();
    stores.signer.fail_next("Signer::sign", unavailable());
    block_on(spilled.sealer(&stores, world.audit.clone()).run(None)).unwrap_err();
    // Another process, which knows nothing of that.
    let mut events = 0;
    for _ in 0..24 * 6 {
        world.clock.advance(World::rules().heartbeat_us);
        events += block_on(spilled.honest_sealer().run(None)).unwrap().events;
    }
    assert_eq!(events, 3);
    world.assert_all_sealed_once();
}

#[test]
fn what_is_wrong_in_the_spill_is_an_event_and_keeps_nothing_from_being_sealed() {
    let spilled = Spilled::new();
    let world = &spilled.world;
    let mut test = world.open(random());
    world.append(test.records(2));
    spilled.spill.plant("readme.txt", b"not ours");
    assert_eq!(
        block_on(spilled.honest_sealer().run(None)).unwrap().events,
        3
    );
    let found = ("spill.item_unreadable".to_owned(), "readme.txt".to_owned());
    assert_eq!(spilled.found(), [found]);
    // Where it cannot be recorded either, the rest is sealed all the same, and the line is there that the alarm counts.
    spilled.spill.plant("another.txt", b"not ours");
    world.append(test.records(1));
    let appender = Arc::new(Faulty::new(world.audit.clone() as Arc<dyn AuditAppender>));
    appender.fail_always("AuditAppender::register", unavailable());
    let sealer = spilled.sealer(&world.stores(), appender);
    let lines = logged(|| assert_eq!(block_on(sealer.run(None)).unwrap().events, 1));
    assert_eq!(spilled.spill.set_aside_names().len(), 2);
    let counted: Vec<_> = lines
        .iter()
        .filter_map(|(_, fields)| {
            Some((
                fields.get("security.code")?,
                fields.get("security.subject")?,
            ))
        })
        .collect();
    let code = &format!("{:?}", "spill.item_unreadable");
    assert_eq!(counted, [(code, &format!("{:?}", "another.txt"))], "once");
}
