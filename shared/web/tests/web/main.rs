//! The edge, around handlers that answer, refuse, panic, hang or speak for the framework.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod edge;
