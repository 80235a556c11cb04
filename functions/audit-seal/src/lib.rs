//! Seals the audit streams: reads what was appended since the last run, checks it, appends it to one Merkle tree and
//! signs the tree's checkpoint.
//!
//! [`Sealer::run`] does it once; on Lambda a schedule calls it every minute, in the server a task. Any number may run
//! at once: they agree through the lock alone, and the one that comes second yields. A run that dies anywhere leaves a
//! log that is whole, or that the next run makes whole from what was staged. See [`audit::seal`] for the order in which
//! things are written.

mod append;
pub mod config;
mod error;
mod gather;
mod head;
mod keys;
mod look;
mod ports;
mod queue;
mod rebuild;
mod report;
mod sealer;
mod settings;
mod spill;
mod tiles;
mod unsealed;

pub use error::SealError;
pub use keys::{KeyError, StreamKeys, log_key, parse_stream_keys, stream_key};
pub use ports::{Ports, Rules};
pub use report::{Outcome, RunReport};
pub use sealer::Sealer;
pub use settings::{SealSettings, interval};
pub use spill::Spill;
