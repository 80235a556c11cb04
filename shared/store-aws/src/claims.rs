use async_trait::async_trait;
use domain::Sha256Digest;
use domain::StoreError;
#[allow(clippy::wildcard_imports)]
use domain::ports::*;

use crate::attempt::Patience;

fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this adapter is not written yet".to_owned(),
    ))
}

/// DynamoClaims.
#[derive(Debug)]
pub struct DynamoClaims {
    client: aws_sdk_dynamodb::Client,
    patience: Patience,
    table: String,
}

impl DynamoClaims {
    pub(crate) fn new(client: aws_sdk_dynamodb::Client, patience: Patience, table: String) -> Self {
        Self {
            client,
            patience,
            table,
        }
    }
}

#[async_trait]
impl RequestClaims for DynamoClaims {
    async fn claim(
        &self,
        _: &ClaimKey,
        _: Sha256Digest,
        _: u64,
        _: u64,
    ) -> Result<Claim, StoreError> {
        unfinished()
    }
    async fn answer(
        &self,
        _: &ClaimKey,
        _: ClaimToken,
        _: &[u8],
        _: u64,
    ) -> Result<(), StoreError> {
        unfinished()
    }
    async fn release(&self, _: &ClaimKey, _: ClaimToken) -> Result<(), StoreError> {
        unfinished()
    }
}
