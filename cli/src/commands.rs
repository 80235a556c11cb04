//! One file a command: its options and what it does, in terms of the verbs beside this folder.

pub(crate) mod audit;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod keygen;
pub(crate) mod manifest;
pub(crate) mod predict;
pub(crate) mod push;
pub(crate) mod release;
pub(crate) mod score;
pub(crate) mod seal;
pub(crate) mod token;
pub(crate) mod verify;

use crate::arguments::Command;
use crate::failure::Failure;
use crate::output::{Form, Report};

/// Runs a command to its end.
pub(crate) fn run(command: Command, form: Form) -> Result<Report, Failure> {
    match command {
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Manifest(command) => manifest::run(&command),
        Command::Score(arguments) => score::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Key(command) => key::run(&command),
        Command::Token(command) => token::run(&command),
        Command::Seal(arguments) => seal::run(&arguments),
        Command::Push(arguments) => push::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Release(command) => release::run(&command),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Audit(command) => audit::run(&command, form),
    }
}

/// Runs the one future that a command has.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::unavailable("system.no_runtime", error.to_string()))?;
    Ok(runtime.block_on(future))
}
