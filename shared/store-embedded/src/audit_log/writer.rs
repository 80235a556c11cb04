//! The thread that owns the files of the streams that this process writes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use audit::{Record, StreamId, export};
use domain::StoreError;
use tokio::sync::oneshot;

use super::index::LineIndex;
use super::{Shared, StreamIndex, closed, files, lock};
use crate::durable::{self, WriteError};
use crate::error::unavailable;

/// Bytes after which a batch is written even though more is queued.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// After a batch of this many jobs the process is under load, and the next batch is given a moment to fill:
/// a sync costs as much processor time as some fifty records.
const LINGER_AFTER: usize = 16;

/// That moment.
const LINGER: Duration = Duration::from_micros(500);

pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

/// What the writer is asked to do, in the order of the calls.
pub(super) enum Job {
    /// Create a stream's file with its first line.
    Register {
        stream: StreamId,
        line: Vec<u8>,
        reply: Reply,
    },
    /// Append lines.
    Append { batch: Batch, reply: Reply },
    /// Write lines at their positions, into a stream that nobody appends to any more.
    Restore { batch: Batch, reply: Reply },
    /// End these streams: records that belong to them were refused, so what follows would leave a hole.
    Refuse {
        streams: Vec<StreamId>,
        error: StoreError,
        reply: Reply,
    },
    /// Write what came before, and stop.
    Close,
}

/// Consecutive records of one stream, as lines.
pub(super) struct Batch {
    pub(super) stream: StreamId,
    /// Position of the first record.
    pub(super) first: u64,
    pub(super) lines: Vec<u8>,
    /// Where each line ends in `lines`.
    pub(super) ends: Vec<usize>,
}

impl Batch {
    /// The records as lines; `None` where there are none.
    pub(super) fn of(records: &[Record]) -> Result<Option<Self>, StoreError> {
        let Some(first) = records.first() else {
            return Ok(None);
        };
        let mut batch = Self {
            stream: first.stream,
            first: first.seq,
            lines: Vec::with_capacity(records.iter().map(|record| record.entry.len() + 112).sum()),
            ends: Vec::with_capacity(records.len()),
        };
        for (seq, record) in (first.seq..).zip(records) {
            if record.stream != first.stream || record.seq != seq {
                return Err(StoreError::Conflict(format!(
                    "one append takes consecutive records of one stream: expected event {seq} of {}, \
                     found event {} of {}",
                    first.stream, record.seq, record.stream
                )));
            }
            let line = export::record_line(record);
            if !files::is_one_line(&line) {
                return Err(StoreError::Conflict(format!(
                    "event {seq}: the entry holds a line feed"
                )));
            }
            batch.lines.extend_from_slice(&line);
            batch.ends.push(batch.lines.len());
        }
        Ok(Some(batch))
    }

    pub(super) fn line(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.lines[start..self.ends[number]]
    }
}

/// A stream that can be appended to.
pub(super) struct OpenStream {
    file: File,
    path: PathBuf,
    /// What is durable.
    index: Arc<Mutex<StreamIndex>>,
    /// Position of the next record, after those that are staged.
    pub(super) next: u64,
    staged: Vec<u8>,
    /// Length of each staged line.
    staged_lines: Vec<usize>,
    waiting: Vec<Reply>,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    queue: mpsc::Receiver<Job>,
    pub(super) open: HashMap<StreamId, OpenStream>,
    /// Streams that an earlier failure ended, and why.
    ended: HashMap<StreamId, String>,
    /// Streams with staged lines.
    touched: Vec<StreamId>,
    staged_bytes: usize,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, queue: mpsc::Receiver<Job>) -> Self {
        Self {
            shared,
            queue,
            open: HashMap::new(),
            ended: HashMap::new(),
            touched: Vec::new(),
            staged_bytes: 0,
        }
    }

    pub(super) fn run(mut self) {
        let mut closing = false;
        let mut taken = 0_usize;
        while !closing {
            let Ok(job) = self.queue.recv() else { return };
            closing = self.take(job);
            if taken >= LINGER_AFTER && !closing {
                thread::sleep(LINGER);
            }
            taken = 1;
            while !closing && self.staged_bytes < MAX_BATCH_BYTES {
                let Ok(job) = self.queue.try_recv() else {
                    break;
                };
                closing = self.take(job);
                taken += 1;
            }
            self.commit_all();
        }
        while let Ok(job) = self.queue.try_recv() {
            if let Job::Register { reply, .. }
            | Job::Append { reply, .. }
            | Job::Restore { reply, .. }
            | Job::Refuse { reply, .. } = job
            {
                answer(reply, Err(closed()));
            }
        }
    }

    /// Takes one job; true where it is the last.
    fn take(&mut self, job: Job) -> bool {
        match job {
            Job::Register {
                stream,
                line,
                reply,
            } => {
                let result = self.register(stream, &line);
                answer(reply, result);
            }
            Job::Append { batch, reply } => {
                self.shared
                    .queued_bytes
                    .fetch_sub(batch.lines.len(), Ordering::Relaxed);
                self.stage(&batch, reply);
            }
            Job::Restore { batch, reply } => {
                // What is staged for it comes first.
                self.commit(batch.stream);
                let result = self.restore(&batch);
                answer(reply, result);
            }
            Job::Refuse {
                streams,
                error,
                reply,
            } => {
                for stream in streams {
                    self.end(stream, &error);
                }
                answer(reply, Err(error));
            }
            Job::Close => return true,
        }
        false
    }

    fn register(&mut self, stream: StreamId, line: &[u8]) -> Result<(), StoreError> {
        let dir = &self.shared.dir;
        let path = files::stream_path(dir, stream);
        match durable::create_whole(dir, &path, line) {
            Ok(()) => {}
            Err(WriteError::Exists) => {
                let stored = files::read_registration(&path, stream)?;
                if export::registration_line(&stored) != line {
                    return Err(StoreError::Conflict(format!(
                        "stream {stream} has another registration"
                    )));
                }
                durable::sync_dir(dir)
                    .map_err(|error| WriteError::Unknown(error).into_store(&path))?;
                // Known here, or begun by an earlier process, whose streams are not continued.
                let len = path
                    .metadata()
                    .map_err(unavailable("look at", &path))?
                    .len();
                if self.open.contains_key(&stream)
                    || self.ended.contains_key(&stream)
                    || len != line.len() as u64
                {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into_store(&path)),
        }
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(unavailable("open", &path))?;
        let mut lines = LineIndex::default();
        lines.push(line.len() as u64);
        let index = self.shared.insert_own(stream, lines);
        self.open.insert(
            stream,
            OpenStream {
                file,
                path,
                index,
                next: 0,
                staged: Vec::new(),
                staged_lines: Vec::new(),
                waiting: Vec::new(),
            },
        );
        Ok(())
    }

    /// Adds the records to what is written next, or answers at once where nothing is to be written.
    fn stage(&mut self, batch: &Batch, reply: Reply) {
        let stream = batch.stream;
        let taken = match self.count_taken(batch) {
            Ok(taken) => taken,
            Err(error) => {
                self.end(stream, &error);
                return answer(reply, Err(error));
            }
        };
        let Some(open) = self.open.get_mut(&stream) else {
            let error = self.not_open(stream);
            return answer(reply, Err(error));
        };
        if taken == batch.ends.len() {
            return answer(reply, Ok(()));
        }
        if open.staged_lines.is_empty() {
            self.touched.push(stream);
        }
        for number in taken..batch.ends.len() {
            let line = batch.line(number);
            open.staged.extend_from_slice(line);
            open.staged_lines.push(line.len());
            open.next += 1;
            self.staged_bytes += line.len();
        }
        open.waiting.push(reply);
    }

    /// How many of the records are in the stream already; an error where they do not fit to it.
    fn count_taken(&mut self, batch: &Batch) -> Result<usize, StoreError> {
        let Some(next) = self.open.get(&batch.stream).map(|open| open.next) else {
            return Err(self.not_open(batch.stream));
        };
        if batch.first > next {
            let found = batch.first;
            return Err(StoreError::Conflict(format!(
                "event {found}: the next position is {next}"
            )));
        }
        let taken = batch
            .ends
            .len()
            .min(usize::try_from(next - batch.first).unwrap_or(usize::MAX));
        if taken == 0 {
            return Ok(0);
        }
        // A reply was lost and the records are sent again: rare enough to ask the file.
        self.commit(batch.stream);
        let Some(open) = self.open.get(&batch.stream) else {
            return Err(self.not_open(batch.stream));
        };
        let stored = lock(&open.index)
            .lines
            .find(batch.first, taken as u64)
            .map_or(Ok(Vec::new()), |span| span.read(&open.path))
            .map_err(unavailable("read", &open.path))?;
        let same = stored.len() == taken
            && stored
                .iter()
                .enumerate()
                .all(|(number, line)| line == batch.line(number));
        if same {
            Ok(taken)
        } else {
            Err(StoreError::Conflict(format!(
                "event {}: the position is taken",
                batch.first
            )))
        }
    }

    fn not_open(&self, stream: StreamId) -> StoreError {
        match self.ended.get(&stream) {
            Some(reason) => StoreError::Unavailable(format!(
                "stream {stream} was ended by an earlier failure: {reason}"
            )),
            None => StoreError::NotFound(format!(
                "stream {stream} was not registered by this process"
            )),
        }
    }

    /// Ends a stream: what is staged is still written, nothing after it.
    fn end(&mut self, stream: StreamId, error: &StoreError) {
        self.commit(stream);
        self.leave(stream, error);
    }

    /// Writes no more to a stream of ours. What is in its file then is durable, unless nobody knows what is in it;
    /// another process may restore what is missing.
    fn leave(&mut self, stream: StreamId, error: &StoreError) {
        if let Some(open) = self.open.remove(&stream) {
            lock(&open.index).own = matches!(error, StoreError::OutcomeUnknown(_));
            self.ended.insert(stream, error.to_string());
        }
    }

    fn commit_all(&mut self) {
        for stream in std::mem::take(&mut self.touched) {
            self.commit(stream);
        }
        self.staged_bytes = 0;
    }

    /// Makes the staged lines of a stream durable and answers those who wait for them.
    fn commit(&mut self, stream: StreamId) {
        let Some(open) = self.open.get_mut(&stream) else {
            return;
        };
        if open.staged_lines.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut open.waiting);
        let result = open.write();
        if let Err(error) = &result {
            self.leave(stream, error);
        }
        for reply in waiting {
            answer(reply, result.clone());
        }
    }
}

impl OpenStream {
    fn write(&mut self) -> Result<(), StoreError> {
        let written = self
            .file
            .write_all(&self.staged)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            return Err(self.undo(&error));
        }
        let mut index = lock(&self.index);
        for len in self.staged_lines.drain(..) {
            index.lines.push(len as u64);
        }
        self.staged.clear();
        Ok(())
    }

    /// Cuts the file to what is durable, and says what is true then.
    fn undo(&self, error: &io::Error) -> StoreError {
        let durable = lock(&self.index).lines.len();
        let undone = self
            .file
            .set_len(durable)
            .and_then(|()| self.file.sync_all());
        failed(&self.path, error, undone.err().as_ref())
    }
}

pub(super) fn failed(path: &Path, error: &io::Error, undo: Option<&io::Error>) -> StoreError {
    let path = path.display();
    match undo {
        None => StoreError::Unavailable(format!("append to {path}: {error}")),
        Some(undo) => {
            StoreError::OutcomeUnknown(format!("append to {path}: {error}; cut back: {undo}"))
        }
    }
}

/// Answers; whoever went away meanwhile does not hear it.
fn answer(reply: Reply, result: Result<(), StoreError>) {
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_unknown_only_where_it_could_not_be_undone() {
        let error = io::Error::other("full");
        let path = Path::new("s.jsonl");
        assert!(matches!(
            failed(path, &error, None),
            StoreError::Unavailable(_)
        ));
        assert!(matches!(
            failed(path, &error, Some(&error)),
            StoreError::OutcomeUnknown(_)
        ));
    }
}
