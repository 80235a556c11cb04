//! Replays what the audit log did not take.

use std::sync::Arc;
use std::time::Duration;

use domain::Recorder;
use domain::spill::{ReplayPorts, replay};

/// How often the spill is looked at.
const INTERVAL: Duration = Duration::from_secs(10);

/// Items that are replayed at once, at most.
const LIMIT: usize = 10_000;

/// How long one run may take, in microseconds.
const TIME_US: u64 = 60_000_000;

/// Puts what is in the spill into the audit log, now and whenever there is something; never ends.
pub(crate) async fn replay_spill(ports: ReplayPorts, recorder: Arc<Recorder>) {
    loop {
        let deadline_us = ports.clock.now_us() + TIME_US;
        match replay(&ports, LIMIT, deadline_us).await {
            Ok(report) => {
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
                    if let Err(error) = recorder.record(finding.into()).await {
                        tracing::error!(error = %error, "a finding about the spill was not recorded");
                    }
                }
            }
            Err(error) => tracing::error!(error = %error, "the spill cannot be listed"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
