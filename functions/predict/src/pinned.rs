//! The one release that a process is set to serve: loaded when it is first needed, tried again after a failure by
//! the requests that need it, never twice at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ReleaseId;
use tokio::sync::watch;
use tracing::Instrument;

use crate::back_off::BackOff;
use crate::function::{NotReady, Predict};

/// What a request keeps of its time to say that nothing serves yet.
const TIME_TO_ANSWER: Duration = Duration::from_millis(200);

/// The release, and what came of loading it.
pub(crate) struct Pinned {
    pub(crate) release: ReleaseId,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    back_off: BackOff,
    /// Closes when the attempt that is under way ends.
    running: Option<watch::Receiver<()>>,
}

impl Pinned {
    pub(crate) fn new(release: ReleaseId) -> Self {
        Self {
            release,
            attempts: Mutex::default(),
        }
    }

    fn ended(&self, now: Instant, is_loaded: bool) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if is_loaded {
            attempts.back_off.succeeded();
        } else {
            attempts.back_off.failed(now);
        }
    }
}

impl Predict {
    /// Loads the pinned release where it is not loaded yet, or waits for the attempt that is under way; not at all
    /// where the last one failed a short while ago. Ready at `until` at the latest; the attempt goes on.
    ///
    /// Called before the first request, it takes the time of the load off that request.
    pub async fn load_pinned(self: &Arc<Self>, until: Option<Instant>) {
        let Some(mut attempt) = self.attempt() else {
            return;
        };
        // An error says that the attempt has ended, which is what is waited for; nothing else is ever sent.
        let ended = async { attempt.changed().await.is_err() };
        match until.map(|until| until.checked_sub(TIME_TO_ANSWER).unwrap_or(until)) {
            Some(until) => tokio::time::timeout_at(until.into(), ended).await.is_ok(),
            None => ended.await,
        };
    }

    /// The attempt that is under way, or a new one where one is due.
    fn attempt(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let pinned = self.pinned.as_ref()?;
        if self.serving().is_some() {
            return None;
        }
        let mut attempts = pinned
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = attempts
            .running
            .as_ref()
            .filter(|r| r.has_changed().is_ok())
        {
            return Some(running.clone());
        }
        // Looked at again under the lock: an attempt may have ended since.
        if self.serving().is_some() || !attempts.back_off.is_due(Instant::now()) {
            return None;
        }
        let (running, ended) = watch::channel(());
        attempts.running = Some(ended.clone());
        drop(attempts);
        if self.not_ready().is_none() {
            self.say_not_ready(NotReady {
                code: "model.loading",
                message: "the release is being loaded".to_owned(),
            });
        }
        let predict = Arc::clone(self);
        let release = pinned.release;
        let task = async move {
            // A task of its own, so that a panic ends as a failure and not in silence.
            let activation = Arc::clone(&predict);
            let load = async move { activation.activate(release).await.is_ok() };
            let is_loaded = match tokio::spawn(load.in_current_span()).await {
                Ok(is_loaded) => is_loaded,
                Err(_) => predict.say_not_ready(NotReady {
                    code: "model.load_abandoned",
                    message: "the load panicked".to_owned(),
                }),
            };
            if let Some(pinned) = &predict.pinned {
                pinned.ended(Instant::now(), is_loaded);
            }
            drop(running);
        };
        tokio::spawn(task.in_current_span());
        Some(ended)
    }
}
