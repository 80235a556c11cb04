//! What is wrong with a container, a key or a message.

/// Why a container was not made or not opened. Nothing of its content is given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// A data key that is not 32 bytes.
    #[error("data key: expected 32 bytes, found {found}")]
    KeyLength {
        /// Length that was given, in bytes.
        found: usize,
    },
    /// Shorter than salt and commitment.
    #[error("container of {found} bytes: expected at least 72 (salt, commitment and one tag)")]
    TooShort {
        /// Length that was given, in bytes.
        found: u64,
    },
    /// Ends exactly after the header or after a full chunk: the last, short chunk is missing.
    #[error("container of {found} bytes is truncated: its last chunk is missing")]
    Truncated {
        /// Length that was given, in bytes.
        found: u64,
    },
    /// Ends inside a tag: no message has this length.
    #[error(
        "container of {found} bytes: no message has this length, it ends inside the tag of chunk {chunk}"
    )]
    ImpossibleLength {
        /// Length that was given, in bytes.
        found: u64,
        /// The incomplete chunk, counted from 0.
        chunk: u64,
    },
    /// More than 2^38 chunks.
    #[error("message of more than 2^38 chunks of 16,384 bytes")]
    TooLong,
    /// Another data key, another context, or a changed salt or commitment.
    #[error("key commitment does not match: another data key, another context or a changed header")]
    CommitmentMismatch,
    /// A chunk was changed, moved or cut.
    #[error("chunk {chunk} fails to authenticate")]
    ChunkUnauthentic {
        /// The chunk, counted from 0.
        chunk: u64,
    },
    /// A chunk number that the container does not have.
    #[error("chunk {chunk}: expected a number below {count}")]
    ChunkOutOfRange {
        /// The number that was asked for, counted from 0.
        chunk: u64,
        /// How many chunks the container has.
        count: u64,
    },
}

impl ContainerError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::KeyLength { .. } => "artifact.key_length",
            Self::TooShort { .. } => "artifact.too_short",
            Self::Truncated { .. } => "artifact.truncated",
            Self::ImpossibleLength { .. } => "artifact.impossible_length",
            Self::TooLong => "artifact.too_long",
            Self::CommitmentMismatch => "artifact.commitment_mismatch",
            Self::ChunkUnauthentic { .. } => "artifact.chunk_unauthentic",
            Self::ChunkOutOfRange { .. } => "artifact.chunk_out_of_range",
        }
    }
}
