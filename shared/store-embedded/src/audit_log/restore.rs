//! Puts lines back into a stream's file that were kept elsewhere while it could not be written.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use domain::StoreError;

use super::index::LineIndex;
use super::writer::{Batch, Writer, failed};
use super::{files, lock};
use crate::error::unavailable;

impl Writer {
    /// Writes what is not there yet of consecutive lines. Nothing of the stream is staged.
    pub(super) fn restore(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let stream = batch.stream;
        let path = files::stream_path(&self.shared.dir, stream);
        let index = self.shared.index(stream)?;
        // Held to the end: nobody reads what could still be lost.
        let mut index = lock(&index);
        // What an append left there that failed and could not be undone counts too; it is synced below.
        index.lines.extend_from(&path)?;
        let known = check_fit(batch, &index.lines, &path)?;
        if known == batch.ends.len() {
            // An earlier call may have ended before it was durable.
            return sync(&path);
        }
        append(batch, known, &index.lines, &path)?;
        index.lines.extend_from(&path)?;
        if let Some(open) = self.open.get_mut(&stream) {
            open.next += (batch.ends.len() - known) as u64;
        }
        Ok(())
    }
}

/// How many of the lines are there already; an error where they do not follow what is there, or are others.
fn check_fit(batch: &Batch, lines: &LineIndex, path: &Path) -> Result<usize, StoreError> {
    let there = lines.records();
    if batch.first > there {
        return Err(StoreError::NotFound(format!(
            "event {there} of stream {}",
            batch.stream
        )));
    }
    let known = usize::try_from(there - batch.first).unwrap_or(usize::MAX);
    let known = known.min(batch.ends.len());
    let stored = lines
        .find(batch.first, known as u64)
        .map_or(Ok(Vec::new()), |span| span.read(path))
        .map_err(unavailable("read", path))?;
    for (number, line) in stored.iter().enumerate() {
        if line != batch.line(number) {
            return Err(StoreError::Conflict(format!(
                "event {} of stream {}: the position is taken",
                batch.first + number as u64,
                batch.stream
            )));
        }
    }
    Ok(known)
}

/// Appends the lines after the first `known`, in the place of an incomplete last line, and syncs.
fn append(batch: &Batch, known: usize, lines: &LineIndex, path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().append(true).open(path);
    let mut file = file.map_err(unavailable("open", path))?;
    let start = known.checked_sub(1).map_or(0, |before| batch.ends[before]);
    let written = file
        .set_len(lines.len())
        .and_then(|()| file.write_all(&batch.lines[start..]))
        .and_then(|()| file.sync_data());
    written.map_err(|error| {
        let undone = file.set_len(lines.len()).and_then(|()| file.sync_all());
        failed(path, &error, undone.err().as_ref())
    })
}

fn sync(path: &Path) -> Result<(), StoreError> {
    match File::open(path).and_then(|file| file.sync_data()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StoreError::NotFound(path.display().to_string()))
        }
        Err(error) => Err(unavailable("sync", path)(error)),
    }
}
