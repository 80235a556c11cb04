//! Opening: the one order in which an artifact's files become a model.
//!
//! [`verify`] checks the signature, the files' digests, the manifest and the
//! model's identity; only what it returns can be opened. The caller then has
//! the data key unwrapped under [`Verified::context`], and [`Verified::open`]
//! checks the key commitment, decrypts while hashing and compares, before it
//! gives out a byte. Every error is a security event: nothing of that artifact
//! may be served.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::container::{self, ContainerError, DataKey};
use crate::context::Context;
use crate::files::{ArtifactFiles, CONTAINER_FILE, MANIFEST_FILE, PACKED_FILE};
use crate::ids::{ModelName, ModelVersion, Sha256Digest};
use crate::manifest::{Manifest, ManifestError, ModelFile, PackedFile};
use crate::sidecar::{Sidecar, SidecarError};
use crate::signature::{self, SignatureError, Statement, TrustedKey};

/// Why an artifact was not opened.
///
/// [`OpenError::code`] gives, in the order of the checks:
///
/// | Code | Fact |
/// |---|---|
/// | `artifact.signature_malformed` | the bundle is not a Sigstore bundle of the expected form |
/// | `artifact.payload_type` | the envelope holds something else than an in-toto statement |
/// | `artifact.key_unknown` | signed by a key that is not trusted |
/// | `artifact.key_outside_validity` | signed by a key that is trusted at another time |
/// | `artifact.signature_invalid` | the signature does not verify |
/// | `artifact.predicate` | a valid statement about something else |
/// | `artifact.statement_malformed` | the signed statement contradicts itself |
/// | `artifact.files_mismatch` | the statement is about other files |
/// | `artifact.file_missing` | a file that was signed is not there |
/// | `artifact.digest_mismatch` | a file is not the one that was signed |
/// | `artifact.manifest_malformed` | the manifest is not JSON of its form |
/// | `artifact.manifest_format_unknown` | the manifest has another version's form |
/// | `artifact.manifest_invalid` | the manifest says what it must not |
/// | `artifact.manifest_unsealed` | the manifest names no ONNX file |
/// | `artifact.wrong_model` | a whole artifact of another model or version |
/// | `artifact.sidecar_malformed` | the sidecar is not JSON of its form |
/// | `artifact.sidecar_format_unknown` | the sidecar has another version's form |
/// | `artifact.sidecar_mismatch` | the sidecar is another model's |
/// | `artifact.key_length` | the data key is not 32 bytes |
/// | `artifact.too_short`, `artifact.truncated`, `artifact.impossible_length`, `artifact.too_long` | no container has this length |
/// | `artifact.commitment_mismatch` | the data key or the context is not this container's |
/// | `artifact.chunk_unauthentic` | a chunk was changed, moved or cut |
/// | `artifact.chunk_out_of_range` | a chunk was asked for that the container does not have |
/// | `artifact.model_digest_mismatch` | the ONNX file inside is not the one that the manifest names |
/// | `artifact.packed_digest_mismatch` | the packed form inside is not the one that the manifest names |
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// The bundle does not vouch for the files.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The statement is about other files than those of an artifact.
    #[error(
        "signed files: expected [\"manifest.json\", \"model.onnx.sealed\"], with \"model.packed.sealed\" where the manifest names a packed form, found {found:?}"
    )]
    FilesMismatch {
        /// The files that were signed, at most 8 of them.
        found: Vec<String>,
    },
    /// A file that was signed is not there.
    #[error("{file}: expected the file that was signed, found none")]
    FileMissing {
        /// The file's name.
        file: &'static str,
    },
    /// A file is not the one that was signed.
    #[error("{file}: expected SHA-256 {expected} as signed, found {found}")]
    DigestMismatch {
        /// The file's name.
        file: &'static str,
        /// The digest that was signed.
        expected: Sha256Digest,
        /// The digest of the bytes that were given.
        found: Sha256Digest,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest names no ONNX file.
    #[error(
        "manifest: model: expected the digest and size of the ONNX file, which sealing fills in, found none"
    )]
    Unsealed,
    /// A whole artifact of another model or version in this one's place.
    #[error("artifact: expected {expected}, found {found}")]
    WrongModel {
        /// `name@version` that was asked for.
        expected: String,
        /// `name@version` of the manifest.
        found: String,
    },
    /// The sidecar cannot be read.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    /// The sidecar is another model's.
    #[error("sidecar {field}: expected {expected}, found {found}")]
    SidecarMismatch {
        /// The field that differs: `model`, `version` or `sha256`.
        field: &'static str,
        /// What the manifest says.
        expected: String,
        /// What the sidecar says.
        found: String,
    },
    /// The container does not open.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The ONNX file inside is not the one that the manifest names.
    #[error("ONNX file: expected {} bytes with SHA-256 {}, found {} bytes with {}",
        .expected.size, .expected.sha256, .found.size, .found.sha256)]
    ModelMismatch {
        /// What the manifest says.
        expected: ModelFile,
        /// What the container holds.
        found: ModelFile,
    },
    /// The packed form inside is not the one that the manifest names.
    #[error("packed form: expected {} bytes with SHA-256 {}, found {} bytes with {}",
        .expected.size, .expected.sha256, .found.size, .found.sha256)]
    PackedMismatch {
        /// What the manifest says.
        expected: PackedFile,
        /// What the container holds.
        found: ModelFile,
    },
}

impl OpenError {
    /// The stable code of this error; the type's documentation lists them.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signature(error) => error.code(),
            Self::FilesMismatch { .. } => "artifact.files_mismatch",
            Self::FileMissing { .. } => "artifact.file_missing",
            Self::DigestMismatch { .. } => "artifact.digest_mismatch",
            Self::Manifest(error) => error.code(),
            Self::Unsealed => "artifact.manifest_unsealed",
            Self::WrongModel { .. } => "artifact.wrong_model",
            Self::Sidecar(error) => error.code(),
            Self::SidecarMismatch { .. } => "artifact.sidecar_mismatch",
            Self::Container(error) => error.code(),
            Self::ModelMismatch { .. } => "artifact.model_digest_mismatch",
            Self::PackedMismatch { .. } => "artifact.packed_digest_mismatch",
        }
    }
}

/// Verifies that `files` are the artifact of the expected model, signed by a key that is trusted at `now`
/// (Unix seconds). Nothing is decrypted.
///
/// # Errors
/// [`OpenError`], in the order of its codes.
pub fn verify<'a>(
    files: ArtifactFiles<'a>,
    expected: &(ModelName, ModelVersion),
    trusted: &[TrustedKey],
    now: u64,
) -> Result<Verified<'a>, OpenError> {
    let statement = signature::verify(files.bundle, trusted, now)?;
    compare_digests(&statement, files)?;
    let manifest = Manifest::from_json(files.manifest_json)?;
    if manifest.packed.is_some() != (statement.resources.len() == 3) {
        return Err(other_files(&statement));
    }
    let model = manifest.model.ok_or(OpenError::Unsealed)?;
    let (name, version) = expected;
    if (&manifest.name, &manifest.version) != (name, version) {
        return Err(OpenError::WrongModel {
            expected: format!("{name}@{version}"),
            found: format!("{}@{}", manifest.name, manifest.version),
        });
    }
    let context = Context {
        model: name.clone(),
        version: version.clone(),
        sha256: model.sha256,
    };
    Ok(Verified {
        manifest,
        model,
        context,
        statement,
        sealed: files.sealed,
        packed: files.packed,
    })
}

fn compare_digests(statement: &Statement, files: ArtifactFiles<'_>) -> Result<(), OpenError> {
    let names: Vec<&str> = statement
        .resources
        .iter()
        .map(|resource| resource.name.as_str())
        .collect();
    let is_known = names == [MANIFEST_FILE, CONTAINER_FILE]
        || names == [MANIFEST_FILE, CONTAINER_FILE, PACKED_FILE];
    if !is_known || files.packed.is_some() && names.len() < 3 {
        return Err(other_files(statement));
    }
    let given = [
        (MANIFEST_FILE, Some(files.manifest_json)),
        (CONTAINER_FILE, files.sealed),
        (PACKED_FILE, files.packed),
    ];
    for (resource, (file, bytes)) in statement.resources.iter().zip(given) {
        let Some(bytes) = bytes else {
            // Whoever loads the packed form need not fetch the ONNX file.
            if file == CONTAINER_FILE && files.packed.is_some() {
                continue;
            }
            return Err(OpenError::FileMissing { file });
        };
        let found = Sha256Digest::of(bytes);
        if found != resource.digest {
            return Err(OpenError::DigestMismatch {
                file,
                expected: resource.digest,
                found,
            });
        }
    }
    Ok(())
}

fn other_files(statement: &Statement) -> OpenError {
    let found = statement
        .resources
        .iter()
        .take(8)
        .map(|resource| resource.name.clone())
        .collect();
    OpenError::FilesMismatch { found }
}

/// An artifact whose signature, files and identity are right, not yet decrypted.
#[derive(Debug, Clone)]
pub struct Verified<'a> {
    manifest: Manifest,
    model: ModelFile,
    context: Context,
    statement: Statement,
    sealed: Option<&'a [u8]>,
    packed: Option<&'a [u8]>,
}

/// An opened artifact.
pub struct Opened {
    /// What the model is.
    pub manifest: Manifest,
    /// The plain ONNX file; zeroised when dropped.
    pub onnx: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

impl Verified<'_> {
    /// What the model is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the data key must be unwrapped under.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// One digest of the signed files, by which a release pins this artifact.
    pub fn digest(&self) -> Sha256Digest {
        self.statement.digest
    }

    /// Hint of the key that signed.
    pub fn signed_by(&self) -> &str {
        &self.statement.signed_by
    }

    /// Refuses the sidecar of another model, before any key service is asked.
    ///
    /// # Errors
    /// [`OpenError::SidecarMismatch`], with the first field that differs.
    pub fn check_sidecar(&self, sidecar: &Sidecar) -> Result<(), OpenError> {
        let (ours, theirs) = (&self.context, &sidecar.context);
        for (field, expected, found) in [
            ("model", ours.model.to_string(), theirs.model.to_string()),
            (
                "version",
                ours.version.to_string(),
                theirs.version.to_string(),
            ),
            ("sha256", ours.sha256.to_string(), theirs.sha256.to_string()),
        ] {
            if expected != found {
                return Err(OpenError::SidecarMismatch {
                    field,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Decrypts the ONNX file under the unwrapped data key.
    ///
    /// Order: length and key commitment, then every chunk while hashing, then
    /// size and digest against the manifest. Nothing is given out before the end.
    ///
    /// # Errors
    /// [`OpenError::FileMissing`] where its container was not given, [`OpenError::Container`] and
    /// [`OpenError::ModelMismatch`].
    pub fn open(&self, key: &DataKey) -> Result<Opened, OpenError> {
        let file = CONTAINER_FILE;
        let sealed = self.sealed.ok_or(OpenError::FileMissing { file })?;
        let (onnx, found) = decrypt(key, &self.context, sealed)?;
        if found != self.model {
            return Err(OpenError::ModelMismatch {
                expected: self.model,
                found,
            });
        }
        Ok(Opened {
            manifest: self.manifest.clone(),
            onnx,
        })
    }

    /// Decrypts the packed form under the unwrapped data key, in the order of [`Verified::open`]; zeroised when
    /// dropped.
    ///
    /// # Errors
    /// [`OpenError::FileMissing`] where there is none, [`OpenError::Container`] and [`OpenError::PackedMismatch`].
    pub fn open_packed(&self, key: &DataKey) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let missing = OpenError::FileMissing { file: PACKED_FILE };
        let (Some(sealed), Some(expected)) = (self.packed, self.manifest.packed) else {
            return Err(missing);
        };
        let context = self.context.of_file(expected.sha256);
        let (packed, found) = decrypt(key, &context, sealed)?;
        if (found.sha256, found.size) != (expected.sha256, expected.size) {
            return Err(OpenError::PackedMismatch { expected, found });
        }
        Ok(packed)
    }
}

/// Decrypts a container, and says what it holds.
fn decrypt(
    key: &DataKey,
    context: &Context,
    sealed: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, ModelFile), OpenError> {
    let mut hash = Sha256::new();
    let plain = container::decrypt_watched(key, &context.to_canonical_json(), sealed, |chunk| {
        hash.update(chunk);
    })?;
    let found = ModelFile {
        sha256: Sha256Digest(hash.finalize().into()),
        size: plain.len() as u64,
    };
    Ok((plain, found))
}

#[cfg(test)]
mod tests {
    /// Everything that stands in `source` as a code of ours, in these quotes.
    fn codes_in(source: &str, quote: char) -> Vec<&str> {
        let pieces = source.split(quote);
        pieces
            .filter(|piece| piece.starts_with("artifact.") && !piece.contains(char::is_whitespace))
            .collect()
    }

    #[test]
    fn the_table_lists_exactly_the_codes_of_the_errors_inside() {
        let own = include_str!("open.rs");
        let (table, code) = own.split_once("pub enum OpenError").unwrap();
        let (code, _) = code.split_once("#[cfg(test)]").unwrap();
        let signature = include_str!("signature.rs")
            .split_once("impl SignatureError")
            .unwrap()
            .1;
        let mut returned: Vec<&str> = [
            code,
            signature,
            include_str!("container/error.rs"),
            include_str!("manifest/parse.rs"),
            include_str!("sidecar.rs")
                .split_once("#[cfg(test)]")
                .unwrap()
                .0,
        ]
        .into_iter()
        .flat_map(|source| codes_in(source, '"'))
        .collect();
        let mut listed = codes_in(table, '`');
        returned.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, returned);
        assert_eq!(listed.len(), 28);
    }
}
