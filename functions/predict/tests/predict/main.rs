//! The predict function over real stores in a temporary directory, request by request.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod degraded;
mod explained;
mod failing_stores;
mod heartbeats;
mod limits;
mod loading;
mod packed;
mod pinned;
mod protocol;
mod request_id;
mod spilled;
mod support;
