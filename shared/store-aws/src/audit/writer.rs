//! The task that writes one stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use audit::{Record, StreamId};
use domain::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::rows::event_row;
use super::stream_rows::StreamRows;
use super::{Registered, Shared, ended};
use crate::table::{Item, Table};

/// Rows in one transaction at most; `DynamoDB`'s own limit.
const MAX_ROWS: usize = 100;
/// Bytes of entries in one transaction at most. A KB costs two write units in a transaction, and the partition that
/// a stream is in takes 1,000 a second.
const MAX_BYTES: usize = 400_000;

/// Records that wait to be written, or the reason why they are refused, in the order of the calls.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) records: Result<Vec<Record>, StoreError>,
    /// What they count for in the queue.
    pub(super) bytes: usize,
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
}

/// Writes one stream until a failure ends it, or nobody can append any more.
pub(super) struct Writer {
    rows: StreamRows,
    shared: Arc<Shared>,
    stream: StreamId,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// Position of the next record, after those that are staged.
    next: u64,
    staged: Staged,
}

/// Rows that are written together, and who waits for them.
#[derive(Default)]
pub(super) struct Staged {
    rows: VecDeque<(Item, usize)>,
    bytes: usize,
    /// How many rows must be durable before each caller is answered.
    waiting: VecDeque<(usize, oneshot::Sender<Result<(), StoreError>>)>,
}

impl Writer {
    pub(super) fn new(
        table: Table,
        shared: Arc<Shared>,
        stream: StreamId,
        jobs: mpsc::UnboundedReceiver<Job>,
    ) -> Self {
        Self {
            rows: StreamRows::new(table, stream),
            shared,
            stream,
            jobs,
            next: 0,
            staged: Staged::default(),
        }
    }

    pub(super) async fn run(mut self) {
        while let Some(job) = self.jobs.recv().await {
            let mut result = self.take(job).await;
            while result.is_ok() && !self.staged.is_full() {
                let Ok(job) = self.jobs.try_recv() else {
                    break;
                };
                result = self.take(job).await;
            }
            if result.is_ok() {
                result = self.commit().await;
            }
            if let Err(error) = result {
                return self.end(&error);
            }
        }
    }

    /// Takes one job; an error ends the stream, and the job has heard it.
    async fn take(&mut self, job: Job) -> Result<(), StoreError> {
        self.shared
            .queued_bytes
            .fetch_sub(job.bytes, Ordering::Relaxed);
        let records = match job.records.and_then(|records| self.check(records)) {
            Ok(records) => records,
            Err(error) => {
                // What came before stands by itself.
                let before = self.commit().await;
                answer(job.reply, Err(error.clone()));
                return before.and(Err(error));
            }
        };
        let known = records
            .iter()
            .take_while(|(record, _)| record.seq < self.next)
            .count();
        if known > 0 {
            // A reply was lost, and the records are sent again.
            let confirmed = match self.commit().await {
                Ok(()) => self.confirm(&records[..known]).await,
                Err(error) => Err(error),
            };
            if let Err(error) = confirmed {
                answer(job.reply, Err(error.clone()));
                return Err(error);
            }
        }
        for (record, row) in records.into_iter().skip(known) {
            self.next = record.seq + 1;
            self.staged.push(row, record.entry.len());
        }
        self.staged
            .waiting
            .push_back((self.staged.rows.len(), job.reply));
        Ok(())
    }

    /// The records with their rows, if they are consecutive records of this stream and leave no gap.
    fn check(&self, records: Vec<Record>) -> Result<Vec<(Record, Item)>, StoreError> {
        let first = records.first().map_or(0, |record| record.seq);
        if first > self.next {
            return Err(StoreError::Conflict(format!(
                "event {first}: the next position is {}",
                self.next
            )));
        }
        let mut checked = Vec::with_capacity(records.len());
        for (seq, record) in (first..).zip(records) {
            if record.stream != self.stream || record.seq != seq {
                return Err(StoreError::Conflict(format!(
                    "one append takes consecutive records of one stream: expected event {seq} of {}, \
                     found event {} of {}",
                    self.stream, record.seq, record.stream
                )));
            }
            let row = event_row(&record)?;
            checked.push((record, row));
        }
        Ok(checked)
    }

    /// Finds the records in the table: each is put once more, and must meet itself.
    async fn confirm(&self, records: &[(Record, Item)]) -> Result<(), StoreError> {
        for (_, row) in records {
            self.rows.write_one(row).await?;
        }
        Ok(())
    }

    /// Makes what is staged durable, and answers those who wait for it.
    async fn commit(&mut self) -> Result<(), StoreError> {
        let mut durable = 0;
        loop {
            while let Some((_, reply)) = self
                .staged
                .waiting
                .pop_front_if(|(needed, _)| *needed <= durable)
            {
                answer(reply, Ok(()));
            }
            let rows = self.staged.pop_batch();
            if rows.is_empty() {
                return Ok(());
            }
            let count = rows.len();
            if let Err(error) = self.rows.write(rows).await {
                for (_, reply) in self.staged.waiting.drain(..) {
                    answer(reply, Err(error.clone()));
                }
                return Err(error);
            }
            durable += count;
        }
    }

    /// Ends the stream: every later append is refused.
    fn end(mut self, error: &StoreError) {
        let reason = error.to_string();
        self.shared
            .streams()
            .insert(self.stream, Registered::Ended(reason.clone()));
        self.jobs.close();
        for (_, reply) in self.staged.waiting.drain(..) {
            answer(reply, Err(ended(self.stream, &reason)));
        }
        while let Ok(job) = self.jobs.try_recv() {
            self.shared
                .queued_bytes
                .fetch_sub(job.bytes, Ordering::Relaxed);
            answer(job.reply, Err(ended(self.stream, &reason)));
        }
    }
}

impl Staged {
    pub(super) fn push(&mut self, row: Item, bytes: usize) {
        self.bytes += bytes;
        self.rows.push_back((row, bytes));
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    /// The first rows, as many as one transaction takes.
    pub(super) fn pop_batch(&mut self) -> Vec<Item> {
        let (mut batch, mut total) = (Vec::new(), 0);
        while let Some((row, bytes)) = self.rows.pop_front_if(|(_, bytes)| {
            batch.len() < MAX_ROWS && (batch.is_empty() || total + *bytes <= MAX_BYTES)
        }) {
            total += bytes;
            self.bytes -= bytes;
            batch.push(row);
        }
        batch
    }
}

/// Answers; whoever went away meanwhile does not hear it.
fn answer(reply: oneshot::Sender<Result<(), StoreError>>, result: Result<(), StoreError>) {
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_large_as_one_transaction_takes() {
        let mut staged = Staged::default();
        for _ in 0..250 {
            staged.push(Item::new(), 1000);
        }
        assert!(staged.is_full());
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(staged.pop_batch().len()))
            .take_while(|size| *size > 0)
            .collect();
        assert_eq!(sizes, [100, 100, 50]);
        assert!(!staged.is_full());

        for _ in 0..15 {
            staged.push(Item::new(), 65_535);
        }
        assert!(staged.is_full(), "by its bytes");
        let each = MAX_BYTES / 65_535;
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(staged.pop_batch().len()))
            .take_while(|size| *size > 0)
            .collect();
        assert_eq!(sizes, [each, each, 15 - 2 * each]);
    }

    #[test]
    fn a_row_that_is_larger_than_a_batch_goes_alone() {
        let mut staged = Staged::default();
        staged.push(Item::new(), MAX_BYTES + 1);
        staged.push(Item::new(), 1);
        assert_eq!(staged.pop_batch().len(), 1);
        assert_eq!(staged.pop_batch().len(), 1);
    }
}
