//! How often, how long and with which pauses a call is tried: the one way to every service.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use domain::StoreError;
use domain::ports::Entropy;
use domain::system::SystemEntropy;
use tokio::time::Instant;

use crate::error::{self, Verdict};

/// Less time than this is no attempt.
const SHORTEST: Duration = Duration::from_millis(20);
/// How often the longest pause doubles at most.
const MAX_DOUBLINGS: u32 = 3;
/// Bytes a second that a transfer must reach.
#[cfg(any(test, feature = "s3", feature = "dynamodb"))]
const BYTES_PER_SECOND: u64 = 2 << 20;

/// When attempts are made: pure arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Time for all attempts and pauses.
    budget: Duration,
    /// Time of the first attempts; a later one has what is left.
    firsts: [Duration; 2],
    /// Shortest pause between two attempts, and longest after the first failure; that one doubles with every further
    /// refusal.
    pauses: [Duration; 2],
}

/// 25 to 100 ms.
const PAUSES: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(100)];

impl Plan {
    /// 4 s in all: 0.5 s, 1 s, then the rest.
    pub(crate) const STANDARD: Self = Self {
        budget: Duration::from_secs(4),
        firsts: [Duration::from_millis(500), Duration::from_secs(1)],
        pauses: PAUSES,
    };

    /// 20 s in all: 5 s, 5 s, then the rest. For what nobody's request waits for.
    const PATIENT: Self = Self {
        budget: Duration::from_secs(20),
        firsts: [Duration::from_secs(5), Duration::from_secs(5)],
        pauses: PAUSES,
    };

    /// As long for every attempt as `bytes` may take to be sent or received, on top.
    #[cfg(any(test, feature = "s3", feature = "dynamodb"))]
    pub(crate) fn for_bytes(self, bytes: u64) -> Self {
        let more = Duration::from_millis(bytes.saturating_mul(1000) / BYTES_PER_SECOND);
        Self {
            budget: self.budget.saturating_add(more.saturating_mul(3)),
            firsts: self.firsts.map(|first| first.saturating_add(more)),
            pauses: self.pauses,
        }
    }

    /// How long attempt `number` (from 0) may take when `spent` is gone; `None` where there is no time for it.
    fn limit(&self, number: usize, spent: Duration) -> Option<Duration> {
        let left = self
            .budget
            .checked_sub(spent)
            .filter(|left| *left >= SHORTEST)?;
        let first = self.firsts.get(number).copied();
        Some(first.map_or(left, |first| first.min(left)))
    }

    /// The pause before the next attempt, after `refusals` attempts that failed at once; `random` spreads callers.
    fn pause(&self, refusals: u32, random: u32) -> Duration {
        let [shortest, longest] = self.pauses;
        let longest = longest * (1 << refusals.saturating_sub(1).min(MAX_DOUBLINGS));
        let share = f64::from(random) / f64::from(u32::MAX);
        shortest + longest.saturating_sub(shortest).mul_f64(share)
    }
}

/// A plan, and the randomness for its pauses.
#[derive(Clone)]
pub(crate) struct Patience {
    plan: Plan,
    entropy: Arc<dyn Entropy>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            plan: Plan::STANDARD,
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Patience").field(&self.plan).finish()
    }
}

/// What a call does to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: an attempt that failed left no trace.
    Read,
    /// An attempt that failed may have been applied.
    Write,
}

/// A call that was not answered with success.
#[derive(Debug)]
pub(crate) struct Failed<E> {
    what: String,
    /// What ended the last attempt; `None` where it was not answered in time.
    last: Option<Box<SdkError<E, HttpResponse>>>,
    /// Whether an attempt may have been applied all the same.
    pub(crate) in_doubt: bool,
}

impl<E: ProvideErrorMetadata> Failed<E> {
    /// The service's own last word, if it said one.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn service(&self) -> Option<&E> {
        self.last.as_ref().and_then(|last| last.as_service_error())
    }

    /// Whether the service's last word was this error.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.last
            .as_ref()
            .is_some_and(|error| error::code(error) == Some(code))
    }

    /// The HTTP status of the last answer.
    #[cfg(feature = "s3")]
    pub(crate) fn status(&self) -> Option<u16> {
        self.last.as_ref().and_then(|last| error::status(last))
    }

    /// The port's error.
    pub(crate) fn into_store(self) -> StoreError {
        let Self {
            what,
            last,
            in_doubt,
        } = self;
        match last {
            Some(last) => error::to_store(&what, &last, in_doubt),
            None if in_doubt => StoreError::OutcomeUnknown(format!("{what}: no answer in time")),
            None => StoreError::Unavailable(format!("{what}: no answer in time")),
        }
    }
}

impl<E: ProvideErrorMetadata> From<Failed<E>> for StoreError {
    fn from(failed: Failed<E>) -> Self {
        failed.into_store()
    }
}

impl Patience {
    /// The same where nobody's request waits.
    pub(crate) fn unhurried(&self) -> Self {
        Self {
            plan: Plan::PATIENT,
            entropy: Arc::clone(&self.entropy),
        }
    }

    /// The same for calls that carry this many bytes.
    #[cfg(any(test, feature = "s3", feature = "dynamodb"))]
    pub(crate) fn for_bytes(&self, bytes: u64) -> Self {
        Self {
            plan: self.plan.for_bytes(bytes),
            entropy: Arc::clone(&self.entropy),
        }
    }

    /// Makes the call until it succeeds, is refused for good, or the time is over. `what` says in errors what was tried.
    pub(crate) async fn attempt<T, E, F>(
        &self,
        access: Access,
        what: impl Into<String>,
        call: impl Fn() -> F,
    ) -> Result<T, Failed<E>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata,
    {
        self.attempt_judged(access, what, call, error::judge).await
    }

    /// As [`attempt`](Self::attempt), where `judge` tells what a failure means.
    pub(crate) async fn attempt_judged<T, E, F>(
        &self,
        access: Access,
        what: impl Into<String>,
        call: impl Fn() -> F,
        judge: impl Fn(&SdkError<E, HttpResponse>) -> Verdict,
    ) -> Result<T, Failed<E>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata,
    {
        let began = Instant::now();
        let (mut in_doubt, mut refusals, mut last) = (false, 0, None);
        for number in 0_usize.. {
            let Some(limit) = self.plan.limit(number, began.elapsed()) else {
                break;
            };
            match tokio::time::timeout(limit, call()).await {
                Ok(Ok(done)) => {
                    if number > 0 {
                        let (what, attempts) = (what.into(), number + 1);
                        let duration_ms = began.elapsed().as_millis() as u64;
                        tracing::warn!(call = what, attempts, duration_ms, "a store answered late");
                    }
                    return Ok(done);
                }
                Ok(Err(error)) => {
                    let verdict = judge(&error);
                    in_doubt |= verdict == Verdict::AgainInDoubt;
                    refusals += 1;
                    last = Some(Box::new(error));
                    if verdict == Verdict::Final {
                        break;
                    }
                }
                Err(_) => {
                    in_doubt = true;
                    last = None;
                }
            }
            let pause = self.plan.pause(refusals, self.random());
            if self
                .plan
                .limit(number + 1, began.elapsed() + pause)
                .is_none()
            {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        Err(Failed {
            what: what.into(),
            last,
            in_doubt: in_doubt && access == Access::Write,
        })
    }

    fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        // Without randomness the pauses are the longest.
        if self.entropy.fill(&mut bytes).is_err() {
            return u32::MAX;
        }
        u32::from_ne_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The standard plan, four times as fast.
    const QUICK: Plan = Plan {
        budget: Duration::from_secs(1),
        firsts: [Duration::from_millis(125), Duration::from_millis(250)],
        pauses: [Duration::from_millis(6), Duration::from_millis(25)],
    };
    /// What a busy machine adds.
    const LATE: Duration = Duration::from_millis(500);

    type Outcome = Result<&'static str, SdkError<ErrorMetadata, HttpResponse>>;

    #[expect(clippy::result_large_err, reason = "it is what the SDK gives")]
    fn service_error(status: u16, code: &str) -> Outcome {
        let status = StatusCode::try_from(status).unwrap();
        Err(SdkError::service_error(
            ErrorMetadata::builder()
                .code(code)
                .message("as the test says")
                .build(),
            HttpResponse::new(status, SdkBody::empty()),
        ))
    }

    /// Makes calls whose n-th takes and gives what `answers` says for n; the time that all took comes with the result.
    async fn run(
        access: Access,
        answers: impl Fn(u32) -> (Duration, Outcome),
    ) -> (Result<&'static str, Failed<ErrorMetadata>>, u32, Duration) {
        let patience = Patience {
            plan: QUICK,
            ..Patience::default()
        };
        let (calls, began) = (Cell::new(0), Instant::now());
        let result = patience
            .attempt(access, "call", || {
                let (takes, outcome) = answers(calls.get());
                calls.set(calls.get() + 1);
                async move {
                    tokio::time::sleep(takes).await;
                    outcome
                }
            })
            .await;
        (result, calls.get(), began.elapsed())
    }

    #[test]
    fn attempts_get_half_a_second_a_second_and_then_the_rest() {
        let plan = Plan::STANDARD;
        assert_eq!(plan.limit(0, MS(0)), Some(MS(500)));
        assert_eq!(plan.limit(1, MS(600)), Some(MS(1000)));
        assert_eq!(plan.limit(2, MS(1700)), Some(MS(2300)));
        assert_eq!(
            plan.limit(0, MS(3900)),
            Some(MS(100)),
            "never beyond the budget"
        );
        assert_eq!(plan.limit(3, MS(3981)), None);
        assert_eq!(plan.limit(3, MS(5000)), None);
    }

    #[test]
    fn a_transfer_gets_the_time_that_its_bytes_take() {
        let plan = Plan::STANDARD.for_bytes(20 << 20);
        assert_eq!(plan.limit(0, MS(0)), Some(MS(10_500)));
        assert_eq!(plan.limit(2, MS(0)), Some(MS(34_000)));
        assert_eq!(Plan::STANDARD.for_bytes(0), Plan::STANDARD);
        // No length overflows.
        assert!(Plan::STANDARD.for_bytes(u64::MAX).limit(0, MS(0)).is_some());
    }

    #[test]
    fn pauses_are_jittered_and_double_with_refusals() {
        for (refusals, longest) in [(0, 100), (1, 100), (2, 200), (3, 400), (4, 800), (9, 800)] {
            assert_eq!(Plan::STANDARD.pause(refusals, 0), MS(25));
            assert_eq!(Plan::STANDARD.pause(refusals, u32::MAX), MS(longest));
        }
    }

    #[tokio::test]
    async fn a_store_that_takes_half_the_budget_is_slow_and_answers() {
        let (result, calls, took) = run(Access::Write, |_| (MS(450), Ok("done"))).await;
        assert_eq!((result.unwrap(), calls), ("done", 3));
        assert!(took < QUICK.budget + LATE, "{took:?}");
    }

    #[tokio::test]
    async fn a_store_that_never_answers_is_given_up_within_the_budget() {
        for (access, in_doubt) in [(Access::Read, false), (Access::Write, true)] {
            let (result, calls, took) = run(access, |_| (MS(60_000), Ok("late"))).await;
            let failed = result.unwrap_err();
            assert_eq!((failed.in_doubt, calls), (in_doubt, 3));
            assert_eq!(
                matches!(failed.into_store(), StoreError::OutcomeUnknown(_)),
                in_doubt
            );
            assert!(took < QUICK.budget + LATE, "{took:?}");
        }
    }

    #[tokio::test]
    async fn throttling_is_waited_for_and_leaves_no_doubt() {
        let throttled = |n| match n {
            0..4 => (MS(1), service_error(400, "ThrottlingException")),
            _ => (MS(1), Ok("done")),
        };
        let (result, calls, _) = run(Access::Write, throttled).await;
        assert_eq!((result.unwrap(), calls), ("done", 5));

        let always = |_| (MS(1), service_error(503, "SlowDown"));
        let (result, calls, took) = run(Access::Write, always).await;
        let failed = result.unwrap_err();
        assert!(!failed.in_doubt && calls > 5 && took < QUICK.budget + LATE);
        let StoreError::Unavailable(text) = failed.into_store() else {
            panic!("expected unavailable")
        };
        assert_eq!(text, "call: SlowDown: as the test says");
    }

    #[tokio::test]
    async fn a_refusal_for_good_is_not_tried_again() {
        let denied = |_| (MS(1), service_error(400, "AccessDeniedException"));
        let (result, calls, _) = run(Access::Write, denied).await;
        let failed = result.unwrap_err();
        assert!(failed.is("AccessDeniedException") && !failed.in_doubt && calls == 1);
        assert!(matches!(failed.into_store(), StoreError::Denied(_)));
    }

    #[tokio::test]
    async fn a_refusal_after_a_lost_reply_leaves_the_doubt() {
        let lost = |n| match n {
            0 => (MS(60_000), Ok("never heard")),
            _ => (MS(1), service_error(400, "ConditionalCheckFailedException")),
        };
        let failed = run(Access::Write, lost).await.0.unwrap_err();
        assert!(failed.in_doubt && failed.is("ConditionalCheckFailedException"));
        assert!(matches!(failed.into_store(), StoreError::OutcomeUnknown(_)));
        let failed = run(Access::Read, lost).await.0.unwrap_err();
        assert!(matches!(failed.into_store(), StoreError::Conflict(_)));
    }
}
