//! Public keys, and how long each is trusted.

use std::fmt;

use p256::ecdsa::VerifyingKey;
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _, LineEnding};

use crate::ids::Sha256Digest;

/// Not a P-256 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("public key: expected P-256 as SubjectPublicKeyInfo in {encoding}")]
pub struct PublicKeyError {
    /// The encoding that was expected: `PEM` or `DER`.
    pub encoding: &'static str,
}

/// A P-256 public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    pem: String,
    hint: String,
}

impl PublicKey {
    /// Reads a `-----BEGIN PUBLIC KEY-----` block.
    ///
    /// # Errors
    /// [`PublicKeyError`] for anything but a P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, PublicKeyError> {
        let error = PublicKeyError { encoding: "PEM" };
        Self::new(VerifyingKey::from_public_key_pem(pem).map_err(|_| error)?).ok_or(error)
    }

    /// Reads DER, the form in which a key service gives its public keys.
    ///
    /// # Errors
    /// [`PublicKeyError`] for anything but a P-256 key.
    pub fn from_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        let error = PublicKeyError { encoding: "DER" };
        Self::new(VerifyingKey::from_public_key_der(der).map_err(|_| error)?).ok_or(error)
    }

    fn new(key: VerifyingKey) -> Option<Self> {
        let pem = key.to_public_key_pem(LineEnding::LF).ok()?;
        let hint = Sha256Digest::of(pem.as_bytes()).to_string();
        Some(Self { key, pem, hint })
    }

    /// The key as PEM, in the one form that [`PublicKey::hint`] is the digest of.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// How a bundle names the key: SHA-256 of the PEM form, as hexadecimal digits.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    pub(super) fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.hint)
    }
}

/// A public key that is trusted, always or for a time.
///
/// Keys are kept after their replacement, so that what they signed still
/// opens; the window ends that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// First moment at which the key is trusted, in Unix seconds.
    pub not_before: Option<u64>,
    /// Last moment at which the key is trusted, in Unix seconds.
    pub not_after: Option<u64>,
}

impl TrustedKey {
    /// A key that is trusted at any time.
    pub fn always(key: PublicKey) -> Self {
        Self {
            key,
            not_before: None,
            not_after: None,
        }
    }

    /// True if the key is trusted at `now` (Unix seconds); both ends belong to the window.
    pub fn is_valid_at(&self, now: u64) -> bool {
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| now <= end)
    }
}
