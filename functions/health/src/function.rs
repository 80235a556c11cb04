//! The function: looks at the fleet, and remembers for a moment what it saw.

use std::sync::Arc;
use std::time::Duration;

use domain::Recorder;
use domain::ports::Clock;
use tokio::sync::Mutex;

use crate::alerts::Alerts;
use crate::assess::{Report, assess};
use crate::survey::{Ports, survey};
use crate::version::Versions;

/// The alias that requests go to.
pub const LIVE: &str = "live";

/// How long what may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What has not answered after this long has not answered. Security events have as long again to be recorded.
    pub ask: Duration,
    /// For how long what was seen is shown again, in microseconds.
    pub keep_us: u64,
    /// For how long a heartbeat is fresh, in microseconds.
    pub fresh_us: u64,
}

impl Default for Limits {
    /// 1 s, 3 s, 2 min.
    fn default() -> Self {
        Self {
            ask: Duration::from_secs(1),
            keep_us: 3_000_000,
            fresh_us: 120_000_000,
        }
    }
}

/// The function.
pub struct Health {
    ports: Ports,
    versions: Versions,
    limits: Limits,
    alerts: Alerts,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<Arc<Report>>>,
}

impl Health {
    /// A function that looks through `ports` and records with `recorder` what only a fault or an attack explains.
    pub fn new(
        ports: Ports,
        versions: Versions,
        limits: Limits,
        recorder: Arc<Recorder>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            ports,
            versions,
            limits,
            alerts: Alerts::new(recorder),
            clock,
            kept: Mutex::new(None),
        }
    }

    /// Asks everything once, for `limit` at most, and forgets the answers: what the first question to a store costs
    /// more than the next ones is then paid, and no probe takes it for slowness.
    pub async fn warm_up(&self, limit: Duration) {
        survey(&self.ports, LIVE, limit).await;
    }

    /// How the fleet fares now.
    pub async fn look_now(&self) -> Arc<Report> {
        self.look(self.clock.now_us()).await
    }

    /// How the fleet fares at `now_us`: as it was seen a moment ago, or seen anew. Of callers at the same time one
    /// looks and the others wait for what it sees, so that no number of probes asks the stores more often.
    pub async fn look(&self, now_us: u64) -> Arc<Report> {
        let mut kept = self.kept.lock().await;
        if let Some(report) = kept.as_ref()
            && self.is_recent(report, now_us)
        {
            return Arc::clone(report);
        }
        let answers = survey(&self.ports, LIVE, self.limits.ask).await;
        let report = Arc::new(assess(LIVE, answers, self.versions, &self.limits, now_us));
        self.alerts.tell(&report.conditions, self.limits.ask).await;
        *kept = Some(Arc::clone(&report));
        report
    }

    /// Whether the report may be shown again. A clock that went back makes no report recent, however old it is.
    fn is_recent(&self, report: &Report, now_us: u64) -> bool {
        now_us
            .checked_sub(report.at_us)
            .is_some_and(|age| age < self.limits.keep_us)
    }
}
