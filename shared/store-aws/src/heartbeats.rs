use async_trait::async_trait;
use domain::StoreError;
#[allow(clippy::wildcard_imports)]
use domain::ports::*;

use crate::attempt::Patience;

fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this adapter is not written yet".to_owned(),
    ))
}

/// DynamoHeartbeats.
#[derive(Debug)]
pub struct DynamoHeartbeats {
    client: aws_sdk_dynamodb::Client,
    patience: Patience,
    table: String,
}

impl DynamoHeartbeats {
    pub(crate) fn new(client: aws_sdk_dynamodb::Client, patience: Patience, table: String) -> Self {
        Self {
            client,
            patience,
            table,
        }
    }
}

#[async_trait]
impl HeartbeatReader for DynamoHeartbeats {
    async fn newest(&self, _: &str) -> Result<Option<Heartbeat>, StoreError> {
        unfinished()
    }
}

#[async_trait]
impl HeartbeatWriter for DynamoHeartbeats {
    async fn beat(&self, _: &Heartbeat) -> Result<(), StoreError> {
        unfinished()
    }
}
