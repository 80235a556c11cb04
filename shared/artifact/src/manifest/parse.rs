//! The manifest as bytes: reading, with all faults at once, and the canonical form.

use serde::Deserialize;

use super::{Manifest, ManifestFault, ManifestFormat};
use crate::json::{self, JsonError};

/// Largest manifest that is read: 1 MiB, in bytes.
pub const MAX_MANIFEST_SIZE: usize = 1024 * 1024;

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// Not the expected JSON.
    #[error("manifest: {0}")]
    Json(#[from] JsonError),
    /// Another version of the form.
    #[error("manifest format {found:?}: expected \"sealcast.manifest/v1\"")]
    UnknownFormat {
        /// The tag that was found, cut to 80 characters.
        found: String,
    },
    /// The form is right, what it says is not. Holds every fault.
    #[error("manifest: {}", join(.0))]
    Invalid(Vec<ManifestFault>),
}

impl ManifestError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "artifact.manifest_malformed",
            Self::UnknownFormat { .. } => "artifact.manifest_format_unknown",
            Self::Invalid(_) => "artifact.manifest_invalid",
        }
    }
}

fn join(faults: &[ManifestFault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// A version tag alone, read first: another version's fields are not ours to judge.
#[derive(Deserialize)]
struct Tagged {
    format: String,
}

impl Manifest {
    /// Reads a manifest and validates it.
    ///
    /// # Errors
    /// [`ManifestError`]: over 1 MiB, not JSON of this form (with the field's path), another version of the form,
    /// or every fault that [`Manifest::validate`] finds.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        let Tagged { format } = json::read(bytes, MAX_MANIFEST_SIZE)?;
        if serde_json::from_value::<ManifestFormat>(format.as_str().into()).is_err() {
            return Err(ManifestError::UnknownFormat {
                found: format.chars().take(80).collect(),
            });
        }
        let manifest: Self = json::read(bytes, MAX_MANIFEST_SIZE)?;
        manifest.validate().map_err(ManifestError::Invalid)?;
        Ok(manifest)
    }

    /// The manifest in the canonical form of RFC 8785, which is what is signed.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`] for a manifest that [`Manifest::validate`] refuses, and [`ManifestError::Json`]
    /// where the result would be too large to read back.
    pub fn to_canonical_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.validate().map_err(ManifestError::Invalid)?;
        let bytes =
            serde_json_canonicalizer::to_vec(self).map_err(|error| JsonError::Malformed {
                path: ".".to_owned(),
                reason: error.to_string(),
            })?;
        if bytes.len() > MAX_MANIFEST_SIZE {
            return Err(JsonError::TooLarge {
                size: bytes.len(),
                limit: MAX_MANIFEST_SIZE,
            }
            .into());
        }
        Ok(bytes)
    }
}
