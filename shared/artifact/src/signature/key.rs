//! Public keys, and how long each is trusted.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

/// Not a list of trusted keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("trusted key {number}: {expected}")]
pub struct TrustedKeysError {
    /// Which key of the list, counting from 1.
    pub number: usize,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// A P-256 public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    der: Vec<u8>,
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
        let der = key.to_public_key_der().ok()?.into_vec();
        let pem = key.to_public_key_pem(LineEnding::LF).ok()?;
        let hint = Sha256Digest::of(pem.as_bytes()).to_string();
        Some(Self {
            key,
            der,
            pem,
            hint,
        })
    }

    /// The key as DER (`SubjectPublicKeyInfo`).
    pub fn to_der(&self) -> &[u8] {
        &self.der
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

    /// Reads a list as settings hold it: keys with a comma between them, each the base64 of its DER form,
    /// followed by the ends of its window where it has any: `MFkw…;from=2026-01-01T00:00:00Z;until=2027-01-01T00:00:00Z`.
    ///
    /// # Errors
    /// [`TrustedKeysError`] with the number of the first key that cannot be read; a list without a key is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, TrustedKeysError> {
        let keys = text.split(',').enumerate();
        keys.map(|(at, key)| {
            Self::parse(key.trim()).map_err(|expected| TrustedKeysError {
                number: at + 1,
                expected,
            })
        })
        .collect()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "expected a P-256 public key as base64 of its DER form (SubjectPublicKeyInfo)";
        let mut parts = text.split(';');
        let der = STANDARD
            .decode(parts.next().unwrap_or_default())
            .map_err(|_| EXPECTED)?;
        let mut key = Self::always(PublicKey::from_der(&der).map_err(|_| EXPECTED)?);
        for part in parts {
            let (end, text) = match part.split_once('=') {
                Some(("from", text)) => (&mut key.not_before, text),
                Some(("until", text)) => (&mut key.not_after, text),
                _ => return Err("expected only from=… and until=… after the key"),
            };
            if end.is_some() {
                return Err("expected from and until once each");
            }
            *end = Some(parse_seconds(text).ok_or(
                "from, until: expected a time in whole seconds and UTC, for example 2026-01-31T00:00:00Z",
            )?);
        }
        if key
            .not_before
            .zip(key.not_after)
            .is_some_and(|(start, end)| start > end)
        {
            return Err("expected from not to be after until");
        }
        Ok(key)
    }

    /// Writes the list that [`parse_list`](Self::parse_list) reads.
    pub fn write_list(keys: &[Self]) -> String {
        let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
        texts.join(",")
    }

    /// True if the key is trusted at `now` (Unix seconds); both ends belong to the window.
    pub fn is_valid_at(&self, now: u64) -> bool {
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| now <= end)
    }
}

impl fmt::Display for TrustedKey {
    /// One key of the list that [`TrustedKey::parse_list`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.key.to_der()))?;
        for (name, end) in [("from", self.not_before), ("until", self.not_after)] {
            if let Some(seconds) = end {
                // The last moment that has four digits for its year.
                let shown = Duration::from_secs(seconds.min(253_402_300_799));
                let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + shown);
                write!(f, ";{name}={time}")?;
            }
        }
        Ok(())
    }
}

fn parse_seconds(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    (since.subsec_nanos() == 0).then_some(since.as_secs())
}
