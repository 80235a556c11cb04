//! `sealcast audit verify`: whether what was recorded is still what was recorded. Of what is in files it needs the
//! files and public keys only.

mod log;
mod proof;
mod receipts;
mod stream;

use std::path::PathBuf;

use audit::{Receipt, StreamId};
use clap::Args;

use super::LogChoice;
use crate::failure::Failure;
use crate::output::Report;
use crate::stream_file;

const EXIT_CODES: &str = "What is verified:
  FILE                      an exported stream, offline
  EVENT --proof PROOF       one event by its proof file, offline
  --log DIR, --server URL   the whole log, of a copy or behind an API; --log alone is the store's
  … --from N --until N      entries of a range of the log
  … --since CHECKPOINT      that the log has only grown since, and what came since
  … --receipt RECEIPT       that the events of receipts are in the log
  nothing of these          a stream of the store

Exit codes:
  0  verified
  1  not verified: there is evidence of tampering
  2  wrong command line, or a key file that is none
  3  could not be verified: something that it takes is not there
  4  could not be verified: a store, a file or the network is unavailable, or refuses to answer
  5  a fault of this program";

/// Verify a stream, an event by its proof, or the sealed log.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct VerifyArguments {
    /// A stream's file, as the server writes it or `audit export` copies it; `-` is standard input. With --proof the
    /// file of the event.
    #[arg(conflicts_with_all = ["stream", "data", "stack", "log", "server"], requires = "keys")]
    file: Option<PathBuf>,
    /// The event's proof file (c2sp.org/tlog-proof@v1).
    #[arg(
        long,
        value_name = "PROOF",
        requires = "file",
        conflicts_with = "receipts"
    )]
    proof: Option<PathBuf>,
    #[command(flatten)]
    log: LogChoice,
    /// The store's stream; not needed where there is only one, or a receipt names it.
    #[arg(long, value_parser = super::parse_stream, conflicts_with_all = ["log", "server"])]
    stream: Option<StreamId>,
    /// A receipt whose event must be in the stream, where it is printed, or in the log. Repeatable.
    #[arg(long = "receipt", value_name = "STREAM:SEQ:HASH", value_parser = stream_file::parse_receipt)]
    receipts: Vec<Receipt>,
    /// The first entry of the log to verify, by its index.
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["file", "stream", "receipts"])]
    from: Option<u64>,
    /// The entry of the log to end before, by its index.
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["file", "stream", "receipts"])]
    until: Option<u64>,
    /// A checkpoint that was kept: the log must have grown from it; verified are its growth and, without --from,
    /// the entries since.
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["file", "stream", "receipts"])]
    since: Option<PathBuf>,
    /// Keep a copy of what is read of the log in this folder, and read from there what is in it already: an
    /// interrupted run goes on where it was.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "stream", "receipts"])]
    mirror: Option<PathBuf>,
    /// List the log's streams.
    #[arg(long, conflicts_with_all = ["file", "stream", "receipts"])]
    streams: bool,
}

/// Verifies what was named.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<Report, Failure> {
    if let (Some(proof), Some(event)) = (&arguments.proof, &arguments.file) {
        return proof::run(&arguments.log.trust, proof, event);
    }
    let of_log = arguments.from.is_some()
        || arguments.until.is_some()
        || arguments.since.is_some()
        || arguments.mirror.is_some()
        || arguments.streams;
    if arguments.log.log.named() && !arguments.receipts.is_empty() {
        receipts::run(arguments)
    } else if arguments.log.log.named() || of_log {
        log::run(arguments)
    } else {
        stream::run(arguments)
    }
}
