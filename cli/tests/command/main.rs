//! The command as its users run it: a process with arguments, files, two outputs and an exit code.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit_api;
mod audit_streams;
mod chain;
mod describe;
mod failures;
mod import_spill;
mod predict;
mod score;
mod sealed_log;
mod sealing;
mod served;
mod stores;
mod support;
mod tokens;
