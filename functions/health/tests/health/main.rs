//! The health function over stores that fail on cue, request by request.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alerts;
mod document;
mod fakes;
mod probes;
mod readiness;
mod spilled;
mod status;
mod support;
