//! Answers questions to the audit log, with proofs.
//!
//! A question is read strictly ([`question`]), the events that it asks for are found page by page, read, and held
//! against the sealed log as of its newest checkpoint. Every question is itself an event, durable before its answer
//! leaves; a refused one is recorded by the edge.

pub mod config;
pub mod cursor;
pub mod function;
pub mod question;
pub mod routes;

mod alarms;
mod csv_rows;
mod find;
mod head;
mod parameters;
mod proof;
mod read;
mod registration;
mod sealed;

pub use cursor::Cursor;
pub use function::{AuditQuery, Limits, Ports};
pub use routes::{ROUTES, router};
