//! What tests of more than one crate need: contract suites over `&dyn Port`,
//! a wrapper that makes any port fail on cue, clocks, and builders.
//!
//! A suite asserts: it panics with what the port's documentation asks for.
//! It picks fresh names, so it may run against a store that is in use.

pub mod build;
pub mod clock;
pub mod contract;
pub mod entropy;
pub mod faulty;
pub mod memory;
pub mod memory_log;
pub mod openapi;
pub mod sealing;
pub mod signer;

pub use clock::{FixedClock, ManualClock};
pub use entropy::SeededEntropy;
pub use faulty::{Fault, Faulty};
pub use memory::{MemoryAudit, MemorySpill};
pub use memory_log::{MemoryLog, MemorySealIndex};
pub use sealing::Sealing;
pub use signer::TestSigner;
