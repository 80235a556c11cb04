//! Keys in KMS: one that wraps data keys, and ones that sign.

use std::fmt::Write as _;

use artifact::DataKey;
use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, MessageType, SigningAlgorithmSpec};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::StoreError;
use domain::ports::{KeyContext, KeyUnwrapper, KeyWrapper, Signer};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::attempt::{Access, Patience};

/// Longest ciphertext that KMS unwraps, in bytes.
const MAX_WRAPPED_BYTES: usize = 6144;
/// Longest message that KMS signs as it is, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Makes and unwraps data keys under symmetric KMS keys; the context is KMS's encryption context.
#[derive(Debug)]
pub struct KmsDataKeys {
    client: Client,
    patience: Patience,
}

impl KmsDataKeys {
    pub(crate) fn new(client: Client, patience: Patience) -> Self {
        Self { client, patience }
    }
}

/// The data key in a reply of KMS; the reply's own copy is wiped.
fn data_key(key_id: &str, plaintext: Option<Blob>) -> Result<DataKey, StoreError> {
    let plain = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    DataKey::from_slice(&plain)
        .map_err(|error| StoreError::Corrupt(format!("a data key of {key_id}: {error}")))
}

#[async_trait]
impl KeyUnwrapper for KmsDataKeys {
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        context: &KeyContext,
    ) -> Result<DataKey, StoreError> {
        if !(1..=MAX_WRAPPED_BYTES).contains(&wrapped.len()) {
            return Err(StoreError::Corrupt(format!(
                "a wrapped data key of {} bytes: expected 1 to {MAX_WRAPPED_BYTES}",
                wrapped.len()
            )));
        }
        let call = || {
            self.client
                .decrypt()
                .key_id(key_id)
                .ciphertext_blob(Blob::new(wrapped))
                .set_encryption_context(to_kms(context))
                .send()
        };
        let what = format!("unwrap a data key with {key_id}");
        let reply = self.patience.attempt(Access::Read, what, call).await?;
        data_key(key_id, reply.plaintext)
    }
}

#[async_trait]
impl KeyWrapper for KmsDataKeys {
    async fn generate(
        &self,
        key_id: &str,
        context: &KeyContext,
    ) -> Result<(DataKey, Vec<u8>), StoreError> {
        let call = || {
            self.client
                .generate_data_key()
                .key_id(key_id)
                .key_spec(DataKeySpec::Aes256)
                .set_encryption_context(to_kms(context))
                .send()
        };
        // A data key whose reply was lost is nobody's: asking again is as good as reading.
        let what = format!("make a data key with {key_id}");
        let reply = self.patience.attempt(Access::Read, what, call).await?;
        let wrapped = reply.ciphertext_blob.map(Blob::into_inner);
        let wrapped = wrapped.filter(|wrapped| !wrapped.is_empty());
        let wrapped = wrapped.ok_or_else(|| {
            StoreError::Corrupt(format!("{key_id} made a data key and did not wrap it"))
        })?;
        Ok((data_key(key_id, reply.plaintext)?, wrapped))
    }
}

fn to_kms(context: &KeyContext) -> Option<std::collections::HashMap<String, String>> {
    (!context.is_empty()).then(|| context.clone().into_iter().collect())
}

/// What a signing key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519 (`ECC_NIST_EDWARDS25519`, `ED25519_SHA_512`): messages of at most 4096 bytes.
    Ed25519,
    /// ECDSA P-256 with SHA-256 (`ECC_NIST_P256`, `ECDSA_SHA_256`).
    P256,
}

/// Signs with one KMS key.
#[derive(Debug)]
pub struct KmsSigner {
    client: Client,
    patience: Patience,
    key_arn: String,
    algorithm: SigningAlgorithm,
    public_pem: OnceCell<String>,
}

impl KmsSigner {
    pub(crate) fn new(
        client: Client,
        patience: Patience,
        key_arn: String,
        algorithm: SigningAlgorithm,
    ) -> Self {
        Self {
            client,
            patience,
            key_arn,
            algorithm,
            public_pem: OnceCell::new(),
        }
    }

    async fn fetch_public_key(&self) -> Result<String, StoreError> {
        let call = || self.client.get_public_key().key_id(&self.key_arn).send();
        let what = format!("read the public key of {}", self.key_arn);
        let reply = self.patience.attempt(Access::Read, what, call).await?;
        let der = reply.public_key.map(Blob::into_inner).unwrap_or_default();
        if der.is_empty() {
            return Err(StoreError::Corrupt(format!(
                "{} has an empty public key",
                self.key_arn
            )));
        }
        Ok(to_pem(&der))
    }
}

#[async_trait]
impl Signer for KmsSigner {
    fn key_id(&self) -> &str {
        &self.key_arn
    }

    async fn public_key_pem(&self) -> Result<String, StoreError> {
        let pem = self
            .public_pem
            .get_or_try_init(|| self.fetch_public_key())
            .await?;
        Ok(pem.clone())
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        // Ed25519 hashes the message twice, so KMS must see all of it; ECDSA needs the digest alone.
        let (message, kind, algorithm) = match self.algorithm {
            SigningAlgorithm::Ed25519 => (
                message.to_vec(),
                MessageType::Raw,
                SigningAlgorithmSpec::Ed25519Sha512,
            ),
            SigningAlgorithm::P256 => (
                Sha256::digest(message).to_vec(),
                MessageType::Digest,
                SigningAlgorithmSpec::EcdsaSha256,
            ),
        };
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(StoreError::TooLarge(format!(
                "a message of {} bytes for {}: expected at most {MAX_MESSAGE_BYTES}",
                message.len(),
                self.key_arn
            )));
        }
        let message = Blob::new(message);
        let call = || {
            self.client
                .sign()
                .key_id(&self.key_arn)
                .message(message.clone())
                .message_type(kind.clone())
                .signing_algorithm(algorithm.clone())
                .send()
        };
        let what = format!("sign with {}", self.key_arn);
        let reply = self.patience.attempt(Access::Read, what, call).await?;
        let signature = reply.signature.map(Blob::into_inner).unwrap_or_default();
        if signature.is_empty() {
            return Err(StoreError::Corrupt(format!(
                "{} gave an empty signature",
                self.key_arn
            )));
        }
        Ok(signature)
    }
}

/// A public key as PEM (SPKI), lines of 64 characters (RFC 7468).
fn to_pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        // Writing to a string cannot fail.
        let _ = writeln!(pem, "{line}");
        rest = after;
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_reads_back() {
        let pem = base_point();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(to_pem(&STANDARD.decode(body).unwrap()), pem);
    }

    /// The SPKI of the P-256 base point.
    fn base_point() -> String {
        "-----BEGIN PUBLIC KEY-----\n\
         MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n\
         6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n\
         -----END PUBLIC KEY-----\n"
            .to_owned()
    }
}
