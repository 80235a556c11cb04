//! Events as CSV (RFC 4180): a header, a line each, CRLF. `docs/audit.md` describes the columns.

use audit::LeafHash;
use domain::EventKeys;
use serde::Deserialize;

use crate::read::FoundEvent;

/// The columns.
pub(crate) const COLUMNS: [&str; 15] = [
    "time",
    "kind",
    "stream",
    "seq",
    "leaf_hash",
    "sealed",
    "index",
    "model",
    "symbols",
    "request_id",
    "principal",
    "code",
    "fault",
    "entry",
    "sig_hex",
];

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    time: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    principal: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

/// What a spreadsheet would take for a formula begins so.
const FORMULA: [char; 11] = [
    '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// The cell, with an apostrophe before what a spreadsheet would take for a formula.
fn harmless(cell: String) -> String {
    if cell.starts_with(FORMULA) {
        format!("'{cell}")
    } else {
        cell
    }
}

fn row_of(event: &FoundEvent) -> [String; COLUMNS.len()] {
    let entry_bytes = event
        .record
        .as_ref()
        .map_or(&[][..], |record| &record.entry);
    let keys = EventKeys::of(entry_bytes).ok();
    let entry: Entry = serde_json::from_slice(entry_bytes).unwrap_or_default();
    let model = keys.as_ref().and_then(|keys| keys.model.as_ref());
    let symbols = keys.as_ref().map(|keys| {
        let symbols: Vec<&str> = keys.symbols.iter().map(domain::Symbol::as_str).collect();
        symbols.join(" ")
    });
    let request = keys.as_ref().and_then(|keys| keys.request.as_ref());
    let signature = event
        .record
        .as_ref()
        .map(|record| hex::encode(record.signature));
    let cells = [
        entry.time,
        keys.as_ref()
            .map(|keys| keys.kind.clone())
            .unwrap_or_default(),
        event.stream.to_string(),
        event.seq.to_string(),
        event
            .leaf_hash()
            .as_ref()
            .map(LeafHash::to_string)
            .unwrap_or_default(),
        event.index.is_some().to_string(),
        event
            .index
            .map(|index| index.to_string())
            .unwrap_or_default(),
        model
            .map(|(name, version)| format!("{name}@{version}"))
            .unwrap_or_default(),
        symbols.unwrap_or_default(),
        request.map(ToString::to_string).unwrap_or_default(),
        entry.data.principal.unwrap_or_default(),
        entry.data.code.unwrap_or_default(),
        event
            .fault
            .as_ref()
            .map(|fault| fault.code.to_owned())
            .unwrap_or_default(),
        String::from_utf8_lossy(entry_bytes).into_owned(),
        signature.unwrap_or_default(),
    ];
    cells.map(harmless)
}

fn write<'a>(rows: impl IntoIterator<Item = Vec<&'a [u8]>>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        // Writing to memory does not fail, and every row has as many cells as the first.
        if let Err(error) = writer.write_record(row) {
            tracing::error!(error = %error, "a line of CSV was not written");
        }
    }
    writer.into_inner().unwrap_or_default()
}

/// The first line.
pub(crate) fn header() -> Vec<u8> {
    write([COLUMNS.iter().map(|name| name.as_bytes()).collect()])
}

/// An event's line.
pub(crate) fn line(event: &FoundEvent) -> Vec<u8> {
    let row = row_of(event);
    write([row.iter().map(String::as_bytes).collect()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_begins_like_a_formula_is_made_text() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("{\"a\":\"=1\"}", "{\"a\":\"=1\"}"),
            ("SPX", "SPX"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell.to_owned()), written);
        }
    }
}
