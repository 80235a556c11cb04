//! The spill: where events go while the audit log takes none, and how they come back.
//!
//! In the mode [`AuditMode::Available`] a [`Recorder`](crate::Recorder) that the log refuses writes the very records
//! that the log should have taken, signed and at their positions, to a [`SpillWriter`](crate::ports::SpillWriter), and
//! where that refuses too, to the process's own log ([`SpilledLines`]). [`replay`](replay::replay) puts them into
//! the log: an ordinary registration and ordinary records, each at its position, so that it may be cut short and
//! repeated at any point.

pub mod item;
pub mod lines;
pub mod mode;
pub mod replay;

pub use item::{MAX_ITEM_BYTES, SpillContent, SpillFault, SpillItem, SpillName};
pub use lines::{ImportError, SpilledLines, items_in};
pub use mode::AuditMode;
pub use replay::{
    ReplayFinding, ReplayPorts, ReplayReport, SpillSummary, WaitingStream, replay, summarize,
};
