//! Real function binaries behind a Runtime API, and the events of `events/` through the real host.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod concurrency;
mod events;
mod lifecycle;
mod modes;
mod support;
mod ticks;
