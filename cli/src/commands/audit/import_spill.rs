//! `sealcast audit import-spill`: puts back what a process could only write to its own log.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use clap::Args;
use domain::StoreError;
use domain::spill::items_in;
use serde::Serialize;
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::failure::{Exit, Failure};
use crate::output::{Report, Text};
use crate::progress;
use crate::stores::Stores;
use crate::stream_file;

/// Longest line that is read, in bytes: many records of 65,535 in base64, and what a log service puts around them.
const MAX_LINE: u64 = 64 << 20;

/// Put events that are only in a process's log (lines with the code `audit.spilled`) into the spill of a store, from
/// which they are replayed. Other lines are passed over; the same file again changes nothing.
#[derive(Debug, Args)]
pub(crate) struct ImportSpillArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The spill's folder, where it is not in the data directory.
    #[arg(long, value_name = "DIR", conflicts_with = "stack")]
    spill: Option<PathBuf>,
    /// The log, one line an event as it was written, or as JSON strings; `-` is standard input.
    file: PathBuf,
}

/// A line that says that it is a spilled item, and was not imported.
#[derive(Debug, Serialize)]
struct NotImported {
    /// Counts from 1.
    line: u64,
    reason: String,
}

/// Imports every item that the log holds.
pub(crate) fn run(arguments: &ImportSpillArguments) -> Result<Report, Failure> {
    let stores = Stores::open(&arguments.store)?;
    let spill = stores.spill(arguments.spill.as_deref())?;
    let log = stream_file::open(&arguments.file)?;
    let (name, mut lines) = (log.name, BufReader::new(log.lines));
    let (mut items, mut events, mut damaged) = (0_u64, 0, Vec::new());
    let shown = progress::show(format!("importing {name}"));
    let mut bytes = Vec::new();
    for line in 1_u64.. {
        bytes.clear();
        let read = (&mut lines).take(MAX_LINE).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| Failure::file("read", &arguments.file, &error))?;
        if read == 0 {
            break;
        }
        for item in items_in(&String::from_utf8_lossy(&bytes)) {
            let reason = match item {
                Err(error) => error.to_string(),
                Ok(item) => match stores.wait(spill.put(&item)) {
                    Ok(()) => {
                        items += 1;
                        events += item.name().events();
                        continue;
                    }
                    Err(error @ (StoreError::Conflict(_) | StoreError::TooLarge(_))) => {
                        error.to_string()
                    }
                    Err(error) => {
                        return Err(Failure::from(error).while_doing(format!("line {line}")));
                    }
                },
            };
            damaged.push(NotImported { line, reason });
        }
    }
    drop(shown);
    let rows: Vec<Vec<String>> = damaged
        .iter()
        .map(|not| vec![not.line.to_string(), not.reason.clone()])
        .collect();
    let text = Text::new()
        .field("file", &name)
        .field("items", items)
        .field("events", events)
        .table("line, not imported", &rows);
    let body = json!({ "file": name, "items": items, "events": events, "not_imported": damaged });
    let report = Report::new(&body, text)?;
    Ok(if damaged.is_empty() {
        report
    } else {
        report.ending_with(Exit::Refused)
    })
}
