//! `sealcast`: the operator's command. Seals, pushes and releases models, asks them, and verifies what was
//! recorded.

mod answer;
mod arguments;
mod ask;
mod commands;
mod describe;
mod elements;
mod events;
mod failure;
mod files;
#[cfg(feature = "aws")]
mod identity;
mod log_proof;
mod log_trust;
mod measure;
mod output;
mod progress;
mod read_tensors;
mod record;
mod releases;
mod sealed;
mod sealed_log;
mod statistics;
mod stores;
mod stream_file;
mod table;
mod tokens;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::Form;

fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let form = if given.iter().any(|argument| argument == "--json") {
        Form::Json
    } else {
        Form::Text
    };
    let outcome = match Arguments::try_parse_from(given) {
        Ok(arguments) => {
            // A panic is reported below as one sentence, not by the default hook.
            std::panic::set_hook(Box::new(|_| {}));
            catch_unwind(AssertUnwindSafe(|| commands::run(arguments.command, form)))
                .unwrap_or_else(|payload| Err(describe_panic(payload.as_ref())))
        }
        Err(error) if form == Form::Text || !error.use_stderr() => {
            // Help, or clap's own words for people.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
        Err(error) => Err(arguments::describe_usage(&error)),
    };
    ExitCode::from(output::print(&outcome, form) as u8)
}

fn describe_panic(payload: &(dyn std::any::Any + Send)) -> Failure {
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Failure::internal(format!("a fault of this program, please report it: {said}"))
}
