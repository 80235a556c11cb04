//! The audit log: events, their canonical bytes, the chain of one stream and
//! its verification.
//!
//! Every process that answers opens a *stream*: an ephemeral Ed25519 key whose
//! public half is registered under the firm's own key. Each event carries the
//! hash of the one before it and is signed with the ephemeral key, so an event
//! that was altered, dropped from the middle, moved or put in from outside is
//! found by [`verify::StreamVerifier`] with nothing but the stream and the
//! registration key.
//!
//! Pure code: time and randomness are arguments, and nothing is read or written.

pub mod canonical;
pub mod checkpoint;
pub mod event;
pub mod export;
pub mod note;
pub mod proof_file;
pub mod seal;
pub mod stream;
pub mod tiles;
pub mod tree;
pub mod verify;
pub mod whole_log;

pub use event::{Event, EventBody};
pub use stream::{
    LeafHash, PublicKey, Receipt, Record, RecordError, Registration, SignedRegistration, Stream,
    StreamId,
};
pub use verify::{StreamFault, StreamReport, StreamVerifier};
