//! Random schedules of failures: whatever fails, and whenever processes die, after a replay every acknowledged event is
//! in its stream once, and every stream verifies.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::Receipt;
use domain::StoreError;
use futures::FutureExt;
use futures::future::join_all;
use proptest::prelude::*;
use testkit::Fault;
use testkit::build::event;

use crate::support::{APPEND, PUT, Process, REGISTER, SECOND, World, down};

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// So many events are recorded at once.
    Record(usize),
    /// A caller goes away while its event is under way.
    Abandon,
    /// The next call of this store suffers this.
    Fails(Store, Suffers),
    /// The store is gone until it is back.
    Goes(Store),
    /// It is back.
    ComesBack(Store),
    /// Time passes, in seconds.
    Passes(u64),
    /// The process dies, and another starts.
    Dies,
    /// What is in the spill is replayed, with the log as it is.
    Replay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Register,
    Append,
    Spill,
    Lines,
    Key,
}

#[derive(Debug, Clone, Copy)]
enum Suffers {
    Refused,
    Applied,
    Slow,
}

fn store() -> impl Strategy<Value = Store> {
    prop_oneof![
        2 => Just(Store::Register),
        4 => Just(Store::Append),
        4 => Just(Store::Spill),
        1 => Just(Store::Lines),
        1 => Just(Store::Key),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let suffers = prop_oneof![
        Just(Suffers::Refused),
        Just(Suffers::Applied),
        Just(Suffers::Slow)
    ];
    prop_oneof![
        8 => (1_usize..6).prop_map(Step::Record),
        2 => Just(Step::Abandon),
        4 => (store(), suffers).prop_map(|(store, suffers)| Step::Fails(store, suffers)),
        2 => store().prop_map(Step::Goes),
        2 => store().prop_map(Step::ComesBack),
        3 => (0_u64..40).prop_map(Step::Passes),
        1 => Just(Step::Dies),
        2 => Just(Step::Replay),
    ]
}

/// A world, its living process, and what was acknowledged.
struct Run {
    world: World,
    process: Process,
    gone: Vec<Store>,
    acknowledged: BTreeMap<String, Receipt>,
    events: usize,
}

impl Run {
    fn new() -> Self {
        let mut world = World::new();
        let process = world.start();
        Self {
            world,
            process,
            gone: Vec::new(),
            acknowledged: BTreeMap::new(),
            events: 0,
        }
    }

    fn subject(&mut self) -> String {
        self.events += 1;
        format!("event {}", self.events)
    }

    fn fail_next(&self, store: Store, fault: Fault) {
        let process = &self.process;
        match store {
            Store::Register => drop(process.log.fail_next(REGISTER, fault)),
            Store::Append => drop(process.log.fail_next(APPEND, fault)),
            Store::Spill => drop(process.spill.fail_next(PUT, fault)),
            Store::Lines => drop(process.lines.fail_next(PUT, fault)),
            Store::Key => drop(process.signer.fail_next("Signer::sign", fault)),
        }
    }

    fn fail_always(&self, store: Store) {
        let process = &self.process;
        match store {
            Store::Register => drop(process.log.fail_always(REGISTER, down())),
            Store::Append => drop(process.log.fail_always(APPEND, down())),
            Store::Spill => drop(process.spill.fail_always(PUT, down())),
            Store::Lines => drop(process.lines.fail_always(PUT, down())),
            Store::Key => drop(process.signer.fail_always("Signer::sign", down())),
        }
    }

    fn heal(&self, store: Store) {
        let process = &self.process;
        match store {
            Store::Register => process.log.heal(REGISTER),
            Store::Append => process.log.heal(APPEND),
            Store::Spill => process.spill.heal(PUT),
            Store::Lines => process.lines.heal(PUT),
            Store::Key => process.signer.heal("Signer::sign"),
        }
    }

    async fn record(&mut self, count: usize) {
        let subjects: Vec<String> = (0..count).map(|_| self.subject()).collect();
        let calls = subjects.iter().map(|subject| {
            let recorder = Arc::clone(&self.process.recorder);
            async move { recorder.record(event(subject)).await }
        });
        let results = join_all(calls).await;
        for (subject, result) in subjects.into_iter().zip(results) {
            if let Ok(recorded) = result {
                self.acknowledged.insert(subject, recorded.receipt);
            }
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Record(count) => self.record(*count).await,
            Step::Abandon => {
                let subject = self.subject();
                let recorded = self.process.recorder.record(event(&subject)).now_or_never();
                if let Some(Ok(recorded)) = recorded {
                    self.acknowledged.insert(subject, recorded.receipt);
                }
            }
            Step::Fails(store, suffers) => {
                let fault = match suffers {
                    Suffers::Refused => {
                        Fault::Before(StoreError::Unavailable("refused".to_owned()))
                    }
                    Suffers::Applied => Fault::After,
                    Suffers::Slow => Fault::Delay(std::time::Duration::from_millis(1)),
                };
                self.fail_next(*store, fault);
            }
            Step::Goes(store) if !self.gone.contains(store) => {
                self.gone.push(*store);
                self.fail_always(*store);
            }
            Step::ComesBack(store) if self.gone.contains(store) => {
                self.gone.retain(|gone| gone != store);
                self.heal(*store);
            }
            Step::Goes(_) | Step::ComesBack(_) => {}
            Step::Passes(seconds) => self.world.clock.advance(seconds * SECOND),
            Step::Dies => {
                self.process = self.world.start();
                for store in &self.gone {
                    self.fail_always(*store);
                }
            }
            Step::Replay => {
                let report = self.world.replay().await;
                assert!(report.findings.is_empty(), "{report:?}");
            }
        }
    }

    async fn check(&self) {
        self.world.import_lines();
        let report = self.world.replay().await;
        assert!(report.findings.is_empty() && report.complete, "{report:?}");
        assert!(report.waiting.is_empty(), "nothing is missing: {report:?}");
        assert!(self.world.spill.names().is_empty());
        self.world.assert_whole(&self.acknowledged).await;
        let report = self.world.replay().await;
        assert_eq!(report.items, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_every_acknowledged_event_is_in_its_stream_once(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new();
            for step in &steps {
                run.step(step).await;
            }
            run.check().await;
        });
    }
}
