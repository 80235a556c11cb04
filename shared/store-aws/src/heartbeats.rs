//! What each version of the function last said of itself: one row a version.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use domain::StoreError;
use domain::ports::{Heartbeat, HeartbeatReader, HeartbeatWriter};

use crate::attempt::Patience;
use crate::table::{Table, number, row, text, text_of};

/// Sort key of a heartbeat's row, whose partition key is `H#` and the version.
const HEARTBEAT: &str = "heartbeat";
/// How long a heartbeat is kept, in seconds: a week.
const KEPT_S: u64 = 7 * 86_400;

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
        // Without a condition nothing can be refused.
        self.table.put(&row, None).await.map(|_| ())
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
