//! `/v1`.

pub(super) mod audit;
