use async_trait::async_trait;
use audit::{Record, SignedRegistration, StreamId};
use domain::StoreError;
#[allow(clippy::wildcard_imports)]
use domain::ports::*;
use futures::future::BoxFuture;

use crate::attempt::Patience;

fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this adapter is not written yet".to_owned(),
    ))
}

/// DynamoAudit.
#[derive(Debug)]
pub struct DynamoAudit {
    client: aws_sdk_dynamodb::Client,
    patience: Patience,
    table: String,
}

impl DynamoAudit {
    pub(crate) fn new(client: aws_sdk_dynamodb::Client, patience: Patience, table: String) -> Self {
        Self {
            client,
            patience,
            table,
        }
    }
}

#[async_trait]
impl AuditReader for DynamoAudit {
    async fn streams(&self, _: Option<StreamId>, _: usize) -> Result<Vec<StreamId>, StoreError> {
        unfinished()
    }
    async fn registration(&self, _: StreamId) -> Result<SignedRegistration, StoreError> {
        unfinished()
    }
    async fn read(&self, _: StreamId, _: u64, _: usize) -> Result<Vec<Record>, StoreError> {
        unfinished()
    }
}

#[async_trait]
impl AuditAppender for DynamoAudit {
    async fn register(&self, _: &SignedRegistration) -> Result<(), StoreError> {
        unfinished()
    }
    fn append(&self, _: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(futures::future::ready(unfinished()))
    }
}
