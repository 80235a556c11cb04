//! The audit log: a text file for each stream, appended by one thread that
//! syncs once for everything that waits.

mod files;
mod index;
mod restore;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use audit::{Record, SignedRegistration, StreamId, export};
use domain::StoreError;
use domain::ports::{AuditAppender, AuditReader, AuditRestorer, parse_registration};
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::oneshot;

use self::index::LineIndex;
use self::writer::{Batch, Job, Reply, Writer};
use crate::durable;
use crate::error::{OpenError, corrupt, run_blocking, unavailable};

pub use self::files::{ExportError, export_stream, list_streams};

/// Bytes that may wait to be written, over all streams; appends beyond are refused.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// What the writer and the readers of one process share.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Where the lines of each stream stand, as far as they are durable.
    indexes: RwLock<HashMap<StreamId, Arc<Mutex<StreamIndex>>>>,
    queued_bytes: AtomicUsize,
    /// The hour that each stream's registration says, as far as somebody asked.
    hours: Mutex<HashMap<StreamId, u64>>,
}

#[derive(Debug)]
struct StreamIndex {
    lines: LineIndex,
    /// True where this process writes the stream, and so knows what of it is durable.
    own: bool,
}

/// Locks, also after a panic elsewhere: every change under these locks is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Audit streams below `DATA/audit`.
///
/// Several processes may append at once, each to streams of its own. The
/// appends of one process are queued to one thread, which takes all that wait,
/// writes and syncs each touched file once, and then answers them together.
#[derive(Debug)]
pub struct FileAudit {
    jobs: mpsc::Sender<Job>,
    writer: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    /// Shared lock on the directory: it tells other processes not to repair files under our hands.
    _alive: File,
}

impl FileAudit {
    /// Opens `DATA/audit`, creating it where it is missing. Where no other process has it open, incomplete last
    /// lines (of processes that were killed while they wrote) are cut off; they were never acknowledged.
    ///
    /// # Errors
    /// [`OpenError`] where the directory or a file in it cannot be read, repaired or synced.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let dir = data_dir.join("audit");
        durable::create_dir(&dir).map_err(OpenError::io("create", &dir))?;
        let alive = durable::open_lock(&dir).map_err(OpenError::io("open the lock of", &dir))?;
        if alive.try_lock().is_ok() {
            files::repair(&dir)?;
        }
        alive.lock_shared().map_err(OpenError::io("lock", &dir))?;
        let shared = Arc::new(Shared {
            dir: dir.clone(),
            indexes: RwLock::new(HashMap::new()),
            queued_bytes: AtomicUsize::new(0),
            hours: Mutex::default(),
        });
        let (jobs, queue) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), queue);
        let writer = std::thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::io("start the writer of", &dir))?;
        Ok(Self {
            jobs,
            writer: Mutex::new(Some(writer)),
            shared,
            _alive: alive,
        })
    }

    /// Writes what is queued, and stops; every later append is refused. Blocks for as long as the disk takes.
    pub fn close(&self) {
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer {
            // Where either fails the writer is gone already, and has answered everybody it could.
            let _ = self.jobs.send(Job::Close);
            let _ = writer.join();
        }
    }
}

impl Drop for FileAudit {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the audit log is closed".to_owned())
}

async fn wait(reply: oneshot::Receiver<Result<(), StoreError>>) -> Result<(), StoreError> {
    reply.await.unwrap_or_else(|_| {
        Err(StoreError::OutcomeUnknown(
            "the audit writer stopped before it answered".to_owned(),
        ))
    })
}

impl FileAudit {
    /// Has the writer do a job; ready when it answers.
    async fn ask(&self, job: impl FnOnce(Reply) -> Job) -> Result<(), StoreError> {
        let (reply, result) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| closed())?;
        wait(result).await
    }
}

#[async_trait]
impl AuditAppender for FileAudit {
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError> {
        let parsed = parse_registration(registration)?;
        let line = export::registration_line(registration);
        if !files::is_one_line(&line) {
            return Err(StoreError::Conflict(
                "the registration holds a line feed".to_owned(),
            ));
        }
        let stream = parsed.stream;
        let job = |reply| Job::Register {
            stream,
            line,
            reply,
        };
        self.ask(job).await
    }

    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        let (reply, result) = oneshot::channel();
        let job = match Batch::of(&records) {
            Ok(None) => return futures::future::ready(Ok(())).boxed(),
            Ok(Some(batch)) => {
                let queued = self
                    .shared
                    .queued_bytes
                    .fetch_add(batch.lines.len(), Ordering::Relaxed);
                if queued > MAX_QUEUED_BYTES {
                    self.shared
                        .queued_bytes
                        .fetch_sub(batch.lines.len(), Ordering::Relaxed);
                    let error =
                        format!("{queued} bytes wait to be written: the disk does not keep up");
                    Job::Refuse {
                        streams: vec![batch.stream],
                        error: StoreError::Unavailable(error),
                        reply,
                    }
                } else {
                    Job::Append { batch, reply }
                }
            }
            Err(error) => Job::Refuse {
                streams: records.iter().map(|r| r.stream).collect(),
                error,
                reply,
            },
        };
        match self.jobs.send(job) {
            Ok(()) => wait(result).boxed(),
            Err(_) => futures::future::ready(Err(closed())).boxed(),
        }
    }
}

#[async_trait]
impl AuditRestorer for FileAudit {
    async fn restore_registration(
        &self,
        registration: &SignedRegistration,
    ) -> Result<(), StoreError> {
        self.register(registration).await
    }

    async fn restore(&self, records: &[Record]) -> Result<(), StoreError> {
        match Batch::of(records)? {
            Some(batch) => self.ask(|reply| Job::Restore { batch, reply }).await,
            None => Ok(()),
        }
    }
}

impl Shared {
    /// The index of a stream that has a file.
    fn index(&self, stream: StreamId) -> Result<Arc<Mutex<StreamIndex>>, StoreError> {
        if let Some(index) = self
            .indexes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&stream)
        {
            return Ok(Arc::clone(index));
        }
        let path = files::stream_path(&self.dir, stream);
        if !path.try_exists().map_err(unavailable("look for", &path))? {
            return Err(StoreError::NotFound(format!("stream {stream}")));
        }
        let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
        let empty = || {
            Arc::new(Mutex::new(StreamIndex {
                lines: LineIndex::default(),
                own: false,
            }))
        };
        Ok(Arc::clone(indexes.entry(stream).or_insert_with(empty)))
    }

    fn insert_own(&self, stream: StreamId, lines: LineIndex) -> Arc<Mutex<StreamIndex>> {
        let index = Arc::new(Mutex::new(StreamIndex { lines, own: true }));
        let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
        indexes.insert(stream, Arc::clone(&index));
        index
    }

    /// The streams, ascending, each with the hour that its registration says.
    fn registered(&self) -> Result<Vec<(StreamId, u64)>, StoreError> {
        let streams = files::streams_in(&self.dir).map_err(unavailable("list", &self.dir))?;
        let hour_of = |stream: StreamId| {
            if let Some(hour) = lock(&self.hours).get(&stream) {
                return Ok((stream, *hour));
            }
            let hour = files::registration_hour(&files::stream_path(&self.dir, stream), stream)?;
            lock(&self.hours).insert(stream, hour);
            Ok((stream, hour))
        };
        streams.into_iter().map(hour_of).collect()
    }

    fn read(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let index = self.index(stream)?;
        let path = files::stream_path(&self.dir, stream);
        let span = {
            let mut index = lock(&index);
            if !index.own {
                index.lines.extend_from(&path)?;
            }
            index.lines.find(from, limit as u64)
        };
        let Some(span) = span else {
            return Ok(Vec::new());
        };
        let lines = span.read(&path).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => corrupt(&path, "shorter than it was: it was cut"),
            _ => unavailable("read", &path)(error),
        })?;
        let mut records = Vec::with_capacity(lines.len());
        for (seq, line) in (from..).zip(&lines) {
            let record = export::parse_record_line(line)
                .map_err(|error| corrupt(&path, format!("event {seq}: {error}")))?;
            if record.stream != stream || record.seq != seq {
                let found = format!("event {} of stream {}", record.seq, record.stream);
                return Err(corrupt(
                    &path,
                    format!("expected event {seq}, found {found}"),
                ));
            }
            records.push(record);
        }
        Ok(records)
    }
}

#[async_trait]
impl AuditReader for FileAudit {
    async fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let dir = self.shared.dir.clone();
        run_blocking(move || {
            let mut streams = files::streams_in(&dir).map_err(unavailable("list", &dir))?;
            streams.retain(|stream| after.is_none_or(|after| *stream > after));
            streams.truncate(limit);
            Ok(streams)
        })
        .await
    }

    async fn registration_hours(&self) -> Result<Vec<u64>, StoreError> {
        let shared = Arc::clone(&self.shared);
        run_blocking(move || {
            let registered = shared.registered()?;
            let hours: BTreeSet<u64> = registered.into_iter().map(|(_, hour)| hour).collect();
            Ok(hours.into_iter().collect())
        })
        .await
    }

    async fn registered_in(
        &self,
        hour: u64,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let shared = Arc::clone(&self.shared);
        run_blocking(move || {
            let registered = shared.registered()?.into_iter();
            let found = registered
                .filter(|(stream, of)| *of == hour && after.is_none_or(|after| *stream > after));
            Ok(found.take(limit).map(|(stream, _)| stream).collect())
        })
        .await
    }

    async fn registration(&self, stream: StreamId) -> Result<SignedRegistration, StoreError> {
        let path = files::stream_path(&self.shared.dir, stream);
        run_blocking(move || files::read_registration(&path, stream)).await
    }

    async fn read(
        &self,
        stream: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let shared = Arc::clone(&self.shared);
        run_blocking(move || shared.read(stream, from, limit)).await
    }
}
