//! A wrapper that makes a port fail, before or after it did its work.

mod ports;
mod sealed;
mod spill;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use audit::StreamId;
use domain::StoreError;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error, and nothing was applied.
    Before(StoreError),
    /// It is applied, and its reply is lost: [`StoreError::OutcomeUnknown`].
    After,
    /// It starts this much later.
    Delay(Duration),
}

/// Every call that can be made to fail.
const CALLS: [&str; 47] = [
    "AliasReader::get",
    "AliasWriter::compare_and_swap",
    "ArtifactReader::read",
    "ArtifactReader::read_loadable",
    "ArtifactReader::versions",
    "ArtifactWriter::create",
    "ArtifactWriter::replace_sidecar",
    "AuditAppender::append",
    "AuditAppender::register",
    "AuditReader::read",
    "AuditReader::registered_in",
    "AuditReader::registration",
    "AuditReader::registration_hours",
    "AuditReader::streams",
    "AuditRestorer::restore",
    "AuditRestorer::restore_registration",
    "AuditSearch::search",
    "Entropy::fill",
    "KeyUnwrapper::unwrap",
    "KeyWrapper::generate",
    "LogLock::commit",
    "LogLock::committed",
    "LogPublisher::publish",
    "LogReader::checkpoint",
    "LogReader::read",
    "LogWriter::create",
    "ReleaseReader::get",
    "ReleaseReader::newest",
    "ReleaseWriter::create",
    "RequestClaims::answer",
    "RequestClaims::claim",
    "RequestClaims::release",
    "SealIndexReader::leaf_index",
    "SealIndexReader::open_streams",
    "SealIndexReader::position",
    "SealIndexReader::state",
    "SealIndexWriter::advance",
    "SealIndexWriter::put",
    "Signer::public_key_pem",
    "Signer::sign",
    "SpillReader::list",
    "SpillReader::read",
    "SpillReader::set_aside_count",
    "SpillRemover::remove",
    "SpillRemover::set_aside",
    "SpillWriter::put",
    "StageRemover::remove",
];

#[derive(Debug, Default)]
struct Script {
    calls: BTreeMap<&'static str, u64>,
    once: BTreeMap<(String, u64), Fault>,
    always: BTreeMap<String, Fault>,
    /// Streams that an injected failure ended: the appender's contract holds for the wrapper too.
    ended: BTreeSet<StreamId>,
}

/// A port that does what its script says, and otherwise what the port inside does.
///
/// Calls are named `Port::method`, for example `AuditAppender::append`, and counted from 1.
pub struct Faulty<P: ?Sized> {
    inner: Arc<P>,
    script: Mutex<Script>,
    pauses: AtomicBool,
}

impl<P: ?Sized> fmt::Debug for Faulty<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}

fn check_name(call: &str) {
    assert!(
        CALLS.contains(&call),
        "{call:?} names no call of a port: expected one of {CALLS:?}"
    );
}

impl<P: ?Sized> Faulty<P> {
    /// A wrapper that lets everything through until it is told otherwise.
    pub fn new(inner: Arc<P>) -> Self {
        Self {
            inner,
            script: Mutex::default(),
            pauses: AtomicBool::new(false),
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the `number`-th call, counted from 1 since the wrapper was made, suffer `fault`.
    ///
    /// # Panics
    /// Where `call` names no call of a port, or that call was made already.
    pub fn fail_nth(&self, call: &str, number: u64, fault: Fault) -> &Self {
        check_name(call);
        let mut script = self.script();
        let made = script.calls.get(call).copied().unwrap_or(0);
        assert!(number > made, "call {number} of {call} was made already");
        script.once.insert((call.to_owned(), number), fault);
        drop(script);
        self
    }

    /// Lets the next call suffer `fault`.
    ///
    /// # Panics
    /// Where `call` names no call of a port.
    pub fn fail_next(&self, call: &str, fault: Fault) -> &Self {
        let next = self.calls(call) + 1;
        self.fail_nth(call, next, fault)
    }

    /// Lets every call from now on suffer `fault`, until [`heal`](Self::heal).
    ///
    /// # Panics
    /// Where `call` names no call of a port.
    pub fn fail_always(&self, call: &str, fault: Fault) -> &Self {
        check_name(call);
        self.script().always.insert(call.to_owned(), fault);
        self
    }

    /// Ends what [`fail_always`](Self::fail_always) began, for this call.
    ///
    /// # Panics
    /// Where nothing was begun.
    pub fn heal(&self, call: &str) {
        assert!(
            self.script().always.remove(call).is_some(),
            "{call} was not failing"
        );
    }

    /// Lets every call from now on be pending once before and once after it does its work, so that whoever polls
    /// decides what happens in between, and may drop the call there.
    pub fn pause_at_calls(&self) -> &Self {
        self.pauses.store(true, Ordering::Relaxed);
        self
    }

    async fn pause(&self) {
        let mut paused = !self.pauses.load(Ordering::Relaxed);
        poll_fn(|context| {
            if paused {
                return Poll::Ready(());
            }
            paused = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// How often the call was made.
    ///
    /// # Panics
    /// Where `call` names no call of a port.
    pub fn calls(&self, call: &str) -> u64 {
        check_name(call);
        self.script().calls.get(call).copied().unwrap_or(0)
    }

    /// Asserts that every fault for a certain call took place.
    ///
    /// # Panics
    /// Where one is left.
    pub fn assert_all_took_place(&self) {
        let left = &self.script().once;
        assert!(left.is_empty(), "faults that did not take place: {left:?}");
    }

    /// Counts the call and tells what happens to it.
    fn next_fault(&self, call: &'static str) -> Option<Fault> {
        debug_assert!(CALLS.contains(&call));
        let mut script = self.script();
        let number = script.calls.entry(call).or_default();
        *number += 1;
        let number = *number;
        let once = script.once.remove(&(call.to_owned(), number));
        once.or_else(|| script.always.get(call).cloned())
    }

    /// Plays one call; `work` does nothing until it is polled.
    async fn play<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.pause().await;
        let result = match self.next_fault(call) {
            None => work.await,
            Some(Fault::Before(error)) => Err(error),
            Some(Fault::After) => work.await.and(Err(lost(call))),
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                work.await
            }
        };
        self.pause().await;
        result
    }
}

fn lost(call: &str) -> StoreError {
    StoreError::OutcomeUnknown(format!("the reply to {call} was lost by a test"))
}
