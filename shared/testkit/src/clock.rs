//! Clocks that stand still until they are moved.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::ports::Clock;

/// Always the same time, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedClock(pub u64);

impl Default for FixedClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self(1_767_225_600_000_000)
    }
}

impl Clock for FixedClock {
    fn now_us(&self) -> u64 {
        self.0
    }
}

/// A time that the test sets, in microseconds since 1970.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now_us`.
    pub fn new(now_us: u64) -> Self {
        Self(AtomicU64::new(now_us))
    }

    /// Shows `now_us` from now on.
    pub fn set(&self, now_us: u64) {
        self.0.store(now_us, Ordering::SeqCst);
    }

    /// Moves on by `by_us`.
    pub fn advance(&self, by_us: u64) {
        self.0.fetch_add(by_us, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Starts where [`FixedClock::default`] stands.
    fn default() -> Self {
        Self::new(FixedClock::default().0)
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(5);
        assert_eq!(clock.now_us(), 5);
        clock.advance(2);
        assert_eq!(clock.now_us(), 7);
        clock.set(1);
        assert_eq!(clock.now_us(), 1);
    }
}
