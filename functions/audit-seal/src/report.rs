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
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};

    use domain::StoreError;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// A line of the log: its level, and its fields as text.
    type Line = (Level, BTreeMap<&'static str, String>);

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Line>>>);

    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    impl Subscriber for Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            let line = (*event.metadata().level(), fields.0);
            self.0.lock().unwrap().push(line);
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn logged(log: impl FnOnce()) -> Vec<Line> {
        let kept = Kept::default();
        tracing::subscriber::with_default(kept.clone(), log);
        std::mem::take(&mut *kept.0.lock().unwrap())
    }

    fn waiting_for(oldest_unsealed_s: u64) -> RunReport {
        RunReport {
            oldest_unsealed_s,
            ..RunReport::new()
        }
    }

    #[test]
    fn a_run_that_does_nothing_is_silent_unless_something_waits_unsealed() {
        assert_eq!(logged(|| log_report(&waiting_for(0))), []);
        let lines = logged(|| log_report(&waiting_for(60)));
        assert_eq!(lines[0].0, Level::INFO);
        assert_eq!(lines[0].1["oldest_unsealed_s"], "60");
        // So that a filter that hides all but errors does not hide it from its alarm.
        let lines = logged(|| log_report(&waiting_for(LONG_S)));
        assert_eq!(lines[0].0, Level::ERROR);
        assert_eq!(lines[0].1["oldest_unsealed_s"], LONG_S.to_string());
    }

    #[test]
    fn a_run_that_fails_says_what_waits_too() {
        let outage = SealError::store("test")(StoreError::Unavailable("down".to_owned()));
        let attack = SealError::IndexDiffers("test".to_owned());
        for (error, code) in [(outage, "code"), (attack, "security.code")] {
            let lines = logged(|| log_failure(&error, "log", &waiting_for(7)));
            assert_eq!(lines[0].0, Level::ERROR);
            assert_eq!(lines[0].1["oldest_unsealed_s"], "7");
            assert!(lines[0].1[code].contains(error.code()), "{lines:?}");
        }
    }

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
