//! When something that failed is tried again.

use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST: Duration = Duration::from_mins(1);

/// How long to leave alone what failed: a second, and twice as long after each further failure, up to a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackOff {
    /// The last pause and its end; `None` where nothing failed since the last success.
    waiting: Option<(Duration, Instant)>,
}

impl BackOff {
    /// Whether to try now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.waiting.is_none_or(|(_, end)| end <= now)
    }

    /// Notes a failure at `now`; gives the pause that follows it.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let pause = self
            .waiting
            .map_or(FIRST, |(last, _)| (last * 2).min(LONGEST));
        self.waiting = Some((pause, now + pause));
        pause
    }

    /// Notes a success: the next failure is the first again.
    pub fn succeeded(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_a_second_to_a_minute_and_starts_anew_after_a_success() {
        let now = Instant::now();
        let mut back_off = BackOff::default();
        let mut pauses: Vec<u64> = (0..8).map(|_| back_off.failed(now).as_secs()).collect();
        assert_eq!(pauses.split_off(5), [32, 60, 60]);
        assert_eq!(pauses, [1, 2, 4, 8, 16]);
        back_off.succeeded();
        assert_eq!(back_off.failed(now), FIRST);
    }

    #[test]
    fn nothing_is_tried_before_the_pause_ends() {
        let now = Instant::now();
        let mut back_off = BackOff::default();
        assert!(back_off.is_due(now));
        back_off.failed(now);
        assert!(!back_off.is_due(now));
        assert!(!back_off.is_due(now + Duration::from_millis(999)));
        assert!(back_off.is_due(now + FIRST));
    }
}
