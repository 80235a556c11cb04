//! A stream as a text file: one JSON object a line, the registration first.
//!
//! ```text
//! {"registration":{…},"key_id":"…","sig":"base64"}
//! {"entry":{…},"sig":"base64"}
//! ```
//! The objects in `registration` and `entry` are the signed bytes themselves, so `jq` reads the file and a
//! verifier needs no canonicalization of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::EventFormat;
use crate::stream::{Record, SignedRegistration, StreamId};

/// A line that is no line of an exported stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseLineError {
    /// Not the JSON that a line should be.
    #[error("not a line of an audit stream: {0}")]
    Malformed(String),
    /// The signature is not base64 of 64 bytes.
    #[error("`sig`: expected base64 of 64 bytes")]
    Signature,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistrationLine<'a> {
    #[serde(borrow)]
    registration: &'a RawValue,
    key_id: String,
    sig: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine<'a> {
    #[serde(borrow)]
    entry: &'a RawValue,
    sig: &'a str,
}

#[derive(Deserialize)]
struct EntryHead {
    #[expect(dead_code, reason = "an unknown format must not parse")]
    format: EventFormat,
    stream: StreamId,
    seq: u64,
}

fn malformed(error: serde_json::Error) -> ParseLineError {
    ParseLineError::Malformed(error.to_string())
}

fn parse_signature(text: &str) -> Result<[u8; 64], ParseLineError> {
    STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(ParseLineError::Signature)
}

/// The first line of a stream, with its line feed.
pub fn registration_line(signed: &SignedRegistration) -> Vec<u8> {
    let mut line = b"{\"registration\":".to_vec();
    line.extend_from_slice(&signed.registration);
    line.extend_from_slice(b",\"key_id\":");
    line.extend_from_slice(
        serde_json::Value::from(signed.key_id.as_str())
            .to_string()
            .as_bytes(),
    );
    push_signature(&mut line, &signed.signature);
    line
}

/// Any later line of a stream, with its line feed.
pub fn record_line(record: &Record) -> Vec<u8> {
    let mut line = Vec::with_capacity(record.entry.len() + 112);
    line.extend_from_slice(b"{\"entry\":");
    line.extend_from_slice(&record.entry);
    push_signature(&mut line, &record.signature);
    line
}

fn push_signature(line: &mut Vec<u8>, signature: &[u8; 64]) {
    line.extend_from_slice(b",\"sig\":\"");
    line.extend_from_slice(STANDARD.encode(signature).as_bytes());
    line.extend_from_slice(b"\"}\n");
}

/// Reads the first line of a stream.
///
/// # Errors
/// [`ParseLineError`] with what was expected.
pub fn parse_registration_line(line: &[u8]) -> Result<SignedRegistration, ParseLineError> {
    let line: RegistrationLine<'_> = serde_json::from_slice(line).map_err(malformed)?;
    Ok(SignedRegistration {
        registration: line.registration.get().as_bytes().to_vec(),
        key_id: line.key_id,
        signature: parse_signature(line.sig)?,
    })
}

/// Reads any later line of a stream. Whether the record is right is for
/// [`StreamVerifier`](crate::verify::StreamVerifier) to say.
///
/// # Errors
/// [`ParseLineError`] with what was expected.
pub fn parse_record_line(line: &[u8]) -> Result<Record, ParseLineError> {
    let line: RecordLine<'_> = serde_json::from_slice(line).map_err(malformed)?;
    let head: EntryHead = serde_json::from_str(line.entry.get()).map_err(malformed)?;
    Ok(Record {
        stream: head.stream,
        seq: head.seq,
        entry: line.entry.get().as_bytes().to_vec(),
        signature: parse_signature(line.sig)?,
    })
}
