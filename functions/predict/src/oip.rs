//! The Open Inference Protocol, version 2 over REST, with the binary tensor extension.
//!
//! Source: `inference_rest.md` of the protocol's own repository, and Triton's `extension_binary_data.md`.

pub mod binary;
pub mod dto;
pub mod request;
pub mod response;
