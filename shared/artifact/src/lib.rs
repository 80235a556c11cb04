//! Sealed model artifacts: the manifest that says what a model is, the
//! encrypted container that holds it and the signature that vouches for it.
//!
//! Pure code: keys, salts and signatures come in as arguments, so the same
//! functions serve a laptop, a Lambda function and the tests.

pub mod ids;
pub mod manifest;

pub use ids::{ModelName, ModelVersion, ParseIdError, Sha256Digest, Symbol};
pub use manifest::Manifest;
