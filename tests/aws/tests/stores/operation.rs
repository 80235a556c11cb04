//! An operation behind a proxy, and what must become of it under every kind of harm.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_tests::emulators::{Emulator, endpoints};
use aws_tests::proxy::{Fault, Proxy};
use domain::StoreError;
use futures::future::{BoxFuture, FutureExt};
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

/// An operation behind a proxy.
pub(crate) struct Operation {
    pub(crate) proxy: Arc<Proxy>,
    /// The requests that are harmed.
    pub(crate) about: &'static str,
    /// How the service throttles.
    pub(crate) throttled: Fault,
    pub(crate) writes: bool,
    /// How many calls in a row may each use up their budget.
    pub(crate) calls: u32,
}

impl Operation {
    async fn run(&self, what: &str, used: Use) -> Result<(), StoreError> {
        let began = Instant::now();
        let result = used.call.await;
        let took = began.elapsed();
        assert!(took < BUDGET * self.calls, "{what}: {took:?}");
        self.proxy.assert_all_took_place();
        self.proxy.heal().await;
        let effects = used.effects.await;
        if self.writes {
            match &result {
                Ok(()) => assert_eq!(effects, 1, "{what}"),
                Err(StoreError::OutcomeUnknown(_)) => assert!(effects <= 1, "{what}"),
                Err(_) => assert_eq!(effects, 0, "{what}: {result:?}"),
            }
        }
        result
    }

    /// Slow, throttling, failing, breaking off and losing an answer end well; gone and dumb do not.
    pub(crate) async fn outcomes<F: Future<Output = Use>>(&self, prepare: impl Fn() -> F) {
        let used = prepare().await;
        self.proxy.always(self.about, Fault::Delay(SLOW));
        assert_eq!(self.run("slow", used).await, Ok(()));

        for (what, times, fault) in [
            ("throttled", 4, self.throttled.clone()),
            ("failing", 2, Fault::FAILED),
            ("broken off before", 1, Fault::ResetBefore),
            ("broken off after", 1, Fault::ResetAfter),
            ("broken off in the middle", 1, Fault::CutBody),
            ("an answer lost", 1, Fault::Swallow),
        ] {
            let used = prepare().await;
            self.proxy.next(times, self.about, fault);
            assert_eq!(self.run(what, used).await, Ok(()), "{what}");
        }

        let used = prepare().await;
        self.proxy.go_away();
        // A call on a connection that breaks under it is in doubt; by now all of them are known to be broken.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let result = self.run("gone", used).await;
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "gone: {result:?}"
        );

        let used = prepare().await;
        self.proxy.always(self.about, self.throttled.clone());
        let result = self.run("throttled for good", used).await;
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "throttled for good: {result:?}"
        );

        let used = prepare().await;
        self.proxy.always(self.about, Fault::Swallow);
        let result = self.run("dumb", used).await;
        let defined = if self.writes {
            matches!(result, Err(StoreError::OutcomeUnknown(_)))
        } else {
            matches!(result, Err(StoreError::Unavailable(_)))
        };
        assert!(defined, "dumb: {result:?}");
    }
}

pub(crate) async fn proxied(
    emulator: Emulator,
    place: impl Fn(&mut Endpoints) -> &mut Option<String>,
) -> (Arc<Proxy>, Connection) {
    let proxy = Arc::new(Proxy::to(&emulator.url()).await);
    let mut endpoints = endpoints();
    *place(&mut endpoints) = Some(proxy.url());
    (proxy, Connection::to(&endpoints).await)
}
