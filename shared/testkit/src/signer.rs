//! A signer whose key comes from a seed.

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::Signer;
use ed25519_dalek::pkcs8::{EncodePublicKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signer as _, SigningKey};

/// Ed25519 under a key made of one repeated byte.
#[derive(Debug)]
pub struct TestSigner {
    key: SigningKey,
    id: String,
}

impl TestSigner {
    /// The signer whose key is 32 times `byte`; its id is `test-` and the byte in decimal.
    pub fn new(byte: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[byte; 32]),
            id: format!("test-{byte}"),
        }
    }

    /// Id and public key, as [`audit::StreamVerifier`] takes them.
    pub fn trusted(&self) -> (String, audit::PublicKey) {
        (
            self.id.clone(),
            audit::PublicKey(self.key.verifying_key().to_bytes()),
        )
    }

    /// The signature over `message`.
    pub fn sign_now(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

#[async_trait]
impl Signer for TestSigner {
    fn key_id(&self) -> &str {
        &self.id
    }

    async fn public_key_pem(&self) -> Result<String, StoreError> {
        self.key
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(self.sign_now(message).to_vec())
    }
}
