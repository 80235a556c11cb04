//! What a run did.

use audit::seal::Finding;

use crate::error::SealError;

/// What waits for longer than this is said as an error, in seconds.
const LONG_S: u64 = 12 * 3600;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was there is sealed.
    Done,
    /// Time ran out, or a stream could not be read; the next run goes on.
    More,
    /// Another sealer was faster, and does the work.
    Overtaken,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Leaves of the log at the end.
    pub size: u64,
    /// Checkpoints that this run committed.
    pub checkpoints: u64,
    /// Events that this run sealed.
    pub events: u64,
    /// Findings that this run reported.
    pub findings: u64,
    /// Streams that this run looked at.
    pub streams: u64,
    /// Streams that this run could not read.
    pub unreadable: u64,
    /// True where this run carried out what an earlier one had committed.
    pub recovered: bool,
    /// For how long, in seconds, the oldest records wait that the run knows to be unsealed; never less than they do,
    /// and 0 where it knows of none.
    pub oldest_unsealed_s: u64,
}

impl RunReport {
    /// What the function answers, for whoever calls it by hand.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "outcome": self.outcome,
            "size": self.size,
            "checkpoints": self.checkpoints,
            "events": self.events,
            "findings": self.findings,
            "streams": self.streams,
            "unreadable": self.unreadable,
            "recovered": self.recovered,
            "oldest_unsealed_s": self.oldest_unsealed_s,
        })
    }

    pub(crate) fn new() -> Self {
        Self {
            outcome: Outcome::Done,
            size: 0,
            checkpoints: 0,
            events: 0,
            findings: 0,
            streams: 0,
            unreadable: 0,
            recovered: false,
            oldest_unsealed_s: 0,
        }
    }

    /// Takes note of records that stay unsealed, and may have waited since then.
    pub(crate) fn left(&mut self, since_us: Option<u64>, now_us: u64) {
        let waited_us = since_us.map_or(0, |since_us| now_us.saturating_sub(since_us));
        self.oldest_unsealed_s = self.oldest_unsealed_s.max(waited_us / 1_000_000);
    }
}

pub(crate) fn log_finding(finding: &Finding) {
    tracing::error!(
        event.kind = "security",
        security.code = finding.kind.code(),
        security.subject = %finding.stream,
        audit.stream = %finding.stream,
        audit.seq = finding.seq.map(|seq| seq.0),
        "{}",
        finding.detail
    );
}

/// Says what a run did, where it did anything, and in any case what it knows to be unsealed.
pub(crate) fn log_report(report: &RunReport) {
    let idle = report.checkpoints == 0 && !report.recovered && report.outcome == Outcome::Done;
    if idle && report.oldest_unsealed_s == 0 {
        return;
    }
    // A metric is made of `oldest_unsealed_s`, which can have no dot in its name.
    macro_rules! say {
        ($level:ident, $text:literal) => {
            tracing::$level!(
                outcome = ?report.outcome,
                log.size = report.size,
                log.checkpoints = report.checkpoints,
                log.events = report.events,
                log.findings = report.findings,
                log.unreadable_streams = report.unreadable,
                log.recovered = report.recovered,
                oldest_unsealed_s = report.oldest_unsealed_s,
                $text
            )
        };
    }
    if report.oldest_unsealed_s < LONG_S {
        say!(info, "sealed");
    } else {
        say!(error, "sealed, but for events that have waited for long");
    }
}

/// Says why a run ended early. What it did before stays.
pub(crate) fn log_failure(error: &SealError, origin: &str, report: &RunReport) {
    let oldest_unsealed_s = report.oldest_unsealed_s;
    if error.is_security() {
        tracing::error!(
            event.kind = "security",
            security.code = error.code(),
            security.subject = origin,
            oldest_unsealed_s,
            "{error}"
        );
    } else {
        let code = error.code();
        tracing::error!(code, oldest_unsealed_s, "nothing more was sealed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_counts_and_a_clock_that_was_set_back_makes_nothing_old() {
        let mut report = RunReport::new();
        for since_us in [None, Some(9_000_000), Some(2_999_999), Some(8_000_000)] {
            report.left(since_us, 10_000_000);
        }
        assert_eq!(report.oldest_unsealed_s, 7);
        report.left(Some(u64::MAX), 10_000_000);
        assert_eq!(report.oldest_unsealed_s, 7);
    }
}
