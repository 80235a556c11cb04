//! `/v1`: predictions by symbol and named features.

pub mod batch;
pub mod dto;
mod explanation;
pub mod features;
pub mod outcomes;
pub mod predict;
