//! Keys that verify notes, and their text form (`vkey`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use sha2::{Digest, Sha256};

use crate::stream::PublicKey;

/// Name of a key: not empty, without spaces, plus signs and control characters. By custom a URL without its scheme.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Parses a name; `None` where it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = |c: char| c != '+' && !c.is_whitespace() && !c.is_control();
        (!name.is_empty() && name.chars().all(fits)).then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// 0x01: Ed25519 over the text.
    Ed25519,
    /// 0x02: ECDSA on P-256 with SHA-256 over the text, the signature in ASN.1 DER.
    EcdsaP256,
    /// 0x04: a witness's cosignature with its time: Ed25519 over [`cosigned_message`].
    Cosignature,
}

impl SignatureKind {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::EcdsaP256 => 2,
            Self::Cosignature => 4,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Ed25519(VerifyingKey),
    EcdsaP256(p256::ecdsa::VerifyingKey),
    Cosignature(VerifyingKey),
}

/// A public key with its name and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: [u8; 4],
    encoded: Vec<u8>,
    material: Material,
}

/// Text or bytes that are no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseVerifierKeyError {
    /// Not `name+id+base64`.
    #[error("a verifier key is `name+id+base64`, the id in 8 lower-case hexadecimal digits")]
    Form,
    /// A kind of signature that this version does not verify.
    #[error(
        "signatures of type {0:#04x} are not supported: expected 0x01 (Ed25519), 0x02 (ECDSA P-256) or 0x04 (cosignature)"
    )]
    Kind(u8),
    /// The bytes are no public key of that kind.
    #[error("not a public key of signature type {0:#04x}")]
    Key(u8),
    /// The text is no public key in PEM.
    #[error("expected an Ed25519 or a P-256 public key in PEM (SPKI)")]
    Pem,
    /// The id is not the key's.
    #[error("the key's id is {expected}, not {found}")]
    Id {
        /// What the name and the key give.
        expected: String,
        /// What the text says.
        found: String,
    },
}

impl VerifierKey {
    /// An Ed25519 key.
    ///
    /// # Errors
    /// [`ParseVerifierKeyError::Key`] where the bytes are no key.
    pub fn ed25519(name: KeyName, key: &PublicKey) -> Result<Self, ParseVerifierKeyError> {
        Self::new(name, SignatureKind::Ed25519, &key.0)
    }

    /// An ECDSA key on P-256 from its SPKI in DER, as KMS's `GetPublicKey` gives it.
    ///
    /// # Errors
    /// [`ParseVerifierKeyError::Key`] where the bytes are no such key.
    pub fn ecdsa_p256(name: KeyName, spki_der: &[u8]) -> Result<Self, ParseVerifierKeyError> {
        Self::new(name, SignatureKind::EcdsaP256, spki_der)
    }

    /// A witness's key.
    ///
    /// # Errors
    /// [`ParseVerifierKeyError::Key`] where the bytes are no key.
    pub fn cosignature(name: KeyName, key: &PublicKey) -> Result<Self, ParseVerifierKeyError> {
        Self::new(name, SignatureKind::Cosignature, &key.0)
    }

    fn new(
        name: KeyName,
        kind: SignatureKind,
        encoded: &[u8],
    ) -> Result<Self, ParseVerifierKeyError> {
        let wrong = || ParseVerifierKeyError::Key(kind.byte());
        let edwards = || {
            let bytes = encoded.try_into().map_err(|_| wrong())?;
            VerifyingKey::from_bytes(bytes)
                .ok()
                .filter(|key| !key.is_weak())
                .ok_or_else(wrong)
        };
        let material = match kind {
            SignatureKind::Ed25519 => Material::Ed25519(edwards()?),
            SignatureKind::Cosignature => Material::Cosignature(edwards()?),
            SignatureKind::EcdsaP256 => {
                let key = p256::PublicKey::from_public_key_der(encoded).map_err(|_| wrong())?;
                let der = key.to_public_key_der().map_err(|_| wrong())?;
                if der.as_bytes() != encoded {
                    return Err(wrong());
                }
                Material::EcdsaP256(key.into())
            }
        };
        let hash = match kind {
            SignatureKind::EcdsaP256 => Sha256::digest(encoded),
            SignatureKind::Ed25519 | SignatureKind::Cosignature => Sha256::new()
                .chain_update(name.as_str())
                .chain_update([b'\n', kind.byte()])
                .chain_update(encoded)
                .finalize(),
        };
        Ok(Self {
            name,
            id: [hash[0], hash[1], hash[2], hash[3]],
            encoded: encoded.to_vec(),
            material,
        })
    }

    /// An Ed25519 key, or an ECDSA key on P-256, from its SPKI in PEM.
    ///
    /// # Errors
    /// [`ParseVerifierKeyError::Pem`] where it is neither.
    pub fn from_pem(name: KeyName, pem: &str) -> Result<Self, ParseVerifierKeyError> {
        if let Ok(key) = VerifyingKey::from_public_key_pem(pem) {
            return Self::ed25519(name, &PublicKey(key.to_bytes()));
        }
        let key = p256::ecdsa::VerifyingKey::from_public_key_pem(pem)
            .map_err(|_| ParseVerifierKeyError::Pem)?;
        let der = key
            .to_public_key_der()
            .map_err(|_| ParseVerifierKeyError::Pem)?;
        Self::ecdsa_p256(name, der.as_bytes())
    }

    /// Reads the text form, `name+id+base64(type ‖ key)`. Go's `note.NewVerifier` reads that of type 0x01 (Ed25519), no
    /// other.
    ///
    /// # Errors
    /// [`ParseVerifierKeyError`] with what is wrong.
    pub fn parse(vkey: &str) -> Result<Self, ParseVerifierKeyError> {
        let form = || ParseVerifierKeyError::Form;
        let mut parts = vkey.splitn(3, '+');
        let (name, id, key) = (parts.next(), parts.next(), parts.next());
        let name = name.and_then(KeyName::parse).ok_or_else(form)?;
        let key = key
            .and_then(|key| STANDARD.decode(key).ok())
            .ok_or_else(form)?;
        let (kind, key) = key.split_first().ok_or_else(form)?;
        let kind = match kind {
            1 => SignatureKind::Ed25519,
            2 => SignatureKind::EcdsaP256,
            4 => SignatureKind::Cosignature,
            other => return Err(ParseVerifierKeyError::Kind(*other)),
        };
        let parsed = Self::new(name, kind, key)?;
        let (expected, found) = (hex::encode(parsed.id), id.unwrap_or_default().to_owned());
        if expected == found {
            Ok(parsed)
        } else {
            Err(ParseVerifierKeyError::Id { expected, found })
        }
    }

    /// The key's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id: four bytes of a hash.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// How it signs.
    pub fn kind(&self) -> SignatureKind {
        match self.material {
            Material::Ed25519(_) => SignatureKind::Ed25519,
            Material::EcdsaP256(_) => SignatureKind::EcdsaP256,
            Material::Cosignature(_) => SignatureKind::Cosignature,
        }
    }

    /// Whether the key's private half made this signature of the note's text.
    pub fn verify(&self, text: &str, signature: &[u8]) -> bool {
        match &self.material {
            Material::Ed25519(key) => verify_ed25519(key, text.as_bytes(), signature),
            Material::EcdsaP256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(text.as_bytes(), &signature).is_ok()),
            Material::Cosignature(key) => {
                signature
                    .split_first_chunk::<8>()
                    .is_some_and(|(time, signature)| {
                        let time = u64::from_be_bytes(*time);
                        i64::try_from(time).is_ok()
                            && verify_ed25519(
                                key,
                                cosigned_message(time, text).as_bytes(),
                                signature,
                            )
                    })
            }
        }
    }
}

/// The text form, `name+id+base64(type ‖ key)`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind().byte()], self.encoded.as_slice()].concat();
        let id = hex::encode(self.id);
        write!(f, "{}+{id}+{}", self.name, STANDARD.encode(key))
    }
}

/// What a witness signs (C2SP tlog-cosignature): the time in seconds since 1970, and the text of the checkpoint. In
/// the note the signature stands behind the same time, in eight bytes, big-endian.
pub fn cosigned_message(time_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

fn verify_ed25519(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).is_ok_and(|s| key.verify_strict(message, &s).is_ok())
}
