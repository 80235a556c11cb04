//! What each version of the function last said of itself: one row a version, for all of its environments.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::StoreError;
use domain::ports::{Heartbeat, HeartbeatReader, HeartbeatWriter};

use crate::attempt::Patience;
use crate::table::{Condition, Table, number, row, text, text_of};

/// Sort key of a heartbeat's row, whose partition key is `H#` and the version.
const HEARTBEAT: &str = "heartbeat";
/// How long a heartbeat is kept, in seconds: a week.
const KEPT_S: u64 = 7 * 86_400;
/// How long an environment that serves speaks for its version against one that does not, in microseconds: as long
/// as its heartbeat counts as fresh.
const SPEAKS_US: u64 = 120_000_000;

/// Heartbeats in a `DynamoDB` table.
#[derive(Debug)]
pub struct DynamoHeartbeats {
    table: Table,
}

impl DynamoHeartbeats {
    pub(crate) fn new(client: Client, patience: Patience, table: String) -> Self {
        let table = Table::new(client, patience, table);
        Self { table }
    }
}

fn key(version: &str) -> String {
    format!("H#{version}")
}

/// An environment may be frozen between two attempts to write: what it says then is older than what others said.
fn says_more(heartbeat: &Heartbeat) -> Condition {
    const NAMES: &[(&str, &str)] = &[("#at", "at_us")];
    const NAMES_OF_BOTH: &[(&str, &str)] = &[("#at", "at_us"), ("#serves", "serves")];
    let at = (":at", number(heartbeat.at_us));
    if heartbeat.release.is_some() {
        return Condition::new("attribute_not_exists(pk) OR #at < :at", NAMES, vec![at]);
    }
    let quiet = number(heartbeat.at_us.saturating_sub(SPEAKS_US));
    Condition::new(
        "attribute_not_exists(pk) OR (#at < :at AND (#serves = :no OR #at < :quiet))",
        NAMES_OF_BOTH,
        vec![at, (":no", AttributeValue::Bool(false)), (":quiet", quiet)],
    )
}

#[async_trait]
impl HeartbeatWriter for DynamoHeartbeats {
    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let json = serde_json::to_string(heartbeat).map_err(|error| {
            StoreError::Conflict(format!("the heartbeat of {}: {error}", heartbeat.version))
        })?;
        let mut row = row(key(&heartbeat.version), HEARTBEAT);
        row.insert("heartbeat".to_owned(), text(json));
        let expires = heartbeat.at_us / 1_000_000 + KEPT_S;
        row.insert("ttl".to_owned(), number(expires));
        let serves = AttributeValue::Bool(heartbeat.release.is_some());
        row.insert("at_us".to_owned(), number(heartbeat.at_us));
        row.insert("serves".to_owned(), serves);
        // Refused: what is there is newer, or comes from an environment that serves.
        self.table
            .put(&row, Some(&says_more(heartbeat)))
            .await
            .map(|_| ())
    }
}

#[async_trait]
impl HeartbeatReader for DynamoHeartbeats {
    async fn newest(&self, version: &str) -> Result<Option<Heartbeat>, StoreError> {
        let Some(row) = self.table.get(&key(version), HEARTBEAT).await? else {
            return Ok(None);
        };
        serde_json::from_str(text_of(&row, "heartbeat")?)
            .map(Some)
            .map_err(|error| {
                StoreError::Corrupt(format!("the heartbeat of version {version}: {error}"))
            })
    }
}
