//! `sealcast audit`: what was recorded, and whether it is still what was recorded.

mod export;
mod import_spill;
mod show;
mod streams;
mod verify;

use audit::StreamId;
use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Streams(streams::StreamsArguments),
    Export(export::ExportArguments),
    ImportSpill(import_spill::ImportSpillArguments),
    Verify(verify::VerifyArguments),
    Show(show::ShowArguments),
}

fn parse_stream(text: &str) -> Result<StreamId, String> {
    StreamId::parse(text).ok_or_else(|| "expected 32 lower-case hexadecimal digits".to_owned())
}

/// Runs one of the audit commands.
pub(crate) fn run(command: &AuditCommand) -> Result<Report, Failure> {
    match command {
        AuditCommand::Streams(arguments) => streams::run(arguments),
        AuditCommand::Export(arguments) => export::run(arguments),
        AuditCommand::ImportSpill(arguments) => import_spill::run(arguments),
        AuditCommand::Verify(arguments) => verify::run(arguments),
        AuditCommand::Show(arguments) => show::run(arguments),
    }
}
