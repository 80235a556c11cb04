//! Finds events: an index in `DATA/index.redb`, made of the streams and brought up to them by every search. It holds
//! nothing that the streams do not, so it may be deleted.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use audit::{Record, Registration, StreamId};
use domain::lookup::parse_time;
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

/// The kind of an event that cannot be read: it may be of any.
const UNREADABLE: &str = "";
/// Events in a row that cannot be read, after which a stream is given up: its file is none any more.
const UNREADABLE_IN_A_ROW: usize = 16;

/// Finds the events of `DATA/audit`. One that cannot be read stands among all events, beside the one before it.
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
                let keys = match self.audit.read(stream, from, BATCH).await {
                    Ok(records) => records.iter().map(keys_of).collect(),
                    Err(StoreError::Corrupt(_)) => self.read_singly(stream, from).await?,
                    Err(error) => return Err(error),
                };
                if keys.is_empty() {
                    break;
                }
                let keys = self.place_unreadable(stream, from, keys).await?;
                let this = self.clone();
                run_blocking(move || this.add(stream, from, &keys)).await?;
            }
        }
        Ok(())
    }

    /// The keys of a stream's next events, of which at least one cannot be read; none where nothing of the stream can.
    async fn read_singly(
        &self,
        stream: StreamId,
        from: u64,
    ) -> Result<Vec<Option<EventKeys>>, StoreError> {
        let mut keys: Vec<Option<EventKeys>> = Vec::new();
        let mut in_a_row = 0;
        for seq in (from..).take(BATCH) {
            match self.audit.read(stream, seq, 1).await {
                Ok(records) => match records.first() {
                    Some(record) => keys.push(keys_of(record)),
                    None => break,
                },
                Err(StoreError::Corrupt(why)) => {
                    keys.push(None);
                    in_a_row += 1;
                    if in_a_row < UNREADABLE_IN_A_ROW {
                        continue;
                    }
                    tracing::error!(audit.stream = %stream, error = why, "a stream cannot be read: its events are not found");
                    keys.truncate(keys.len() - in_a_row);
                    break;
                }
                Err(error) => return Err(error),
            }
            in_a_row = 0;
        }
        Ok(keys)
    }

    /// Gives every event that cannot be read the time of the one before it, and no kind: so it is found among all
    /// events, and whoever reads it there sees that it cannot be read.
    async fn place_unreadable(
        &self,
        stream: StreamId,
        from: u64,
        keys: Vec<Option<EventKeys>>,
    ) -> Result<Vec<EventKeys>, StoreError> {
        let mut before = None;
        if keys.first().is_some_and(Option::is_none) {
            before = Some(self.time_before(stream, from).await?);
        }
        let place = |keys: Option<EventKeys>| {
            let keys = keys.unwrap_or_else(|| EventKeys {
                time_us: before.unwrap_or_default(),
                kind: UNREADABLE.to_owned(),
                model: None,
                symbols: Vec::new(),
                request: None,
            });
            before = Some(keys.time_us);
            keys
        };
        Ok(keys.into_iter().map(place).collect())
    }

    /// The time of the last event before position `from` that can be read, else of the registration, else 0.
    async fn time_before(&self, stream: StreamId, from: u64) -> Result<u64, StoreError> {
        for seq in (0..from).rev().take(UNREADABLE_IN_A_ROW) {
            match self.audit.read(stream, seq, 1).await {
                Ok(records) => {
                    if let Some(keys) = records.first().and_then(keys_of) {
                        return Ok(keys.time_us);
                    }
                }
                Err(StoreError::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let time = match self.audit.registration(stream).await {
            Ok(signed) => serde_json::from_slice::<Registration>(&signed.registration)
                .ok()
                .and_then(|registration| parse_time(&registration.time)),
            Err(StoreError::Corrupt(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(time.unwrap_or_default())
    }

    fn indexed(&self, stream: StreamId) -> Result<u64, StoreError> {
        let read = self.index.begin_read().map_err(self.failed())?;
        let table = read.open_table(INDEXED).map_err(self.failed())?;
        let count = table.get(stream.0).map_err(self.failed())?;
        Ok(count.map_or(0, |count| count.value()))
    }

    /// Adds the events of a stream from position `from` on, if it is still where the index ends.
    fn add(&self, stream: StreamId, from: u64, keys: &[EventKeys]) -> Result<(), StoreError> {
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
                for name in names_of(keys) {
                    let key: Key<'_> = (&name, keys.time_us, stream.0, seq);
                    events
                        .insert(key, keys.kind.as_str())
                        .map_err(self.failed())?;
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
                .is_none_or(|wanted| wanted == kind.value() || kind.value() == UNREADABLE)
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

/// What the record is found by; none where it is no event.
fn keys_of(record: &Record) -> Option<EventKeys> {
    EventKeys::of(&record.entry).ok()
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
