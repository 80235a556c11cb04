//! For how long what a run leaves has waited, as the run knows it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audit_seal::{Outcome, RunReport, Sealer, StreamKeys};
use domain::StoreError;
use domain::ports::{AuditAppender, Clock};
use testkit::build::{TestStream, random};
use testkit::{Fault, TestSigner};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::support::{HOUR_US, World, block_on, stopped, unavailable};

const HOUR_S: u64 = 3600;

/// A run that has no time for anything.
fn run_in_no_time(sealer: &Sealer) -> RunReport {
    let soon = Instant::now() + Duration::from_secs(1);
    let report = block_on(sealer.run(Some(soon))).unwrap();
    assert_eq!(report.outcome, Outcome::More);
    report
}

#[test]
fn where_all_is_sealed_nothing_waits_however_old_the_log_is() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(3));
    assert_eq!(world.seal().oldest_unsealed_s, 0);
    world.clock.advance(100 * 24 * HOUR_US);
    world.append(test.records(3));
    let report = world.seal();
    assert_eq!(report.oldest_unsealed_s, 0);
    assert_eq!(report.to_json()["oldest_unsealed_s"], 0);
}

#[test]
fn what_a_run_has_no_time_for_waits_since_the_last_run_that_was_whole() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(3));
    world.seal();
    for hours in 1..=3 {
        world.clock.advance(HOUR_US);
        world.append(test.records(300));
        let report = run_in_no_time(&world.sealer());
        assert_eq!(report.oldest_unsealed_s, hours * HOUR_S);
    }
    let report = world.seal();
    assert_eq!((report.events, report.oldest_unsealed_s), (900, 0));
}

#[test]
fn before_any_run_was_whole_events_wait_since_their_streams_were_registered() {
    let world = World::new();
    let hour_us = world.clock.now_us() / HOUR_US * HOUR_US;
    // One that tells no time makes nothing old.
    let untimely = TestStream::opened_at(random(), "test", 0);
    block_on(world.audit.register(&untimely.registration)).unwrap();
    let mut test = world.open(random());
    world.append(test.records(3));
    world.clock.set(hour_us + 5 * HOUR_US);
    let report = run_in_no_time(&world.sealer());
    assert_eq!(report.oldest_unsealed_s, 5 * HOUR_S);
}

#[test]
fn a_stream_that_nobody_vouches_for_waits_until_it_is_trusted_or_has_no_records() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(4));
    // Nothing of this one is lost.
    world.open(random());
    let distrusting = {
        let nobody = StreamKeys::Given(vec![TestSigner::new(9).trusted()]);
        let rules = audit_seal::Rules {
            stream_keys: nobody,
            ..World::rules()
        };
        world.sealer_over(&world.stores(), rules)
    };
    let first = block_on(distrusting.run(None)).unwrap();
    assert_eq!((first.findings, first.oldest_unsealed_s), (2, 0));
    for days in 1..=3 {
        world.clock.advance(24 * HOUR_US);
        let report = block_on(distrusting.run(None)).unwrap();
        assert_eq!(report.outcome, Outcome::Done);
        assert_eq!(report.oldest_unsealed_s, days * 24 * HOUR_S);
    }
    world.clock.advance(24 * HOUR_US);
    let report = world.seal();
    assert_eq!((report.events, report.oldest_unsealed_s), (4, 0));

    let world = World::new();
    let mut silent = TestStream::opened_at(random(), "test", world.clock.now_us());
    silent.registration.signature[0] ^= 1;
    block_on(world.audit.register(&silent.registration)).unwrap();
    world.seal();
    world.clock.advance(24 * HOUR_US);
    assert_eq!(world.seal().oldest_unsealed_s, 0, "it has no records");
}

#[test]
fn a_stream_that_cannot_be_read_waits_since_its_last_event_was_sealed() {
    for error in [
        StoreError::Unavailable("slow".to_owned()),
        StoreError::Denied("no".to_owned()),
    ] {
        let world = World::new();
        let mut open = world.open(random());
        world.append(open.records(1));
        world.seal();
        world.clock.advance(5 * HOUR_US);
        let stores = world.stores();
        let fault = Fault::Before(error);
        stores.audit.fail_always("AuditReader::read", fault);
        let sealer = world.sealer_over(&stores, World::rules());
        let report = block_on(sealer.run(None)).unwrap();
        assert_eq!(
            (report.unreadable, report.oldest_unsealed_s),
            (1, 5 * HOUR_S)
        );
        stores.audit.heal("AuditReader::read");
        assert_eq!(block_on(sealer.run(None)).unwrap().oldest_unsealed_s, 0);
    }
}

#[test]
fn a_closed_stream_that_cannot_be_read_is_not_known_to_have_more() {
    let world = World::new();
    let mut closed = world.open(random());
    let end = stopped(&mut closed, world.clock.now_us());
    world.append(vec![end]);
    world.seal();
    world.clock.advance(24 * HOUR_US);
    let stores = world.stores();
    stores.audit.fail_always("AuditReader::read", unavailable());
    let sealer = world.sealer_over(&stores, World::rules());
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.unreadable, report.oldest_unsealed_s), (1, 0));
}

/// A line of the log: its level, and its fields as text.
pub(crate) type Line = (Level, BTreeMap<&'static str, String>);

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Line>>>);

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let line = (*event.metadata().level(), fields.0);
        self.0.lock().unwrap().push(line);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What a run logs, line by line.
pub(crate) fn logged(run: impl FnOnce()) -> Vec<Line> {
    let kept = Kept::default();
    tracing::subscriber::with_default(kept.clone(), run);
    std::mem::take(&mut *kept.0.lock().unwrap())
}

/// The level and the figure of the lines that have one.
fn figures(lines: &[Line]) -> Vec<(Level, &str)> {
    let figures = lines.iter().filter_map(|(level, fields)| {
        let figure = fields.get("oldest_unsealed_s")?;
        Some((*level, figure.as_str()))
    });
    figures.collect()
}

#[test]
fn a_run_that_does_nothing_is_silent_and_one_that_leaves_something_is_not() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(3));
    world.seal();
    let lines = logged(|| _ = world.seal());
    assert!(lines.is_empty(), "{lines:?}");
    world.clock.advance(HOUR_US);
    let lines = logged(|| _ = run_in_no_time(&world.sealer()));
    assert_eq!(figures(&lines), [(Level::INFO, "3600")]);
    // So that a filter that hides all but errors does not hide it from its alarm.
    world.clock.advance(11 * HOUR_US);
    let lines = logged(|| _ = run_in_no_time(&world.sealer()));
    assert_eq!(figures(&lines), [(Level::ERROR, "43200")]);
}

#[test]
fn a_run_that_fails_says_what_waits() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(3));
    world.seal();
    world.clock.advance(5 * HOUR_US);
    world.append(test.records(3));
    let attack = Fault::Before(StoreError::Conflict("other bytes".to_owned()));
    for (fault, code) in [(unavailable(), "code"), (attack, "security.code")] {
        let stores = world.stores();
        stores.log.fail_next("LogWriter::create", fault);
        let sealer = world.sealer_over(&stores, World::rules());
        let lines = logged(|| drop(block_on(sealer.run(None)).unwrap_err()));
        assert_eq!(figures(&lines), [(Level::ERROR, "18000")]);
        assert!(lines[0].1.contains_key(code), "{lines:?}");
    }
}
