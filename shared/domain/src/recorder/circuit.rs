//! When a store that failed is tried again.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a store is left alone after its first failure, in microseconds; doubled with each further one.
const FIRST_US: u64 = 1_000_000;

/// The longest of these pauses, in microseconds.
const LONGEST_US: u64 = 30_000_000;

/// Whether a store is worth asking: not for a while after it failed, so that during an outage a few callers wait for
/// its answer, and not all.
#[derive(Debug, Default)]
pub(super) struct Circuit(Mutex<Pause>);

#[derive(Debug, Default, Clone, Copy)]
struct Pause {
    failures: u32,
    until_us: u64,
}

impl Circuit {
    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store may be asked now. A clock that went back makes no pause longer than the longest.
    pub(super) fn is_due(&self, now_us: u64) -> bool {
        let until_us = self.pause().until_us;
        now_us >= until_us || until_us - now_us > LONGEST_US
    }

    /// The store failed. What fails while it is left alone was begun before, and counts as the same failure.
    pub(super) fn failed(&self, now_us: u64) {
        if !self.is_due(now_us) {
            return;
        }
        let mut pause = self.pause();
        let doubled = FIRST_US << pause.failures.min(5);
        pause.until_us = now_us.saturating_add(doubled.min(LONGEST_US));
        pause.failures = pause.failures.saturating_add(1);
    }

    /// The store did what it was asked; true where it had failed before.
    pub(super) fn succeeded(&self) -> bool {
        let before = std::mem::take(&mut *self.pause());
        before.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn pauses_double_up_to_the_longest_and_a_success_ends_them() {
        let circuit = Circuit::default();
        let mut now = 100 * SECOND;
        assert!(circuit.is_due(now));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            circuit.failed(now);
            assert!(!circuit.is_due(now + seconds * SECOND - 1), "{seconds}");
            now += seconds * SECOND;
            assert!(circuit.is_due(now), "{seconds}");
        }
        assert!(circuit.succeeded());
        assert!(!circuit.succeeded());
        circuit.failed(now);
        assert!(circuit.is_due(now + SECOND));
    }

    #[test]
    fn failures_of_one_moment_count_once() {
        let circuit = Circuit::default();
        for _ in 0..50 {
            circuit.failed(SECOND);
        }
        assert!(circuit.is_due(2 * SECOND));
    }

    #[test]
    fn a_clock_that_went_back_does_not_keep_a_store_away() {
        let circuit = Circuit::default();
        circuit.failed(1000 * SECOND);
        assert!(circuit.is_due(10 * SECOND));
    }
}
