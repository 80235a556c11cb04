//! What a run did.

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
        }
    }
}
