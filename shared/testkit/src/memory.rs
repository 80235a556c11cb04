//! An audit log in memory, for tests that look at what was recorded.

mod spill;

pub use spill::MemorySpill;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use audit::{Event, Record, Registration, SignedRegistration, StreamId};
use domain::StoreError;
use domain::lookup::parse_time;
use domain::ports::{AuditAppender, AuditReader, AuditRestorer, parse_registration};
use futures::future::{BoxFuture, FutureExt, ready};

/// Microseconds of an hour.
const HOUR_US: u64 = 3_600_000_000;

#[derive(Debug)]
struct Entry {
    registration: SignedRegistration,
    records: Vec<Record>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Log {
    streams: BTreeMap<StreamId, Entry>,
    order: Vec<Record>,
}

/// Keeps streams in memory; durable for as long as the test runs.
#[derive(Debug, Default)]
pub struct MemoryAudit(Mutex<Log>);

impl MemoryAudit {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every record of every stream, in the order in which they were appended.
    pub fn records(&self) -> Vec<Record> {
        self.log().order.clone()
    }

    /// Stores records as they are, as somebody would who has the disk.
    ///
    /// # Panics
    /// Where a stream was not registered.
    pub fn insert_unchecked(&self, records: Vec<Record>) {
        let mut log = self.log();
        for record in records {
            let entry = log.streams.get_mut(&record.stream);
            let entry = entry.expect("a stream that was registered");
            entry.records.push(record.clone());
            log.order.push(record);
        }
    }

    /// The same as events.
    ///
    /// # Panics
    /// Where an entry is no event.
    pub fn events(&self) -> Vec<Event> {
        let parse = |record: &Record| serde_json::from_slice(&record.entry).expect("an event");
        self.log().order.iter().map(parse).collect()
    }
}

impl Entry {
    /// The hour that the registration says.
    fn hour(&self) -> u64 {
        let parsed = serde_json::from_slice::<Registration>(&self.registration.registration);
        let time_us = parsed.ok().and_then(|parsed| parse_time(&parsed.time));
        time_us.unwrap_or(0) / HOUR_US
    }
}

impl Log {
    fn append(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let Some(stream) = records.first().map(|record| record.stream) else {
            return Ok(());
        };
        let entry = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| StoreError::NotFound(format!("stream {stream} was not registered")))?;
        if entry.ended {
            return Err(StoreError::Unavailable(format!(
                "stream {stream} was ended by an earlier failure"
            )));
        }
        let (mut new, mut next) = (Vec::new(), entry.records.len());
        for record in records {
            let position = usize::try_from(record.seq).unwrap_or(usize::MAX);
            let same = entry.records.get(position) == Some(&record);
            if record.stream == stream && position == next {
                next += 1;
                new.push(record);
            } else if !same || !new.is_empty() {
                entry.ended = true;
                return Err(StoreError::Conflict(format!(
                    "event {position}: the next is {next}, or taken"
                )));
            }
        }
        self.order.extend_from_slice(&new);
        entry.records.append(&mut new);
        Ok(())
    }
}

#[async_trait]
impl AuditAppender for MemoryAudit {
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError> {
        let parsed = parse_registration(registration)?;
        let mut log = self.log();
        let entry = log.streams.entry(parsed.stream).or_insert_with(|| Entry {
            registration: registration.clone(),
            records: Vec::new(),
            ended: false,
        });
        if entry.registration == *registration {
            Ok(())
        } else {
            Err(StoreError::Conflict(format!(
                "stream {} has another registration",
                parsed.stream
            )))
        }
    }

    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        ready(self.log().append(records)).boxed()
    }
}

#[async_trait]
impl AuditRestorer for MemoryAudit {
    async fn restore_registration(
        &self,
        registration: &SignedRegistration,
    ) -> Result<(), StoreError> {
        self.register(registration).await
    }

    async fn restore(&self, records: &[Record]) -> Result<(), StoreError> {
        if !records.is_empty() {
            domain::spill::SpillItem::of_records(records.to_vec())?;
        }
        let mut log = self.log();
        for record in records {
            let Record { stream, seq, .. } = record;
            let entry = log
                .streams
                .get_mut(stream)
                .ok_or_else(|| StoreError::NotFound(format!("stream {stream}")))?;
            let position = usize::try_from(*seq).unwrap_or(usize::MAX);
            match entry.records.get(position) {
                Some(same) if same == record => {}
                Some(_) => {
                    return Err(StoreError::Conflict(format!("event {seq}: it is taken")));
                }
                None if position == entry.records.len() => {
                    entry.records.push(record.clone());
                    log.order.push(record.clone());
                }
                None => {
                    let missing = entry.records.len();
                    return Err(StoreError::NotFound(format!("event {missing}")));
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl AuditReader for MemoryAudit {
    async fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let log = self.log();
        let later = log
            .streams
            .keys()
            .filter(|stream| after.is_none_or(|after| **stream > after));
        Ok(later.take(limit).copied().collect())
    }

    async fn registration_hours(&self) -> Result<Vec<u64>, StoreError> {
        let hours: BTreeSet<u64> = self.log().streams.values().map(Entry::hour).collect();
        Ok(hours.into_iter().collect())
    }

    async fn registered_in(
        &self,
        hour: u64,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let log = self.log();
        let found = log.streams.iter().filter(|(stream, entry)| {
            entry.hour() == hour && after.is_none_or(|after| **stream > after)
        });
        Ok(found.take(limit).map(|(stream, _)| *stream).collect())
    }

    async fn registration(&self, stream: StreamId) -> Result<SignedRegistration, StoreError> {
        let log = self.log();
        let entry = log.streams.get(&stream);
        entry
            .map(|entry| entry.registration.clone())
            .ok_or_else(|| StoreError::NotFound(format!("stream {stream}")))
    }

    async fn read(
        &self,
        stream: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let log = self.log();
        let entry = log
            .streams
            .get(&stream)
            .ok_or_else(|| StoreError::NotFound(format!("stream {stream}")))?;
        let later = entry.records.iter().filter(|record| record.seq >= from);
        Ok(later.take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_in_memory_keeps_the_contract() {
        let log = MemoryAudit::new();
        crate::contract::audit_contract(&log, &log).await;
        crate::contract::restore_contract(&log, &log, &log).await;
    }
}
