//! The function: what serves, and what an answer needs.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use audit::EventBody;
use audit::event::{ModelAccess, Outcome};
use domain::ports::{Clock, HeartbeatWriter, RequestClaims};
use domain::recorder::NotRecordedError;
use domain::{Recorded, Recorder, ReleaseId};
use http::StatusCode;
use web::ApiError;

use crate::load::{LoadReleaseError, Loader};
use crate::pinned::Pinned;
use crate::place::Places;
use crate::pulse::Pulse;
use crate::serving::Serving;

/// The function: what serves, and what an answer needs.
pub struct Predict {
    serving: ArcSwapOption<Serving>,
    not_ready: ArcSwapOption<NotReady>,
    loader: Loader,
    pub(crate) claims: Arc<dyn RequestClaims>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) places: Places,
    pub(crate) pinned: Option<Pinned>,
    pub(crate) pulse: Option<Pulse>,
}

/// Why nothing serves, or why a newer release does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// Stable code.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
}

impl Predict {
    /// A function that serves nothing yet.
    pub fn new(
        loader: Loader,
        claims: Arc<dyn RequestClaims>,
        recorder: Arc<Recorder>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            serving: ArcSwapOption::empty(),
            not_ready: ArcSwapOption::empty(),
            loader,
            claims,
            recorder,
            clock,
            places: Places::default(),
            pinned: None,
            pulse: None,
        }
    }

    /// The same function, which serves this release and no other: see [`load_pinned`](Self::load_pinned).
    #[must_use]
    pub fn pinned_to(mut self, release: ReleaseId) -> Self {
        self.pinned = Some(Pinned::new(release));
        self
    }

    /// The same function, which says of itself how it fares, as this version of the host's function: when a load
    /// ends, and beside requests at most every 10 seconds.
    #[must_use]
    pub fn with_heartbeats(mut self, writer: Arc<dyn HeartbeatWriter>, version: String) -> Self {
        self.pulse = Some(Pulse::new(writer, version));
        self
    }

    /// Loads the release and lets it serve. Whatever served before goes on until then, and for good where the
    /// load fails.
    ///
    /// # Errors
    /// [`LoadReleaseError`]; it is recorded, and shown as the reason for not being ready.
    pub async fn activate(&self, id: ReleaseId) -> Result<(), LoadReleaseError> {
        match self.loader.load(id).await {
            Ok(serving) => {
                let before = self.serving.swap(Some(Arc::new(serving)));
                self.not_ready.store(None);
                self.beat();
                tracing::info!(ready = true, release.id = %id, "a release serves");
                if let Some(before) = before
                    && let Err(cause) = self.recorder.record_all(unloaded(&before)).await
                {
                    // The new release serves all the same; its own load is on record.
                    tracing::error!(release.id = %before.release, error = %cause, "an unload was not recorded");
                }
                Ok(())
            }
            Err(error) => {
                let (ready, code) = (self.serving().is_some(), error.code());
                tracing::error!(ready, reason = code, release.id = %id, error = %error, "a release does not serve");
                self.say_not_ready(NotReady {
                    code,
                    message: error.to_string(),
                });
                self.beat();
                Err(error)
            }
        }
    }

    /// Forgets why a later release did not serve: the one that serves is the one that should.
    pub fn settle(&self) {
        self.not_ready.store(None);
    }

    /// Says why the release that should serve does not; gives false, for what is ready.
    pub(crate) fn say_not_ready(&self, reason: NotReady) -> bool {
        self.not_ready.store(Some(Arc::new(reason)));
        false
    }

    /// What serves now.
    pub fn serving(&self) -> Option<Arc<Serving>> {
        self.serving.load_full()
    }

    /// Why the release that should serve does not.
    pub fn not_ready(&self) -> Option<Arc<NotReady>> {
        self.not_ready.load_full()
    }

    /// What serves now, or the 503 that says that nothing does. Where the process is pinned to a release that is
    /// not loaded yet, this loads it, or waits for it until `deadline`.
    ///
    /// # Errors
    /// 503 `model.not_ready`.
    pub async fn must_serve(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<Arc<Serving>, ApiError> {
        if self.serving().is_none() {
            self.load_pinned(deadline).await;
        }
        self.beat_if_due();
        self.serving().ok_or_else(|| {
            let reason = self
                .not_ready()
                .map_or("no release is active yet", |reason| reason.code);
            let message = format!("no model serves: {reason}");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "model.not_ready", message)
        })
    }

    /// Records what came of a prediction.
    ///
    /// # Errors
    /// 503 where it was not recorded.
    pub async fn report(&self, outcome: Outcome) -> Result<Recorded, ApiError> {
        self.beat_if_due();
        self.recorder
            .record(EventBody::Outcome(outcome))
            .await
            .map_err(not_recorded)
    }
}

fn unloaded(serving: &Serving) -> Vec<EventBody> {
    let mut models = Vec::new();
    for live in serving.all() {
        for model in std::iter::once(&live.model).chain(&live.fallback) {
            models.push(EventBody::ModelAccess(ModelAccess {
                model: model.label.clone(),
                release: serving.release.to_string(),
                outcome: "unloaded".to_owned(),
                sha256: Some(model.reference.sha256.clone()),
                code: None,
                error: None,
                duration_us: 0,
            }));
        }
    }
    models
}

pub(crate) fn not_recorded(cause: NotRecordedError) -> ApiError {
    match cause {
        NotRecordedError::Event(cause) => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request.too_large_to_record",
            format!("one value is too long to be recorded: {cause}"),
        ),
        NotRecordedError::Store(cause) => {
            tracing::error!(error = %cause, "an event was not recorded");
            ApiError::audit_unavailable()
        }
    }
}
