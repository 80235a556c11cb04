//! Reads events by where they stand, and holds each against the sealed log.

use std::collections::BTreeMap;

use audit::canonical::leaf_hash;
use audit::event::EventFormat;
use audit::{LeafHash, Record, StreamId};
use domain::EventPosition;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use web::ApiError;

use crate::function::{AuditQuery, Held};
use crate::head::Head;

/// Events that are read at once, 64 KiB each at most.
pub(crate) const BATCH: usize = 64;
/// Questions to a store at once.
pub(crate) const AT_ONCE: usize = 16;
/// Events between two that are asked for, up to which both are read in one go.
const NEAR: u64 = 4;

/// Where an event stands in its stream.
pub(crate) type Place = (StreamId, u64);

/// An event as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundEvent {
    pub(crate) stream: StreamId,
    pub(crate) seq: u64,
    /// The event, where it can be read.
    pub(crate) record: Option<Record>,
    /// Where in the log it is sealed, as of the head.
    pub(crate) index: Option<u64>,
    /// What is wrong with it.
    pub(crate) fault: Option<EventFault>,
}

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct EventFault {
    /// Stable code.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) detail: String,
}

impl EventFault {
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail }
    }
}

impl FoundEvent {
    /// The event's hash, where it can be read.
    pub(crate) fn leaf_hash(&self) -> Option<LeafHash> {
        let record = self.record.as_ref()?;
        Some(LeafHash(leaf_hash(&record.entry)))
    }
}

/// Rows of streams.
#[derive(Default)]
pub(crate) struct Rows(BTreeMap<Place, Row>);

/// What stands at a place.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    Event(Record),
    Unreadable(String),
}

impl Rows {
    pub(crate) fn record(&self, position: &EventPosition) -> Option<&Record> {
        match self.0.get(&(position.stream, position.seq))? {
            Row::Event(record) => Some(record),
            Row::Unreadable(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct EntryHead {
    #[expect(dead_code, reason = "an unknown format must not parse")]
    format: EventFormat,
    stream: StreamId,
    seq: u64,
}

/// Why the record is no event of its place.
fn fault_of(record: &Record) -> Option<String> {
    if let Err(error) = serde_json::from_slice::<&RawValue>(&record.entry) {
        return Some(format!("not JSON: {error}"));
    }
    match serde_json::from_slice::<EntryHead>(&record.entry) {
        Err(error) => Some(error.to_string()),
        Ok(head) if (head.stream, head.seq) != (record.stream, record.seq) => Some(format!(
            "the entry is event {} of stream {}",
            head.seq, head.stream
        )),
        Ok(_) => None,
    }
}

impl Row {
    pub(crate) fn into_record(self) -> Option<Record> {
        match self {
            Self::Event(record) => Some(record),
            Self::Unreadable(_) => None,
        }
    }
}

impl From<Record> for Row {
    fn from(record: Record) -> Self {
        match fault_of(&record) {
            None => Self::Event(record),
            Some(fault) => Self::Unreadable(fault),
        }
    }
}

impl AuditQuery {
    /// The events at these positions, in their order, as of `head`.
    pub(crate) async fn read_events(
        &self,
        positions: &[EventPosition],
        head: &Head,
    ) -> Result<Vec<FoundEvent>, ApiError> {
        let places: Vec<Place> = positions.iter().map(|p| (p.stream, p.seq)).collect();
        let (rows, known) =
            tokio::try_join!(self.read_rows(positions), self.known_of(&places, head))?;
        let sealed = known.indices.iter().flatten().flatten().copied();
        let leaves = self.read_leaves(sealed, head).await?;
        let found = places.into_iter().zip(known.indices).map(|(place, index)| {
            let row = rows.0.get(&place).cloned();
            let sealed = match index {
                Ok(index) => index.and_then(|index| Some((index, leaves.get(&index)?.clone()))),
                Err(why) => Some((0, Err(why))),
            };
            let key = known.keys.get(&place.0).copied();
            self.complete(place, row, key, sealed, head)
        });
        stream::iter(found).buffered(AT_ONCE).try_collect().await
    }

    /// The event at one place, as of `head`.
    pub(crate) async fn read_event(
        &self,
        place: Place,
        head: &Head,
    ) -> Result<FoundEvent, ApiError> {
        let position = EventPosition {
            time_us: 0,
            stream: place.0,
            seq: place.1,
        };
        let mut found = self.read_events(&[position], head).await?;
        found.pop().ok_or_else(ApiError::internal)
    }

    /// The rows at these positions; none where there is none.
    pub(crate) async fn read_rows(&self, positions: &[EventPosition]) -> Result<Rows, ApiError> {
        let runs = stream::iter(runs_of(positions)).map(|run| self.read_run(run));
        let read: Vec<Vec<(Place, Row)>> = runs.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Rows(read.into_iter().flatten().collect()))
    }

    /// The rows of a run. Where one of them keeps the others from being read, each is read alone.
    async fn read_run(&self, (stream, first, last): Run) -> Result<Vec<(Place, Row)>, ApiError> {
        let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        let read = self.ports.streams.read(stream, first, count);
        match self.ask("stream", read).await? {
            Held::Found(records) => {
                let within = records.into_iter().filter(|record| record.seq <= last);
                Ok(within
                    .map(|record| ((stream, record.seq), record.into()))
                    .collect())
            }
            Held::Missing => Ok(Vec::new()),
            Held::Unreadable(why) if first == last => {
                Ok(vec![((stream, first), Row::Unreadable(why))])
            }
            Held::Unreadable(_) => {
                let mut rows = Vec::new();
                for seq in first..=last {
                    rows.extend(Box::pin(self.read_run((stream, seq, seq))).await?);
                }
                Ok(rows)
            }
        }
    }
}

/// A stream, and the first and last event of it that are read in one go.
type Run = (StreamId, u64, u64);

fn runs_of(positions: &[EventPosition]) -> Vec<Run> {
    let mut places: Vec<Place> = positions.iter().map(|p| (p.stream, p.seq)).collect();
    places.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for (stream, seq) in places {
        match runs.last_mut() {
            Some((same, first, last))
                if *same == stream && seq - *last <= NEAR && seq - *first < BATCH as u64 =>
            {
                *last = seq;
            }
            _ => runs.push((stream, seq, seq)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(seqs: &[u64]) -> Vec<(u64, u64)> {
        let position = |seq: &u64| EventPosition {
            time_us: 0,
            stream: StreamId([1; 16]),
            seq: *seq,
        };
        let positions: Vec<_> = seqs.iter().map(position).collect();
        runs_of(&positions)
            .into_iter()
            .map(|(_, a, b)| (a, b))
            .collect()
    }

    #[test]
    fn near_events_are_read_in_one_go_and_no_run_is_long() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[7, 3, 4]), [(3, 7)]);
        assert_eq!(runs(&[3, 8]), [(3, 3), (8, 8)]);
        let all: Vec<u64> = (0..200).collect();
        assert_eq!(runs(&all), [(0, 63), (64, 127), (128, 191), (192, 199)]);
        assert_eq!(runs(&[0, u64::MAX]), [(0, 0), (u64::MAX, u64::MAX)]);
    }
}
