//! Signing keys that were read from files.

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::Signer;
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePublicKey, spki::der::pem::LineEnding,
};
use sha2::{Digest, Sha256};

/// A key's id: the first 16 hexadecimal digits of the SHA-256 of its public half (SPKI, DER).
fn id_of(public_key: &impl EncodePublicKey) -> Result<String, String> {
    let der = public_key
        .to_public_key_der()
        .map_err(|error| error.to_string())?;
    Ok(hex::encode(&Sha256::digest(der.as_bytes())[..8]))
}

fn to_pem(public_key: &impl EncodePublicKey) -> Result<String, String> {
    public_key
        .to_public_key_pem(LineEnding::LF)
        .map_err(|error| error.to_string())
}

/// The id and the raw bytes of an Ed25519 public key.
pub(super) fn trusted_stream_key(pem: &str) -> Result<(String, audit::PublicKey), String> {
    let key = ed25519_dalek::VerifyingKey::from_public_key_pem(pem)
        .map_err(|error| format!("expected an Ed25519 public key as SPKI in PEM: {error}"))?;
    Ok((id_of(&key)?, audit::PublicKey(key.to_bytes())))
}

/// ECDSA P-256 with SHA-256; nonces by RFC 6979.
pub(super) struct P256Signer {
    key: p256::ecdsa::SigningKey,
    id: String,
    public_pem: String,
}

impl P256Signer {
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        let key = p256::ecdsa::SigningKey::from_pkcs8_pem(pem)
            .map_err(|error| format!("expected a P-256 private key as PKCS #8 in PEM: {error}"))?;
        let public = key.verifying_key();
        Ok(Self {
            id: id_of(public)?,
            public_pem: to_pem(public)?,
            key,
        })
    }

    pub(super) fn public_pem(&self) -> &str {
        &self.public_pem
    }
}

#[async_trait]
impl Signer for P256Signer {
    fn key_id(&self) -> &str {
        &self.id
    }

    async fn public_key_pem(&self) -> Result<String, StoreError> {
        Ok(self.public_pem.clone())
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        let signature: p256::ecdsa::DerSignature = self
            .key
            .try_sign(message)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(signature.as_bytes().to_vec())
    }
}

/// Ed25519.
pub(super) struct Ed25519Signer {
    key: ed25519_dalek::SigningKey,
    id: String,
    public_pem: String,
}

impl Ed25519Signer {
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|error| {
            format!("expected an Ed25519 private key as PKCS #8 in PEM: {error}")
        })?;
        let public = key.verifying_key();
        Ok(Self {
            id: id_of(&public)?,
            public_pem: to_pem(&public)?,
            key,
        })
    }

    pub(super) fn public_pem(&self) -> &str {
        &self.public_pem
    }
}

#[async_trait]
impl Signer for Ed25519Signer {
    fn key_id(&self) -> &str {
        &self.id
    }

    async fn public_key_pem(&self) -> Result<String, StoreError> {
        Ok(self.public_pem.clone())
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(self.key.sign(message).to_bytes().to_vec())
    }
}
