//! The ports on S3, KMS, `DynamoDB`, Lambda and STS: the only crate that names an AWS SDK.
//!
//! Each client stands behind a feature of its name (`s3`, `kms`, `dynamodb`,
//! `lambda`, `sts`), so that a function links only what it uses. [`Connection`] holds
//! the clients; its methods give the adapters.
//!
//! The SDK's own retries and time limits are off. Every call goes through one
//! function that makes attempts of 0.5 s, of 1 s, and then of what is left of
//! 4 s, and every error becomes a [`domain::StoreError`] in one place. A write that
//! timed out is sent again and judged by what the store then holds; only what
//! stays open after that is [`domain::StoreError::OutcomeUnknown`].

mod attempt;
#[cfg(feature = "s3")]
mod bucket;
mod connection;
#[cfg(any(feature = "s3", feature = "kms", feature = "dynamodb"))]
mod dependency;
mod error;

#[cfg(feature = "lambda")]
mod aliases;
#[cfg(feature = "s3")]
mod artifacts;
#[cfg(feature = "dynamodb")]
mod audit;
#[cfg(feature = "dynamodb")]
mod claims;
#[cfg(feature = "dynamodb")]
mod heartbeats;
#[cfg(feature = "kms")]
mod keys;
#[cfg(feature = "dynamodb")]
mod log_lock;
#[cfg(feature = "s3")]
mod log_objects;
#[cfg(feature = "dynamodb")]
mod releases;
#[cfg(feature = "dynamodb")]
mod seal_index;
#[cfg(feature = "s3")]
mod spill;
#[cfg(feature = "dynamodb")]
mod table;

#[cfg(feature = "lambda")]
pub use aliases::LambdaAliases;
#[cfg(feature = "s3")]
pub use artifacts::S3Artifacts;
#[cfg(feature = "dynamodb")]
pub use audit::{DynamoAudit, EVENTS_KEPT_S};
#[cfg(feature = "dynamodb")]
pub use claims::DynamoClaims;
pub use connection::{Connection, Endpoints};
#[cfg(feature = "dynamodb")]
pub use heartbeats::DynamoHeartbeats;
#[cfg(feature = "kms")]
pub use keys::{KmsDataKeys, KmsSigner, SigningAlgorithm};
#[cfg(feature = "dynamodb")]
pub use log_lock::DynamoLogLock;
#[cfg(feature = "s3")]
pub use log_objects::S3Log;
#[cfg(feature = "dynamodb")]
pub use releases::DynamoReleases;
#[cfg(feature = "dynamodb")]
pub use seal_index::DynamoSealIndex;
#[cfg(feature = "s3")]
pub use spill::S3Spill;
