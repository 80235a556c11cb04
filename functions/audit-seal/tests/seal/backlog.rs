//! More than one run has time for.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use audit_seal::{Outcome, Rules};
use testkit::build::random;

use crate::support::{World, block_on};

/// A run keeps three seconds of its time back: this is time for a page or two.
const SHORT: Duration = Duration::from_millis(3050);
/// Events of the backlog.
const EVENTS: u64 = 8_000;

/// Lets a run make so many calls of its stores and then kills it. False where it ended before.
fn kill_after(world: &World, rules: Rules, calls: u64) -> bool {
    let stores = world.stores();
    stores.audit.pause_at_calls();
    stores.log.pause_at_calls();
    stores.index.pause_at_calls();
    stores.signer.pause_at_calls();
    let sealer = world.sealer_over(&stores, rules);
    let mut run = pin!(sealer.run(None));
    let mut context = Context::from_waker(Waker::noop());
    (0..calls).all(|_| run.as_mut().poll(&mut context) == Poll::Pending)
}

#[test]
fn a_backlog_is_sealed_by_short_runs_of_which_some_die() {
    let world = World::new();
    for _ in 0..16 {
        let mut test = world.open(random());
        world.append(test.records(EVENTS as usize / 16));
    }
    let rules = Rules {
        max_leaves: 500,
        ..World::rules()
    };
    let (mut sealed, mut runs, mut deaths, mut recovered) = (0, 0, 0, 0);
    loop {
        let sealer = world.sealer_over(&world.stores(), rules.clone());
        let report = block_on(sealer.run(Some(Instant::now() + SHORT))).unwrap();
        runs += 1;
        sealed += report.events;
        recovered += u64::from(report.recovered);
        if report.outcome == Outcome::Done {
            break;
        }
        assert_eq!(report.outcome, Outcome::More);
        // After the first checkpoint of a dying run, or before, or in its middle.
        deaths += u64::from(kill_after(&world, rules.clone(), 40 + 7 * runs % 60));
    }
    assert!(runs >= 4, "{runs} runs, the last of them with the rest");
    assert!(deaths >= 4, "{deaths} of them died");
    assert!(recovered >= 1, "one died between commit and publication");
    assert!(sealed < EVENTS, "the runs that died had sealed some");
    world.assert_all_sealed_once();
    let verified = world.verify();
    let events: u64 = verified.streams.values().map(|stream| stream.events).sum();
    assert_eq!(events, EVENTS);
}
