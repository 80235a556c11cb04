use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Alias, StoreError};
use crate::ids::ReleaseId;

/// Where an alias sends requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// The release that it points to; `None` before its first activation.
    pub alias: Option<Alias>,
    /// The versions of the function that take requests: one, or two while a promotion shifts weight.
    pub targets: Vec<Target>,
}

/// A version of the function that takes requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The published version, for example `7`.
    pub version: String,
    /// Its share of the requests, 0 to 1; the shares of all targets add up to 1.
    pub weight: f64,
}

/// Reads where an alias sends requests.
#[async_trait]
pub trait RoutingReader: Send + Sync {
    /// The alias's routing; [`StoreError::NotFound`] where there is no such alias.
    ///
    /// [`StoreError::Corrupt`] where the alias was moved by something else than an
    /// [`AliasWriter`](super::AliasWriter): what serves is then not what was released.
    async fn routing(&self, alias: &str) -> Result<Routing, StoreError>;
}

/// What a version of the function last said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The version that says it, as in [`Target::version`].
    pub version: String,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The release that serves there, if any.
    pub release: Option<ReleaseId>,
    /// Stable code of why no release serves, or why a newer one does not.
    pub reason: Option<String>,
    /// When its newest audit event became durable, in microseconds since 1970; `None` before the first.
    pub newest_event_us: Option<u64>,
}

/// Says how a version of the function fares. Best effort: a lost heartbeat costs nothing but an answer's freshness.
#[async_trait]
pub trait HeartbeatWriter: Send + Sync {
    /// Replaces what this version said before; what is older than that MUST be passed over, with success.
    ///
    /// Several environments may speak for one version. Those that serve a release and those that do not SHOULD be
    /// heard together: the release of the ones, with the reason of the others while they fail.
    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError>;
}

/// Reads how versions of the function fare.
#[async_trait]
pub trait HeartbeatReader: Send + Sync {
    /// What the version said last; `None` where it never did, or long ago.
    async fn newest(&self, version: &str) -> Result<Option<Heartbeat>, StoreError>;
}

/// Something that answers depend on: a table, a bucket, a key.
#[async_trait]
pub trait Dependency: Send + Sync {
    /// What it is, for example `registry` or `stream-key`.
    fn name(&self) -> &str;

    /// Whether it answers and can be used: [`StoreError::NotFound`] where it is gone or disabled, other errors as
    /// for any call. MUST change nothing.
    async fn check(&self) -> Result<(), StoreError>;
}
