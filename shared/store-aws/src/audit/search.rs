//! Finds events by the table's indexes.
//!
//! An index spreads the events of a minute, or of a symbol's or a model's hour, over 16 partitions. Partitions of one
//! span of time are asked at once, and what they give is merged; spans follow one another until the page is full.

use std::future::ready;

use async_trait::async_trait;
use audit::StreamId;
use domain::ports::AuditSearch;
use domain::{EventKeys, EventPage, EventPosition, EventQuery, Lookup, StoreError};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::DynamoAudit;
use super::rows::{
    HOUR, SEVERAL, SPREAD, minute_of, order_key, position_of, seq_key, stream_key, time_key,
};
use crate::table::{Item, Keys, bytes_of, text_of};

const TIME: Keys = index("time", "t_pk", "t_sk");
const SYMBOL: Keys = index("symbol", "y_pk", "y_sk");
const MODEL: Keys = index("model", "m_pk", "m_sk");
const REQUEST: Keys = index("request", "r_pk", "r_sk");

const MINUTE_US: u64 = 60_000_000;
const HOUR_US: u64 = 60 * MINUTE_US;
/// The year 10000: no event has such a time.
const END_OF_TIME_US: u64 = 253_402_300_800_000_000;
/// Partitions that are asked at once.
const AT_ONCE: usize = 32;
/// Spans that one call asks at most: an hour of everything, two and a half days of a symbol.
const SPANS: usize = 60;

const fn index(name: &'static str, pk: &'static str, sk: &'static str) -> Keys {
    Keys {
        index: Some(name),
        pk,
        sk,
    }
}

/// The partitions of one span of time.
struct Span {
    keys: Keys,
    partitions: Vec<String>,
    /// The first microsecond after it.
    end_us: u64,
}

/// The span that holds `time_us`.
fn span(lookup: &Lookup, time_us: u64) -> Span {
    let minute = minute_of(time_us);
    let hour = &minute[..HOUR];
    let spread = |prefix: String| (0..SPREAD).map(move |k| format!("{prefix}#{k}"));
    let end_of = |length: u64| (time_us / length + 1).saturating_mul(length);
    match lookup {
        Lookup::Everything => Span {
            keys: TIME,
            partitions: spread(format!("T#{minute}")).collect(),
            end_us: end_of(MINUTE_US),
        },
        Lookup::Symbol(symbol) => Span {
            keys: SYMBOL,
            partitions: [symbol.as_str(), SEVERAL]
                .into_iter()
                .flat_map(|symbol| spread(format!("Y#{symbol}#{hour}")))
                .collect(),
            end_us: end_of(HOUR_US),
        },
        Lookup::Model(name, version) => Span {
            keys: MODEL,
            partitions: spread(format!("M#{name}@{version}#{hour}")).collect(),
            end_us: end_of(HOUR_US),
        },
        Lookup::Request(id) => Span {
            keys: REQUEST,
            partitions: vec![format!("R#{id}")],
            end_us: u64::MAX,
        },
    }
}

/// The last position before a time.
fn before(time_us: u64) -> EventPosition {
    EventPosition {
        time_us: time_us.saturating_sub(1),
        stream: StreamId([0xff; 16]),
        seq: u64::MAX,
    }
}

/// The smallest sort key that the query still asks for.
fn lowest(query: &EventQuery) -> String {
    let first = time_key(query.from_us);
    match query.after {
        // `!` comes after the end of a text and before the next key: no key is the start of another.
        Some(after) => first.max(order_key(after) + "!"),
        None => first,
    }
}

impl DynamoAudit {
    /// The events of one span that the query asks for, ascending, and up to where they are all of them.
    async fn events_of(
        &self,
        span: &Span,
        query: &EventQuery,
        limit: usize,
    ) -> Result<(Vec<EventPosition>, EventPosition), StoreError> {
        let parts: Vec<Part> = stream::iter(span.partitions.clone())
            .map(|partition| async move {
                let end_us = query.until_us.min(span.end_us);
                self.part(span.keys, &partition, query, end_us, limit).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let ends = parts.iter().filter_map(|part| part.last);
        let complete = ends.fold(before(span.end_us), EventPosition::min);
        let mut found: Vec<Found> = parts.into_iter().flat_map(|part| part.found).collect();
        found.retain(|row| row.position <= complete && row.of_kind);
        found.sort_unstable_by_key(|row| row.position);
        let events = stream::iter(found)
            .map(|row| async move {
                Ok::<_, StoreError>((row.position, self.is_asked_for(row, query).await?))
            })
            .buffered(AT_ONCE)
            .try_filter_map(|(position, asked)| ready(Ok(asked.then_some(position))))
            .take(limit)
            .try_collect()
            .await?;
        Ok((events, complete))
    }

    /// The next rows of one partition, of which those that cannot be read are left out.
    async fn part(
        &self,
        keys: Keys,
        partition: &str,
        query: &EventQuery,
        end_us: u64,
        limit: usize,
    ) -> Result<Part, StoreError> {
        let (mut lowest, highest) = (lowest(query), time_key(end_us));
        loop {
            let rows = self
                .table
                .query_in(keys, partition, &lowest, &highest, limit)
                .await?;
            let mut found = Vec::with_capacity(rows.len());
            for row in &rows {
                match Found::of(row, keys, query) {
                    Ok(row) => found.push(row),
                    Err(error) => say(&error),
                }
            }
            let full = rows.len() >= limit;
            let last = found.last().map(|row| row.position).filter(|_| full);
            if last.is_some() || !full {
                return Ok(Part { found, last });
            }
            // None of them says where it stands: what comes after them is asked for.
            if let Some(row) = rows.last() {
                lowest = text_of(row, keys.sk)?.to_owned() + "!";
            }
            if rows.is_empty() || lowest > highest {
                return Ok(Part { found, last });
            }
        }
    }

    /// Whether an event that stands in the span is one that the query asks for. Of one with several symbols only the
    /// event itself says so.
    async fn is_asked_for(&self, row: Found, query: &EventQuery) -> Result<bool, StoreError> {
        if !row.of_several {
            return Ok(true);
        }
        let (pk, sk) = (stream_key(row.position.stream), seq_key(row.position.seq));
        let Some(event) = self.table.get(&pk, &sk).await? else {
            // Its time in the table is over; the index will follow.
            return Ok(false);
        };
        let keys = bytes_of(&event, "entry").and_then(|entry| {
            EventKeys::of(entry)
                .map_err(|error| StoreError::Corrupt(format!("row {pk} {sk}: {error}")))
        });
        let Ok(keys) = keys.inspect_err(say) else {
            // It may be one of them: it is found, and whoever reads it sees that it cannot be read.
            return Ok(true);
        };
        Ok(keys.match_query(query))
    }
}

/// Rows of one partition, ascending.
struct Part {
    found: Vec<Found>,
    /// The last one, where there may be more after it.
    last: Option<EventPosition>,
}

/// A row of an index.
#[derive(Debug, Clone, Copy)]
struct Found {
    position: EventPosition,
    /// Whether the query asks for its kind.
    of_kind: bool,
    /// Whether the event has several symbols.
    of_several: bool,
}

impl Found {
    fn of(row: &Item, keys: Keys, query: &EventQuery) -> Result<Self, StoreError> {
        let of_several = format!("Y#{SEVERAL}#");
        let is_kind = |asked: &String| {
            text_of(row, "kind")
                .inspect_err(say)
                .map_or(true, |kind| kind == asked)
        };
        Ok(Self {
            position: position_in(row, keys)?,
            of_kind: query.kind.as_ref().is_none_or(is_kind),
            of_several: text_of(row, keys.pk)?.starts_with(&of_several),
        })
    }
}

/// Says that a row is not what a process of ours wrote; the other events are found all the same.
pub(super) fn say(error: &StoreError) {
    let code = "audit.row_unreadable";
    tracing::error!(security.code = code, error = %error, "a row of the audit table was altered or put in");
}

fn position_in(row: &Item, keys: Keys) -> Result<EventPosition, StoreError> {
    let order = text_of(row, keys.sk)?;
    position_of(order).ok_or_else(|| {
        StoreError::Corrupt(format!("the index {:?} has the row {order:?}", keys.index))
    })
}

#[async_trait]
impl AuditSearch for DynamoAudit {
    async fn search(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let limit = query.limit.max(1);
        let mut page = EventPage::default();
        let mut query = query.clone();
        for _ in 0..SPANS {
            let at = query.after.map_or(0, |after| after.time_us);
            // What comes after the last position of a span is in the next one.
            let passed = query.after == Some(before(at.saturating_add(1)));
            let at = query.from_us.max(at.saturating_add(u64::from(passed)));
            if at >= query.until_us.min(END_OF_TIME_US) {
                return Ok(EventPage { next: None, ..page });
            }
            let span = span(&query.lookup, at);
            let (events, complete) = self.events_of(&span, &query, limit).await?;
            let room = limit - page.events.len();
            page.events.extend(events.iter().take(room));
            let reached = if events.len() >= room {
                events[room - 1]
            } else {
                complete
            };
            page.next = Some(reached);
            if page.events.len() == limit {
                break;
            }
            query.after = Some(reached);
        }
        Ok(page)
    }
}
