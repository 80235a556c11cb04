//! The ports: what decisions need from the outside world, cut along what one
//! IAM role may be allowed.
//!
//! For every port: a call MUST return within the adapter's own time limit, and
//! MUST NOT report success before the effect would survive `kill -9` and a
//! power failure.

mod artifacts;
mod audit;
mod claims;
mod fleet;
mod keys;
mod log;
mod releases;
mod sealed;
mod spill;

pub use artifacts::{ArtifactFiles, ArtifactReader, ArtifactWriter, LoadableFiles, ModelContainer};
pub use audit::{AuditAppender, AuditReader, AuditSearch, parse_registration};
pub use claims::{Claim, ClaimKey, ClaimToken, RequestClaims};
pub use fleet::{
    Dependency, Heartbeat, HeartbeatReader, HeartbeatWriter, Routing, RoutingReader, Target,
};
pub use keys::{KeyContext, KeyUnwrapper, KeyWrapper, Signer};
pub use log::{LogLock, LogPublisher, LogReader, LogWriter};
pub use releases::{Alias, AliasReader, AliasWriter, ReleaseReader, ReleaseWriter};
pub use sealed::{IndexPosition, SealIndexReader, SealIndexWriter, StageRemover, expects_events};
pub use spill::{AuditRestorer, SpillReader, SpillRemover, SpillWriter};

/// What went wrong in a store. The text is for the log, never for a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing. It was not there when the store was asked.
    #[error("not found: {0}")]
    NotFound(String),
    /// A condition did not hold; nothing was changed.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The write may or may not have been applied: read again before reporting failure.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
    /// The store cannot be reached or refuses; nothing was changed. Trying again later may help.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The caller's role may not do it; nothing was changed. Trying again does not help.
    #[error("denied: {0}")]
    Denied(String),
    /// What is to be stored is larger than the store takes; nothing was changed.
    #[error("too large: {0}")]
    TooLarge(String),
    /// What is stored cannot be what was written.
    #[error("corrupt: {0}")]
    Corrupt(String),
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now_us(&self) -> u64;
}

/// Gives random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with bytes fit for keys.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the system has none to give.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), StoreError>;
}
