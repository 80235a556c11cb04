//! Sealed model artifacts: the manifest that says what a model is, the
//! encrypted container that holds it and the signature that vouches for it.
//!
//! Pure code: keys, salts and signatures come in as arguments, so the same
//! functions serve a laptop, a Lambda function and the tests.
//!
//! [`seal::seal`] makes an artifact, [`open::verify`] and
//! [`open::Verified::open`] use one; [`files`] says which files it has.

pub mod container;
pub mod context;
pub mod files;
pub mod ids;
mod json;
pub mod manifest;
pub mod open;
pub mod seal;
pub mod sidecar;
pub mod signature;

pub use container::{DataKey, Salt};
pub use context::Context;
pub use files::ArtifactFiles;
pub use ids::{ModelName, ModelVersion, ParseIdError, Sha256Digest, Symbol};
pub use json::JsonError;
pub use manifest::Manifest;
pub use open::{OpenError, Opened, Verified};
pub use seal::{SealError, SealedArtifact, UnsignedArtifact};
pub use sidecar::Sidecar;
pub use signature::{PublicKey, TrustedKey, TrustedKeysError};
