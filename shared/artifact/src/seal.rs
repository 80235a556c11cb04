//! Sealing: from a manifest and an ONNX file to the files of an artifact.
//!
//! [`seal`] encrypts and gives the bytes to be signed, [`UnsignedArtifact::sign`]
//! takes the signature, and [`SealedArtifact::wrap`] puts the wrapped data key
//! beside them. Key, salt, signature and wrapped key come from outside.

use crate::container::{self, ContainerError, DataKey, Salt};
use crate::context::Context;
use crate::files::{
    ArtifactFiles, CONTAINER_FILE, MANIFEST_FILE, PACKED_FILE, SIDECAR_FILE, SIGNATURE_FILE,
};
use crate::ids::Sha256Digest;
use crate::manifest::{Manifest, ManifestError, ModelFile, PackedFile};
use crate::sidecar::Sidecar;
use crate::signature::{self, PublicKey, SignError};

/// Why an artifact was not sealed.
///
/// Codes: `artifact.model_empty`, `artifact.model_digest_mismatch`, and those
/// of the error inside: `artifact.manifest_…`, `artifact.too_long`,
/// `artifact.signature_unusable`, `artifact.statement_unwritable`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SealError {
    /// The manifest says what it must not.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is no ONNX file to seal.
    #[error("ONNX file: expected at least 1 byte, found none")]
    EmptyModel,
    /// The manifest already names another ONNX file.
    #[error("ONNX file: expected {} bytes with SHA-256 {} as the manifest's model says, found {} bytes with {}",
        .expected.size, .expected.sha256, .found.size, .found.sha256)]
    OtherModel {
        /// What the manifest says.
        expected: ModelFile,
        /// What was given.
        found: ModelFile,
    },
    /// The file is too large for a container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The statement was not made, or the signature does not fit it.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl SealError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Manifest(error) => error.code(),
            Self::EmptyModel => "artifact.model_empty",
            Self::OtherModel { .. } => "artifact.model_digest_mismatch",
            Self::Container(error) => error.code(),
            Self::Sign(error) => error.code(),
        }
    }
}

/// An encrypted model that waits for its signature.
#[derive(Debug, Clone)]
pub struct UnsignedArtifact {
    manifest_json: Vec<u8>,
    sealed: Vec<u8>,
    packed: Option<Vec<u8>>,
    context: Context,
    statement: signature::Unsigned,
}

/// The packed form of the ONNX file, as its engine made it.
#[derive(Debug, Clone, Copy)]
pub struct PackedModel<'a> {
    /// The version of the form.
    pub format: u32,
    /// The plain bytes, at least one.
    pub bytes: &'a [u8],
    /// Random: another one than the ONNX file's.
    pub salt: Salt,
}

/// The context that `manifest`'s data key is generated and wrapped under once it seals `onnx`.
pub fn context_of(manifest: &Manifest, onnx: &[u8]) -> Context {
    Context {
        model: manifest.name.clone(),
        version: manifest.version.clone(),
        sha256: Sha256Digest::of(onnx),
    }
}

/// Encrypts `onnx` under `key` and states what is to be signed. Fills in [`Manifest::model`].
///
/// `salt` must be random, or at least never used before with this key.
///
/// # Errors
/// [`SealError`].
pub fn seal(
    manifest: Manifest,
    onnx: &[u8],
    key: &DataKey,
    salt: &Salt,
) -> Result<UnsignedArtifact, SealError> {
    seal_files(manifest, onnx, None, key, salt)
}

/// As [`seal`], with the packed form of `onnx` in a container of its own, under the same key and signature. Fills in
/// [`Manifest::packed`] too.
///
/// # Errors
/// [`SealError`].
pub fn seal_packed(
    manifest: Manifest,
    onnx: &[u8],
    packed: PackedModel<'_>,
    key: &DataKey,
    salt: &Salt,
) -> Result<UnsignedArtifact, SealError> {
    if packed.bytes.is_empty() {
        return Err(SealError::EmptyModel);
    }
    seal_files(manifest, onnx, Some(packed), key, salt)
}

fn seal_files(
    mut manifest: Manifest,
    onnx: &[u8],
    packed: Option<PackedModel<'_>>,
    key: &DataKey,
    salt: &Salt,
) -> Result<UnsignedArtifact, SealError> {
    if onnx.is_empty() {
        return Err(SealError::EmptyModel);
    }
    let context = context_of(&manifest, onnx);
    let found = ModelFile {
        sha256: context.sha256,
        size: onnx.len() as u64,
    };
    if let Some(expected) = manifest.model.filter(|expected| *expected != found) {
        return Err(SealError::OtherModel { expected, found });
    }
    manifest.model = Some(found);
    manifest.packed = packed.map(|packed| PackedFile {
        format: packed.format,
        sha256: Sha256Digest::of(packed.bytes),
        size: packed.bytes.len() as u64,
    });
    let manifest_json = manifest.to_canonical_json()?;
    let sealed = container::encrypt(key, salt, &context.to_canonical_json(), onnx)?;
    let packed = packed.map(|packed| {
        let own = context.of_file(Sha256Digest::of(packed.bytes));
        container::encrypt(key, &packed.salt, &own.to_canonical_json(), packed.bytes)
    });
    let packed = packed.transpose()?;
    let mut files = vec![
        (MANIFEST_FILE, Sha256Digest::of(&manifest_json)),
        (CONTAINER_FILE, Sha256Digest::of(&sealed)),
    ];
    files.extend(
        packed
            .as_ref()
            .map(|packed| (PACKED_FILE, Sha256Digest::of(packed))),
    );
    let statement = signature::state(
        &format!("{}@{}", context.model, context.version),
        &files,
        &[SIDECAR_FILE, SIGNATURE_FILE],
    )?;
    Ok(UnsignedArtifact {
        manifest_json,
        sealed,
        packed,
        context,
        statement,
    })
}

impl UnsignedArtifact {
    /// What the data key is wrapped under.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The bytes to be signed with ECDSA P-256 over their SHA-256.
    pub fn pae(&self) -> &[u8] {
        self.statement.pae()
    }

    /// SHA-256 of [`UnsignedArtifact::pae`], for a key service that takes a digest.
    pub fn pae_digest(&self) -> Sha256Digest {
        self.statement.pae_digest()
    }

    /// Adds the DER encoded signature over [`UnsignedArtifact::pae`], which is verified under `key` first.
    ///
    /// # Errors
    /// [`SealError::Sign`].
    pub fn sign(self, der_signature: &[u8], key: &PublicKey) -> Result<SealedArtifact, SealError> {
        let Self {
            manifest_json,
            sealed,
            packed,
            context,
            statement,
        } = self;
        let bundle = statement.into_bundle(der_signature, key)?;
        Ok(SealedArtifact {
            manifest_json,
            sealed,
            packed,
            bundle,
            context,
        })
    }
}

/// A signed artifact: its write-once files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedArtifact {
    /// Content of [`MANIFEST_FILE`].
    pub manifest_json: Vec<u8>,
    /// Content of [`CONTAINER_FILE`].
    pub sealed: Vec<u8>,
    /// Content of [`PACKED_FILE`], of a model that has a packed form.
    pub packed: Option<Vec<u8>>,
    /// Content of [`SIGNATURE_FILE`].
    pub bundle: Vec<u8>,
    /// What the data key is wrapped under.
    pub context: Context,
}

impl SealedArtifact {
    /// The files, as [`crate::open::verify`] takes them.
    pub fn files(&self) -> ArtifactFiles<'_> {
        ArtifactFiles {
            manifest_json: &self.manifest_json,
            sealed: Some(&self.sealed),
            packed: self.packed.as_deref(),
            bundle: &self.bundle,
        }
    }

    /// The sidecar: the data key as `key_id` wrapped it under [`SealedArtifact::context`].
    pub fn wrap(&self, key_id: String, wrapped_key: Vec<u8>) -> Sidecar {
        Sidecar {
            context: self.context.clone(),
            key_id,
            wrapped_key,
        }
    }
}
