//! Finds events: an index in `DATA/index.redb`, made of the streams and brought up to them by every search. It holds
//! nothing that the streams do not, so it may be deleted.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use audit::StreamId;
use domain::ports::{AuditReader, AuditSearch};
use domain::{EventKeys, EventPage, EventPosition, EventQuery, Lookup, StoreError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::FileAudit;
use crate::database;
use crate::error::{OpenError, run_blocking};

/// What is looked for; time in microseconds, stream and position of the event.
type Key<'a> = (&'a str, u64, [u8; 16], u64);

/// Events by what they are found by, with their kind.
const EVENTS: TableDefinition<'_, Key<'static>, &str> = TableDefinition::new("events");
/// How many events of each stream are in the index.
const INDEXED: TableDefinition<'_, [u8; 16], u64> = TableDefinition::new("indexed");

/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 16 << 20;
/// Events that are indexed at once.
const BATCH: usize = 4096;
/// Events that one search looks at.
const LOOKED_AT: usize = 100_000;

/// Finds the events of `DATA/audit`.
#[derive(Debug, Clone)]
pub struct RedbSearch {
    index: Arc<Database>,
    audit: Arc<FileAudit>,
    path: PathBuf,
}

impl RedbSearch {
    /// Opens `DATA/index.redb`, creating it where it is missing.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where another process has it open; other [`OpenError`]s name the file.
    pub fn open(data_dir: &Path, audit: Arc<FileAudit>) -> Result<Self, OpenError> {
        let path = data_dir.join("index.redb");
        let index = database::open(&path, CACHE_BYTES)?;
        create_tables(&index).map_err(|error| OpenError::malformed(&path, error))?;
        Ok(Self {
            index: Arc::new(index),
            audit,
            path,
        })
    }

    fn failed<E: Into<redb::Error>>(&self) -> impl Fn(E) -> StoreError + '_ {
        |error| StoreError::Unavailable(format!("{}: {}", self.path.display(), error.into()))
    }

    /// Brings the index up to the streams.
    async fn catch_up(&self) -> Result<(), StoreError> {
        for stream in self.audit.streams(None, usize::MAX).await? {
            loop {
                let this = self.clone();
                let from = run_blocking(move || this.indexed(stream)).await?;
                let records = self.audit.read(stream, from, BATCH).await?;
                if records.is_empty() {
                    break;
                }
                // One that cannot be read is nowhere in the index, and keeps no other one out of it.
                let keys: Vec<Option<EventKeys>> = records
                    .iter()
                    .map(|record| EventKeys::of(&record.entry).ok())
                    .collect();
                let this = self.clone();
                run_blocking(move || this.add(stream, from, &keys)).await?;
            }
        }
        Ok(())
    }

    fn indexed(&self, stream: StreamId) -> Result<u64, StoreError> {
        let read = self.index.begin_read().map_err(self.failed())?;
        let table = read.open_table(INDEXED).map_err(self.failed())?;
        let count = table.get(stream.0).map_err(self.failed())?;
        Ok(count.map_or(0, |count| count.value()))
    }

    /// Adds the events of a stream from position `from` on, if it is still where the index ends.
    fn add(
        &self,
        stream: StreamId,
        from: u64,
        keys: &[Option<EventKeys>],
    ) -> Result<(), StoreError> {
        let write = self.index.begin_write().map_err(self.failed())?;
        {
            let mut indexed = write.open_table(INDEXED).map_err(self.failed())?;
            let mut events = write.open_table(EVENTS).map_err(self.failed())?;
            let known = indexed.get(stream.0).map_err(self.failed())?;
            if known.map_or(0, |count| count.value()) != from {
                // Another search was faster.
                return Ok(());
            }
            let mut seq = from;
            for keys in keys {
                if let Some(keys) = keys {
                    for name in names_of(keys) {
                        let key: Key<'_> = (&name, keys.time_us, stream.0, seq);
                        events
                            .insert(key, keys.kind.as_str())
                            .map_err(self.failed())?;
                    }
                }
                seq += 1;
            }
            indexed.insert(stream.0, seq).map_err(self.failed())?;
        }
        write.commit().map_err(self.failed())
    }

    fn page(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let read = self.index.begin_read().map_err(self.failed())?;
        let events = read.open_table(EVENTS).map_err(self.failed())?;
        let name = name_of(&query.lookup);
        let first: Key<'_> = (&name, query.from_us, [0; 16], 0);
        let after = query
            .after
            .map(|after| (name.as_str(), after.time_us, after.stream.0, after.seq));
        let lower = match after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let upper: Key<'_> = (&name, query.until_us, [0; 16], 0);
        let mut page = EventPage::default();
        if matches!(lower, Bound::Included(key) | Bound::Excluded(key) if key >= upper) {
            return Ok(page);
        }
        let range = events
            .range::<Key<'_>>((lower, Bound::Excluded(upper)))
            .map_err(self.failed())?;
        for (number, row) in range.enumerate() {
            let (key, kind) = row.map_err(self.failed())?;
            let (_, time_us, stream, seq) = key.value();
            let position = EventPosition {
                time_us,
                stream: StreamId(stream),
                seq,
            };
            if query
                .kind
                .as_deref()
                .is_none_or(|wanted| wanted == kind.value())
            {
                page.events.push(position);
            }
            if page.events.len() >= query.limit.max(1) || number + 1 >= LOOKED_AT {
                page.next = Some(position);
                break;
            }
        }
        Ok(page)
    }
}

/// Reading a table that does not exist is an error, so both are made at once.
fn create_tables(index: &Database) -> Result<(), redb::Error> {
    let write = index.begin_write()?;
    write.open_table(EVENTS)?;
    write.open_table(INDEXED)?;
    Ok(write.commit()?)
}

/// What an event stands under.
fn names_of(keys: &EventKeys) -> Vec<String> {
    let mut names = vec![name_of(&Lookup::Everything)];
    let symbols = keys.symbols.iter().cloned().map(Lookup::Symbol);
    names.extend(symbols.map(|lookup| name_of(&lookup)));
    let model = keys
        .model
        .clone()
        .map(|(name, version)| Lookup::Model(name, version));
    let request = keys.request.clone().map(Lookup::Request);
    names.extend([model, request].iter().flatten().map(name_of));
    names
}

fn name_of(lookup: &Lookup) -> String {
    match lookup {
        Lookup::Everything => "t".to_owned(),
        Lookup::Symbol(symbol) => format!("y:{symbol}"),
        Lookup::Model(name, version) => format!("m:{name}@{version}"),
        Lookup::Request(id) => format!("r:{id}"),
    }
}

#[async_trait]
impl AuditSearch for RedbSearch {
    async fn search(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.catch_up().await?;
        let (this, query) = (self.clone(), query.clone());
        run_blocking(move || this.page(&query)).await
    }
}
