use async_trait::async_trait;
use domain::StoreError;
#[allow(clippy::wildcard_imports)]
use domain::ports::*;
use domain::{Release, ReleaseId};

use crate::attempt::Patience;

fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this adapter is not written yet".to_owned(),
    ))
}

/// DynamoReleases.
#[derive(Debug)]
pub struct DynamoReleases {
    client: aws_sdk_dynamodb::Client,
    patience: Patience,
    table: String,
}

impl DynamoReleases {
    pub(crate) fn new(client: aws_sdk_dynamodb::Client, patience: Patience, table: String) -> Self {
        Self {
            client,
            patience,
            table,
        }
    }
}

#[async_trait]
impl ReleaseReader for DynamoReleases {
    async fn get(&self, _: ReleaseId) -> Result<Release, StoreError> {
        unfinished()
    }
    async fn newest(&self) -> Result<Option<ReleaseId>, StoreError> {
        unfinished()
    }
}

#[async_trait]
impl ReleaseWriter for DynamoReleases {
    async fn create(&self, _: &Release) -> Result<(), StoreError> {
        unfinished()
    }
}
