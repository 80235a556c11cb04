use artifact::{ModelName, ModelVersion};
use async_trait::async_trait;

use super::StoreError;

/// The files of a sealed artifact, as bytes; nothing in them is believed before it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFiles {
    /// `manifest.json`.
    pub manifest: Vec<u8>,
    /// `model.onnx.sealed`.
    pub sealed: Vec<u8>,
    /// `model.packed.sealed`, of a model that has a packed form.
    pub packed: Option<Vec<u8>>,
    /// `model.sig`: the signature bundle over those above.
    pub bundle: Vec<u8>,
    /// `key.json`: the wrapped data key.
    pub sidecar: Vec<u8>,
}

/// The files of a sealed artifact that a model is loaded from; nothing in them is believed before it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadableFiles {
    /// `manifest.json`.
    pub manifest: Vec<u8>,
    /// The model.
    pub container: ModelContainer,
    /// `model.sig`.
    pub bundle: Vec<u8>,
    /// `key.json`.
    pub sidecar: Vec<u8>,
}

/// The model in the form that loads fastest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelContainer {
    /// `model.packed.sealed`, where there is one.
    Packed(Vec<u8>),
    /// `model.onnx.sealed`.
    Onnx(Vec<u8>),
}

/// Reads sealed artifacts.
#[async_trait]
pub trait ArtifactReader: Send + Sync {
    /// The files of `name@version`.
    ///
    /// MUST give either all files that the version was created with or an error. A version that was not
    /// created whole MUST be [`StoreError::NotFound`].
    async fn read(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<ArtifactFiles, StoreError>;

    /// As [`ArtifactReader::read`], but of the model its packed form alone, where it was created with one: a cold
    /// start fetches one container.
    ///
    /// MUST NOT read the other container.
    async fn read_loadable(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<LoadableFiles, StoreError>;

    /// All versions of the model that were created whole, ascending; none is an empty list.
    async fn versions(&self, name: &ModelName) -> Result<Vec<ModelVersion>, StoreError>;
}

/// Creates sealed artifacts. Manifest, containers and bundle are write-once.
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
