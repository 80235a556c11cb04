//! An operation behind a proxy, and what must become of it under every kind of harm.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_tests::emulators::{Emulator, endpoints};
use aws_tests::proxy::{Fault, Proxy};
use domain::StoreError;
use futures::future::{BoxFuture, FutureExt, join_all};
use store_aws::{Connection, Endpoints};

/// What any one call may take: its budget of 4 s, and what a busy machine adds.
pub(crate) const BUDGET: Duration = Duration::from_millis(4500);
pub(crate) const SLOW: Duration = Duration::from_secs(2);

/// One use of an operation: the call, and a look at how often its effect is in the store then.
pub(crate) struct Use {
    pub(crate) call: BoxFuture<'static, Result<(), StoreError>>,
    pub(crate) effects: BoxFuture<'static, usize>,
}

impl Use {
    pub(crate) fn new(
        call: impl Future<Output = Result<(), StoreError>> + Send + 'static,
        effects: impl Future<Output = usize> + Send + 'static,
    ) -> Self {
        Self {
            call: call.boxed(),
            effects: effects.boxed(),
        }
    }

    /// A call that only reads.
    pub(crate) fn reading(
        call: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) -> Self {
        Self::new(call, async { 0 })
    }
}

/// An operation, and what of it is harmed.
pub(crate) struct Operation {
    pub(crate) emulator: Emulator,
    /// Which service the proxy stands before.
    pub(crate) place: fn(&mut Endpoints) -> &mut Option<String>,
    /// The requests that are harmed.
    pub(crate) about: &'static str,
    /// How the service throttles.
    pub(crate) throttled: Fault,
    pub(crate) writes: bool,
    /// How many calls in a row may each use up their budget.
    pub(crate) calls: u32,
}

/// What befalls the requests.
#[derive(Clone)]
enum Harm {
    /// So many of them.
    Next(usize, Fault),
    /// All of them.
    Always(Fault),
    /// Nobody listens.
    Gone,
}

/// How the call must end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Unavailable,
    /// Of a write: it may have been applied. Of a read the same as unavailable.
    Unknown,
}

impl Operation {
    /// Slow, throttling, failing, breaking off and losing an answer end well; gone and dumb do not. Every harm is done
    /// to a use of its own behind a proxy of its own, all at the same time: most of it is waiting.
    pub(crate) async fn outcomes<F: Future<Output = Use>>(
        &self,
        prepare: impl Fn(Connection) -> F,
    ) {
        let throttled = || self.throttled.clone();
        let scenarios = [
            ("slow", Harm::Always(Fault::Delay(SLOW)), End::Done),
            ("throttled", Harm::Next(4, throttled()), End::Done),
            ("failing", Harm::Next(2, Fault::FAILED), End::Done),
            (
                "broken before",
                Harm::Next(1, Fault::ResetBefore),
                End::Done,
            ),
            ("broken after", Harm::Next(1, Fault::ResetAfter), End::Done),
            ("broken within", Harm::Next(1, Fault::CutBody), End::Done),
            ("an answer lost", Harm::Next(1, Fault::Swallow), End::Done),
            ("gone", Harm::Gone, End::Unavailable),
            (
                "throttled for good",
                Harm::Always(throttled()),
                End::Unavailable,
            ),
            ("dumb", Harm::Always(Fault::Swallow), End::Unknown),
        ];
        let prepare = &prepare;
        let runs = scenarios.map(|(what, harm, end)| async move {
            let (proxy, connection) = proxied(self.emulator, self.place).await;
            let used = prepare(connection).await;
            self.run(&proxy, what, harm, used, end).await;
        });
        join_all(runs).await;
    }

    async fn run(&self, proxy: &Proxy, what: &str, harm: Harm, used: Use, end: End) {
        match harm {
            Harm::Next(times, fault) => proxy.next(times, self.about, fault),
            Harm::Always(fault) => proxy.always(self.about, fault),
            Harm::Gone => {
                proxy.go_away().await;
                // A call on a connection that breaks under it is in doubt; by now all are known to be broken.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let began = Instant::now();
        let result = used.call.await;
        let took = began.elapsed();
        assert!(took < BUDGET * self.calls, "{what}: {took:?}");
        proxy.assert_all_took_place();
        proxy.heal();
        let effects = used.effects.await;
        let end = if self.writes || end == End::Done {
            end
        } else {
            End::Unavailable
        };
        match (end, &result) {
            (End::Done, Ok(())) => assert_eq!(effects, usize::from(self.writes), "{what}"),
            (End::Unavailable, Err(StoreError::Unavailable(_))) => assert_eq!(effects, 0, "{what}"),
            (End::Unknown, Err(StoreError::OutcomeUnknown(_))) => assert!(effects <= 1, "{what}"),
            _ => panic!("{what}: {result:?}"),
        }
    }
}

pub(crate) async fn proxied(
    emulator: Emulator,
    place: impl Fn(&mut Endpoints) -> &mut Option<String>,
) -> (Arc<Proxy>, Connection) {
    let proxy = Arc::new(Proxy::to(&emulator.url()));
    let mut endpoints = endpoints();
    *place(&mut endpoints) = Some(proxy.url());
    (proxy, Connection::to(&endpoints).await)
}
