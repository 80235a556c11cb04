//! Heartbeats: what this version of the function says of itself, for those that may not ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::ports::{Heartbeat, HeartbeatWriter};

use crate::function::Predict;

/// The shortest time between two heartbeats beside requests, in microseconds.
const INTERVAL_US: u64 = 10_000_000;

/// Where heartbeats go, and when the last one went.
pub(crate) struct Pulse {
    writer: Arc<dyn HeartbeatWriter>,
    version: String,
    last_us: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(writer: Arc<dyn HeartbeatWriter>, version: String) -> Self {
        Self {
            writer,
            version,
            last_us: AtomicU64::new(0),
        }
    }
}

impl Predict {
    /// Sends a heartbeat where the last one is old enough. Nobody waits for it, and nothing fails with it.
    pub(crate) fn beat_if_due(&self) {
        let Some(pulse) = &self.pulse else {
            return;
        };
        let (now_us, last_us) = (self.clock.now_us(), pulse.last_us.load(Ordering::Relaxed));
        let is_due = now_us >= last_us.saturating_add(INTERVAL_US);
        // Of requests at the same moment one sends it.
        let exchange = |last_us| {
            let order = Ordering::Relaxed;
            pulse
                .last_us
                .compare_exchange(last_us, now_us, order, order)
        };
        if is_due && exchange(last_us).is_ok() {
            self.send(pulse, now_us);
        }
    }

    /// Sends a heartbeat now: what serves has changed, or failed to.
    pub(crate) fn beat(&self) {
        if let Some(pulse) = &self.pulse {
            let now_us = self.clock.now_us();
            pulse.last_us.store(now_us, Ordering::Relaxed);
            self.send(pulse, now_us);
        }
    }

    fn send(&self, pulse: &Pulse, now_us: u64) {
        let heartbeat = Heartbeat {
            version: pulse.version.clone(),
            at_us: now_us,
            release: self.serving().map(|serving| serving.release),
            reason: self.not_ready().map(|reason| reason.code.to_owned()),
            newest_event_us: self.recorder.newest_event_us(),
        };
        let writer = Arc::clone(&pulse.writer);
        tokio::spawn(async move {
            if let Err(cause) = writer.beat(&heartbeat).await {
                tracing::warn!(error = %cause, "a heartbeat was not written");
            }
        });
    }
}
