//! Puts spilled events into their streams before those are read.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit::StreamId;
use domain::Recorder;
use domain::spill::{ReplayPorts, replay};

use crate::sealer::Sealer;

/// Items that a run replays at most.
const ITEMS: usize = 10_000;
/// Longest time that a run replays.
const REPLAY_TIME: Duration = Duration::from_secs(20);

/// Where events are kept that the audit log did not take, and where is recorded what is wrong with them.
#[derive(Clone)]
pub struct Spill {
    /// What a replay needs.
    pub ports: ReplayPorts,
    /// Records what was found in the spill that only a fault or an attack explains.
    pub recorder: Arc<Recorder>,
}

impl Sealer {
    /// Replays the spill for a part of the time that there is; gives the streams that have new events, from this run
    /// or an earlier one that did not come to an end. What fails here waits for the next run, and keeps nothing from
    /// being sealed.
    pub(crate) async fn replay_spill(&self, deadline: Option<Instant>) -> BTreeSet<StreamId> {
        if let Some(spill) = &self.spill {
            let streams = self.replay(spill, deadline).await;
            self.replayed().extend(streams);
        }
        self.replayed().clone()
    }

    /// These streams were looked at since they were replayed.
    pub(crate) fn forget_replayed(&self, streams: &BTreeSet<StreamId>) {
        self.replayed().retain(|stream| !streams.contains(stream));
    }

    fn replayed(&self) -> MutexGuard<'_, BTreeSet<StreamId>> {
        self.replayed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn replay(&self, spill: &Spill, deadline: Option<Instant>) -> BTreeSet<StreamId> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let time = left.map_or(REPLAY_TIME, |left| REPLAY_TIME.min(left / 3));
        let now_us = self.ports.clock.now_us();
        let until_us = now_us + u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2);
        let report = replay(&spill.ports, ITEMS, until_us).await;
        if let Some(error) = &report.unlisted {
            tracing::error!(error = %error, "the spill cannot be listed");
        }
        if report.items > 0 {
            tracing::info!(
                code = "spill.replayed",
                spill.items = report.items,
                spill.events = report.events,
                "spilled events are in the audit log"
            );
        }
        for (stream, error) in &report.failed {
            tracing::warn!(audit.stream = %stream, error = %error, "spilled events could not be replayed yet");
        }
        for finding in report.findings {
            // One that is not recorded is logged there.
            let _ = spill.recorder.record_security(finding.into()).await;
        }
        report.streams
    }
}
