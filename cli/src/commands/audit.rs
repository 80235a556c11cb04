//! `sealcast audit`: what was recorded, and whether it is still what was recorded.

mod checkpoint;
mod export;
mod import_spill;
mod prove;
mod query;
mod show;
mod streams;
mod tail;
mod verify;

use audit::StreamId;
use clap::{Args, Subcommand};

use crate::arguments::StoreArguments;
use crate::failure::{Exit, Failure};
use crate::log_trust::{Trust, TrustArguments};
use crate::output::{Form, Report};
use crate::sealed_log::{LogArguments, Source};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Streams(streams::StreamsArguments),
    Export(export::ExportArguments),
    ImportSpill(import_spill::ImportSpillArguments),
    Verify(Box<verify::VerifyArguments>),
    Checkpoint(checkpoint::CheckpointArguments),
    Prove(prove::ProveArguments),
    Query(query::QueryArguments),
    Tail(tail::TailArguments),
    Show(show::ShowArguments),
}

fn parse_stream(text: &str) -> Result<StreamId, String> {
    StreamId::parse(text).ok_or_else(|| "expected 32 lower-case hexadecimal digits".to_owned())
}

/// Runs one of the audit commands.
pub(crate) fn run(command: &AuditCommand, form: Form) -> Result<Report, Failure> {
    match command {
        AuditCommand::Streams(arguments) => streams::run(arguments),
        AuditCommand::Export(arguments) => export::run(arguments),
        AuditCommand::ImportSpill(arguments) => import_spill::run(arguments),
        AuditCommand::Verify(arguments) => verify::run(arguments),
        AuditCommand::Checkpoint(arguments) => checkpoint::run(arguments),
        AuditCommand::Prove(arguments) => prove::run(arguments),
        AuditCommand::Query(arguments) => query::run(arguments, form),
        AuditCommand::Tail(arguments) => tail::run(arguments, form),
        AuditCommand::Show(arguments) => show::run(arguments),
    }
}

/// Which log a command reads, and what makes it trusted.
#[derive(Debug, Args)]
struct LogChoice {
    #[command(flatten)]
    log: LogArguments,
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    trust: TrustArguments,
}

impl LogChoice {
    /// The log that was named, and the keys that make its checkpoint trusted.
    fn open(&self) -> Result<(Source, Trust), Failure> {
        let source = self.log.open(&self.store).map_err(not_verified)?;
        let trust = self.trust.read_for(&source).map_err(not_verified)?;
        Ok((source, trust))
    }
}

/// A failure to write a file that was asked for, which says nothing about the log: another name helps where the file
/// exists, and perhaps another time where the disk did not take it.
fn not_written(failure: Failure) -> Failure {
    let exit = if failure.code == "file.exists" {
        Exit::Usage
    } else {
        Exit::Unavailable
    };
    Failure { exit, ..failure }
}

/// A failure before anything was verified: not evidence of anything.
fn not_verified(mut failure: Failure) -> Failure {
    if failure.exit == Exit::Refused {
        failure.exit = if failure.code == "audit.key_malformed" {
            Exit::Usage
        } else {
            Exit::Unavailable
        };
    }
    failure
}
