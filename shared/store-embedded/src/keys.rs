//! Local keys in files: for signing models, for registering audit streams, for signing the sealed log's checkpoints,
//! and master keys that wrap data keys.

mod files;
mod master;
mod signers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact::container::DataKey;
use artifact::signature::TrustedKey;
use async_trait::async_trait;
use domain::StoreError;
use domain::ports::{KeyContext, KeyUnwrapper, KeyWrapper, Signer};

use self::master::MasterKey;
use self::signers::{Ed25519Signer, P256Signer};
use crate::durable;
use crate::error::OpenError;

/// File of the P-256 key that signs models (PKCS #8, PEM).
const MODEL_KEY: &str = "model-signing";
/// File of the Ed25519 key that registers audit streams (PKCS #8, PEM).
const STREAM_KEY: &str = "stream-registration";
/// File of the Ed25519 key that signs the sealed log's checkpoints (PKCS #8, PEM).
const LOG_KEY: &str = "log-signing";

/// The keys of one directory.
///
/// ```text
/// model-signing.pem        stream-registration.pem        private keys, PKCS #8
/// model-signing.pub.pem    stream-registration.pub.pem    their public halves, SPKI
/// log-signing.pem          log-signing.pub.pem            the same for checkpoints of the sealed log
/// model-signing.*.pub.pem  stream-registration.*.pub.pem  earlier keys that are still trusted
/// master-0001.json         …                              AES-256 keys; the last one wraps new data keys
/// ```
#[derive(Clone)]
pub struct LocalKeys {
    model: Arc<P256Signer>,
    stream: Arc<Ed25519Signer>,
    log: Option<Arc<Ed25519Signer>>,
    masters: Arc<Masters>,
    model_keys: Vec<TrustedKey>,
    stream_keys: Vec<(String, audit::PublicKey)>,
    earlier_log_keys: Vec<audit::PublicKey>,
}

impl std::fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalKeys")
            .field("model", &self.model.key_id())
            .field("stream", &self.stream.key_id())
            .field("masters", &self.masters.keys.keys())
            .finish_non_exhaustive()
    }
}

struct Masters {
    keys: BTreeMap<String, MasterKey>,
    newest: String,
}

impl LocalKeys {
    /// Creates the directory `dir` with fresh keys: all of them, or nothing.
    ///
    /// # Errors
    /// [`OpenError::Exists`] where `dir` exists and is not empty; [`OpenError::Io`] where it cannot be written.
    pub fn create(dir: &Path) -> Result<Self, OpenError> {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        durable::create_dir(parent).map_err(OpenError::io("create", parent))?;
        let unfinished = durable::unfinished_name(parent).map_err(OpenError::io("name", parent))?;
        let result = files::create_all(&unfinished).and_then(|()| {
            std::fs::rename(&unfinished, dir).map_err(|error| match error.kind() {
                std::io::ErrorKind::DirectoryNotEmpty
                | std::io::ErrorKind::AlreadyExists
                | std::io::ErrorKind::NotADirectory => OpenError::Exists(dir.to_owned()),
                _ => OpenError::io("create", dir)(error),
            })
        });
        if let Err(error) = result {
            let _ = std::fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        durable::sync_dir(parent).map_err(OpenError::io("sync", parent))?;
        Self::open(dir)
    }

    /// Opens the keys in `dir`.
    ///
    /// # Errors
    /// [`OpenError`], which names the file: missing, readable by others, or not the key it should be.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let model = P256Signer::from_pem(&files::read_secret(&private_path(dir, MODEL_KEY))?)
            .map_err(|reason| OpenError::malformed(&private_path(dir, MODEL_KEY), reason))?;
        let stream = Ed25519Signer::from_pem(&files::read_secret(&private_path(dir, STREAM_KEY))?)
            .map_err(|reason| OpenError::malformed(&private_path(dir, STREAM_KEY), reason))?;
        let masters = files::read_masters(dir)?.masters;
        let model_keys = files::read_public(dir, MODEL_KEY, |pem| {
            artifact::PublicKey::from_pem(pem)
                .map(TrustedKey::always)
                .map_err(|error| error.to_string())
        })?;
        let stream_keys = files::read_public(dir, STREAM_KEY, signers::trusted_stream_key)?;
        if !model_keys
            .iter()
            .any(|trusted| trusted.key.to_pem() == model.public_pem())
        {
            return Err(not_beside(dir, MODEL_KEY));
        }
        if !stream_keys.iter().any(|(id, _)| id == stream.key_id()) {
            return Err(not_beside(dir, STREAM_KEY));
        }
        let log = open_log_key(dir)?;
        let mut earlier_log_keys = Vec::new();
        let log_keys = files::read_public(dir, LOG_KEY, signers::trusted_stream_key)?;
        if let Some(log) = &log {
            if !log_keys.iter().any(|(id, _)| id == log.key_id()) {
                return Err(not_beside(dir, LOG_KEY));
            }
            let earlier = log_keys.into_iter().filter(|(id, _)| id != log.key_id());
            earlier_log_keys.extend(earlier.map(|(_, key)| key));
        }
        Ok(Self {
            model: Arc::new(model),
            stream: Arc::new(stream),
            log: log.map(Arc::new),
            earlier_log_keys,
            masters: Arc::new(masters),
            model_keys,
            stream_keys,
        })
    }

    /// Adds a master key to `dir`, which wraps new data keys from the next [`open`](Self::open) on; gives its id.
    /// Older ones stay, and unwrap what they wrapped.
    ///
    /// # Errors
    /// [`OpenError`] where `dir` holds no keys yet or cannot be written.
    pub fn add_master_key(dir: &Path) -> Result<String, OpenError> {
        files::add_master(dir)
    }

    /// Adds the key that signs the sealed log's checkpoints to `dir`, if it has none: directories that were made before
    /// there was one lack it.
    ///
    /// # Errors
    /// [`OpenError`] where `dir` cannot be written.
    pub(crate) fn add_log_key(dir: &Path) -> Result<(), OpenError> {
        files::add_log_key(dir)
    }

    /// Signs checkpoints of the sealed log: Ed25519. `None` in a directory that was made before there was such a key;
    /// [`EmbeddedStore::open`](crate::EmbeddedStore::open) adds it.
    pub fn log_signer(&self) -> Option<Arc<dyn Signer>> {
        let log = self.log.as_ref()?;
        Some(Arc::clone(log) as Arc<dyn Signer>)
    }

    /// The keys that signed checkpoints before the present one: `log-signing.*.pub.pem`.
    pub fn earlier_log_keys(&self) -> &[audit::PublicKey] {
        &self.earlier_log_keys
    }

    /// Signs models: ECDSA P-256 with SHA-256, DER.
    pub fn model_signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.model) as Arc<dyn Signer>
    }

    /// Registers audit streams: Ed25519.
    pub fn stream_signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.stream) as Arc<dyn Signer>
    }

    /// Makes data keys.
    pub fn wrapper(&self) -> Arc<dyn KeyWrapper> {
        Arc::clone(&self.masters) as Arc<dyn KeyWrapper>
    }

    /// Unwraps data keys, by any of the master keys.
    pub fn unwrapper(&self) -> Arc<dyn KeyUnwrapper> {
        Arc::clone(&self.masters) as Arc<dyn KeyUnwrapper>
    }

    /// Id of the newest master key, for [`KeyWrapper::generate`].
    pub fn master_key_id(&self) -> &str {
        &self.masters.newest
    }

    /// The keys whose signatures under models are accepted.
    pub fn trusted_model_keys(&self) -> Vec<TrustedKey> {
        self.model_keys.clone()
    }

    /// The first of these keys that `other` does not have.
    pub(crate) fn missing_in(&self, other: &Self) -> Option<String> {
        if self.model.key_id() != other.model.key_id() {
            return Some(format!("{MODEL_KEY} key {}", self.model.key_id()));
        }
        if self.stream.key_id() != other.stream.key_id() {
            return Some(format!("{STREAM_KEY} key {}", self.stream.key_id()));
        }
        if let Some(log) = &self.log
            && other.log.as_ref().map(|other| other.key_id()) != Some(log.key_id())
        {
            return Some(format!("{LOG_KEY} key {}", log.key_id()));
        }
        let mut masters = self.masters.keys.keys();
        masters
            .find(|id| !other.masters.keys.contains_key(*id))
            .map(|id| format!("master key {id}"))
    }

    /// The keys that vouch for audit streams, for [`audit::StreamVerifier::new`].
    pub fn trusted_stream_keys(&self) -> Vec<(String, audit::PublicKey)> {
        self.stream_keys.clone()
    }
}

fn open_log_key(dir: &Path) -> Result<Option<Ed25519Signer>, OpenError> {
    let path = private_path(dir, LOG_KEY);
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    Ed25519Signer::from_pem(&files::read_secret(&path)?)
        .map(Some)
        .map_err(|reason| OpenError::malformed(&path, reason))
}

fn private_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pem"))
}

fn public_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pub.pem"))
}

fn not_beside(dir: &Path, name: &str) -> OpenError {
    OpenError::malformed(
        &public_path(dir, name),
        format!("expected the public half of {name}.pem"),
    )
}

#[async_trait]
impl KeyUnwrapper for Masters {
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        context: &KeyContext,
    ) -> Result<DataKey, StoreError> {
        self.get(key_id)?.unwrap(wrapped, context)
    }
}

#[async_trait]
impl KeyWrapper for Masters {
    async fn generate(
        &self,
        key_id: &str,
        context: &KeyContext,
    ) -> Result<(DataKey, Vec<u8>), StoreError> {
        self.get(key_id)?.generate(context)
    }
}

impl Masters {
    fn get(&self, key_id: &str) -> Result<&MasterKey, StoreError> {
        self.keys.get(key_id).ok_or_else(|| {
            let shown: String = key_id.chars().take(80).collect();
            StoreError::NotFound(format!("master key {shown:?}"))
        })
    }
}
