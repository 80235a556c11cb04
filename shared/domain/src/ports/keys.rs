use std::collections::BTreeMap;

use artifact::container::DataKey;
use async_trait::async_trait;

use super::StoreError;

/// What a data key is bound to; unwrapping under another context fails.
pub type KeyContext = BTreeMap<String, String>;

/// Unwraps data keys.
#[async_trait]
pub trait KeyUnwrapper: Send + Sync {
    /// The data key in `wrapped`.
    ///
    /// A changed byte, another key or another context MUST be
    /// [`StoreError::Corrupt`], an unknown or disabled key [`StoreError::NotFound`]; never a wrong key.
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        context: &KeyContext,
    ) -> Result<DataKey, StoreError>;
}

/// Makes data keys; another role than the one that unwraps them.
#[async_trait]
pub trait KeyWrapper: Send + Sync {
    /// A fresh data key, and the same key wrapped for the context.
    async fn generate(
        &self,
        key_id: &str,
        context: &KeyContext,
    ) -> Result<(DataKey, Vec<u8>), StoreError>;
}

/// Signs with one key that never leaves its keeper.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The key's id, as it stands beside the signature.
    fn key_id(&self) -> &str;

    /// The public key as PEM (SPKI).
    async fn public_key_pem(&self) -> Result<String, StoreError>;

    /// The signature over `message` as it is: 64 bytes for Ed25519, DER for ECDSA P-256 with SHA-256.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError>;
}
