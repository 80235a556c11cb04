//! The keys that a sealer trusts and signs with.

use std::sync::Arc;

use audit::PublicKey;
use audit::note::{KeyName, VerifierKey};
use domain::ports::Signer;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The origin is no name of a key.
    #[error("the origin {0:?} is no name of a key: expected text without spaces and plus signs")]
    Origin(String),
    /// Not an Ed25519 public key.
    #[error("key {id}: expected an Ed25519 public key (SPKI): {reason}")]
    NotEd25519 {
        /// Which.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// A list of keys of another form.
    #[error("{found:?} is no trusted key: expected key-id=base64 of its SPKI")]
    Form {
        /// The part at fault.
        found: String,
    },
}

/// Who may vouch for streams.
#[derive(Clone)]
pub enum StreamKeys {
    /// These keys: (key id, raw Ed25519 public key).
    Given(Vec<(String, PublicKey)>),
    /// These keepers' keys.
    Of(Vec<Arc<dyn Signer>>),
}

impl std::fmt::Debug for StreamKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(keys) => f.debug_tuple("Given").field(keys).finish(),
            Self::Of(signers) => {
                let ids: Vec<&str> = signers.iter().map(|signer| signer.key_id()).collect();
                f.debug_tuple("Of").field(&ids).finish()
            }
        }
    }
}

fn not_ed25519(id: &str) -> impl Fn(String) -> KeyError + '_ {
    move |reason| KeyError::NotEd25519 {
        id: id.to_owned(),
        reason,
    }
}

/// The raw key of a public key in PEM (SPKI).
///
/// # Errors
/// [`KeyError::NotEd25519`] for any other text.
pub fn stream_key(id: &str, pem: &str) -> Result<(String, PublicKey), KeyError> {
    let key = VerifyingKey::from_public_key_pem(pem)
        .map_err(|error| not_ed25519(id)(error.to_string()))?;
    Ok((id.to_owned(), PublicKey(key.to_bytes())))
}

/// The key that verifies the checkpoints of the log `origin`, of its public key in PEM (SPKI).
///
/// # Errors
/// [`KeyError`] where the origin is no name of a key, or the text no Ed25519 key.
pub fn log_key(origin: &str, pem: &str) -> Result<VerifierKey, KeyError> {
    let name = KeyName::parse(origin).ok_or_else(|| KeyError::Origin(origin.to_owned()))?;
    let (_, key) = stream_key(origin, pem)?;
    VerifierKey::ed25519(name, &key).map_err(|error| not_ed25519(origin)(error.to_string()))
}

/// Reads `key-id=base64 of SPKI`, several separated by commas.
///
/// # Errors
/// [`KeyError`] with the part at fault.
pub fn parse_stream_keys(text: &str) -> Result<Vec<(String, PublicKey)>, KeyError> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let form = || KeyError::Form {
                found: part.chars().take(80).collect(),
            };
            let (id, key) = part.split_once('=').ok_or_else(form)?;
            if id.is_empty() {
                return Err(form());
            }
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n");
            stream_key(id, &pem)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.1.
    const SPKI: &str = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    #[test]
    fn trusted_keys_are_read_from_a_list() {
        let one = parse_stream_keys(&format!("arn:aws:kms:eu-west-1:1:key/a={SPKI}")).unwrap();
        assert_eq!(one[0].0, "arn:aws:kms:eu-west-1:1:key/a");
        assert!(one[0].1.to_string().starts_with("19bf44096984cdfe"));
        let two = parse_stream_keys(&format!("a={SPKI}, b={SPKI},")).unwrap();
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn what_is_no_trusted_key_is_named() {
        for (text, names) in [
            ("nonsense", "nonsense"),
            (&*format!("={SPKI}"), "expected key-id"),
            ("k=AAAA", "key k: expected an Ed25519 public key"),
            ("k=", "key k"),
        ] {
            let error = parse_stream_keys(text).unwrap_err().to_string();
            assert!(error.contains(names), "{text}: {error}");
        }
    }

    #[test]
    fn an_origin_with_spaces_names_no_key() {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{SPKI}\n-----END PUBLIC KEY-----\n");
        assert!(log_key("sealcast.example/log", &pem).is_ok());
        for bad in ["", "a b", "a+b"] {
            assert_eq!(log_key(bad, &pem), Err(KeyError::Origin(bad.to_owned())));
        }
    }
}
