use artifact::{ModelName, ModelVersion};
use async_trait::async_trait;

use super::StoreError;

/// The four files of a sealed artifact, as bytes; nothing in them is believed before it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFiles {
    /// `manifest.json`.
    pub manifest: Vec<u8>,
    /// `model.onnx.sealed`.
    pub sealed: Vec<u8>,
    /// `model.sig`: the signature bundle over the two above.
    pub bundle: Vec<u8>,
    /// `key.json`: the wrapped data key.
    pub sidecar: Vec<u8>,
}

/// Reads sealed artifacts.
#[async_trait]
pub trait ArtifactReader: Send + Sync {
    /// The files of `name@version`.
    ///
    /// MUST give either all four files or an error. A version that was not
    /// created whole MUST be [`StoreError::NotFound`].
    async fn read(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<ArtifactFiles, StoreError>;

    /// All versions of the model that were created whole, ascending; none is an empty list.
    async fn versions(&self, name: &ModelName) -> Result<Vec<ModelVersion>, StoreError>;
}

/// Creates sealed artifacts. Manifest, container and bundle are write-once.
#[async_trait]
pub trait ArtifactWriter: Send + Sync {
    /// Creates `name@version`.
    ///
    /// MUST be all or nothing for readers. The same files a second time MUST be
    /// a success, so that a lost reply can be retried; other files under a
    /// version that exists MUST be [`StoreError::Conflict`] and change nothing.
    async fn create(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        files: &ArtifactFiles,
    ) -> Result<(), StoreError>;

    /// Replaces the sidecar (a data key that was wrapped anew) and nothing else.
    ///
    /// MUST be atomic for readers; [`StoreError::NotFound`] where the version does not exist.
    async fn replace_sidecar(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        sidecar: &[u8],
    ) -> Result<(), StoreError>;
}
