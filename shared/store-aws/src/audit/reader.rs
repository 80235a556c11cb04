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
use crate::table::text_of;

/// Partitions that are asked at once.
const AT_ONCE: usize = 8;
/// After every hour and every stream, in the order of text.
const LAST: &str = "~";

impl DynamoAudit {
    /// The hours in which streams were registered, by what spreads them.
    async fn hours(&self) -> Result<BTreeMap<u8, Vec<String>>, StoreError> {
        let rows = self.table.query(DIRECTORY, "0", LAST, usize::MAX).await?;
        let mut hours: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for row in &rows {
            let key = text_of(row, "sk")?;
            let (hour, k) = key
                .split_once('#')
                .and_then(|(hour, k)| Some((hour, k.parse().ok()?)))
                .ok_or_else(|| {
                    StoreError::Corrupt(format!("the directory of streams has the row {key:?}"))
                })?;
            hours.entry(k).or_default().push(hour.to_owned());
        }
        Ok(hours)
    }

    /// Streams registered in that hour, at most `limit` that come after `after`, ascending.
    async fn streams_of(
        &self,
        hour: &str,
        k: u8,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let partition = format!("G#{hour}#{k}");
        // The sort key is at least `from`, so `after` itself may come along.
        let from = after.map_or_else(|| "0".to_owned(), |after| after.to_string());
        let rows = self
            .table
            .query(&partition, &from, LAST, limit.saturating_add(1))
            .await?;
        let mut streams = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = text_of(row, "sk")?;
            streams.push(StreamId::parse(id).ok_or_else(|| {
                StoreError::Corrupt(format!("partition {partition} lists the stream {id:?}"))
            })?);
        }
        streams.retain(|stream| after.is_none_or(|after| *stream > after));
        streams.truncate(limit);
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
                .map(|hour| async move { self.streams_of(&hour, *k, after, rest).await })
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
        let names: BTreeSet<String> = self.hours().await?.into_values().flatten().collect();
        let number = |name: &String| {
            hour_number(name).ok_or_else(|| {
                StoreError::Corrupt(format!("the directory of streams has the hour {name:?}"))
            })
        };
        names.iter().map(number).collect()
    }

    async fn registered_in(
        &self,
        hour: u64,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let Some(hour) = hour_name(hour) else {
            return Ok(Vec::new());
        };
        // The first digit of a stream's id decides over its partition.
        let first = after.map_or(0, spread);
        let lists: Vec<Vec<StreamId>> = stream::iter(first..SPREAD)
            .map(|k| self.streams_of(&hour, k, after, limit))
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
