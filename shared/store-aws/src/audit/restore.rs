//! Puts records back that other processes could not append.

use async_trait::async_trait;
use audit::{Record, SignedRegistration};
use domain::StoreError;
use domain::ports::AuditRestorer;
use domain::spill::SpillItem;

use super::DynamoAudit;
use super::rows::{REGISTRATION, event_row, seq_key, stream_key};
use super::stream_rows::StreamRows;
use super::writer::Staged;

#[async_trait]
impl AuditRestorer for DynamoAudit {
    async fn restore_registration(
        &self,
        registration: &SignedRegistration,
    ) -> Result<(), StoreError> {
        self.put_all_of(registration).await.map(|_| ())
    }

    async fn restore(&self, records: &[Record]) -> Result<(), StoreError> {
        let Some(first) = records.first() else {
            return Ok(());
        };
        // Refuses what is not a run of one stream.
        SpillItem::of_records(records.to_vec())?;
        self.find_what_precedes(first).await?;
        let rows = StreamRows::new(self.table.clone(), first.stream);
        let mut staged = Staged::default();
        for record in records {
            staged.push(event_row(record)?, record.entry.len());
        }
        // In order: what is written so far continues the stream without a gap, wherever it ends.
        loop {
            let batch = staged.pop_batch();
            if batch.is_empty() {
                return Ok(());
            }
            rows.write(batch).await?;
        }
    }
}

impl DynamoAudit {
    /// Finds the record before this one, or the registration before the first.
    async fn find_what_precedes(&self, first: &Record) -> Result<(), StoreError> {
        let stream = first.stream;
        let (key, what) = match first.seq.checked_sub(1) {
            None => (REGISTRATION.to_owned(), "the registration".to_owned()),
            Some(seq) => (seq_key(seq), format!("event {seq}")),
        };
        match self.table.get(&stream_key(stream), &key).await? {
            Some(_) => Ok(()),
            None => Err(StoreError::NotFound(format!("{what} of stream {stream}"))),
        }
    }
}
