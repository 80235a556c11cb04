//! The sidecar: the wrapped data key beside a container.
//!
//! It is not signed, because re-wrapping the data key (rotation of the key
//! service's key) rewrites it and nothing else. It needs no signature: a
//! wrapped key unwraps only under its context, and a container opens only
//! under the key that it commits to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::ids::{ModelName, ModelVersion, Sha256Digest};
use crate::json::{self, JsonError};

/// Largest sidecar that is read, in bytes.
pub const MAX_SIDECAR_SIZE: usize = 32 * 1024;

const MAX_KEY_ID_LEN: usize = 2048;
const MAX_WRAPPED_KEY_SIZE: usize = 16 * 1024;

/// The version tag of the sidecar's own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum SidecarFormat {
    #[serde(rename = "sealcast.sidecar/v1")]
    V1,
}

/// A wrapped data key, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// The context that the key was wrapped under.
    pub context: Context,
    /// Which key wrapped it, as the key service names it.
    pub key_id: String,
    /// The wrapped data key, opaque.
    pub wrapped_key: Vec<u8>,
}

/// The sidecar as it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: SidecarFormat,
    model: ModelName,
    version: ModelVersion,
    sha256: Sha256Digest,
    key_id: String,
    wrapped_key: String,
}

/// A version tag alone, read first: another version's fields are not ours to judge.
#[derive(Deserialize)]
struct Tagged {
    format: String,
}

/// Why bytes are not a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SidecarError {
    /// Not the expected JSON.
    #[error("sidecar: {0}")]
    Json(#[from] JsonError),
    /// Another version of the form.
    #[error("sidecar format {found:?}: expected \"sealcast.sidecar/v1\"")]
    UnknownFormat {
        /// The tag that was found, cut to 80 characters.
        found: String,
    },
    /// `key_id` is blank, too long or holds control characters.
    #[error(
        "sidecar key_id: expected 1 to 2,048 characters, not blank, without control characters"
    )]
    KeyId,
    /// `wrapped_key` is not base64, empty or too long.
    #[error("sidecar wrapped_key: expected 1 to 16,384 bytes in padded standard base64")]
    WrappedKey,
}

impl SidecarError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownFormat { .. } => "artifact.sidecar_format_unknown",
            Self::Json(_) | Self::KeyId | Self::WrappedKey => "artifact.sidecar_malformed",
        }
    }
}

impl Sidecar {
    /// Reads a sidecar.
    ///
    /// # Errors
    /// [`SidecarError`], which names the field.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SidecarError> {
        let Tagged { format } = json::read(bytes, MAX_SIDECAR_SIZE)?;
        if serde_json::from_value::<SidecarFormat>(format.as_str().into()).is_err() {
            return Err(SidecarError::UnknownFormat {
                found: format.chars().take(80).collect(),
            });
        }
        let stored: Stored = json::read(bytes, MAX_SIDECAR_SIZE)?;
        let sidecar = Self {
            context: Context {
                model: stored.model,
                version: stored.version,
                sha256: stored.sha256,
            },
            key_id: stored.key_id,
            wrapped_key: STANDARD
                .decode(stored.wrapped_key)
                .map_err(|_| SidecarError::WrappedKey)?,
        };
        sidecar.check()?;
        Ok(sidecar)
    }

    /// The sidecar as a file: canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// [`SidecarError`] where a field could not be read back.
    pub fn to_json(&self) -> Result<Vec<u8>, SidecarError> {
        self.check()?;
        let stored = Stored {
            format: SidecarFormat::V1,
            model: self.context.model.clone(),
            version: self.context.version.clone(),
            sha256: self.context.sha256,
            key_id: self.key_id.clone(),
            wrapped_key: STANDARD.encode(&self.wrapped_key),
        };
        serde_json_canonicalizer::to_vec(&stored).map_err(|error| {
            JsonError::Malformed {
                path: ".".to_owned(),
                reason: error.to_string(),
            }
            .into()
        })
    }

    fn check(&self) -> Result<(), SidecarError> {
        if self.key_id.trim().is_empty()
            || self.key_id.len() > MAX_KEY_ID_LEN
            || self.key_id.contains(char::is_control)
        {
            return Err(SidecarError::KeyId);
        }
        if !(1..=MAX_WRAPPED_KEY_SIZE).contains(&self.wrapped_key.len()) {
            return Err(SidecarError::WrappedKey);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sidecar {
        Sidecar {
            context: Context {
                model: ModelName::parse("m").unwrap(),
                version: ModelVersion::parse("1.0.0").unwrap(),
                sha256: Sha256Digest::of(b"onnx"),
            },
            key_id: "alias/model-key".to_owned(),
            wrapped_key: vec![1, 2, 3, 255],
        }
    }

    fn changed(from: &str, to: &str) -> Result<Sidecar, SidecarError> {
        let text = String::from_utf8(sample().to_json().unwrap()).unwrap();
        assert!(text.contains(from), "{from} does not stand in {text}");
        Sidecar::from_json(text.replace(from, to).as_bytes())
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(
            Sidecar::from_json(&sample().to_json().unwrap()),
            Ok(sample())
        );
    }

    #[test]
    fn another_version_has_its_own_error_whatever_its_fields() {
        let expected = SidecarError::UnknownFormat {
            found: "sealcast.sidecar/v2".to_owned(),
        };
        assert_eq!(
            Sidecar::from_json(br#"{"format":"sealcast.sidecar/v2","keys":[]}"#),
            Err(expected.clone())
        );
        assert_eq!(changed("sidecar/v1", "sidecar/v2"), Err(expected));
    }

    #[test]
    fn an_unknown_or_wrong_field_is_named() {
        let error = changed("\"key_id\"", "\"keyid\"").unwrap_err();
        assert!(
            error.to_string().contains("unknown field `keyid`"),
            "{error}"
        );
        let error = changed("1.0.0", "1").unwrap_err();
        assert!(
            error.to_string().starts_with("sidecar: version: "),
            "{error}"
        );
        assert_eq!(error.code(), "artifact.sidecar_malformed");
    }

    #[test]
    fn a_key_id_is_text_on_one_line() {
        for bad in ["", "  ", "a\\nb"] {
            assert_eq!(
                changed("alias/model-key", bad),
                Err(SidecarError::KeyId),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(
            changed("AQID/w==", "AQID/x=="),
            Err(SidecarError::WrappedKey)
        );
        assert_eq!(
            changed("AQID/w==", "AQID_w=="),
            Err(SidecarError::WrappedKey)
        );
        assert_eq!(changed("AQID/w==", "AQID/w"), Err(SidecarError::WrappedKey));
        assert_eq!(changed("AQID/w==", ""), Err(SidecarError::WrappedKey));
    }

    #[test]
    fn a_sidecar_over_the_limit_is_refused() {
        let bytes = vec![b' '; MAX_SIDECAR_SIZE + 1];
        assert!(matches!(
            Sidecar::from_json(&bytes),
            Err(SidecarError::Json(JsonError::TooLarge { .. }))
        ));
    }
}
