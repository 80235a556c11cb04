//! A master key: AES-256-GCM around 32-byte data keys.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use artifact::container::DataKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::StoreError;
use domain::ports::{Entropy, KeyContext};
use domain::system::SystemEntropy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The version of a wrapped key's form: `1 ‖ id length ‖ id ‖ nonce[12] ‖ ciphertext[32] ‖ tag[16]`.
const WRAPPED_VERSION: u8 = 1;
const NONCE_SIZE: usize = 12;

/// The version tag of a master key's file.
#[derive(Serialize, Deserialize)]
enum MasterFormat {
    #[serde(rename = "sealcast.master-key/v1")]
    V1,
}

/// A master key as it stands in a file; `key` is base64 of 32 bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMaster<'a> {
    format: MasterFormat,
    key_id: String,
    key: &'a str,
}

/// A key that wraps data keys. Nonces are random: good for 2^32 data keys.
pub(super) struct MasterKey {
    id: String,
    cipher: Aes256Gcm,
}

impl MasterKey {
    fn from_key(key: &[u8; 32]) -> Self {
        // The id says nothing of the key, whose 256 bits are random, but tells it from every other.
        let digest = Sha256::new()
            .chain_update(b"sealcast master key\0")
            .chain_update(key)
            .finalize();
        Self {
            id: hex::encode(&digest[..8]),
            cipher: Aes256Gcm::new(key.into()),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A fresh key, and its file.
    pub(super) fn create() -> Result<(Self, Zeroizing<Vec<u8>>), StoreError> {
        let mut key = Zeroizing::new([0; 32]);
        SystemEntropy.fill(key.as_mut_slice())?;
        let master = Self::from_key(&key);
        let text = Zeroizing::new(STANDARD.encode(*key));
        let stored = StoredMaster {
            format: MasterFormat::V1,
            key_id: master.id.clone(),
            key: &text,
        };
        let bytes = serde_json::to_vec(&stored)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok((master, Zeroizing::new(bytes)))
    }

    /// Reads a key's file.
    pub(super) fn from_file(text: &str) -> Result<Self, String> {
        let stored: StoredMaster<'_> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let refuse = || "key: expected base64 of 32 bytes".to_owned();
        let bytes = Zeroizing::new(STANDARD.decode(stored.key).map_err(|_| refuse())?);
        let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| refuse())?;
        let master = Self::from_key(key);
        if master.id == stored.key_id {
            Ok(master)
        } else {
            Err(format!("key_id: {} belongs to another key", stored.key_id))
        }
    }

    /// `1 ‖ id length ‖ id`: what a wrapped key starts with.
    fn head(&self) -> Vec<u8> {
        let mut head = vec![WRAPPED_VERSION, self.id.len() as u8];
        head.extend_from_slice(self.id.as_bytes());
        head
    }

    /// What the tag covers beside the data key: head and context.
    fn associated_data(&self, context: &KeyContext) -> Result<Vec<u8>, StoreError> {
        let context = audit::canonical::to_canonical_json(context)
            .map_err(|error| StoreError::Conflict(format!("key context: {error}")))?;
        Ok([self.head(), context].concat())
    }

    /// A fresh data key, and the same wrapped.
    pub(super) fn generate(&self, context: &KeyContext) -> Result<(DataKey, Vec<u8>), StoreError> {
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; NONCE_SIZE]);
        SystemEntropy.fill(key.as_mut_slice())?;
        SystemEntropy.fill(&mut nonce)?;
        let aad = self.associated_data(context)?;
        let sealed = self
            .cipher
            .encrypt(
                &Nonce::from(nonce),
                Payload {
                    msg: key.as_slice(),
                    aad: &aad,
                },
            )
            .map_err(|_| StoreError::Unavailable("AES-256-GCM refused".to_owned()))?;
        Ok((
            DataKey::new(*key),
            [self.head(), nonce.to_vec(), sealed].concat(),
        ))
    }

    /// The data key in `wrapped`.
    pub(super) fn unwrap(
        &self,
        wrapped: &[u8],
        context: &KeyContext,
    ) -> Result<DataKey, StoreError> {
        let corrupt = |reason: &str| StoreError::Corrupt(format!("wrapped data key: {reason}"));
        match wrapped.first() {
            Some(&WRAPPED_VERSION) => {}
            _ => return Err(corrupt("expected version 1 of the form")),
        }
        let body = wrapped.strip_prefix(self.head().as_slice());
        let body = body.ok_or_else(|| corrupt("names another master key"))?;
        let (nonce, sealed) = body
            .split_first_chunk::<NONCE_SIZE>()
            .ok_or_else(|| corrupt("is cut short"))?;
        let aad = self.associated_data(context)?;
        let key = self
            .cipher
            .decrypt(
                &Nonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &aad,
                },
            )
            .map_err(|_| corrupt("was changed, or belongs to another context or key"))?;
        DataKey::from_slice(&Zeroizing::new(key)).map_err(|error| corrupt(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back_and_a_changed_one_does_not() {
        let (master, file) = MasterKey::create().unwrap();
        let text = std::str::from_utf8(&file).unwrap();
        assert_eq!(MasterKey::from_file(text).unwrap().id(), master.id());
        let (other, _) = MasterKey::create().unwrap();
        for changed in [
            text.replace(master.id(), other.id()),
            text.replace("/v1", "/v2"),
            text.replace("\"key\":\"", "\"key\":\"AAAA"),
        ] {
            assert!(MasterKey::from_file(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn every_changed_or_missing_byte_of_a_wrapped_key_is_found() {
        let (master, _) = MasterKey::create().unwrap();
        let context = KeyContext::from([("model".to_owned(), "m".to_owned())]);
        let (key, wrapped) = master.generate(&context).unwrap();
        assert_eq!(
            master.unwrap(&wrapped, &context).unwrap().expose(),
            key.expose()
        );
        for position in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[position] ^= 1;
            assert!(matches!(
                master.unwrap(&changed, &context),
                Err(StoreError::Corrupt(_))
            ));
            let short = &wrapped[..position];
            assert!(matches!(
                master.unwrap(short, &context),
                Err(StoreError::Corrupt(_))
            ));
        }
    }
}
