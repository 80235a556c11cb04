//! Makes a security event of every row of the audit table that is changed or removed.
//!
//! Rows are written once, and `DynamoDB` alone removes them when their time is over. A table cannot be told to hold
//! anybody to that; its stream tells what was done.

pub mod change;
pub mod config;
pub mod watch;

pub use change::{Change, UnreadableChange};
pub use watch::{Changes, Looked, Watch};
