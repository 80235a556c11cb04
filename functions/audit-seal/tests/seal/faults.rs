//! A sealer that stops before or after any of its calls, and the run that comes after it.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use domain::StoreError;
use domain::ports::LogLock;
use testkit::Fault;
use testkit::build::random;

use crate::support::{Stores, World, block_on};

/// Every call of a run that changes something, or that it cannot go on without.
const CALLS: [&str; 14] = [
    "LogReader::checkpoint",
    "LogLock::committed",
    "LogReader::read",
    "SealIndexReader::position",
    "SealIndexReader::open_streams",
    "SealIndexReader::state",
    "AuditReader::registration_hours",
    "Signer::public_key_pem",
    "Signer::sign",
    "LogWriter::create",
    "LogLock::commit",
    "SealIndexWriter::put",
    "SealIndexWriter::advance",
    "LogPublisher::publish",
];

fn fail(stores: &Stores, call: &str, number: u64, fault: Fault) {
    match call.split_once("::").unwrap().0 {
        "AuditReader" => stores.audit.fail_nth(call, number, fault).calls(call),
        "Signer" => stores.signer.fail_nth(call, number, fault).calls(call),
        "SealIndexReader" | "SealIndexWriter" => {
            stores.index.fail_nth(call, number, fault).calls(call)
        }
        _ => stores.log.fail_nth(call, number, fault).calls(call),
    };
}

fn calls(stores: &Stores, call: &str) -> u64 {
    match call.split_once("::").unwrap().0 {
        "AuditReader" => stores.audit.calls(call),
        "Signer" => stores.signer.calls(call),
        "SealIndexReader" | "SealIndexWriter" => stores.index.calls(call),
        _ => stores.log.calls(call),
    }
}

/// A log with something in it, and a run's worth of news.
fn world() -> World {
    let world = World::new();
    let mut one = world.open(random());
    world.append(one.records(250));
    world.seal();
    let mut other = world.open(random());
    world.append(one.records(9));
    world.append(other.records(4));
    world.clock.advance(World::rules().heartbeat_us);
    world
}

#[test]
fn a_run_that_stops_at_any_call_is_completed_by_the_next() {
    let mut cases = 0;
    for call in CALLS {
        let made = {
            let world = world();
            let stores = world.stores();
            block_on(world.sealer_over(&stores, World::rules()).run(None)).unwrap();
            calls(&stores, call)
        };
        assert!(made > 0, "{call} is never made");
        for number in 1..=made {
            for fault in [
                Fault::Before(StoreError::Unavailable("down".to_owned())),
                Fault::Before(StoreError::OutcomeUnknown("timed out".to_owned())),
                Fault::After,
            ] {
                cases += 1;
                let world = world();
                let stores = world.stores();
                fail(&stores, call, number, fault.clone());
                let sealer = world.sealer_over(&stores, World::rules());
                // It may fail, or help itself.
                let first = block_on(sealer.run(None));
                let second = block_on(sealer.run(None));
                assert!(
                    second.is_ok(),
                    "{call} {number} {fault:?}: {first:?} and then {second:?}"
                );
                world.seal();
                world.assert_all_sealed_once();
            }
        }
    }
    assert!(cases > 60, "{cases}");
}

#[test]
fn a_staged_record_that_cannot_be_removed_stops_nothing() {
    let world = world();
    let stores = world.stores();
    let down = Fault::Before(StoreError::Unavailable("down".to_owned()));
    stores.log.fail_always("StageRemover::remove", down);
    block_on(world.sealer_over(&stores, World::rules()).run(None)).unwrap();
    assert_eq!(world.log.objects_below("stage/").len(), 1);
    world.assert_all_sealed_once();
}

#[test]
fn a_commit_that_was_applied_although_it_failed_is_carried_out_at_once() {
    let world = world();
    let stores = world.stores();
    stores.log.fail_next("LogLock::commit", Fault::After);
    let report = block_on(world.sealer_over(&stores, World::rules()).run(None)).unwrap();
    assert_eq!(report.events, 13);
    stores.log.assert_all_took_place();
    world.assert_all_sealed_once();
}

#[test]
fn a_sealer_that_lost_the_race_yields_and_leaves_nothing_behind() {
    let world = world();
    let stores = world.stores();
    let lost = Fault::Before(StoreError::Conflict("another was faster".to_owned()));
    stores.log.fail_next("LogLock::commit", lost);
    let report = block_on(world.sealer_over(&stores, World::rules()).run(None)).unwrap();
    assert_eq!(report.outcome, audit_seal::Outcome::Overtaken);
    assert_eq!(report.events, 0);
    assert_eq!(world.log.objects_below("stage/").len(), 0);
    world.seal();
    world.assert_all_sealed_once();
}

#[test]
fn a_sealer_whose_checkpoint_another_has_passed_by_is_content() {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(5));
    let stores = world.stores();
    stores.log.pause_at_calls();
    let sealer = world.sealer_over(&stores, World::rules());
    let mut run = pin!(sealer.run(None));
    let mut context = Context::from_waker(Waker::noop());
    while block_on(world.log.committed()).unwrap().is_none() {
        assert!(run.as_mut().poll(&mut context).is_pending());
    }
    // It has committed and not published; another one does that, and goes on.
    world.append(test.records(5));
    assert!(world.seal().recovered);
    let first = loop {
        if let Poll::Ready(result) = run.as_mut().poll(&mut context) {
            break result.unwrap();
        }
    };
    assert_eq!(first.events, 5);
    world.assert_all_sealed_once();
}
