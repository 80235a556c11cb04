//! Where the lines of a stream's file stand: one offset for every 256 records.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use domain::StoreError;

use crate::error::{corrupt, unavailable};

/// Records between two offsets that are kept.
const STRIDE: u64 = 256;
/// Bytes that are scanned at a time.
const SCAN_BYTES: usize = 256 << 10;

/// Counts the whole lines of a file from its start; the first is the registration, the others are records.
#[derive(Debug, Default, Clone)]
pub(super) struct LineIndex {
    /// Bytes in whole lines.
    len: u64,
    /// Whole lines.
    lines: u64,
    /// Offsets of records 0, 256, 512 and so on, as far as there are lines before them.
    marks: Vec<u64>,
}

impl LineIndex {
    /// Bytes in whole lines.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Records in whole lines.
    pub(super) fn records(&self) -> u64 {
        self.lines.saturating_sub(1)
    }

    /// Counts one more line of `len` bytes.
    pub(super) fn push(&mut self, len: u64) {
        self.len += len;
        self.lines += 1;
        if (self.lines - 1).is_multiple_of(STRIDE) {
            self.marks.push(self.len);
        }
    }

    /// Counts the whole lines that the file has gained.
    pub(super) fn extend_from(&mut self, path: &Path) -> Result<(), StoreError> {
        let refuse = || unavailable("read", path);
        let mut file = File::open(path).map_err(refuse())?;
        let found = file.metadata().map_err(refuse())?.len();
        if found < self.len {
            let counted = self.len;
            return Err(corrupt(
                path,
                format!("{found} bytes, {counted} were there before: it was cut"),
            ));
        }
        file.seek(SeekFrom::Start(self.len)).map_err(refuse())?;
        let mut chunk = vec![0; SCAN_BYTES];
        let mut unfinished = 0;
        loop {
            let count = match file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count.map_err(refuse())?,
            };
            for part in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
                unfinished += part.len() as u64;
                if part.ends_with(b"\n") {
                    self.push(unfinished);
                    unfinished = 0;
                }
            }
        }
    }

    /// Where records from `from` stand, at most `limit`; none past the end.
    pub(super) fn find(&self, from: u64, limit: u64) -> Option<Span> {
        let count = limit.min(self.records().checked_sub(from)?);
        let offset = *self.marks.get(usize::try_from(from / STRIDE).ok()?)?;
        (count > 0).then_some(Span {
            offset,
            skip: from % STRIDE,
            count,
            end: self.len,
        })
    }
}

/// A run of lines in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Where reading starts.
    offset: u64,
    /// Lines to be passed over first.
    skip: u64,
    /// Lines that are wanted.
    count: u64,
    /// Where whole lines end.
    end: u64,
}

impl Span {
    /// The wanted lines, each with its line feed.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::with_capacity(SCAN_BYTES, file.take(self.end - self.offset));
        let mut lines = Vec::new();
        for number in 0..self.skip + self.count {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if number >= self.skip {
                lines.push(line);
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(number: u64) -> String {
        format!("{number} {}\n", "x".repeat(number as usize % 7))
    }

    #[test]
    fn every_record_is_found_however_the_file_was_indexed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut file = File::create(&path).unwrap();
        let (mut pushed, mut scanned) = (LineIndex::default(), LineIndex::default());
        scanned.extend_from(&path).unwrap();
        assert_eq!(scanned.find(0, 1), None);
        file.write_all(b"registration\n").unwrap();
        pushed.push(13);
        for number in 0..1000 {
            // Every line is first seen torn.
            let text = line(number);
            let (head, tail) = text.split_at(1);
            file.write_all(head.as_bytes()).unwrap();
            if number % 100 == 0 {
                scanned.extend_from(&path).unwrap();
            }
            assert!(scanned.records() <= number);
            file.write_all(tail.as_bytes()).unwrap();
            pushed.push(text.len() as u64);
        }
        scanned.extend_from(&path).unwrap();
        for index in [&pushed, &scanned] {
            assert_eq!(
                (index.records(), index.len()),
                (1000, std::fs::metadata(&path).unwrap().len())
            );
            for from in [0, 1, 255, 256, 257, 511, 512, 999] {
                let lines = index.find(from, 3).unwrap().read(&path).unwrap();
                let expected: Vec<_> = (from..(from + 3).min(1000))
                    .map(|n| line(n).into_bytes())
                    .collect();
                assert_eq!(lines, expected, "from {from}");
            }
            assert_eq!(index.find(1000, 3), None);
            assert_eq!(index.find(u64::MAX, 3), None);
            assert_eq!(index.find(0, 0), None);
        }
    }

    #[test]
    fn a_file_that_was_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, "registration\nrecord\n").unwrap();
        let mut index = LineIndex::default();
        index.extend_from(&path).unwrap();
        std::fs::write(&path, "registration\n").unwrap();
        assert!(matches!(
            index.extend_from(&path),
            Err(StoreError::Corrupt(_))
        ));
    }
}
