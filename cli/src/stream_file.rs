//! A stream's lines, from a file or a store: read one by one in constant memory, and verified to the end.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use audit::note::VerifierKey;
use audit::{Event, LeafHash, PublicKey, Receipt, Record, StreamReport, StreamVerifier, export};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::files;
use crate::progress::Progress;
use crate::stores::OpenStream;

/// Longest line that is read, in bytes: an entry has at most 65,535, its signature 88.
const MAX_LINE: u64 = 128 << 10;
const MAX_KEY_FILE: u64 = 64 << 10;

/// The lines of a stream.
struct StreamFile {
    lines: BufReader<Box<dyn Read>>,
    name: String,
    line: Vec<u8>,
    number: u64,
    progress: Progress,
}

/// Opens a stream's file; `-` is standard input.
pub(crate) fn open(path: &Path) -> Result<OpenStream, Failure> {
    let (lines, bytes): (Box<dyn Read>, u64) = if path == Path::new("-") {
        (Box::new(io::stdin()), 0)
    } else {
        let fail = |error: io::Error| Failure::file("read", path, &error);
        let file = File::open(path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        (Box::new(file), len)
    };
    Ok(OpenStream {
        name: path.display().to_string(),
        bytes,
        lines,
    })
}

/// One line, without its line feed.
enum Line<'a> {
    /// A line that ends with a line feed, or is a whole JSON object at the end of the file.
    Whole(&'a [u8]),
    /// What a writer that was killed, or is still writing, left at the end: it was never acknowledged.
    Torn(u64),
}

impl StreamFile {
    fn new(stream: OpenStream) -> Self {
        Self {
            lines: BufReader::with_capacity(1 << 20, stream.lines),
            name: stream.name,
            line: Vec::new(),
            number: 0,
            progress: Progress::start("verifying", stream.bytes),
        }
    }

    /// The next line; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Line<'_>>, Failure> {
        self.line.clear();
        let read = (&mut self.lines)
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| Failure::file("read", Path::new(&self.name), &error))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.progress.advance(read as u64);
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            return Ok(Some(Line::Whole(&self.line)));
        }
        if read as u64 == MAX_LINE {
            let message = format!("expected a line of at most {MAX_LINE} bytes");
            return Err(self.blame("audit.line_too_long", &message));
        }
        // A prefix of an object is never an object: one that parses was written to its end.
        if serde_json::from_slice::<serde::de::IgnoredAny>(&self.line).is_ok() {
            return Ok(Some(Line::Whole(&self.line)));
        }
        Ok(Some(Line::Torn(read as u64)))
    }

    /// A failure at the line that was read last.
    fn blame(&self, code: &str, message: &str) -> Failure {
        let (name, line) = (&self.name, self.number);
        Failure::refused(code, format!("{name}, line {line}: {message}"))
            .at(format!("line {line}"))
            .with("line", line)
    }

    /// The records, from the second line on; gives the number of bytes of a torn last line.
    fn read_records(
        &mut self,
        mut visit: impl FnMut(&Record) -> Result<Next, (&'static str, String)>,
    ) -> Result<u64, Failure> {
        let mut seq = 0_u64;
        loop {
            let record = match self.next_line()? {
                None => return Ok(0),
                Some(Line::Torn(bytes)) => return Ok(bytes),
                Some(Line::Whole(line)) => export::parse_record_line(line)
                    .map_err(|error| ("audit.line_malformed", error.to_string())),
            };
            match record.and_then(|record| visit(&record)) {
                Ok(Next::Go) => seq += 1,
                Ok(Next::Stop) => return Ok(0),
                Err((code, message)) => {
                    return Err(self.blame(code, &message).with("seq", seq));
                }
            }
        }
    }

    /// The first line.
    fn read_registration(&mut self) -> Result<audit::SignedRegistration, Failure> {
        let parsed = match self.next_line()? {
            Some(Line::Whole(line)) => export::parse_registration_line(line)
                .map_err(|error| ("audit.registration_unreadable", error.to_string())),
            Some(Line::Torn(_)) => Err((
                "audit.registration_unreadable",
                "an incomplete line: not a stream's file, or one that was just being made"
                    .to_owned(),
            )),
            None => Err((
                "audit.registration_missing",
                "expected the stream's registration, found an empty file".to_owned(),
            )),
        };
        parsed.map_err(|(code, message)| {
            self.number = self.number.max(1);
            self.blame(code, &message)
        })
    }
}

enum Next {
    Go,
    Stop,
}

/// What verification found.
pub(crate) struct Verification {
    /// What was verified.
    pub(crate) report: StreamReport,
    /// Bytes of an incomplete last line; 0 where there is none.
    pub(crate) torn_bytes: u64,
    /// The events that the receipts name, in the receipts' order.
    pub(crate) receipts: Vec<Event>,
}

/// Verifies every record of a stream against the keys, and finds the events that the receipts name.
pub(crate) fn verify_stream(
    stream: OpenStream,
    keys: &[(String, PublicKey)],
    receipts: &[Receipt],
) -> Result<Verification, Failure> {
    let mut file = StreamFile::new(stream);
    let signed = file.read_registration()?;
    let mut verifier = StreamVerifier::new(&signed, keys)
        .map_err(|fault| file.blame(fault.code(), &fault.to_string()))?;
    let stream = verifier.report().stream;
    if let Some(other) = receipts.iter().find(|receipt| receipt.stream != stream) {
        let message = format!(
            "the receipt names stream {}, this is {stream}",
            other.stream
        );
        return Err(Failure::refused("audit.receipt_other_stream", message).at("--receipt"));
    }
    let mut found: Vec<Option<Event>> = vec![None; receipts.len()];
    let torn_bytes = file.read_records(|record| {
        let event = verifier
            .check(record)
            .map_err(|fault| (fault.code(), fault.to_string()))?;
        for (receipt, found) in receipts.iter().zip(&mut found) {
            if receipt.seq == record.seq {
                check_hash(receipt.leaf_hash, record.receipt().leaf_hash)?;
                *found = Some(event.clone());
            }
        }
        Ok(Next::Go)
    })?;
    let report = verifier.report().clone();
    let receipts = receipts
        .iter()
        .zip(found)
        .map(|(receipt, event)| {
            event.ok_or_else(|| {
                let (seq, events) = (receipt.seq, report.events);
                let message = format!("event {seq} is not there: the stream has {events} events");
                Failure::refused("audit.receipt_not_found", message)
                    .at("--receipt")
                    .with("seq", seq)
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Verification {
        report,
        torn_bytes,
        receipts,
    })
}

fn check_hash(expected: LeafHash, found: LeafHash) -> Result<(), (&'static str, String)> {
    if expected == found {
        return Ok(());
    }
    let message = format!("expected hash {expected} as the receipt says, found {found}");
    Err(("audit.receipt_mismatch", message))
}

/// The record at a position, and whether the stream was verified up to it: it is where keys are given.
pub(crate) fn find_record(
    stream: OpenStream,
    seq: u64,
    keys: &[(String, PublicKey)],
) -> Result<Record, Failure> {
    let mut file = StreamFile::new(stream);
    let signed = file.read_registration()?;
    let mut verifier = if keys.is_empty() {
        None
    } else {
        let verifier = StreamVerifier::new(&signed, keys);
        Some(verifier.map_err(|fault| file.blame(fault.code(), &fault.to_string()))?)
    };
    let mut wanted = None;
    file.read_records(|record| {
        if let Some(verifier) = &mut verifier {
            verifier
                .check(record)
                .map_err(|fault| (fault.code(), fault.to_string()))?;
        }
        if record.seq == seq {
            wanted = Some(record.clone());
            return Ok(Next::Stop);
        }
        Ok(Next::Go)
    })?;
    wanted.ok_or_else(|| {
        let message = format!("{}: there is no event {seq}", file.name);
        Failure::not_found("audit.event_not_found", message).at("--seq")
    })
}

/// Reads keys, each given as `[ID=]PUB.pem`.
pub(crate) fn read_keys(given: &[String]) -> Result<Vec<(String, PublicKey)>, Failure> {
    given.iter().map(|given| read_key(given)).collect()
}

/// Reads `[ID=]PUB.pem`: an Ed25519 public key (SPKI, PEM) and the id that registrations name it by, which
/// for a key of a local store follows from the key itself.
fn read_key(given: &str) -> Result<(String, PublicKey), Failure> {
    let (id, path) = match given.split_once('=') {
        Some((id, path)) if !Path::new(given).exists() => (Some(id), Path::new(path)),
        _ => (None, Path::new(given)),
    };
    let pem = files::read_text(path, MAX_KEY_FILE)?;
    let refuse = || {
        let place = path.display().to_string();
        let other = match VerifierKey::parse(pem.trim()) {
            Ok(_) => {
                "; this is the verifier key of a log, which goes with --log, --server or --proof"
            }
            Err(_) => "",
        };
        let message = format!("{place}: expected an Ed25519 public key as SPKI in PEM{other}");
        Failure::refused("audit.key_malformed", message).at(place)
    };
    let (key, derived) = parse_key(&pem).ok_or_else(refuse)?;
    Ok((id.map_or(derived, str::to_owned), key))
}

/// An Ed25519 public key (SPKI, PEM), and the id that it has in a local store.
pub(crate) fn parse_key(pem: &str) -> Option<(PublicKey, String)> {
    let key = VerifyingKey::from_public_key_pem(pem.trim()).ok()?;
    let der = key.to_public_key_der().ok()?;
    let id = hex::encode(&Sha256::digest(der.as_bytes())[..8]);
    Some((PublicKey(key.to_bytes()), id))
}

/// Parses `STREAM:SEQ:HASH`, the form in which an answer carries its receipt.
pub(crate) fn parse_receipt(text: &str) -> Result<Receipt, String> {
    let parse = || {
        let mut parts = text.split(':');
        let receipt = Receipt {
            stream: audit::StreamId::parse(parts.next()?)?,
            seq: parts.next()?.parse().ok()?,
            leaf_hash: LeafHash::parse(parts.next()?)?,
        };
        parts.next().is_none().then_some(receipt)
    };
    parse().ok_or_else(|| {
        "expected STREAM:SEQ:HASH (32 hexadecimal digits, a number, 64 hexadecimal digits)"
            .to_owned()
    })
}

/// A signature as it stands in a line.
pub(crate) fn encode_signature(signature: &[u8; 64]) -> String {
    STANDARD.encode(signature)
}
