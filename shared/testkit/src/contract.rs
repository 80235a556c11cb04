//! One suite for each port. Each panics at the first MUST that is not kept.

mod alias;
mod artifact;
mod audit;
mod claims;
mod heartbeat;
mod keys;
mod log;
mod release;
mod routing;
mod sealed;
mod search;
mod spill;

pub use alias::alias_contract;
pub use artifact::artifact_contract;
pub use audit::audit_contract;
pub use claims::claims_contract;
pub use heartbeat::heartbeat_contract;
pub use keys::{SignerKind, key_contract, signer_contract};
pub use log::{log_lock_contract, log_store_contract};
pub use release::release_contract;
pub use routing::routing_contract;
pub use sealed::{seal_index_contract, stage_contract};
pub use search::search_contract;
pub use spill::{restore_contract, spill_contract};

use std::fmt::Debug;

use domain::StoreError;

/// Asserts that the call was refused with a conflict.
#[track_caller]
fn assert_conflict<T: Debug>(result: &Result<T, StoreError>, why: &str) {
    assert!(
        matches!(result, Err(StoreError::Conflict(_))),
        "{why}: expected a conflict, found {result:?}"
    );
}

/// Asserts that there was no such thing.
#[track_caller]
fn assert_not_found<T: Debug>(result: &Result<T, StoreError>, why: &str) {
    assert!(
        matches!(result, Err(StoreError::NotFound(_))),
        "{why}: expected not found, found {result:?}"
    );
}

/// Asserts that what is stored was refused.
#[track_caller]
fn assert_corrupt<T: Debug>(result: &Result<T, StoreError>, why: &str) {
    assert!(
        matches!(result, Err(StoreError::Corrupt(_))),
        "{why}: expected corrupt, found {result:?}"
    );
}
