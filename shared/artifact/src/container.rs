//! The encrypted container: C2SP chunked encryption, instance Cobblestone-256.
//!
//! `salt[24] ‖ commitment[32] ‖ chunk 0 ‖ chunk 1 …`; each chunk is
//! AES-256-GCM over 16,384 plain bytes with its 16-byte tag, the last one
//! always over fewer (possibly none). Key, base nonce and commitment come
//! from the data key by HKDF-Expand with SHA-512, with salt and context bound
//! in. The commitment is compared, in constant time, before any chunk is
//! decrypted, so a container opens under one data key and one context only.
//!
//! Source: <https://c2sp.org/chunked-encryption>, version 1.

mod error;

pub use error::ContainerError;

use std::fmt;
use std::ops::Range;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag};
use hkdf::hmac::{Hmac, Mac};
use sha2::Sha512;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Plain bytes in every chunk but the last.
pub const CHUNK_SIZE: usize = 16_384;
/// Bytes of a chunk's authentication tag.
pub const TAG_SIZE: usize = 16;
/// Bytes before chunk 0: salt and commitment.
pub const HEADER_SIZE: usize = SALT_SIZE + COMMITMENT_SIZE;
/// Chunks that a container may have at most.
pub const MAX_CHUNKS: u64 = 1 << 38;

const SALT_SIZE: usize = 24;
const COMMITMENT_SIZE: usize = 32;
const NONCE_SIZE: usize = 12;
const KEY_SIZE: usize = 32;
const HMAC_BLOCK_SIZE: usize = 128;
const SEALED_CHUNK_SIZE: usize = CHUNK_SIZE + TAG_SIZE;
const INFO_PREFIX: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// The key that a container is encrypted under: 32 uniformly random bytes, zeroised when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; KEY_SIZE]);

impl DataKey {
    /// A key of these bytes, which must be uniformly random (a key service's data key, not a password).
    pub fn new(bytes: [u8; KEY_SIZE]) -> Self {
        Self(bytes)
    }

    /// A key of exactly 32 bytes, for example those that a key service unwrapped.
    ///
    /// # Errors
    /// [`ContainerError::KeyLength`] for any other length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ContainerError> {
        let mut key = Self([0; KEY_SIZE]);
        if bytes.len() != KEY_SIZE {
            return Err(ContainerError::KeyLength { found: bytes.len() });
        }
        key.0.copy_from_slice(bytes);
        Ok(key)
    }

    /// The bytes, for whoever wraps the key. They must not be logged or stored plain.
    pub fn expose(&self) -> &[u8; KEY_SIZE] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// 24 bytes that must not repeat for one data key; random ones do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; SALT_SIZE]);

/// How many bytes the container of a message of `plain_len` bytes has.
///
/// # Errors
/// [`ContainerError::TooLong`] above 2^38 chunks.
pub fn sealed_len(plain_len: u64) -> Result<u64, ContainerError> {
    let chunks = plain_len / CHUNK_SIZE as u64 + 1;
    if chunks > MAX_CHUNKS {
        return Err(ContainerError::TooLong);
    }
    Ok(HEADER_SIZE as u64 + plain_len + chunks * TAG_SIZE as u64)
}

/// Encrypts `plain` under `key`, bound to `context`.
///
/// # Errors
/// [`ContainerError::TooLong`] above 2^38 chunks (4 PiB).
pub fn encrypt(
    key: &DataKey,
    salt: &Salt,
    context: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, ContainerError> {
    let total = sealed_len(plain.len() as u64)?;
    let derived = Derived::from_key(key, salt, context);
    let mut sealed =
        Vec::with_capacity(usize::try_from(total).map_err(|_| ContainerError::TooLong)?);
    sealed.extend_from_slice(&salt.0);
    sealed.extend_from_slice(&derived.commitment);
    let mut rest = plain;
    let mut chunk = 0;
    loop {
        let (now, later) = rest.split_at(rest.len().min(CHUNK_SIZE));
        let start = sealed.len();
        sealed.extend_from_slice(now);
        let tag = derived
            .cipher
            .encrypt_inout_detached(
                &derived.nonce(chunk),
                &[],
                InOutBuf::from(&mut sealed[start..]),
            )
            .map_err(|_| ContainerError::TooLong)?;
        sealed.extend_from_slice(&tag);
        if now.len() < CHUNK_SIZE {
            return Ok(sealed);
        }
        rest = later;
        chunk += 1;
    }
}

/// Decrypts a whole container. The content is given out only once every chunk has authenticated.
///
/// # Errors
/// [`ContainerError`]: length first, then the commitment, then the chunks in order.
pub fn decrypt(
    key: &DataKey,
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
    decrypt_watched(key, context, sealed, |_| ())
}

/// As [`decrypt`]; `watch` sees each chunk's plain bytes in order while they are warm in the cache, for hashing.
pub(crate) fn decrypt_watched(
    key: &DataKey,
    context: &[u8],
    sealed: &[u8],
    mut watch: impl FnMut(&[u8]),
) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
    let opener = ChunkOpener::unlock(key, context, sealed, sealed.len() as u64)?;
    let plain_len = usize::try_from(opener.plain_len()).map_err(|_| ContainerError::TooLong)?;
    let mut plain = Zeroizing::new(vec![0; plain_len]);
    let sealed_chunks = sealed[HEADER_SIZE..].chunks(SEALED_CHUNK_SIZE);
    // Where the last chunk is empty the plain side has one piece less than the sealed side.
    let mut plain_chunks = plain.chunks_mut(CHUNK_SIZE);
    for (number, sealed_chunk) in (0..).zip(sealed_chunks) {
        let into = plain_chunks.next().unwrap_or_default();
        opener.decrypt_into(number, sealed_chunk, into)?;
        watch(into);
    }
    Ok(plain)
}

/// Opens single chunks, in any order: what a reader needs that fetches a container by ranges.
///
/// A chunk that opens is authentic at its place, but only opening the last
/// chunk ([`ChunkOpener::chunk_count`] less one) proves the length.
pub struct ChunkOpener {
    derived: Derived,
    /// Length of the whole container in bytes; checked.
    sealed_len: u64,
}

impl fmt::Debug for ChunkOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkOpener")
            .field("sealed_len", &self.sealed_len)
            .finish_non_exhaustive()
    }
}

impl ChunkOpener {
    /// Checks the length and the key commitment; no chunk is looked at. `head` is the beginning of the container,
    /// at least [`HEADER_SIZE`] bytes, and `sealed_len` the length of the whole in bytes.
    ///
    /// # Errors
    /// [`ContainerError`] for a length that no container has, and where key or context do not belong to the header.
    pub fn unlock(
        key: &DataKey,
        context: &[u8],
        head: &[u8],
        sealed_len: u64,
    ) -> Result<Self, ContainerError> {
        check_len(sealed_len)?;
        let too_short = ContainerError::TooShort {
            found: head.len() as u64,
        };
        let (salt, rest) = head
            .split_first_chunk::<SALT_SIZE>()
            .ok_or(too_short.clone())?;
        let commitment = rest.first_chunk::<COMMITMENT_SIZE>().ok_or(too_short)?;
        let derived = Derived::from_key(key, &Salt(*salt), context);
        if bool::from(derived.commitment.ct_eq(commitment)) {
            Ok(Self {
                derived,
                sealed_len,
            })
        } else {
            Err(ContainerError::CommitmentMismatch)
        }
    }

    /// How many chunks the container has, at least 1.
    pub fn chunk_count(&self) -> u64 {
        (self.sealed_len - HEADER_SIZE as u64) / SEALED_CHUNK_SIZE as u64 + 1
    }

    /// How many bytes the message has.
    pub fn plain_len(&self) -> u64 {
        self.sealed_len - HEADER_SIZE as u64 - self.chunk_count() * TAG_SIZE as u64
    }

    /// Where chunk `chunk` stands in the container, in bytes.
    ///
    /// # Errors
    /// [`ContainerError::ChunkOutOfRange`].
    pub fn chunk_range(&self, chunk: u64) -> Result<Range<u64>, ContainerError> {
        let count = self.chunk_count();
        if chunk >= count {
            return Err(ContainerError::ChunkOutOfRange { chunk, count });
        }
        let start = HEADER_SIZE as u64 + chunk * SEALED_CHUNK_SIZE as u64;
        Ok(start..self.sealed_len.min(start + SEALED_CHUNK_SIZE as u64))
    }

    /// Opens chunk `chunk`, whose bytes are those of [`ChunkOpener::chunk_range`].
    ///
    /// # Errors
    /// [`ContainerError::ChunkOutOfRange`], and [`ContainerError::ChunkUnauthentic`] for changed bytes or another length.
    pub fn open_chunk(
        &self,
        chunk: u64,
        sealed_chunk: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        let range = self.chunk_range(chunk)?;
        let unauthentic = ContainerError::ChunkUnauthentic { chunk };
        if sealed_chunk.len() as u64 != range.end - range.start {
            return Err(unauthentic);
        }
        let plain_len = sealed_chunk
            .len()
            .checked_sub(TAG_SIZE)
            .ok_or(unauthentic)?;
        let mut plain = Zeroizing::new(vec![0; plain_len]);
        self.decrypt_into(chunk, sealed_chunk, &mut plain)?;
        Ok(plain)
    }

    fn decrypt_into(
        &self,
        chunk: u64,
        sealed_chunk: &[u8],
        plain: &mut [u8],
    ) -> Result<(), ContainerError> {
        let unauthentic = || ContainerError::ChunkUnauthentic { chunk };
        let (body, tag) = sealed_chunk
            .split_last_chunk::<TAG_SIZE>()
            .ok_or_else(unauthentic)?;
        let buffer = InOutBuf::new(body, plain).map_err(|_| unauthentic())?;
        self.derived
            .cipher
            .decrypt_inout_detached(&self.derived.nonce(chunk), &[], buffer, &Tag::from(*tag))
            .map_err(|_| unauthentic())
    }
}

/// Refuses every length that no message has.
fn check_len(found: u64) -> Result<(), ContainerError> {
    let Some(body) = found.checked_sub(HEADER_SIZE as u64) else {
        return Err(ContainerError::TooShort { found });
    };
    let (full_chunks, last) = (
        body / SEALED_CHUNK_SIZE as u64,
        body % SEALED_CHUNK_SIZE as u64,
    );
    match last {
        0 => Err(ContainerError::Truncated { found }),
        last if last < TAG_SIZE as u64 => Err(ContainerError::ImpossibleLength {
            found,
            chunk: full_chunks,
        }),
        _ if full_chunks >= MAX_CHUNKS => Err(ContainerError::TooLong),
        _ => Ok(()),
    }
}

/// What the data key, the salt and the context determine.
struct Derived {
    cipher: Aes256Gcm,
    base_nonce: [u8; NONCE_SIZE],
    commitment: [u8; COMMITMENT_SIZE],
}

impl Derived {
    fn from_key(key: &DataKey, salt: &Salt, context: &[u8]) -> Self {
        // HKDF-Expand (RFC 5869, section 2.3) for 76 bytes: two blocks of HMAC-SHA-512. Written out because the
        // scheme expands from a 32-byte key, which an HKDF interface for 64-byte pseudorandom keys refuses.
        let mut hmac_key = Zeroizing::new([0; HMAC_BLOCK_SIZE]); // HMAC pads its key with zeros (RFC 2104)
        hmac_key[..KEY_SIZE].copy_from_slice(&key.0);
        let hmac = Hmac::<Sha512>::new((&*hmac_key).into());
        let expand = |previous: &[u8], counter: u8| {
            let mut mac = hmac.clone();
            for part in [previous, INFO_PREFIX, &salt.0, context, &[counter]] {
                mac.update(part);
            }
            Zeroizing::new(<[u8; 64]>::from(mac.finalize().into_bytes()))
        };
        let first = expand(&[], 1);
        let second = expand(first.as_slice(), 2);
        let mut okm = Zeroizing::new([0; KEY_SIZE + NONCE_SIZE + COMMITMENT_SIZE]);
        okm[..64].copy_from_slice(first.as_slice());
        okm[64..].copy_from_slice(&second[..12]);

        let mut cipher_key = Zeroizing::new([0; KEY_SIZE]);
        let mut base_nonce = [0; NONCE_SIZE];
        let mut commitment = [0; COMMITMENT_SIZE];
        cipher_key.copy_from_slice(&okm[..KEY_SIZE]);
        base_nonce.copy_from_slice(&okm[KEY_SIZE..KEY_SIZE + NONCE_SIZE]);
        commitment.copy_from_slice(&okm[KEY_SIZE + NONCE_SIZE..]);
        Self {
            cipher: Aes256Gcm::new((&*cipher_key).into()),
            base_nonce,
            commitment,
        }
    }

    /// The base nonce XOR the chunk's number, big-endian and as wide as the nonce.
    fn nonce(&self, chunk: u64) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = self.base_nonce;
        for (byte, number) in nonce[NONCE_SIZE - 8..].iter_mut().zip(chunk.to_be_bytes()) {
            *byte ^= number;
        }
        nonce.into()
    }
}

#[cfg(test)]
mod tests;
