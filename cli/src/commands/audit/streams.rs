//! `sealcast audit streams`: which streams a data directory holds.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use audit::{Registration, StreamId, export};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::arguments::DataDir;
use crate::failure::Failure;
use crate::output::{Report, Text};

const MAX_REGISTRATION: u64 = 64 << 10;

/// List the audit streams of a data directory; one process is one stream.
#[derive(Debug, Args)]
pub(crate) struct StreamsArguments {
    #[command(flatten)]
    data: DataDir,
}

/// A stream as its file's first line and size tell it; nothing is verified.
#[derive(Debug, Serialize)]
struct Listed {
    stream: StreamId,
    file: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_key: Option<String>,
}

/// Lists the streams, the one that was opened last at the end.
pub(crate) fn run(arguments: &StreamsArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let data = &arguments.data.path;
    let mut listed = store_embedded::list_streams(data)?
        .into_iter()
        .map(|stream| describe(data, stream))
        .collect::<Result<Vec<_>, _>>()?;
    listed.sort_by(|a, b| a.opened.cmp(&b.opened));
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|stream| {
            vec![
                stream.stream.to_string(),
                stream
                    .opened
                    .clone()
                    .unwrap_or_else(|| "no registration".to_owned()),
                format!("{} bytes", stream.bytes),
                stream.host.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let text = Text::new()
        .field("streams", listed.len())
        .table("stream, opened, size, host", &rows);
    Report::new(&json!({ "streams": listed }), text)
}

fn describe(data: &Path, stream: StreamId) -> Result<Listed, Failure> {
    let path = data.join("audit").join(format!("{stream}.jsonl"));
    let fail = |error: std::io::Error| Failure::file("read", &path, &error);
    let file = File::open(&path).map_err(fail)?;
    let bytes = file.metadata().map_err(fail)?.len();
    let mut line = Vec::new();
    BufReader::new(file.take(MAX_REGISTRATION))
        .read_until(b'\n', &mut line)
        .map_err(fail)?;
    // A file whose first line cannot be read is listed all the same; `verify` says what is wrong with it.
    let signed = export::parse_registration_line(&line).ok();
    let registration: Option<Registration> = signed
        .as_ref()
        .and_then(|signed| serde_json::from_slice(&signed.registration).ok());
    Ok(Listed {
        stream,
        file: path.display().to_string(),
        bytes,
        opened: registration.as_ref().map(|found| found.time.clone()),
        host: registration.map(|found| found.host),
        registration_key: signed.map(|found| found.key_id),
    })
}
