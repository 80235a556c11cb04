//! Signatures over an artifact's files: the Open Source Security Foundation's
//! Model Signing 1.0, method `key`, with ECDSA P-256 and SHA-256.
//!
//! A Sigstore bundle holds a DSSE envelope, which holds an in-toto Statement
//! v1 with the predicate `https://model_signing/signature/v1.0`: the files'
//! names and SHA-256 digests. The foundation's own tool (`model_signing verify
//! key`) verifies what is made here, and the other way round.
//!
//! Signing has two steps, so that the private key can stay in a key service:
//! [`state`] gives the bytes to be signed, [`Unsigned::into_bundle`] takes the signature.
//!
//! Sources: <https://github.com/ossf/model-signing-spec>,
//! <https://github.com/secure-systems-lab/dsse>, <https://in-toto.io/Statement/v1>.

mod bundle;
mod key;
mod statement;

pub use bundle::MAX_BUNDLE_SIZE;
pub use key::{PublicKey, PublicKeyError, TrustedKey, TrustedKeysError};
pub use statement::{Resource, Statement};

use p256::ecdsa::Signature;
use p256::ecdsa::signature::Verifier as _;

use crate::ids::Sha256Digest;
use crate::json::JsonError;

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No file, or a name that is not a plain relative path, or stands there twice.
    #[error(
        "file {name:?}: expected at least one file, each a relative path with '/' between names, each once"
    )]
    FileName {
        /// The name that was refused; empty where there was no file.
        name: String,
    },
    /// Not a DER encoded ECDSA P-256 signature.
    #[error("signature: expected ECDSA P-256 in DER")]
    NotDer,
    /// The signature is not that of this key over these bytes.
    #[error("signature is not that of public key {hint} over the statement")]
    OtherKey {
        /// The public key's hint.
        hint: String,
    },
    /// The statement could not be written as JSON.
    #[error("statement: {0}")]
    Json(JsonError),
}

impl SignError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FileName { .. } => "artifact.file_name",
            Self::NotDer | Self::OtherKey { .. } => "artifact.signature_unusable",
            Self::Json(_) => "artifact.statement_unwritable",
        }
    }
}

/// Why a bundle does not vouch for anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a Sigstore bundle of the expected form.
    #[error("signature bundle: {0}")]
    Json(#[from] JsonError),
    /// A field with another content than this form has.
    #[error("signature bundle: {field}: expected {expected}")]
    Malformed {
        /// Path of the field.
        field: &'static str,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// The envelope holds something else than an in-toto statement.
    #[error("signature payload type {found:?}: expected \"application/vnd.in-toto+json\"")]
    PayloadType {
        /// The type that was found, cut to 80 characters.
        found: String,
    },
    /// Signed by a key that is not trusted.
    #[error("signing key {hint:?} is not one of the trusted keys")]
    UnknownKey {
        /// The hint in the bundle, cut to 80 characters.
        hint: String,
    },
    /// Signed by a key that is trusted at another time.
    #[error(
        "signing key {hint} is trusted only from {not_before:?} to {not_after:?} (Unix seconds), now is {now}"
    )]
    KeyOutsideValidity {
        /// The key's hint.
        hint: String,
        /// Start of the window, in Unix seconds.
        not_before: Option<u64>,
        /// End of the window, in Unix seconds.
        not_after: Option<u64>,
        /// The time that was asked about, in Unix seconds.
        now: u64,
    },
    /// The key did not sign these bytes.
    #[error("signature does not verify under key {hint}")]
    Invalid {
        /// The key's hint.
        hint: String,
    },
    /// A valid statement about something else.
    #[error("statement predicate {found:?}: expected \"https://model_signing/signature/v1.0\"")]
    Predicate {
        /// The predicate type that was found, cut to 80 characters.
        found: String,
    },
    /// The statement is not of the form that the predicate has, or contradicts itself.
    #[error("signed statement: {field}: expected {expected}")]
    Statement {
        /// Path of the field.
        field: String,
        /// What would have been accepted.
        expected: String,
    },
}

impl SignatureError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Malformed { .. } => "artifact.signature_malformed",
            Self::PayloadType { .. } => "artifact.payload_type",
            Self::UnknownKey { .. } => "artifact.key_unknown",
            Self::KeyOutsideValidity { .. } => "artifact.key_outside_validity",
            Self::Invalid { .. } => "artifact.signature_invalid",
            Self::Predicate { .. } => "artifact.predicate",
            Self::Statement { .. } => "artifact.statement_malformed",
        }
    }
}

/// A statement that waits for its signature.
#[derive(Debug, Clone)]
pub struct Unsigned {
    payload: Vec<u8>,
    pae: Vec<u8>,
}

/// States that the files of `subject` have these digests. `ignored` are paths beside them that a verifier of the
/// whole folder leaves out, such as the bundle itself.
///
/// # Errors
/// [`SignError::FileName`].
pub fn state(
    subject: &str,
    files: &[(&str, Sha256Digest)],
    ignored: &[&str],
) -> Result<Unsigned, SignError> {
    let payload = statement::write(subject, files, ignored)?;
    let pae = bundle::pae(bundle::PAYLOAD_TYPE, &payload);
    Ok(Unsigned { payload, pae })
}

impl Unsigned {
    /// The bytes to be signed with ECDSA P-256 over their SHA-256 (DSSE's pre-authentication encoding).
    pub fn pae(&self) -> &[u8] {
        &self.pae
    }

    /// SHA-256 of [`Unsigned::pae`], for a key service that takes a digest.
    pub fn pae_digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.pae)
    }

    /// Makes the bundle from the DER encoded signature over [`Unsigned::pae`], which is verified first.
    ///
    /// # Errors
    /// [`SignError::NotDer`], or [`SignError::OtherKey`] where `key` is not the one that signed.
    pub fn into_bundle(self, der_signature: &[u8], key: &PublicKey) -> Result<Vec<u8>, SignError> {
        let signature = Signature::from_der(der_signature).map_err(|_| SignError::NotDer)?;
        key.verifying_key()
            .verify(&self.pae, &signature)
            .map_err(|_| SignError::OtherKey {
                hint: key.hint().to_owned(),
            })?;
        bundle::write(&self.payload, der_signature, key.hint()).map_err(SignError::Json)
    }
}

/// Verifies a bundle against the trusted keys at `now` (Unix seconds) and reads its statement.
///
/// Order: size and form, payload type, key, its validity, signature, and only then the statement itself.
///
/// # Errors
/// [`SignatureError`].
pub fn verify(
    bundle: &[u8],
    trusted: &[TrustedKey],
    now: u64,
) -> Result<Statement, SignatureError> {
    let envelope = bundle::read(bundle)?;
    let hint = envelope.hint;
    let mut candidates = trusted
        .iter()
        .filter(|trusted| trusted.key.hint() == hint)
        .peekable();
    let Some(first) = candidates.peek().copied() else {
        return Err(SignatureError::UnknownKey {
            hint: hint.chars().take(80).collect(),
        });
    };
    let Some(trusted) = candidates.find(|trusted| trusted.is_valid_at(now)) else {
        let (not_before, not_after) = (first.not_before, first.not_after);
        return Err(SignatureError::KeyOutsideValidity {
            hint,
            not_before,
            not_after,
            now,
        });
    };
    let pae = bundle::pae(bundle::PAYLOAD_TYPE, &envelope.payload);
    if trusted
        .key
        .verifying_key()
        .verify(&pae, &envelope.signature)
        .is_err()
    {
        return Err(SignatureError::Invalid { hint });
    }
    statement::read(&envelope.payload, hint)
}

#[cfg(test)]
mod tests;
