use artifact::Sha256Digest;
use async_trait::async_trait;

use super::StoreError;
use crate::ids::{PrincipalId, RequestId};

/// What makes a request the same request: who sent it, and under which id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// Who.
    pub principal: PrincipalId,
    /// The caller's own id.
    pub request: RequestId,
}

/// Proof of a claim that was won; only its holder may answer or release it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimToken(pub u64);

/// What became of an attempt to claim a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The caller is the first, or the one before it gave up or died: it answers.
    Won(ClaimToken),
    /// Somebody else is answering the same payload right now.
    InProgress,
    /// The same payload was answered: the recorded answer, byte for byte.
    Answered(Vec<u8>),
    /// The id was used with another payload.
    Mismatch,
}

/// Remembers which request ids are being answered and what was answered.
#[async_trait]
pub trait RequestClaims: Send + Sync {
    /// Claims the id for the payload.
    ///
    /// Of concurrent claims at most one MUST win. A claim that is neither
    /// answered nor released within `lease_us` of `now_us` MUST be open to be
    /// won again, by the same payload. Whether an answer has expired MUST be
    /// told by comparing times, never by whether the row is still there.
    async fn claim(
        &self,
        key: &ClaimKey,
        payload: Sha256Digest,
        now_us: u64,
        lease_us: u64,
    ) -> Result<Claim, StoreError>;

    /// Records the answer, to be given until `expires_us`.
    ///
    /// MUST be [`StoreError::Conflict`] where the token no longer holds the claim,
    /// [`StoreError::TooLarge`] for an answer longer than the store keeps. The same answer under the same token again MUST be a success.
    async fn answer(
        &self,
        key: &ClaimKey,
        token: ClaimToken,
        answer: &[u8],
        expires_us: u64,
    ) -> Result<(), StoreError>;

    /// Gives the claim back without an answer; nothing happens where the token no longer holds it.
    async fn release(&self, key: &ClaimKey, token: ClaimToken) -> Result<(), StoreError>;
}
