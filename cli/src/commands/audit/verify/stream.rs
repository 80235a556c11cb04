//! Verification of a stream: of an exported one offline, else of one in the store.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::super::not_verified;
use super::VerifyArguments;
use crate::failure::Failure;
use crate::log_trust::KeyFrom;
use crate::output::{self, Report, Text};
use crate::stores::Stores;
use crate::stream_file::{self, Verification};

/// Verifies the stream to its end, in constant memory.
pub(super) fn run(arguments: &VerifyArguments) -> Result<Report, Failure> {
    let keys = arguments.log.trust.read_of_stream();
    let mut keys = keys.map_err(not_verified)?;
    let mut from = KeyFrom::Given;
    let stream = if let Some(path) = &arguments.file {
        stream_file::open(path)?
    } else {
        let stores = Stores::open(&arguments.log.store)?;
        if keys.is_empty() {
            keys = stores.wait(stores.trusted_stream_keys())?;
            from = KeyFrom::Store;
        }
        let streams = stores.streams();
        // A receipt names its stream.
        let named = arguments.receipts.first().map(|receipt| receipt.stream);
        streams.open(streams.choose(arguments.stream.or(named))?)?
    };
    let started = Instant::now();
    let found = stream_file::verify_stream(stream, &keys, &arguments.receipts)?;
    let duration_ms = started.elapsed().as_secs_f64() * 1e3;
    let Verification {
        report,
        torn_bytes,
        receipts,
    } = &found;
    let mut value = match serde_json::to_value(report) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    value.insert("verified".to_owned(), true.into());
    value.insert("key_from".to_owned(), json!(from));
    value.insert("torn_bytes".to_owned(), (*torn_bytes).into());
    value.insert(
        "duration_ms".to_owned(),
        (duration_ms.round() as u64).into(),
    );
    if !receipts.is_empty() {
        value.insert("receipts".to_owned(), json!(receipts));
    }
    Report::new(&value, describe(&found, from, duration_ms)?)
}

fn describe(found: &Verification, from: KeyFrom, duration_ms: f64) -> Result<Text, Failure> {
    let report = &found.report;
    let kinds: Vec<Vec<String>> = report
        .kinds
        .iter()
        .map(|(kind, count)| vec![kind.clone(), count.to_string()])
        .collect();
    let end = if report.closed {
        "closed: the stream says itself that it ended"
    } else {
        "open: the process still records, or was killed; what is cut off the end is not missed"
    };
    let torn = (found.torn_bytes > 0).then(|| {
        let bytes = found.torn_bytes;
        format!("{bytes} bytes of an incomplete last line, as a writer leaves it that is killed or still writes")
    });
    let mut text = Text::new()
        .field(
            "verified",
            format!("{} events in {duration_ms:.0} ms", report.events),
        )
        .field("stream", report.stream)
        .field("host", &report.host)
        .field("registered by", &report.registration_key)
        .optional("but", from.registrar_caveat())
        .optional("first event", report.first_time.as_ref())
        .optional("last event", report.last_time.as_ref())
        .field("head", report.head)
        .field("end", end)
        .optional("torn", torn)
        .table("events", &kinds);
    for event in &found.receipts {
        let event_json =
            serde_json::to_value(event).map_err(|error| Failure::internal(error.to_string()))?;
        text = text
            .line(format!("receipt of event {}", event.seq))
            .line(output::to_readable_json(&event_json));
    }
    Ok(text)
}
