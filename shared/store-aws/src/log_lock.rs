//! The lock of the sealed log in a `DynamoDB` table that it shares with the log's index: one row, `LOCK#<origin>` and `committed`, whose
//! `state` is what was committed last.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use domain::StoreError;
use domain::ports::LogLock;

use crate::attempt::Patience;
use crate::table::{Condition, MAX_VALUE_BYTES, Table, bytes, bytes_of, row};

const COMMITTED: &str = "committed";

/// The lock of one log in a `DynamoDB` table.
#[derive(Debug)]
pub struct DynamoLogLock {
    table: Table,
    pk: String,
}

impl DynamoLogLock {
    pub(crate) fn new(client: Client, patience: Patience, table: String, origin: &str) -> Self {
        Self {
            table: Table::new(client, patience, table),
            pk: format!("LOCK#{origin}"),
        }
    }
}

#[async_trait]
impl LogLock for DynamoLogLock {
    async fn committed(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.table.get(&self.pk, COMMITTED).await?;
        row.map(|row| Ok(bytes_of(&row, "state")?.to_vec()))
            .transpose()
    }

    async fn commit(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        if next.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge(format!(
                "a commit of {} bytes: expected at most {MAX_VALUE_BYTES}",
                next.len()
            )));
        }
        let condition = match expected {
            None => Condition::absent(),
            Some(expected) => Condition::new(
                "#state = :expected",
                &[("#state", "state")],
                vec![(":expected", bytes(expected))],
            ),
        };
        let mut item = row(&self.pk, COMMITTED);
        item.insert("state".to_owned(), bytes(next));
        let Err(refused) = self.table.put(&item, Some(&condition)).await? else {
            return Ok(());
        };
        // Committed by an earlier attempt, or by an earlier call whose reply was lost.
        let found = refused.found.as_ref().map(|row| bytes_of(row, "state"));
        if let Some(found) = found
            && found? == next
        {
            return Ok(());
        }
        let text = format!("{} {COMMITTED} is not what was expected", self.pk);
        Err(if refused.in_doubt {
            // An earlier attempt may have been applied, and the next commit may stand upon it already.
            StoreError::OutcomeUnknown(text)
        } else {
            StoreError::Conflict(text)
        })
    }
}
