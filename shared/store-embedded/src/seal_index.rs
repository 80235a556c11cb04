//! Where the events of each stream stand in the sealed log: `DATA/sealed.redb`, which one process has open at a time.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use audit::StreamId;
use audit::seal::{LeafRange, SealedStream};
use domain::StoreError;
use domain::ports::{IndexPosition, SealIndexReader, SealIndexWriter, expects_events};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::database;
use crate::error::{OpenError, run_blocking};

/// States of streams: the version of the form, and JSON.
const STATES: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("states");
/// Streams whose next events are looked for.
const OPEN: TableDefinition<'_, [u8; 16], ()> = TableDefinition::new("open");
/// By stream and position of the first event: index in the log, and count.
const RANGES: TableDefinition<'_, ([u8; 16], u64), (u64, u64)> = TableDefinition::new("ranges");
/// How far the index is: size of the tree, and until when streams were listed.
const POSITION: TableDefinition<'_, (), (u64, u64)> = TableDefinition::new("position");

/// The version of a state's form.
const STATE_VERSION: u8 = 1;
/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// The sealed log's index in a redb file.
#[derive(Debug, Clone)]
pub struct RedbSealIndex {
    database: Arc<Database>,
    path: PathBuf,
}

impl RedbSealIndex {
    /// Opens `DATA/sealed.redb`, creating it where it is missing.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where another process has it open; other [`OpenError`]s name the file.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join("sealed.redb");
        let database = database::open(&path, CACHE_BYTES)?;
        create_tables(&database).map_err(|error| OpenError::malformed(&path, error))?;
        Ok(Self {
            database: Arc::new(database),
            path,
        })
    }

    fn failed<E: Into<redb::Error>>(&self) -> impl Fn(E) -> StoreError + '_ {
        |error| match error.into() {
            redb::Error::Corrupted(reason) => {
                StoreError::Corrupt(format!("{}: {reason}", self.path.display()))
            }
            error => StoreError::Unavailable(format!("{}: {error}", self.path.display())),
        }
    }

    /// Runs `work` on the runtime's threads for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        run_blocking(move || work(&this)).await
    }

    fn commit(&self, write: WriteTransaction) -> Result<(), StoreError> {
        write.commit().map_err(|error| {
            StoreError::OutcomeUnknown(format!("{}: {error}", self.path.display()))
        })
    }

    fn decode(&self, stream: [u8; 16], bytes: &[u8]) -> Result<SealedStream, StoreError> {
        let corrupt = |reason: String| {
            let stream = StreamId(stream);
            let path = self.path.display();
            StoreError::Corrupt(format!("{path}: the state of stream {stream}: {reason}"))
        };
        let json = match bytes.split_first() {
            Some((&STATE_VERSION, json)) => json,
            other => {
                let version = other.map(|(version, _)| version);
                return Err(corrupt(format!(
                    "version {version:?}, expected {STATE_VERSION}"
                )));
            }
        };
        let state: SealedStream =
            serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
        if state.stream.0 == stream {
            Ok(state)
        } else {
            Err(corrupt(format!("it is that of stream {}", state.stream)))
        }
    }

    fn state_now(&self, stream: StreamId) -> Result<Option<SealedStream>, StoreError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let states = read.open_table(STATES).map_err(self.failed())?;
        let found = states.get(stream.0).map_err(self.failed())?;
        found
            .map(|bytes| self.decode(stream.0, bytes.value()))
            .transpose()
    }

    fn leaf_index_now(&self, stream: StreamId, seq: u64) -> Result<Option<u64>, StoreError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let ranges = read.open_table(RANGES).map_err(self.failed())?;
        let mut before = ranges
            .range((stream.0, 0)..=(stream.0, seq))
            .map_err(self.failed())?;
        let Some(range) = before.next_back() else {
            return Ok(None);
        };
        let (key, value) = range.map_err(self.failed())?;
        let (offset, (index, count)) = (seq - key.value().1, value.value());
        Ok((offset < count).then(|| index + offset))
    }

    fn open_now(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<SealedStream>, StoreError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let open = read.open_table(OPEN).map_err(self.failed())?;
        let states = read.open_table(STATES).map_err(self.failed())?;
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0));
        let rows = open
            .range::<[u8; 16]>((from, Bound::Unbounded))
            .map_err(self.failed())?;
        let mut found = Vec::new();
        for row in rows.take(limit) {
            let stream = row.map_err(self.failed())?.0.value();
            let state = states.get(stream).map_err(self.failed())?;
            let state = state.ok_or_else(|| {
                let (path, stream) = (self.path.display(), StreamId(stream));
                StoreError::Corrupt(format!("{path}: stream {stream} is open and has no state"))
            })?;
            found.push(self.decode(stream, state.value())?);
        }
        Ok(found)
    }

    fn put_now(&self, streams: &[SealedStream], ranges: &[LeafRange]) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(self.failed())?;
        {
            let mut states = write.open_table(STATES).map_err(self.failed())?;
            let mut open = write.open_table(OPEN).map_err(self.failed())?;
            for state in streams {
                let key = state.stream.0;
                let known = states.get(key).map_err(self.failed())?;
                let known = known
                    .map(|bytes| self.decode(key, bytes.value()))
                    .transpose()?;
                if known.is_some_and(|known| known.tree_size > state.tree_size) {
                    continue;
                }
                let json = serde_json::to_vec(state).map_err(|error| {
                    StoreError::Conflict(format!("the state of stream {}: {error}", state.stream))
                })?;
                let bytes = [&[STATE_VERSION], json.as_slice()].concat();
                states
                    .insert(key, bytes.as_slice())
                    .map_err(self.failed())?;
                if expects_events(state) {
                    open.insert(key, ()).map_err(self.failed())?;
                } else {
                    open.remove(key).map_err(self.failed())?;
                }
            }
            let mut table = write.open_table(RANGES).map_err(self.failed())?;
            for range in ranges {
                let key = (range.stream.0, range.seq_lo);
                let value = (range.index, range.count);
                let known = table.insert(key, value).map_err(self.failed())?;
                if known.is_some_and(|known| known.value() != value) {
                    return Err(StoreError::Conflict(format!(
                        "{}: event {} of stream {} stands elsewhere in the log",
                        self.path.display(),
                        range.seq_lo,
                        range.stream
                    )));
                }
            }
        }
        self.commit(write)
    }

    fn position_now(&self) -> Result<IndexPosition, StoreError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(POSITION).map_err(self.failed())?;
        let found = table.get(()).map_err(self.failed())?;
        let (tree_size, listed_until_us) = found.map_or((0, 0), |found| found.value());
        Ok(IndexPosition {
            tree_size,
            listed_until_us,
        })
    }

    fn advance_now(&self, position: IndexPosition) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(self.failed())?;
        {
            let mut table = write.open_table(POSITION).map_err(self.failed())?;
            let next = (position.tree_size, position.listed_until_us);
            let known = table.get(()).map_err(self.failed())?;
            if known.map_or((0, 0), |known| known.value()) >= next {
                return Ok(());
            }
            table.insert((), next).map_err(self.failed())?;
        }
        self.commit(write)
    }
}

fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(STATES)?;
    write.open_table(OPEN)?;
    write.open_table(RANGES)?;
    write.open_table(POSITION)?;
    write.commit()?;
    Ok(())
}

#[async_trait]
impl SealIndexReader for RedbSealIndex {
    async fn state(&self, stream: StreamId) -> Result<Option<SealedStream>, StoreError> {
        self.run(move |index| index.state_now(stream)).await
    }

    async fn leaf_index(&self, stream: StreamId, seq: u64) -> Result<Option<u64>, StoreError> {
        self.run(move |index| index.leaf_index_now(stream, seq))
            .await
    }

    async fn open_streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<SealedStream>, StoreError> {
        self.run(move |index| index.open_now(after, limit)).await
    }

    async fn position(&self) -> Result<IndexPosition, StoreError> {
        self.run(Self::position_now).await
    }
}

#[async_trait]
impl SealIndexWriter for RedbSealIndex {
    async fn put(&self, streams: &[SealedStream], ranges: &[LeafRange]) -> Result<(), StoreError> {
        let (streams, ranges) = (streams.to_vec(), ranges.to_vec());
        self.run(move |index| index.put_now(&streams, &ranges))
            .await
    }

    async fn advance(&self, position: IndexPosition) -> Result<(), StoreError> {
        self.run(move |index| index.advance_now(position)).await
    }
}
