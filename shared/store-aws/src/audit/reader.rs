//! Reads streams back.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use audit::{Record, SignedRegistration, StreamId};
use domain::StoreError;
use domain::ports::AuditReader;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::DynamoAudit;
use super::rows::{
    DIRECTORY, REGISTRATION, SPREAD, hour_name, hour_number, record_of, registration_of, seq_key,
    spread, stream_key,
};
use super::search::say;
use crate::table::text_of;

/// Partitions that are asked at once.
const AT_ONCE: usize = 8;
/// After every hour and every stream, in the order of text.
const LAST: &str = "~";

impl DynamoAudit {
    /// The hours in which streams were registered, counted since 1970, by what spreads them. Whoever registers streams
    /// can put a row in: one that is no hour hides none.
    async fn hours(&self) -> Result<BTreeMap<u8, Vec<u64>>, StoreError> {
        let rows = self.table.query(DIRECTORY, "0", LAST, usize::MAX).await?;
        let mut hours: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        for row in &rows {
            let key = text_of(row, "sk")?;
            let parsed = key.split_once('#').and_then(|(hour, k)| {
                Some((hour_number(hour)?, k.parse().ok().filter(|k| *k < SPREAD)?))
            });
            match parsed {
                Some((hour, k)) => hours.entry(k).or_default().push(hour),
                None => say(&StoreError::Corrupt(format!(
                    "the directory of streams has the row {key:?}"
                ))),
            }
        }
        Ok(hours)
    }

    /// Streams registered in that hour, at most `limit` that come after `after`, ascending. A row that is no stream of
    /// the partition hides none.
    async fn streams_of(
        &self,
        hour: u64,
        k: u8,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let Some(hour) = hour_name(hour) else {
            return Ok(Vec::new());
        };
        let partition = format!("G#{hour}#{k}");
        // `!` comes after the end of a text and before the next key.
        let mut from = after.map_or_else(|| "0".to_owned(), |after| format!("{after}!"));
        let mut streams = Vec::new();
        while streams.len() < limit && from.as_str() <= LAST {
            let wanted = limit - streams.len();
            let rows = self.table.query(&partition, &from, LAST, wanted).await?;
            for row in &rows {
                let id = text_of(row, "sk")?;
                match StreamId::parse(id).filter(|stream| spread(*stream) == k) {
                    Some(stream) => streams.push(stream),
                    None => say(&StoreError::Corrupt(format!(
                        "partition {partition} lists the stream {id:?}"
                    ))),
                }
            }
            match rows.last() {
                Some(last) if rows.len() == wanted => from = format!("{}!", text_of(last, "sk")?),
                _ => break,
            }
        }
        Ok(streams)
    }
}

#[async_trait]
impl AuditReader for DynamoAudit {
    async fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let first = after.map_or(0, spread);
        let mut found: Vec<StreamId> = Vec::new();
        // The first digit of a stream's id decides over its partition, so partitions in order give streams in order.
        for (k, hours) in self.hours().await?.range(first..) {
            if found.len() >= limit {
                break;
            }
            let rest = limit - found.len();
            let lists: Vec<Vec<StreamId>> = stream::iter(hours.clone())
                .map(|hour| self.streams_of(hour, *k, after, rest))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            let mut streams = lists.concat();
            streams.sort_unstable();
            streams.truncate(rest);
            found.extend(streams);
        }
        Ok(found)
    }

    async fn registration_hours(&self) -> Result<Vec<u64>, StoreError> {
        let hours: BTreeSet<u64> = self.hours().await?.into_values().flatten().collect();
        Ok(hours.into_iter().collect())
    }

    async fn registered_in(
        &self,
        hour: u64,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        // The first digit of a stream's id decides over its partition.
        let first = after.map_or(0, spread);
        let lists: Vec<Vec<StreamId>> = stream::iter(first..SPREAD)
            .map(|k| self.streams_of(hour, k, after, limit))
            .buffered(usize::from(SPREAD))
            .try_collect()
            .await?;
        let mut streams = lists.concat();
        streams.truncate(limit);
        Ok(streams)
    }

    async fn registration(&self, stream: StreamId) -> Result<SignedRegistration, StoreError> {
        let row = self.table.get(&stream_key(stream), REGISTRATION).await?;
        registration_of(&row.ok_or_else(|| StoreError::NotFound(format!("stream {stream}")))?)
    }

    async fn read(
        &self,
        stream: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let rows = self
            .table
            .query(
                &stream_key(stream),
                &seq_key(from),
                &seq_key(u64::MAX),
                limit,
            )
            .await?;
        if rows.is_empty() {
            // Nothing to read, or nothing to read from.
            self.registration(stream).await?;
        }
        rows.iter().map(|row| record_of(stream, row)).collect()
    }
}
