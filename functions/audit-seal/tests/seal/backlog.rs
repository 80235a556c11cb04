//! More than one run has time for.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use audit_seal::{Outcome, Rules};
use domain::ports::{LogLock, LogReader};
use testkit::build::random;

use crate::support::{World, block_on};

/// What a run keeps back of its time.
const RESERVE: Duration = Duration::from_secs(3);
/// Runs that are enough on any machine: each but a few seals a page of some 400 leaves.
const MAX_RUNS: usize = 200;
/// More time than any machine needs for a page.
const MAX_SHORT: Duration = Duration::from_mins(2);
const STREAMS: usize = 160;
const EVENTS: usize = 50;

/// What is there of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Nothing,
    Staged,
    Committed,
    Published,
}

/// Runs until this much is there and then kills the run. False where it ended before.
fn kill_at(world: &World, rules: Rules, last: Step) -> bool {
    let stores = world.stores();
    stores.audit.pause_at_calls();
    stores.log.pause_at_calls();
    stores.index.pause_at_calls();
    stores.signer.pause_at_calls();
    let sealer = world.sealer_over(&stores, rules);
    let mut run = pin!(sealer.run(None));
    let mut context = Context::from_waker(Waker::noop());
    let committed = || block_on(world.log.committed()).unwrap();
    let published = || block_on(world.log.checkpoint()).unwrap();
    // Where the run before died, this one first does what that had committed.
    let mut before = None;
    loop {
        if run.as_mut().poll(&mut context).is_ready() {
            return false;
        }
        if before.is_none() && committed() == published() {
            before = Some((committed(), world.log.objects_below("stage/").len()));
        }
        let Some((before, staged)) = &before else {
            continue;
        };
        let step = if published() != *before {
            Step::Published
        } else if committed() != *before {
            Step::Committed
        } else if world.log.objects_below("stage/").len() > *staged {
            Step::Staged
        } else {
            Step::Nothing
        };
        if step >= last {
            return true;
        }
    }
}

#[test]
fn a_backlog_is_sealed_by_short_runs_between_which_others_die() {
    let world = World::new();
    for _ in 0..STREAMS {
        let mut test = world.open(random());
        world.append(test.records(EVENTS));
    }
    let rules = Rules {
        max_leaves: 300,
        ..World::rules()
    };
    let (mut by_runs, mut runs, mut deaths, mut recovered) = (0, 0, 0, 0);
    // Time for a page at most: a run that had none for any leaves twice as much to the next.
    let mut short = Duration::from_millis(1);
    loop {
        let sealer = world.sealer_over(&world.stores(), rules.clone());
        let report = block_on(sealer.run(Some(Instant::now() + RESERVE + short))).unwrap();
        runs += 1;
        assert!(
            runs < MAX_RUNS,
            "{runs} runs and {deaths} deaths come to no end of {} events; the last run had {short:?}: {report:?}",
            STREAMS * EVENTS,
        );
        if report.events == 0 {
            short = (short * 2).min(MAX_SHORT);
        }
        by_runs += report.events;
        recovered += u64::from(report.recovered);
        if report.outcome == Outcome::Done {
            break;
        }
        assert_eq!(report.outcome, Outcome::More);
        let last = [Step::Staged, Step::Committed, Step::Published][deaths % 3];
        deaths += usize::from(kill_at(&world, rules.clone(), last));
    }
    assert!(runs >= 3, "{runs} runs, the last of them with the rest");
    assert!(deaths >= 2, "{deaths} died");
    assert!(recovered >= 1, "one died between commit and publication");
    let events = STREAMS * EVENTS;
    assert!(by_runs < events as u64, "what died had sealed some");
    world.assert_all_sealed_once();
    let verified = world.verify();
    let found: u64 = verified.streams.values().map(|stream| stream.events).sum();
    assert_eq!(found, events as u64);
}
