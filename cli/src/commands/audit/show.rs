//! `sealcast audit show`: one event, readable.

use std::path::PathBuf;

use audit::StreamId;
use clap::Args;
use serde_json::{Value, json};

use crate::arguments::StoreArguments;
use crate::failure::Failure;
use crate::output::{self, Report, Text};
use crate::stores::Stores;
use crate::stream_file;

/// Show one event of a stream's file, or of a stream in the store.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The stream's file; `-` is standard input. Without it, the stream is read from the store.
    #[arg(conflicts_with_all = ["stream", "data", "stack"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArguments,
    /// The store's stream; not needed where there is only one.
    #[arg(long, value_parser = super::parse_stream)]
    stream: Option<StreamId>,
    /// The event's position in the stream, from 0.
    #[arg(long, value_name = "N")]
    seq: u64,
    /// Verify the stream up to the event under this key, as `audit verify` does. Repeatable.
    #[arg(long = "key", value_name = "[ID=]PUB.pem")]
    keys: Vec<String>,
}

/// Finds and prints the event.
pub(crate) fn run(arguments: &ShowArguments) -> Result<Report, Failure> {
    let keys = stream_file::read_keys(&arguments.keys)?;
    let record = if let Some(path) = &arguments.file {
        stream_file::find_record(stream_file::open(path)?, arguments.seq, &keys)?
    } else {
        let streams = Stores::open(&arguments.store)?.streams();
        let stream = streams.choose(arguments.stream)?;
        if keys.is_empty() {
            streams.find(stream, arguments.seq)?
        } else {
            stream_file::find_record(streams.open(stream)?, arguments.seq, &keys)?
        }
    };
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
