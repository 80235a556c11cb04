//! What each version of the function last said of itself: one row for all of its environments that serve a release,
//! and one for all that do not, because neither must hide the other.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use domain::StoreError;
use domain::ports::{Heartbeat, HeartbeatReader, HeartbeatWriter};
use futures::future::try_join;

use crate::attempt::Patience;
use crate::table::{Condition, Table, number, row, text, text_of};

/// Sort keys of the two rows, whose partition key is `H#` and the version.
const SERVING: &str = "heartbeat";
const FAILING: &str = "heartbeat#failing";
/// How long a heartbeat is kept, in seconds: a week.
const KEPT_S: u64 = 7 * 86_400;
/// How long an environment that serves speaks for its version after all others failed, in microseconds: as long as its
/// heartbeat counts as fresh.
const SPEAKS_US: u64 = 120_000_000;
/// How long a failure counts beside an environment that goes on to serve, in microseconds: three times as long as one
/// that is asked goes without a heartbeat.
const FAILED_LATELY_US: u64 = 30_000_000;

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

impl DynamoHeartbeats {
    async fn said(&self, version: &str, kind: &str) -> Result<Option<Heartbeat>, StoreError> {
        let Some(row) = self.table.get(&key(version), kind).await? else {
            return Ok(None);
        };
        serde_json::from_str(text_of(&row, "heartbeat")?)
            .map(Some)
            .map_err(|error| {
                StoreError::Corrupt(format!("the heartbeat of version {version}: {error}"))
            })
    }
}

fn key(version: &str) -> String {
    format!("H#{version}")
}

/// An environment may be frozen between two attempts to write: what it says then is older than what others said.
fn says_later(heartbeat: &Heartbeat) -> Condition {
    Condition::new(
        "attribute_not_exists(pk) OR #at < :at",
        &[("#at", "at_us")],
        vec![(":at", number(heartbeat.at_us))],
    )
}

/// What environments that serve and environments that do not say together.
fn together(serving: Option<Heartbeat>, failing: Option<Heartbeat>) -> Option<Heartbeat> {
    let (serving, failing) = match (serving, failing) {
        (Some(serving), Some(failing)) => (serving, failing),
        (serving, failing) => return serving.or(failing),
    };
    if failing.at_us > serving.at_us.saturating_add(SPEAKS_US) {
        return Some(failing);
    }
    let lately = failing.at_us.saturating_add(FAILED_LATELY_US) > serving.at_us;
    Some(Heartbeat {
        reason: serving.reason.or(failing.reason.filter(|_| lately)),
        ..serving
    })
}

#[async_trait]
impl HeartbeatWriter for DynamoHeartbeats {
    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let json = serde_json::to_string(heartbeat).map_err(|error| {
            StoreError::Conflict(format!("the heartbeat of {}: {error}", heartbeat.version))
        })?;
        let kind = match heartbeat.release {
            Some(_) => SERVING,
            None => FAILING,
        };
        let mut row = row(key(&heartbeat.version), kind);
        row.insert("heartbeat".to_owned(), text(json));
        let expires = heartbeat.at_us / 1_000_000 + KEPT_S;
        row.insert("ttl".to_owned(), number(expires));
        row.insert("at_us".to_owned(), number(heartbeat.at_us));
        // Refused: what is there is newer.
        self.table
            .put(&row, Some(&says_later(heartbeat)))
            .await
            .map(|_| ())
    }
}

#[async_trait]
impl HeartbeatReader for DynamoHeartbeats {
    async fn newest(&self, version: &str) -> Result<Option<Heartbeat>, StoreError> {
        let (serving, failing) =
            try_join(self.said(version, SERVING), self.said(version, FAILING)).await?;
        Ok(together(serving, failing))
    }
}
