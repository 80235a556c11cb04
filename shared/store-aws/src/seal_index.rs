//! Where the events of each stream stand in the sealed log, in the table of its lock.
//!
//! ```text
//! pk               sk                       holds
//! X#<stream>       state                    how far the stream is sealed: `state`, `tree_size`, `open`
//! X#<stream>       <20 digits of seq_lo>    events that stand one after another: `index`, `count`
//! O#<n>            <stream>                 that events of the stream are expected: `tree_size`
//! LOCK#<origin>    position                 how far the index is: `tree_size`, `listed_until_us`
//! ```
//! `n` is the first hexadecimal digit of the stream, in decimal. A stream of which events are expected and were sealed
//! costs one write of its state and one of its range in each run; the row in `O#` is written where that changes.

use async_trait::async_trait;
use audit::StreamId;
use audit::seal::{LeafRange, SealedStream};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::StoreError;
use domain::ports::{IndexPosition, SealIndexReader, SealIndexWriter, expects_events};
use futures::future::join_all;

use crate::attempt::Patience;
use crate::table::{Condition, Item, Table, number, number_of, row, text, text_of};

const STATE: &str = "state";
const POSITION: &str = "position";
/// Rows that are written or read at once.
const AT_ONCE: usize = 16;
/// Partitions of open streams.
const SPREAD: u8 = 16;
/// After every stream, in the order of text.
const LAST: &str = "~";

/// The index of one sealed log in a `DynamoDB` table.
#[derive(Debug)]
pub struct DynamoSealIndex {
    table: Table,
    log: String,
}

fn stream_key(stream: StreamId) -> String {
    format!("X#{stream}")
}

fn open_key(k: u8) -> String {
    format!("O#{k}")
}

/// What spreads open streams over partitions: partitions in order give streams in order.
fn spread(stream: StreamId) -> u8 {
    stream.0[0] >> 4
}

fn seq_key(seq: u64) -> String {
    format!("{seq:020}")
}

/// The row's tree is not larger than this one.
fn not_newer(tree_size: u64) -> Condition {
    Condition::new(
        "attribute_not_exists(pk) OR #tree_size <= :tree_size",
        &[("#tree_size", "tree_size")],
        vec![(":tree_size", number(tree_size))],
    )
}

/// The row is that of a smaller tree, and its stream is as open as it will be.
fn only_grows(tree_size: u64, open: bool) -> Condition {
    Condition::new(
        "#tree_size < :tree_size AND #open = :open",
        &[("#tree_size", "tree_size"), ("#open", "open")],
        vec![
            (":tree_size", number(tree_size)),
            (":open", AttributeValue::Bool(open)),
        ],
    )
}

/// The first error, if there is one.
fn first_error(results: Vec<Result<(), StoreError>>) -> Result<(), StoreError> {
    results.into_iter().collect()
}

impl DynamoSealIndex {
    pub(crate) fn new(client: Client, patience: Patience, table: String, origin: &str) -> Self {
        Self {
            table: Table::new(client, patience, table),
            log: format!("LOCK#{origin}"),
        }
    }

    async fn put_state(&self, state: &SealedStream) -> Result<(), StoreError> {
        let (stream, tree_size, open) = (state.stream, state.tree_size, expects_events(state));
        let json = serde_json::to_string(state).map_err(|error| {
            StoreError::Conflict(format!("the state of stream {stream}: {error}"))
        })?;
        let mut item = row(stream_key(stream), STATE);
        item.extend([
            (STATE.to_owned(), text(json)),
            ("tree_size".to_owned(), number(tree_size)),
            ("open".to_owned(), AttributeValue::Bool(open)),
        ]);
        let condition = only_grows(tree_size, open);
        let Err(refused) = self.table.put(&item, Some(&condition)).await? else {
            return Ok(());
        };
        if let Some(found) = &refused.found
            && number_of(found, "tree_size")? > tree_size
        {
            return Ok(());
        }
        // The first state, another kind of state, or the same again: an earlier attempt may have ended half-way. What
        // lists the stream is there before its state says so, and goes after it.
        let (partition, id) = (open_key(spread(stream)), stream.to_string());
        if open {
            let mut listing = row(partition, id);
            listing.insert("tree_size".to_owned(), number(tree_size));
            // Refused where a later run has listed it.
            let _ = self
                .table
                .put(&listing, Some(&not_newer(tree_size)))
                .await?;
            let _ = self.table.put(&item, Some(&not_newer(tree_size))).await?;
            return Ok(());
        }
        let condition = not_newer(tree_size);
        if self.table.put(&item, Some(&condition)).await?.is_err() {
            // Overtaken: whether the stream is open is for the newer state to say.
            return Ok(());
        }
        self.table.delete(&partition, &id, &condition).await
    }

    async fn put_range(&self, range: &LeafRange) -> Result<(), StoreError> {
        let mut item = row(stream_key(range.stream), seq_key(range.seq_lo));
        item.extend([
            ("index".to_owned(), number(range.index)),
            ("count".to_owned(), number(range.count)),
        ]);
        let Err(refused) = self.table.put(&item, Some(&Condition::absent())).await? else {
            return Ok(());
        };
        match refused.found {
            Some(found) if range_of(&found)? == (range.index, range.count) => Ok(()),
            _ => Err(StoreError::Conflict(format!(
                "event {} of stream {} stands elsewhere in the log",
                range.seq_lo, range.stream
            ))),
        }
    }

    /// The streams that are listed as open in the partition, after `after`.
    async fn listed(
        &self,
        k: u8,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        let from = after.map_or_else(|| "0".to_owned(), |after| after.to_string());
        let partition = open_key(k);
        // The sort key is at least `from`, so `after` itself may come along.
        let rows = self
            .table
            .query(&partition, &from, LAST, limit.saturating_add(1))
            .await?;
        let parse = |row: &Item| {
            let id = text_of(row, "sk")?;
            StreamId::parse(id).ok_or_else(|| {
                StoreError::Corrupt(format!("partition {partition} lists the stream {id:?}"))
            })
        };
        let mut streams = rows.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        streams.retain(|stream| after.is_none_or(|after| *stream > after));
        streams.truncate(limit);
        Ok(streams)
    }
}

fn range_of(row: &Item) -> Result<(u64, u64), StoreError> {
    Ok((number_of(row, "index")?, number_of(row, "count")?))
}

fn state_of(stream: StreamId, row: &Item) -> Result<SealedStream, StoreError> {
    let corrupt =
        |reason: String| StoreError::Corrupt(format!("the state of stream {stream}: {reason}"));
    let state: SealedStream =
        serde_json::from_str(text_of(row, STATE)?).map_err(|error| corrupt(error.to_string()))?;
    if state.stream == stream {
        Ok(state)
    } else {
        Err(corrupt(format!("it is that of stream {}", state.stream)))
    }
}

#[async_trait]
impl SealIndexReader for DynamoSealIndex {
    async fn state(&self, stream: StreamId) -> Result<Option<SealedStream>, StoreError> {
        let row = self.table.get(&stream_key(stream), STATE).await?;
        row.map(|row| state_of(stream, &row)).transpose()
    }

    async fn leaf_index(&self, stream: StreamId, seq: u64) -> Result<Option<u64>, StoreError> {
        let (key, last) = (stream_key(stream), seq_key(seq));
        let Some(row) = self.table.last(&key, &seq_key(0), &last).await? else {
            return Ok(None);
        };
        let key = text_of(&row, "sk")?;
        let seq_lo: u64 = key.parse().map_err(|_| {
            StoreError::Corrupt(format!("stream {stream} has a range in row {key:?}"))
        })?;
        let ((index, count), offset) = (range_of(&row)?, seq - seq_lo);
        Ok((offset < count).then(|| index + offset))
    }

    async fn open_streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<SealedStream>, StoreError> {
        let mut found = Vec::new();
        for k in after.map_or(0, spread)..SPREAD {
            let mut last = after;
            loop {
                let wanted = limit - found.len();
                if wanted == 0 {
                    return Ok(found);
                }
                let streams = self.listed(k, last, wanted).await?;
                let is_last = streams.len() < wanted;
                last = streams.last().copied().or(last);
                for part in streams.chunks(AT_ONCE) {
                    let states = join_all(part.iter().map(|stream| self.state(*stream))).await;
                    for state in states {
                        // A row of a run that was interrupted, or overtaken, may list a stream that is not open.
                        found.extend(state?.filter(expects_events));
                    }
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn position(&self) -> Result<IndexPosition, StoreError> {
        let Some(row) = self.table.get(&self.log, POSITION).await? else {
            return Ok(IndexPosition::default());
        };
        Ok(IndexPosition {
            tree_size: number_of(&row, "tree_size")?,
            listed_until_us: number_of(&row, "listed_until_us")?,
        })
    }
}

#[async_trait]
impl SealIndexWriter for DynamoSealIndex {
    async fn put(&self, streams: &[SealedStream], ranges: &[LeafRange]) -> Result<(), StoreError> {
        for part in ranges.chunks(AT_ONCE) {
            first_error(join_all(part.iter().map(|range| self.put_range(range))).await)?;
        }
        for part in streams.chunks(AT_ONCE) {
            first_error(join_all(part.iter().map(|state| self.put_state(state))).await)?;
        }
        Ok(())
    }

    async fn advance(&self, position: IndexPosition) -> Result<(), StoreError> {
        let (tree_size, listed) = (position.tree_size, position.listed_until_us);
        let condition = Condition::new(
            "attribute_not_exists(pk) OR #tree_size < :tree_size \
             OR (#tree_size = :tree_size AND #listed < :listed)",
            &[("#tree_size", "tree_size"), ("#listed", "listed_until_us")],
            vec![
                (":tree_size", number(tree_size)),
                (":listed", number(listed)),
            ],
        );
        let mut item = row(&self.log, POSITION);
        item.extend([
            ("tree_size".to_owned(), number(tree_size)),
            ("listed_until_us".to_owned(), number(listed)),
        ]);
        // Refused: it is there already, or further.
        self.table.put(&item, Some(&condition)).await.map(|_| ())
    }
}
