//! What the recorder does while its stores fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Durability, StoreError};
use futures::FutureExt;
use futures::future::join_all;
use testkit::Fault;
use testkit::build::event;

use crate::support::{APPEND, PUT, Process, REGISTER, SECOND, World, down};

#[tokio::test]
async fn what_the_log_refuses_is_spilled_and_comes_into_its_stream_by_replay() {
    // Refused, applied with a lost reply, gone, and not allowed.
    let denied = Fault::Before(StoreError::Denied("no".to_owned()));
    let gone = Fault::Before(StoreError::NotFound("no table".to_owned()));
    for fault in [down(), Fault::After, denied, gone] {
        let (world, process) = World::started();
        let first = process.record("one").await;
        assert_eq!(first.durability, Durability::Recorded);
        process.log.fail_next(APPEND, fault);
        let second = process.record("two").await;
        assert_eq!(second.durability, Durability::Spilled);
        assert_eq!(second.receipt.stream, first.receipt.stream);
        assert_eq!(second.receipt.seq, 1);
        let report = world.replay().await;
        assert_eq!((report.items, report.events, report.complete), (1, 1, true));
        assert!(report.findings.is_empty() && report.waiting.is_empty());
        assert_eq!(world.events().await.len(), 2);
        assert!(world.spill.names().is_empty(), "what was replayed is gone");
    }
}

#[tokio::test]
async fn without_a_spill_and_on_a_conflict_nothing_is_acknowledged() {
    let (world, process) = World::started();
    process.record("one").await;
    let conflict = StoreError::Conflict("taken".to_owned());
    process
        .log
        .fail_next(APPEND, Fault::Before(conflict.clone()));
    let error = process.recorder.record(event("two")).await.unwrap_err();
    assert_eq!(
        error,
        conflict.into(),
        "the log answered: that is no outage"
    );
    let third = process.record("three").await;
    assert_eq!(
        (third.receipt.seq, third.durability),
        (0, Durability::Recorded)
    );
    assert!(world.spill.names().is_empty());
}

#[tokio::test]
async fn during_an_outage_the_log_is_left_alone_and_then_used_again() {
    let (world, process) = World::started();
    process.record("before").await;
    process.take_away_log();
    let asked = |process: &Process| process.log.calls(APPEND) + process.log.calls(REGISTER);
    let before = asked(&process);
    for number in 0..20 {
        let subject = format!("during {number}");
        let recorded = process.record(&subject).await;
        assert_eq!(recorded.durability, Durability::Spilled);
    }
    assert_eq!(asked(&process) - before, 1, "one of twenty waited for it");
    world.clock.advance(SECOND);
    process.record("asks again").await;
    process.record("does not").await;
    assert_eq!(asked(&process) - before, 2);
    process.bring_back_log();
    let early = process.record("too early").await;
    assert_eq!(early.durability, Durability::Spilled);
    world.clock.advance(2 * SECOND);
    let healed = process.record("after").await;
    assert_eq!(healed.durability, Durability::Recorded);
    assert_ne!(healed.receipt.stream, early.receipt.stream);
    let report = world.replay().await;
    assert_eq!(report.streams, [early.receipt.stream].into());
    assert_eq!(world.events().await.len(), 1 + 20 + 2 + 1 + 1);
}

#[tokio::test]
async fn a_process_that_starts_without_the_log_registers_in_the_spill() {
    let (world, process) = World::started();
    process.take_away_log();
    let recorded = process.record("one").await;
    assert_eq!(
        (recorded.receipt.seq, recorded.durability),
        (0, Durability::Spilled)
    );
    assert_eq!(world.spill.names().len(), 2, "registration and record");
    let report = world.replay().await;
    assert_eq!((report.items, report.events), (2, 1));
    assert_eq!(world.events().await.len(), 1);
}

#[tokio::test]
async fn a_registration_whose_reply_was_lost_is_registered_once() {
    let (world, process) = World::started();
    process.log.fail_next(REGISTER, Fault::After);
    process.record("one").await;
    world.replay().await;
    assert_eq!(world.events().await.len(), 1);
}

#[tokio::test]
async fn without_the_registration_key_no_stream_begins_and_an_open_one_goes_on() {
    let (world, process) = World::started();
    process.signer.fail_next("Signer::sign", down());
    process.recorder.record(event("none")).await.unwrap_err();
    process.record("one").await;
    process.take_away_log();
    process.signer.fail_always("Signer::sign", down());
    for number in 0..5 {
        world.clock.advance(60 * SECOND);
        let recorded = process.recorder.record(event(&format!("{number}"))).await;
        assert_eq!(recorded.unwrap().durability, Durability::Spilled);
    }
    assert_eq!(process.log.calls(REGISTER), 1);
    world.replay().await;
    assert_eq!(world.events().await.len(), 6);
}

#[tokio::test]
async fn what_the_spill_refuses_goes_to_the_process_log_until_the_spill_is_back() {
    let (world, process) = World::started();
    process.record("log").await;
    process.take_away_log();
    process.record("spill").await;
    process.spill.fail_always(PUT, down());
    for subject in ["line 1", "line 2"] {
        let recorded = process.recorder.record(event(subject)).await.unwrap();
        assert_eq!(recorded.durability, Durability::Logged);
    }
    assert_eq!(process.spill.calls(PUT), 2, "it is left alone, too");
    process.spill.heal(PUT);
    world.clock.advance(SECOND);
    let recorded = process.record("spill again").await;
    assert_eq!(
        (recorded.receipt.seq, recorded.durability),
        (0, Durability::Spilled)
    );
    process.bring_back_log();
    // What is in the process's log only is not there yet, and nothing else waits for it.
    world.replay().await;
    assert_eq!(world.events().await.len(), 3);
    world.import_lines();
    world.replay().await;
    assert_eq!(world.events().await.len(), 5);
}

#[tokio::test]
async fn a_tail_whose_beginning_is_only_in_a_process_log_waits_for_it() {
    let (world, process) = World::started();
    process.record("log").await;
    process.take_away_log();
    process.spill.fail_next(PUT, Fault::After);
    let logged = process.record("both").await;
    assert_eq!(logged.durability, Durability::Logged);
    world.replay().await;
    world.import_lines();
    world.replay().await;
    assert_eq!(
        world.events().await.len(),
        2,
        "applied although it failed, and once"
    );
}

#[tokio::test]
async fn where_nothing_takes_an_event_it_is_not_acknowledged_and_leaves_no_hole() {
    let (world, process) = World::started();
    process.record("one").await;
    process.take_away_log();
    process.spill.fail_always(PUT, down());
    process.lines.fail_always(PUT, down());
    for _ in 0..3 {
        process.recorder.record(event("lost")).await.unwrap_err();
    }
    process.lines.heal(PUT);
    let line = process.record("line").await;
    assert_eq!((line.receipt.seq, line.durability), (0, Durability::Logged));
    world.import_lines();
    let report = world.replay().await;
    assert!(report.waiting.is_empty(), "{report:?}");
    assert_eq!(world.events().await.len(), 2);
}

#[tokio::test]
async fn appends_under_way_when_the_log_fails_are_spilled_in_their_order() {
    for fault in [down(), Fault::After] {
        let (world, process) = World::started();
        process.record("first").await;
        process.log.fail_nth(APPEND, 5, fault);
        let calls = (0..30).map(|number| {
            let recorder = Arc::clone(&process.recorder);
            async move {
                let subject = format!("event {number}");
                let outcome = recorder.record(event(&subject)).await;
                (subject, outcome.unwrap())
            }
        });
        let results = join_all(calls).await;
        let recorded = |(_, r): &&(_, domain::Recorded)| r.durability == Durability::Recorded;
        assert_eq!(results.iter().filter(recorded).count(), 3);
        let acknowledged: BTreeMap<_, _> =
            results.into_iter().map(|(s, r)| (s, r.receipt)).collect();
        assert_eq!(acknowledged.len(), 30);
        world.replay().await;
        world.assert_whole(&acknowledged).await;
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_event_to_the_next_one() {
    let (world, process) = World::started();
    process.record("one").await;
    process.take_away_log();
    let slow = Fault::Delay(std::time::Duration::from_millis(50));
    process.spill.fail_next(PUT, slow);
    let abandoned = process.recorder.record(event("abandoned")).now_or_never();
    assert_eq!(abandoned, None, "it is being spilled");
    let next = process.record("next").await;
    assert_eq!(next.receipt.seq, 2);
    world.replay().await;
    assert_eq!(world.events().await.len(), 3);
}

#[tokio::test]
async fn an_abandoned_event_of_a_stream_that_was_replaced_is_spilled_all_the_same() {
    let (world, process) = World::started();
    process.record("one").await;
    process.take_away_log();
    let slow = Fault::Delay(std::time::Duration::from_millis(50));
    process.spill.fail_next(PUT, slow);
    let abandoned = process.recorder.record(event("abandoned")).now_or_never();
    assert_eq!(abandoned, None);
    process.bring_back_log();
    world.clock.advance(60 * SECOND);
    let next = process.record("next").await;
    assert_eq!(next.durability, Durability::Recorded);
    world.replay().await;
    assert_eq!(world.events().await.len(), 3);
}

#[tokio::test]
async fn a_long_tail_takes_several_items() {
    let (world, process) = World::started();
    process.recorder.open_stream().await.unwrap();
    process.take_away_log();
    let long = "x".repeat(60_000);
    let events = (0..40).map(|number| event(&format!("{number} {long}")));
    process.recorder.record_all(events.collect()).await.unwrap();
    assert_eq!(world.spill.names().len(), 3);
    world.replay().await;
    assert_eq!(world.events().await.len(), 40);
}
