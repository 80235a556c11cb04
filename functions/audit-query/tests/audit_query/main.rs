//! The function over embedded stores, some of which fail on cue or hold what was never written, request by request.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod document;
mod events;
mod failing_stores;
mod formats;
mod paging;
mod proofs;
mod recorded;
mod refused;
mod registrations;
mod support;
mod tampered;
