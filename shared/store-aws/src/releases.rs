//! Releases: one row each, and one that counts them.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use domain::ports::{ReleaseReader, ReleaseWriter};
use domain::{Release, ReleaseId, StoreError};

use crate::attempt::Patience;
use crate::table::{
    Condition, Item, MAX_VALUE_BYTES, Table, number, number_of, row, text, text_of,
};

/// Sort key of a release's row, whose partition key is `REL#r-000001`.
const RELEASE: &str = "release";
/// The row that holds the newest release's number: `REL`, `newest`.
const COUNTER: (&str, &str) = ("REL", "newest");

/// Releases in a `DynamoDB` table. A release and the number of the newest are written in one transaction.
#[derive(Debug)]
pub struct DynamoReleases {
    table: Table,
}

impl DynamoReleases {
    pub(crate) fn new(client: Client, patience: Patience, table: String) -> Self {
        let table = Table::new(client, patience, table);
        Self { table }
    }

    async fn newest_number(&self) -> Result<u64, StoreError> {
        let row = self.table.get(COUNTER.0, COUNTER.1).await?;
        row.map_or(Ok(0), |row| number_of(&row, "number"))
    }
}

fn release_key(id: ReleaseId) -> String {
    format!("REL#{id}")
}

fn parse(id: ReleaseId, row: &Item) -> Result<Release, StoreError> {
    let release: Release = serde_json::from_str(text_of(row, "release")?)
        .map_err(|error| StoreError::Corrupt(format!("release {id}: {error}")))?;
    if release.id != id {
        return Err(StoreError::Corrupt(format!(
            "the row of release {id} holds release {}",
            release.id
        )));
    }
    Ok(release)
}

#[async_trait]
impl ReleaseReader for DynamoReleases {
    async fn get(&self, id: ReleaseId) -> Result<Release, StoreError> {
        let row = self.table.get(&release_key(id), RELEASE).await?;
        let row = row.ok_or_else(|| StoreError::NotFound(format!("release {id}")))?;
        parse(id, &row)
    }

    async fn newest(&self) -> Result<Option<ReleaseId>, StoreError> {
        Ok(ReleaseId::from_number(self.newest_number().await?))
    }
}

#[async_trait]
impl ReleaseWriter for DynamoReleases {
    async fn create(&self, release: &Release) -> Result<(), StoreError> {
        let id = release.id;
        let json = serde_json::to_string(release)
            .map_err(|error| StoreError::Conflict(format!("release {id}: {error}")))?;
        if json.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge(format!(
                "release {id} of {} bytes: expected at most {MAX_VALUE_BYTES}",
                json.len()
            )));
        }
        let mut release_row = row(release_key(id), RELEASE);
        release_row.insert("release".to_owned(), text(json));
        let mut counter = row(COUNTER.0, COUNTER.1);
        counter.insert("number".to_owned(), number(id.number()));
        let before = match id.number() - 1 {
            0 => Condition::absent(),
            before => Condition::new(
                "#number = :before",
                &[("#number", "number")],
                vec![(":before", number(before))],
            ),
        };
        let rows = [(release_row, Condition::absent()), (counter, before)];
        let Err(objections) = self.table.put_all(&rows).await? else {
            return Ok(());
        };
        let mut objections = objections.into_iter();
        if let Some(Some(taken)) = objections.next() {
            // Ours, if an earlier attempt was applied and its reply lost; then it is the same.
            let same = taken
                .found
                .is_some_and(|found| parse(id, &found).is_ok_and(|stored| stored == *release));
            return if same {
                Ok(())
            } else {
                Err(StoreError::Conflict(format!(
                    "release {id} exists with other content"
                )))
            };
        }
        let newest = match objections
            .next()
            .flatten()
            .and_then(|counter| counter.found)
        {
            Some(counter) => number_of(&counter, "number")?,
            None => 0,
        };
        let next = ReleaseId::from_number(newest + 1).map_or_else(String::new, |id| id.to_string());
        Err(StoreError::Conflict(format!(
            "release {id}: the next id is {next}"
        )))
    }
}
