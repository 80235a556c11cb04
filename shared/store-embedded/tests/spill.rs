//! The recorder with a spill, and the replay of what was spilled: every way in which log, spill and process may fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "spill/faults.rs"]
mod faults;
#[path = "spill/files.rs"]
mod files;
#[path = "spill/model.rs"]
mod model;
#[path = "spill/replaying.rs"]
mod replaying;
#[path = "spill/support.rs"]
mod support;
#[path = "spill/unanswered.rs"]
mod unanswered;
