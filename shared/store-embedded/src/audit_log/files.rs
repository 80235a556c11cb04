//! The files of the audit log: their names, their repair, and reading them without a writer.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use audit::{Registration, SignedRegistration, StreamId, export};
use domain::{StoreError, lookup};

use crate::durable;
use crate::error::{OpenError, corrupt, unavailable};

/// Largest registration line that is read, in bytes.
const MAX_REGISTRATION_BYTES: u64 = 64 << 10;

/// Microseconds of an hour.
const HOUR_US: u64 = 3_600_000_000;

/// A stream that was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such stream.
    #[error("there is no stream {0} in this data directory")]
    NotFound(StreamId),
    /// The stream's file cannot be read.
    #[error("read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The output refused.
    #[error("write the export: {0}")]
    Write(io::Error),
}

pub(super) fn stream_path(dir: &Path, stream: StreamId) -> PathBuf {
    dir.join(format!("{stream}.jsonl"))
}

/// Whether the bytes are one line: a line feed at the end and none before.
pub(super) fn is_one_line(bytes: &[u8]) -> bool {
    let feed = bytes.iter().position(|byte| *byte == b'\n');
    feed.is_some_and(|position| position + 1 == bytes.len())
}

/// The streams that have a file, in ascending order.
pub(super) fn streams_in(dir: &Path) -> io::Result<Vec<StreamId>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut streams = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let stream = name
            .to_str()
            .and_then(|name| name.strip_suffix(".jsonl"))
            .and_then(StreamId::parse);
        streams.extend(stream);
    }
    streams.sort();
    Ok(streams)
}

/// The streams of a data directory, in ascending order; also while a server appends to them.
///
/// # Errors
/// [`OpenError`] where the directory cannot be read. One that is missing holds no stream.
pub fn list_streams(data_dir: &Path) -> Result<Vec<StreamId>, OpenError> {
    let dir = data_dir.join("audit");
    streams_in(&dir).map_err(OpenError::io("list", &dir))
}

/// Writes a stream's whole lines, registration first, in the form of [`audit::export`]; gives their number of
/// bytes. Also while a server appends to it: what follows the last line feed is left out.
///
/// # Errors
/// [`ExportError`] where there is no such stream, or reading or writing fails.
pub fn export_stream(
    data_dir: &Path,
    stream: StreamId,
    mut writer: impl Write,
) -> Result<u64, ExportError> {
    let path = stream_path(&data_dir.join("audit"), stream);
    let refuse = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ExportError::NotFound(stream),
        _ => ExportError::Read {
            path: path.clone(),
            source,
        },
    };
    let mut file = File::open(&path).map_err(refuse)?;
    let len = file.metadata().map_err(refuse)?.len();
    let mut left = whole_lines_len(&mut file, len).map_err(refuse)?;
    let exported = left;
    file.seek(SeekFrom::Start(0)).map_err(refuse)?;
    let mut chunk = vec![0; 256 << 10];
    while left > 0 {
        let wanted = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut chunk[..wanted]).map_err(refuse)?;
        writer
            .write_all(&chunk[..wanted])
            .map_err(ExportError::Write)?;
        left -= wanted as u64;
    }
    writer.flush().map_err(ExportError::Write)?;
    Ok(exported)
}

/// The number of bytes up to and with the last line feed, searched from the end.
fn whole_lines_len(file: &mut File, len: u64) -> io::Result<u64> {
    let mut chunk = vec![0; 64 << 10];
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(chunk.len() as u64);
        let part = &mut chunk[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(position) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + position as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Removes unfinished files and cuts off incomplete last lines, and makes durable what is left.
/// Only while no other process writes here.
pub(super) fn repair(dir: &Path) -> Result<(), OpenError> {
    durable::remove_unfinished(dir).map_err(OpenError::io("clean up", dir))?;
    for stream in streams_in(dir).map_err(OpenError::io("list", dir))? {
        let path = stream_path(dir, stream);
        let cut = repair_file(&path).map_err(OpenError::io("repair", &path))?;
        if cut > 0 {
            tracing::warn!(
                audit.stream = %stream,
                audit.cut_bytes = cut,
                "cut an incomplete last line, which was never acknowledged, off an audit stream"
            );
        }
    }
    durable::sync_dir(dir).map_err(OpenError::io("sync", dir))
}

/// Cuts off an incomplete last line; gives the number of bytes cut.
fn repair_file(path: &Path) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    let whole = whole_lines_len(&mut file, len)?;
    if whole < len {
        file.set_len(whole)?;
    }
    file.sync_all()?;
    Ok(len - whole)
}

/// The registration in a stream's file.
pub(super) fn read_registration(
    path: &Path,
    stream: StreamId,
) -> Result<SignedRegistration, StoreError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound(format!("stream {stream}")),
        _ => unavailable("open", path)(error),
    })?;
    let mut line = Vec::new();
    BufReader::new(file.take(MAX_REGISTRATION_BYTES))
        .read_until(b'\n', &mut line)
        .map_err(unavailable("read", path))?;
    let signed = export::parse_registration_line(&line).map_err(|error| corrupt(path, error))?;
    let registration: Registration =
        serde_json::from_slice(&signed.registration).map_err(|error| corrupt(path, error))?;
    if registration.stream == stream {
        Ok(signed)
    } else {
        Err(corrupt(
            path,
            format!(
                "registers stream {}, expected {stream}",
                registration.stream
            ),
        ))
    }
}

/// The hour, counted since 1970, that a stream's registration says; 0 where it says none that can be read.
pub(super) fn registration_hour(path: &Path, stream: StreamId) -> Result<u64, StoreError> {
    let signed = match read_registration(path, stream) {
        // A file that was removed meanwhile has no registration either.
        Err(StoreError::Corrupt(_) | StoreError::NotFound(_)) => return Ok(0),
        signed => signed?,
    };
    let parsed = serde_json::from_slice::<Registration>(&signed.registration);
    let time_us = parsed
        .ok()
        .and_then(|parsed| lookup::parse_time(&parsed.time));
    Ok(time_us.unwrap_or(0) / HOUR_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_tail_of_any_length_is_cut_to_the_last_line_feed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for tail in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let mut bytes = b"registration\nrecord\n".to_vec();
            bytes.resize(bytes.len() + tail, 0);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(repair_file(&path).unwrap(), tail as u64);
            assert_eq!(std::fs::read(&path).unwrap(), b"registration\nrecord\n");
        }
    }

    #[test]
    fn one_line_is_told_from_none_and_from_two() {
        assert!(is_one_line(b"a\n") && is_one_line(b"\n"));
        for other in [&b""[..], b"a", b"a\nb\n", b"\n\n"] {
            assert!(!is_one_line(other), "{other:?}");
        }
    }
}
