//! What the tests of the AWS stores stand on: emulators, fresh tables, buckets, keys and functions, and a proxy that
//! makes an emulator slow, refuse, break off and forget to answer.
//!
//! Everything here panics where it cannot go on: it serves tests alone.

pub mod emulators;
pub mod fixtures;
pub mod proxy;
pub mod served;
pub mod tables;
