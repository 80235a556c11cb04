//! Rows of one stream, put where there are none.

use audit::StreamId;
use domain::StoreError;

use super::rows::is_same_event;
use crate::table::{Condition, Item, Refused, Table, text_of};

/// Writes rows of one stream.
pub(super) struct StreamRows {
    table: Table,
    stream: StreamId,
}

impl StreamRows {
    pub(super) fn new(table: Table, stream: StreamId) -> Self {
        Self { table, stream }
    }

    /// Writes consecutive rows: all or none, unless some were there already.
    pub(super) async fn write(&self, mut rows: Vec<Item>) -> Result<(), StoreError> {
        loop {
            if let [row] = rows.as_slice() {
                return self.write_one(row).await;
            }
            let puts: Vec<_> = rows
                .iter()
                .map(|row| (row.clone(), Condition::absent()))
                .collect();
            let Err(objections) = self.table.put_all(&puts).await? else {
                return Ok(());
            };
            // An earlier attempt whose reply was lost: every row meets itself.
            let mut missing = Vec::new();
            for (row, objection) in rows.into_iter().zip(objections) {
                match objection {
                    None => missing.push(row),
                    Some(refused) => self.meets_itself(&row, &refused)?,
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            rows = missing;
        }
    }

    /// Writes a row, or finds the same one there.
    pub(super) async fn write_one(&self, row: &Item) -> Result<(), StoreError> {
        match self.table.put(row, Some(&Condition::absent())).await? {
            Ok(()) => Ok(()),
            Err(refused) => self.meets_itself(row, &refused),
        }
    }

    fn meets_itself(&self, row: &Item, refused: &Refused) -> Result<(), StoreError> {
        if refused
            .found
            .as_ref()
            .is_some_and(|found| is_same_event(found, row))
        {
            return Ok(());
        }
        let position = text_of(row, "sk")?;
        Err(StoreError::Conflict(format!(
            "event {position} of stream {}: the position is taken",
            self.stream
        )))
    }
}
