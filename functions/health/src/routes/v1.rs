//! `/v1`.

pub(super) mod status;
