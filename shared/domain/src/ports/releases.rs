use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::ids::ReleaseId;
use crate::release::Release;

/// Reads releases.
#[async_trait]
pub trait ReleaseReader: Send + Sync {
    /// The release; [`StoreError::NotFound`] where there is none.
    async fn get(&self, id: ReleaseId) -> Result<Release, StoreError>;

    /// The newest release's id; ids are given without gaps.
    async fn newest(&self) -> Result<Option<ReleaseId>, StoreError>;
}

/// Creates releases; they are never changed.
#[async_trait]
pub trait ReleaseWriter: Send + Sync {
    /// Creates the release under its own id.
    ///
    /// MUST be [`StoreError::Conflict`] where the id exists with other content or is not
    /// the one after the newest; the same release again MUST be a success.
    async fn create(&self, release: &Release) -> Result<(), StoreError>;
}

/// What an alias points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The release that serves.
    pub release: ReleaseId,
    /// Counts the alias's changes from 1.
    pub revision: u64,
}

/// Reads aliases.
#[async_trait]
pub trait AliasReader: Send + Sync {
    /// What the alias points to; `None` before its first activation.
    async fn get(&self, alias: &str) -> Result<Option<Alias>, StoreError>;
}

/// Moves aliases.
#[async_trait]
pub trait AliasWriter: Send + Sync {
    /// Points the alias to `release` if its revision is still `expected` (0: the alias does not exist yet).
    ///
    /// MUST be atomic; [`StoreError::Conflict`] where the revision is another. Gives the new alias.
    async fn compare_and_swap(
        &self,
        alias: &str,
        expected: u64,
        release: ReleaseId,
    ) -> Result<Alias, StoreError>;
}
