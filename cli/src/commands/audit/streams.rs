//! `sealcast audit streams`: which streams a store holds.

use clap::Args;
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::stores::{ListedStream, Stores};

/// List the audit streams of a store; one process is one stream.
#[derive(Debug, Args)]
pub(crate) struct StreamsArguments {
    #[command(flatten)]
    store: StoreArguments,
}

/// Lists the streams, the one that was opened last at the end.
pub(crate) fn run(arguments: &StreamsArguments) -> Result<Report, Failure> {
    let mut listed = Stores::open(&arguments.store)?.streams().list()?;
    listed.sort_by(|a, b| a.opened.cmp(&b.opened));
    let rows: Vec<Vec<String>> = listed.iter().map(describe).collect();
    let sized = listed.iter().any(|stream| stream.bytes.is_some());
    let title = if sized {
        "stream, opened, size, host"
    } else {
        "stream, opened, host"
    };
    let text = Text::new()
        .field("streams", listed.len())
        .table(title, &rows);
    Report::new(&json!({ "streams": listed }), text)
}

fn describe(stream: &ListedStream) -> Vec<String> {
    let opened = stream.opened.clone();
    let mut row = vec![
        stream.stream.to_string(),
        opened.unwrap_or_else(|| "no registration".to_owned()),
    ];
    row.extend(stream.bytes.map(|bytes| format!("{bytes} bytes")));
    row.push(stream.host.clone().unwrap_or_default());
    row
}
