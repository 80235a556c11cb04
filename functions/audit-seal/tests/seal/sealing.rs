//! What a run seals, when it says that it lives, and what it leaves alone.

use std::time::{Duration, Instant};

use audit::StreamId;
use audit::seal::{FindingKind, StreamEnd};
use audit_seal::{Outcome, Rules};
use domain::StoreError;
use domain::ports::{AuditAppender, Clock, SealIndexReader};
use testkit::Fault;
use testkit::build::{TestStream, random};

use crate::support::{HOUR_US, World, block_on, stopped, unavailable};

#[test]
fn the_first_run_begins_a_log_also_where_there_are_no_streams() {
    let world = World::new();
    let report = world.seal();
    assert_eq!((report.size, report.checkpoints, report.events), (1, 1, 0));
    assert!(world.verify().is_complete());
}

#[test]
fn events_are_sealed_once_and_the_next_run_goes_on_where_this_one_ended() {
    let world = World::new();
    let mut one = world.open(random());
    world.append(one.records(700));
    assert_eq!(world.seal().events, 700);
    world.assert_all_sealed_once();
    let mut other = world.open(random());
    world.append(one.records(3));
    world.append(other.records(2));
    let report = world.seal();
    assert_eq!((report.events, report.checkpoints), (5, 1));
    world.assert_all_sealed_once();
    assert_eq!(world.log.objects_below("stage/").len(), 0);
}

#[test]
fn an_idle_log_says_that_its_sealer_lives_once_a_heartbeat() {
    let world = World::new();
    world.seal();
    let heartbeat_us = World::rules().heartbeat_us;
    for (advance_us, leaves) in [
        (heartbeat_us / 2, 1),
        (heartbeat_us / 2, 2),
        (1, 2),
        (heartbeat_us, 3),
    ] {
        world.clock.advance(advance_us);
        assert_eq!(world.seal().size, leaves);
    }
    world.assert_only_grew();
}

#[test]
fn a_backlog_takes_several_checkpoints_of_bounded_size() {
    let world = World::new();
    for _ in 0..20 {
        let mut test = world.open(random());
        world.append(test.records(1500));
    }
    let rules = Rules {
        max_leaves: 4000,
        ..World::rules()
    };
    let report = block_on(world.sealer_over(&world.stores(), rules).run(None)).unwrap();
    assert_eq!((report.outcome, report.events), (Outcome::Done, 30_000));
    assert!((7..=9).contains(&report.checkpoints), "{report:?}");
    world.assert_all_sealed_once();
}

#[test]
fn a_run_ends_before_its_deadline_and_later_ones_finish() {
    let world = World::new();
    for _ in 0..10 {
        let mut test = world.open(random());
        world.append(test.records(300));
    }
    let rules = Rules {
        max_leaves: 500,
        ..World::rules()
    };
    let sealer = world.sealer_over(&world.stores(), rules);
    // Time for nothing but what was begun.
    let soon = Instant::now() + Duration::from_secs(1);
    let first = block_on(sealer.run(Some(soon))).unwrap();
    assert_eq!(first.outcome, Outcome::More);
    assert!(first.events < 3000, "{first:?}");
    let later = Instant::now() + Duration::from_mins(10);
    let second = block_on(sealer.run(Some(later))).unwrap();
    assert_eq!(second.outcome, Outcome::Done);
    assert_eq!(first.events + second.events, 3000);
    world.assert_all_sealed_once();
}

#[test]
fn a_stream_that_cannot_be_read_keeps_no_other_one_out() {
    for error in [
        StoreError::Unavailable("slow".to_owned()),
        StoreError::Denied("no".to_owned()),
    ] {
        let world = World::new();
        for _ in 0..3 {
            let mut test = world.open(random());
            world.append(test.records(5));
        }
        let stores = world.stores();
        let fault = Fault::Before(error.clone());
        stores.audit.fail_nth("AuditReader::read", 2, fault);
        let sealer = world.sealer_over(&stores, World::rules());
        let report = block_on(sealer.run(None)).unwrap();
        assert_eq!((report.events, report.unreadable), (10, 1), "{error}");
        // The next run looks for it again where that may help; a day's sweep does in any case.
        if matches!(error, StoreError::Denied(_)) {
            world.clock.advance(24 * HOUR_US);
        }
        block_on(sealer.run(None)).unwrap();
        world.assert_all_sealed_once();
    }
}

#[test]
fn a_record_that_cannot_be_read_is_a_gap_and_the_rest_is_sealed() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(10));
    let stores = world.stores();
    // Event 0 cannot be read: reads of 256, 128, … 1 records fail.
    for call in 1..=9 {
        let corrupt = Fault::Before(StoreError::Corrupt("a row".to_owned()));
        stores.audit.fail_nth("AuditReader::read", call, corrupt);
    }
    let sealer = world.sealer_over(&stores, World::rules());
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.events, report.findings), (9, 1));
    stores.audit.assert_all_took_place();
    let verified = world.verify();
    assert!(verified.is_complete(), "{verified:?}");
    assert_eq!(verified.reported["audit.event_missing"], 1);
    assert_eq!(
        block_on(world.index.leaf_index(test.stream.id(), 0)),
        Ok(None)
    );
    assert!(
        block_on(world.index.leaf_index(test.stream.id(), 1))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_stream_that_is_silent_for_long_is_closed_and_what_comes_late_is_sealed_and_said() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(2));
    world.seal();
    world.clock.advance(World::rules().idle_after_us + 1);
    world.seal();
    let id = test.stream.id();
    let state = block_on(world.index.state(id)).unwrap().unwrap();
    assert_eq!(state.end, Some(StreamEnd::Idle));
    assert_eq!(world.last_seal().idle, [id]);
    world.append(test.records(1));
    assert_eq!(
        world.seal().events,
        0,
        "nobody looks at a closed stream now"
    );
    // Within a day its hour is looked at again, whatever the hour.
    let mut events = 0;
    for _ in 0..24 * 6 {
        world.clock.advance(World::rules().heartbeat_us);
        events += world.seal().events;
    }
    assert_eq!(events, 1);
    let seals = world.entries();
    let late = seals
        .iter()
        .filter_map(|entry| audit::seal::SealLeaf::parse(entry).ok())
        .flat_map(|seal| seal.findings)
        .find(|finding| finding.kind == FindingKind::Late);
    assert_eq!(late.map(|finding| finding.stream), Some(id));
    // Its events are expected again.
    world.append(test.records(1));
    assert_eq!(world.seal().events, 1);
    assert!(world.verify().is_complete());
}

#[test]
fn a_stream_that_ended_itself_is_not_asked_again_until_the_sweep() {
    let world = World::new();
    let mut test = world.open(random());
    let end = stopped(&mut test, world.clock.now_us());
    world.append(vec![end]);
    world.seal();
    let stores = world.stores();
    let sealer = world.sealer_over(&stores, World::rules());
    for _ in 0..5 {
        world.clock.advance(1_000_000);
        block_on(sealer.run(None)).unwrap();
    }
    assert_eq!(stores.audit.calls("AuditReader::read"), 0);
    world.assert_all_sealed_once();
}

#[test]
fn a_stream_that_nobody_trusted_vouches_for_is_reported_once_and_sealed_when_it_is_trusted() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(4));
    let stores = world.stores();
    let rules = Rules {
        stream_keys: audit_seal::StreamKeys::Given(vec![testkit::TestSigner::new(9).trusted()]),
        ..World::rules()
    };
    let sealer = world.sealer_over(&stores, rules);
    let first = block_on(sealer.run(None)).unwrap();
    assert_eq!((first.events, first.findings), (0, 1));
    world.clock.advance(24 * HOUR_US);
    let second = block_on(sealer.run(None)).unwrap();
    assert_eq!((second.events, second.findings), (0, 0), "said already");
    world.clock.advance(24 * HOUR_US);
    assert_eq!(world.seal().events, 4);
    let verified = world.verify();
    assert!(verified.is_complete(), "{verified:?}");
}

#[test]
fn streams_of_any_age_and_of_wrong_clocks_are_found() {
    let world = World::new();
    world.seal();
    let now_us = world.clock.now_us();
    // Long before the log began, long after now.
    for opened_us in [0, now_us - 1000 * HOUR_US, now_us + 1000 * HOUR_US] {
        let mut test = TestStream::opened_at(random(), "test", opened_us);
        block_on(world.audit.register(&test.registration)).unwrap();
        world.append(test.records(1));
    }
    let mut events = 0;
    for _ in 0..24 * 6 {
        world.clock.advance(World::rules().heartbeat_us);
        events += world.seal().events;
    }
    assert_eq!(events, 3, "the sweep finds within a day what no hour shows");
    world.assert_all_sealed_once();
}

#[test]
fn after_an_outage_of_days_every_stream_is_found_at_once() {
    let world = World::new();
    world.seal();
    for _ in 0..100 {
        world.clock.advance(HOUR_US);
        let mut test = world.open(random());
        world.append(test.records(2));
    }
    assert_eq!(world.seal().events, 200);
    world.assert_all_sealed_once();
}

#[test]
fn after_days_without_a_whole_run_no_stream_of_before_is_looked_at_again() {
    let world = World::new();
    for _ in 0..50 {
        let mut ended = world.open(random());
        let end = stopped(&mut ended, world.clock.now_us());
        world.append(vec![end]);
        world.clock.advance(HOUR_US);
    }
    world.seal();
    world.clock.advance(72 * HOUR_US);
    // A run that seals and is not whole; the turn of what is closed is over with it.
    let stores = world.stores();
    let list = "AuditReader::registered_in";
    stores.audit.fail_always(list, unavailable());
    let sealer = world.sealer_over(&stores, World::rules());
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.outcome, report.streams), (Outcome::More, 0));
    stores.audit.heal(list);
    let mut fresh = world.open(random());
    world.append(fresh.records(1));
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.outcome, report.events), (Outcome::Done, 1));
    // The other one was registered within the margin before the last whole run.
    assert_eq!(report.streams, 2);
    world.assert_all_sealed_once();
}

#[test]
fn an_hour_that_could_not_be_listed_is_listed_by_the_next_run() {
    let world = World::new();
    world.seal();
    world.clock.advance(3 * HOUR_US);
    let mut test = world.open(random());
    world.append(test.records(1));
    let stores = world.stores();
    let sealer = world.sealer_over(&stores, World::rules());
    stores
        .audit
        .fail_always("AuditReader::registered_in", unavailable());
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.outcome, report.events), (Outcome::More, 0));
    stores.audit.heal("AuditReader::registered_in");
    world.clock.advance(1_000_000);
    assert_eq!(block_on(sealer.run(None)).unwrap().events, 1);
    world.assert_all_sealed_once();
}

#[test]
fn a_stream_that_is_gone_is_no_end_of_the_others() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(1));
    world.seal();
    let stores = world.stores();
    let gone = Fault::Before(StoreError::NotFound("stream".to_owned()));
    stores.audit.fail_next("AuditReader::read", gone);
    let mut other = world.open(random());
    world.append(other.records(1));
    let sealer = world.sealer_over(&stores, World::rules());
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!(report.unreadable, 0);
    assert_eq!(world.seal().streams, 2);
    world.assert_all_sealed_once();
    assert_ne!(test.stream.id(), StreamId([0; 16]));
}

#[test]
fn a_stream_whose_registration_took_long_is_found_although_its_hour_was_listed() {
    let world = World::new();
    world.clock.advance(HOUR_US / 6);
    world.seal();
    // Its process began in the hour before, and its registration comes now.
    let opened_us = world.clock.now_us() - 2 * HOUR_US / 3;
    let mut late = TestStream::opened_at(random(), "test", opened_us);
    block_on(world.audit.register(&late.registration)).unwrap();
    world.append(late.records(2));
    world.clock.advance(1_000_000);
    assert_eq!(world.seal().events, 2);
    world.assert_all_sealed_once();
}

#[test]
fn a_new_stream_that_could_not_be_read_is_looked_for_however_late_the_next_run_is() {
    let world = World::new();
    world.seal();
    world.clock.advance(World::rules().heartbeat_us);
    let mut test = world.open(random());
    world.append(test.records(2));
    let stores = world.stores();
    stores.audit.fail_next("AuditReader::read", unavailable());
    let sealer = world.sealer_over(&stores, World::rules());
    let report = block_on(sealer.run(None)).unwrap();
    assert_eq!((report.outcome, report.unreadable), (Outcome::More, 1));
    world.clock.advance(5 * HOUR_US);
    assert_eq!(world.seal().events, 2);
    world.assert_all_sealed_once();
}

#[test]
fn after_the_index_was_lost_streams_that_no_run_has_seen_are_found_at_once() {
    let mut world = World::new();
    let mut seen = world.open(random());
    world.append(seen.records(2));
    world.seal();
    let mut unseen = world.open(random());
    world.append(unseen.records(3));
    world.clock.advance(5 * HOUR_US);
    world.index = std::sync::Arc::new(testkit::MemorySealIndex::new());
    let report = world.seal();
    assert_eq!((report.recovered, report.events), (true, 3));
    world.assert_all_sealed_once();
}
