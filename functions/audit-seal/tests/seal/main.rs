//! The sealer over stores in memory, with every fault that a store can have.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod altered;
mod attacks;
mod backlog;
mod faults;
mod registrars;
mod schedules;
mod sealing;
mod spilled;
mod streams;
mod support;
mod unsealed;
