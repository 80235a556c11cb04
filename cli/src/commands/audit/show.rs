//! `sealcast audit show`: one event, readable.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Report, Text};
use crate::stream_file;

/// Show one event of a stream's file.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The stream's file; `-` is standard input.
    file: PathBuf,
    /// The event's position in the stream, from 0.
    #[arg(long, value_name = "N")]
    seq: u64,
    /// Verify the stream up to the event under this key, as `audit verify` does. Repeatable.
    #[arg(long = "key", value_name = "[ID=]PUB.pem")]
    keys: Vec<String>,
}

/// Finds and prints the event.
pub(crate) fn run(arguments: &ShowArguments) -> Result<Report, Failure> {
    let keys = arguments
        .keys
        .iter()
        .map(|given| stream_file::read_key(given))
        .collect::<Result<Vec<_>, _>>()?;
    let record = stream_file::find_record(&arguments.file, arguments.seq, &keys)?;
    let event: Value = serde_json::from_slice(&record.entry)
        .map_err(|error| Failure::refused("audit.event_unreadable", error.to_string()))?;
    let receipt = record.receipt();
    let verified = !keys.is_empty();
    let text = Text::new()
        .field(
            "receipt",
            format!("{}:{}:{}", receipt.stream, receipt.seq, receipt.leaf_hash),
        )
        .field(
            "verified",
            if verified {
                "up to this event"
            } else {
                "no: give --key"
            },
        )
        .line(output::to_readable_json(&event));
    Report::new(
        &json!({
            "receipt": receipt,
            "verified": verified,
            "signature": stream_file::encode_signature(&record.signature),
            "event": event,
        }),
        text,
    )
}
