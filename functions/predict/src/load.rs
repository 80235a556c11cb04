//! Loads a release: verify the signature → digest → unwrap the key →
//! commitment → decrypt while hashing → compare → parse. Every attempt is
//! recorded; a failure that only tampering explains is a security event too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact::{ArtifactFiles, OpenError, Sidecar, TrustedKey, Verified, open};
use audit::EventBody;
use audit::event::{ModelAccess, Security};
use domain::ports::{
    ArtifactFiles as WholeFiles, ArtifactReader, Clock, KeyUnwrapper, LoadableFiles,
    ModelContainer, ReleaseReader, StoreError,
};
use domain::recorder::NotRecordedError;
use domain::{Recorder, Release, ReleaseId, ReleaseModel, ReleaseRole, Sha256Digest};
use engine::{Explainer, Form, LoadError, LoadLimits, Model, PACKED_FORMAT, Scorer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serving::{LoadedModel, Serving, can_stand_in};

/// Loads releases through the ports.
pub struct Loader {
    /// Where artifacts are.
    pub artifacts: Arc<dyn ArtifactReader>,
    /// Where releases are.
    pub releases: Arc<dyn ReleaseReader>,
    /// Unwraps the artifacts' data keys.
    pub unwrapper: Arc<dyn KeyUnwrapper>,
    /// Keys whose signatures vouch for artifacts.
    pub trusted: Vec<TrustedKey>,
    /// How much a model may ask of this process.
    pub limits: LoadLimits,
    /// Longest time that loading one model may take.
    pub time_limit: Duration,
    /// Holds loads to one at a time.
    pub slot: LoadSlot,
    /// Records every access.
    pub recorder: Arc<Recorder>,
    /// Tells whether a key is valid now.
    pub clock: Arc<dyn Clock>,
}

/// Taken by the load that is under way. One that was given up for its time keeps it until it has really ended.
#[derive(Debug, Clone)]
pub struct LoadSlot(Arc<Semaphore>);

impl Default for LoadSlot {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Why a release does not serve.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoadReleaseError {
    /// The release could not be read.
    #[error("release {id}: {cause}")]
    Release {
        /// The release.
        id: ReleaseId,
        /// What the store said.
        cause: StoreError,
    },
    /// The release is no release.
    #[error("release {id}: {reason}")]
    Unfit {
        /// The release.
        id: ReleaseId,
        /// What does not fit.
        reason: String,
    },
    /// One of its models was not loaded.
    #[error("{model}: {cause}")]
    Model {
        /// `name@version`.
        model: String,
        /// Why.
        cause: LoadModelError,
    },
    /// What was done could not be recorded.
    #[error("the load was not recorded: {0}")]
    NotRecorded(#[from] NotRecordedError),
}

impl LoadReleaseError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Release { .. } => "release.unavailable",
            Self::Unfit { .. } => "release.unfit",
            Self::Model { cause, .. } => cause.code(),
            Self::NotRecorded(_) => "audit.unavailable",
        }
    }
}

/// Why a model was not loaded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoadModelError {
    /// The store has no such artifact, or does not answer.
    #[error("the artifact cannot be read: {0}")]
    Read(StoreError),
    /// The artifact is not what was signed.
    #[error(transparent)]
    Artifact(#[from] OpenError),
    /// The signed files are others than those that the release pins.
    #[error("the artifact's digest is {found}; the release pins {pinned}")]
    OtherDigest {
        /// What the release says.
        pinned: Sha256Digest,
        /// What was found.
        found: Sha256Digest,
    },
    /// The key service refused.
    #[error("the data key cannot be unwrapped: {0}")]
    Unwrap(StoreError),
    /// The engine refused the model.
    #[error(transparent)]
    Engine(#[from] LoadError),
    /// The model answers in other terms than the one that it stands in for.
    #[error("its answers cannot stand in for those of {0}: another kind, or other labels")]
    CannotStandIn(String),
    /// It took too long.
    #[error("it was not loaded within {} s", .0.as_secs_f32())]
    TooSlow(Duration),
    /// The thread that loaded the model is gone.
    #[error("the load was abandoned")]
    Abandoned,
}

impl LoadModelError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(StoreError::NotFound(_)) => "artifact.not_found",
            Self::Read(StoreError::Corrupt(_)) => "artifact.corrupt",
            Self::Read(_) => "artifact.unavailable",
            Self::Artifact(cause) => cause.code(),
            Self::OtherDigest { .. } => "artifact.release_digest_mismatch",
            // The sidecar names the key and is not signed: a key that this role may not use is another key.
            Self::Unwrap(StoreError::Corrupt(_) | StoreError::Denied(_)) => "key.unwrap_refused",
            Self::Unwrap(StoreError::NotFound(_)) => "key.unknown",
            Self::Unwrap(_) => "key.unavailable",
            Self::Engine(cause) => cause.code(),
            Self::CannotStandIn(_) => "release.fallback_mismatch",
            Self::TooSlow(_) => "model.load_timeout",
            Self::Abandoned => "model.load_abandoned",
        }
    }

    /// Whether only tampering, or a fault that looks like it, explains this.
    fn is_security_event(&self) -> bool {
        matches!(
            self,
            // A release names only what was there, whole, when it was created.
            Self::Read(StoreError::Corrupt(_) | StoreError::NotFound(_))
                | Self::Artifact(_)
                | Self::OtherDigest { .. }
                | Self::Unwrap(
                    StoreError::Corrupt(_) | StoreError::Denied(_) | StoreError::NotFound(_)
                )
        )
    }
}

impl Loader {
    /// Loads all models of the release; all of them, or none serves.
    ///
    /// # Errors
    /// [`LoadReleaseError`], of which the log holds a record already.
    pub async fn load(&self, id: ReleaseId) -> Result<Serving, LoadReleaseError> {
        let release = self
            .releases
            .get(id)
            .await
            .map_err(|cause| LoadReleaseError::Release { id, cause })?;
        release.check().map_err(|fault| LoadReleaseError::Unfit {
            id,
            reason: fault.to_string(),
        })?;
        let mut models = HashMap::new();
        for member in &release.models {
            let model = self.load_recorded(&release, member).await?;
            models.insert(member.label(), model);
        }
        for member in &release.models {
            let ReleaseRole::FallbackFor(name) = &member.role else {
                continue;
            };
            let stand_in = &models[&member.label()];
            let fits = release.live(name).is_some_and(|live| {
                can_stand_in(&models[&live.label()].manifest, &stand_in.manifest)
            });
            if !fits {
                let cause = LoadModelError::CannotStandIn(name.to_string());
                return Err(LoadReleaseError::Model {
                    model: member.label(),
                    cause,
                });
            }
        }
        Serving::new(&release, &models).ok_or_else(|| LoadReleaseError::Unfit {
            id,
            reason: "a model is missing".to_owned(),
        })
    }

    async fn load_recorded(
        &self,
        release: &Release,
        member: &ReleaseModel,
    ) -> Result<Arc<LoadedModel>, LoadReleaseError> {
        let began = Instant::now();
        let loaded = tokio::time::timeout(self.time_limit, self.load_model(member))
            .await
            .unwrap_or(Err(LoadModelError::TooSlow(self.time_limit)));
        let mut events = vec![EventBody::ModelAccess(ModelAccess {
            model: member.label(),
            release: release.id.to_string(),
            outcome: if loaded.is_ok() { "loaded" } else { "failed" }.to_owned(),
            sha256: loaded
                .as_ref()
                .ok()
                .map(|model| model.reference.sha256.clone()),
            code: loaded.as_ref().err().map(|cause| cause.code().to_owned()),
            error: loaded.as_ref().err().map(short),
            duration_us: began.elapsed().as_micros() as u64,
        })];
        if let Err(cause) = &loaded
            && cause.is_security_event()
        {
            events.push(EventBody::Security(Security {
                code: cause.code().to_owned(),
                subject: member.label(),
                detail: short(cause),
            }));
        }
        self.recorder.record_all(events).await?;
        loaded
            .map(Arc::new)
            .map_err(|cause| LoadReleaseError::Model {
                model: member.label(),
                cause,
            })
    }

    async fn load_model(&self, member: &ReleaseModel) -> Result<LoadedModel, LoadModelError> {
        let slot = Arc::clone(&self.slot.0).acquire_owned().await.ok();
        let (name, version) = (&member.name, &member.version);
        let files = self.artifacts.read_loadable(name, version).await;
        let files = Fetched::from(files.map_err(LoadModelError::Read)?);
        let verified = self.verify(member, &files)?;
        let packed = files.packed.as_ref().and(verified.manifest().packed);
        match packed {
            None => self.build(&verified, &files, Form::Onnx, slot).await,
            Some(packed) if packed.format == PACKED_FORMAT => {
                self.build(&verified, &files, Form::Packed, slot).await
            }
            // Packed by an engine of another version: the ONNX file is the same model.
            Some(_) => {
                let files = self.artifacts.read(name, version).await;
                let files = Fetched::from(files.map_err(LoadModelError::Read)?);
                let verified = self.verify(member, &files)?;
                self.build(&verified, &files, Form::Onnx, slot).await
            }
        }
    }

    /// Verifies that the files are those that the release pins.
    fn verify<'a>(
        &self,
        member: &ReleaseModel,
        files: &'a Fetched,
    ) -> Result<Verified<'a>, LoadModelError> {
        let verified = open::verify(
            ArtifactFiles {
                manifest_json: &files.manifest,
                sealed: files.sealed.as_deref(),
                packed: files.packed.as_deref(),
                bundle: &files.bundle,
            },
            &(member.name.clone(), member.version.clone()),
            &self.trusted,
            self.clock.now_us() / 1_000_000,
        )?;
        if verified.digest() != member.digest {
            let (pinned, found) = (member.digest, verified.digest());
            return Err(LoadModelError::OtherDigest { pinned, found });
        }
        Ok(verified)
    }

    /// Decrypts one form of the model and builds it.
    async fn build(
        &self,
        verified: &Verified<'_>,
        files: &Fetched,
        form: Form,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<LoadedModel, LoadModelError> {
        let sidecar = Sidecar::from_json(&files.sidecar).map_err(OpenError::Sidecar)?;
        verified.check_sidecar(&sidecar)?;
        let key = self
            .unwrapper
            .unwrap(
                &sidecar.key_id,
                &sidecar.wrapped_key,
                &verified.context().to_map(),
            )
            .await
            .map_err(LoadModelError::Unwrap)?;
        let plain = match form {
            Form::Onnx => verified.open(&key)?.onnx,
            Form::Packed => verified.open_packed(&key)?,
        };
        let manifest = verified.manifest().clone();
        let sha256 = verified.context().sha256;
        let limits = self.limits.clone();
        let build = move || -> Result<LoadedModel, LoadError> {
            let explainer = Explainer::bind(&manifest, form, &plain, &limits)?;
            let model = match form {
                Form::Onnx => Model::load(&plain, &limits)?,
                Form::Packed => Model::load_packed(plain, &limits)?,
            };
            let scorer = Scorer::new(&manifest, model)?;
            drop(slot);
            Ok(LoadedModel::new(manifest, &sha256, scorer, explainer))
        };
        let model = tokio::task::spawn_blocking(build).await;
        Ok(model.map_err(|_| LoadModelError::Abandoned)??)
    }
}

/// The files of an artifact, as far as they were fetched.
struct Fetched {
    manifest: Vec<u8>,
    sealed: Option<Vec<u8>>,
    packed: Option<Vec<u8>>,
    bundle: Vec<u8>,
    sidecar: Vec<u8>,
}

impl From<LoadableFiles> for Fetched {
    fn from(files: LoadableFiles) -> Self {
        let (sealed, packed) = match files.container {
            ModelContainer::Onnx(sealed) => (Some(sealed), None),
            ModelContainer::Packed(packed) => (None, Some(packed)),
        };
        Self {
            manifest: files.manifest,
            sealed,
            packed,
            bundle: files.bundle,
            sidecar: files.sidecar,
        }
    }
}

impl From<WholeFiles> for Fetched {
    fn from(files: WholeFiles) -> Self {
        Self {
            manifest: files.manifest,
            sealed: Some(files.sealed),
            packed: files.packed,
            bundle: files.bundle,
            sidecar: files.sidecar,
        }
    }
}

/// The error's sentence, cut to what a record holds.
fn short(cause: &LoadModelError) -> String {
    cause.to_string().chars().take(500).collect()
}
