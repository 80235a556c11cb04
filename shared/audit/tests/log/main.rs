//! The log: tree, tiles, notes, proofs, sealing, and what an attacker can do to it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod notes;
mod parts;
mod proofs;
mod sealing;
mod staging;
mod support;
mod tiles;
mod tree;
mod vectors;
