use artifact::DataKey;
use async_trait::async_trait;
use domain::StoreError;
#[allow(clippy::wildcard_imports)]
use domain::ports::*;

use crate::attempt::Patience;

fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this adapter is not written yet".to_owned(),
    ))
}

/// What a signing key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519 (`ECC_NIST_EDWARDS25519`, `ED25519_SHA_512`).
    Ed25519,
    /// ECDSA P-256 with SHA-256 (`ECC_NIST_P256`, `ECDSA_SHA_256`).
    P256,
}

/// KmsDataKeys.
#[derive(Debug)]
pub struct KmsDataKeys {
    client: aws_sdk_kms::Client,
    patience: Patience,
}

impl KmsDataKeys {
    pub(crate) fn new(client: aws_sdk_kms::Client, patience: Patience) -> Self {
        Self { client, patience }
    }
}

/// KmsSigner.
#[derive(Debug)]
pub struct KmsSigner {
    client: aws_sdk_kms::Client,
    patience: Patience,
    key_arn: String,
    algorithm: SigningAlgorithm,
}

impl KmsSigner {
    pub(crate) fn new(
        client: aws_sdk_kms::Client,
        patience: Patience,
        key_arn: String,
        algorithm: SigningAlgorithm,
    ) -> Self {
        Self {
            client,
            patience,
            key_arn,
            algorithm,
        }
    }
}

#[async_trait]
impl KeyUnwrapper for KmsDataKeys {
    async fn unwrap(&self, _: &str, _: &[u8], _: &KeyContext) -> Result<DataKey, StoreError> {
        unfinished()
    }
}

#[async_trait]
impl KeyWrapper for KmsDataKeys {
    async fn generate(&self, _: &str, _: &KeyContext) -> Result<(DataKey, Vec<u8>), StoreError> {
        unfinished()
    }
}

#[async_trait]
impl Signer for KmsSigner {
    fn key_id(&self) -> &str {
        &self.key_arn
    }
    async fn public_key_pem(&self) -> Result<String, StoreError> {
        unfinished()
    }
    async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, StoreError> {
        unfinished()
    }
}
