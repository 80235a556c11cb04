//! Two sealers and writers whose steps are interleaved, killed and made to fail at random.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use audit_seal::{Rules, RunReport, SealError, Sealer};
use domain::StoreError;
use domain::ports::Clock;
use testkit::Fault;
use testkit::build::TestStream;

use crate::support::{Stores, World, stopped};

/// Numbers that depend on the seed alone (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

type Run = Pin<Box<dyn Future<Output = Result<RunReport, SealError>>>>;

/// A process that seals: what it runs now, until it ends or is killed.
struct Process {
    stores: Stores,
    sealer: Arc<Sealer>,
    run: Option<Run>,
    finished: u64,
}

impl Process {
    fn start(world: &World, max_leaves: usize) -> Self {
        let stores = world.stores();
        stores.audit.pause_at_calls();
        stores.log.pause_at_calls();
        stores.index.pause_at_calls();
        stores.signer.pause_at_calls();
        let rules = Rules {
            max_leaves,
            ..World::rules()
        };
        let sealer = Arc::new(world.sealer_over(&stores, rules));
        Self {
            stores,
            sealer,
            run: None,
            finished: 0,
        }
    }

    fn step(&mut self) {
        let sealer = Arc::clone(&self.sealer);
        let run = self
            .run
            .get_or_insert_with(|| Box::pin(async move { sealer.run(None).await }));
        if let Poll::Ready(result) = run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.run = None;
            self.finished += 1;
            if let Err(error) = result {
                assert!(
                    !error.is_security(),
                    "no fault looks like an attack: {error}"
                );
            }
        }
    }

    /// Lets one of the next calls fail.
    fn fail(&self, random: &mut Random) {
        let fault = match random.below(3) {
            0 => Fault::Before(StoreError::Unavailable("down".to_owned())),
            1 => Fault::Before(StoreError::OutcomeUnknown("timed out".to_owned())),
            _ => Fault::After,
        };
        let (log, index) = (&self.stores.log, &self.stores.index);
        let (of_log, of_index) = (
            [
                "LogWriter::create",
                "LogLock::commit",
                "LogPublisher::publish",
                "StageRemover::remove",
            ],
            ["SealIndexWriter::put", "SealIndexWriter::advance"],
        );
        let call = random.below(6) as usize;
        if let Some(call) = of_log.get(call) {
            log.fail_next(call, fault);
        } else {
            index.fail_next(of_index[call - of_log.len()], fault);
        }
    }
}

/// What one schedule did.
#[derive(Default)]
struct Seen {
    kills: u64,
    finished: u64,
    checkpoints: usize,
    events: usize,
}

fn play(seed: u64) -> Seen {
    let mut random = Random(seed);
    let mut done = Seen::default();
    let world = World::new();
    let max_leaves = 3 + random.below(60) as usize;
    let mut processes = [
        Process::start(&world, max_leaves),
        Process::start(&world, max_leaves),
    ];
    let mut streams: Vec<TestStream> = Vec::new();
    for _ in 0..150 + random.below(250) {
        match random.below(100) {
            0..=2 if streams.len() < 8 => {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&random.next().to_be_bytes());
                streams.push(world.open(id));
            }
            3..=9 if !streams.is_empty() => {
                let at = random.below(streams.len() as u64) as usize;
                let count = 1 + random.below(4) as usize;
                let records = streams[at].records(count);
                world.append(records);
            }
            10 if streams.len() > 2 => {
                let mut test = streams.swap_remove(0);
                let end = stopped(&mut test, world.clock.now_us());
                world.append(vec![end]);
            }
            11 => world.clock.advance(random.below(90_000_000)),
            12 => {
                let at = random.below(2) as usize;
                // Everything in memory is gone, a step that was begun may be done or not.
                processes[at] = Process::start(&world, max_leaves);
                done.kills += 1;
            }
            13 | 14 => processes[random.below(2) as usize].fail(&mut random),
            _ => {
                // Mostly one goes on for a while, sometimes they alternate.
                let at = random.below(2) as usize;
                let steps = if random.chance(3) {
                    1
                } else {
                    1 + random.below(25)
                };
                for _ in 0..steps {
                    processes[at].step();
                }
            }
        }
    }
    done.finished = processes.iter().map(|process| process.finished).sum();
    drop(processes);
    world.clock.advance(World::rules().heartbeat_us);
    world.seal();
    world.assert_all_sealed_once();
    done.checkpoints = world.log.all_published().len();
    done.events = world.audit.records().len();
    done
}

/// Seeds `from..to`; a seed that fails is named.
fn play_all(from: u64, to: u64) {
    let mut sum = Seen::default();
    for seed in from..to {
        let played = std::panic::catch_unwind(|| play(seed));
        let Ok(seen) = played else {
            panic!("schedule {seed} failed: see above");
        };
        sum.kills += seen.kills;
        sum.finished += seen.finished;
        sum.checkpoints += seen.checkpoints;
        sum.events += seen.events;
    }
    let schedules = to - from;
    assert!(sum.kills > schedules, "killed {} times", sum.kills);
    assert!(sum.finished > schedules, "{} runs ended", sum.finished);
    assert!(
        sum.checkpoints as u64 > 3 * schedules,
        "{}",
        sum.checkpoints
    );
    assert!(sum.events as u64 > 10 * schedules, "{}", sum.events);
}

#[test]
fn no_schedule_of_two_sealers_loses_doubles_or_forks_an_event_1() {
    play_all(0, 250);
}

#[test]
fn no_schedule_of_two_sealers_loses_doubles_or_forks_an_event_2() {
    play_all(250, 500);
}

#[test]
fn no_schedule_of_two_sealers_loses_doubles_or_forks_an_event_3() {
    play_all(500, 750);
}

#[test]
fn no_schedule_of_two_sealers_loses_doubles_or_forks_an_event_4() {
    play_all(750, 1000);
}
