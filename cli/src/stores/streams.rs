//! Audit streams wherever they are kept, given in the one form in which they are exported.

use std::io::{self, Read, Write};

use audit::{Record, Registration, SignedRegistration, StreamId};
use serde::Serialize;

use crate::failure::Failure;
use crate::stream_file;

/// A stream as its registration tells it; nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ListedStream {
    pub(crate) stream: StreamId,
    /// Its file, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The file's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opened: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registration_key: Option<String>,
}

impl ListedStream {
    /// A stream with this registration. One that cannot be read is listed all the same: `audit verify` says what
    /// is wrong with it.
    pub(super) fn new(stream: StreamId, signed: Option<&SignedRegistration>) -> Self {
        let registration: Option<Registration> =
            signed.and_then(|signed| serde_json::from_slice(&signed.registration).ok());
        Self {
            stream,
            file: None,
            bytes: None,
            opened: registration.as_ref().map(|found| found.time.clone()),
            host: registration.map(|found| found.host),
            registration_key: signed.map(|signed| signed.key_id.clone()),
        }
    }
}

/// The lines of one stream, registration first, in the form of [`audit::export`].
pub(crate) struct OpenStream {
    /// What it is called in sentences.
    pub(crate) name: String,
    /// Its length; 0 where that is not known.
    pub(crate) bytes: u64,
    /// The lines.
    pub(crate) lines: Box<dyn Read>,
}

/// Why a stream was not copied.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The stream is not there, or cannot be read.
    Source(Failure),
    /// The output refused.
    Output(io::Error),
}

/// Gives audit streams.
pub(crate) trait StreamSource {
    /// What holds the streams.
    fn place(&self) -> String;

    /// The ids of all streams, ascending.
    fn ids(&self) -> Result<Vec<StreamId>, Failure>;

    /// All streams.
    fn list(&self) -> Result<Vec<ListedStream>, Failure>;

    /// Opens a stream; an incomplete last line, as a writer leaves it that was killed, may be there.
    fn open(&self, stream: StreamId) -> Result<OpenStream, Failure>;

    /// Copies whole lines only, as they stand; gives their number of bytes.
    fn copy(&self, stream: StreamId, out: &mut dyn Write) -> Result<u64, CopyError>;

    /// The record at a position; nothing is verified.
    fn find(&self, stream: StreamId, seq: u64) -> Result<Record, Failure> {
        stream_file::find_record(self.open(stream)?, seq, &[])
    }
}

impl dyn StreamSource {
    /// The stream that was named, or the only one that there is.
    pub(crate) fn choose(&self, named: Option<StreamId>) -> Result<StreamId, Failure> {
        if let Some(stream) = named {
            return Ok(stream);
        }
        let place = self.place();
        match self.ids()?.as_slice() {
            [stream] => Ok(*stream),
            [] => {
                let message = format!("{place}: holds no audit stream");
                Err(Failure::not_found("audit.stream_not_found", message).at("--stream"))
            }
            many => {
                let message = format!(
                    "{place} holds {} streams: name one with --stream; `sealcast audit streams` lists them",
                    many.len()
                );
                Err(Failure::usage("--stream", message))
            }
        }
    }
}
