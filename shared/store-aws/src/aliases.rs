use async_trait::async_trait;
use domain::ReleaseId;
use domain::StoreError;
#[allow(clippy::wildcard_imports)]
use domain::ports::*;

use crate::attempt::Patience;

fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this adapter is not written yet".to_owned(),
    ))
}

/// LambdaAliases.
#[derive(Debug)]
pub struct LambdaAliases {
    client: aws_sdk_lambda::Client,
    patience: Patience,
    function: String,
}

impl LambdaAliases {
    pub(crate) fn new(
        client: aws_sdk_lambda::Client,
        patience: Patience,
        function: String,
    ) -> Self {
        Self {
            client,
            patience,
            function,
        }
    }
}

#[async_trait]
impl AliasReader for LambdaAliases {
    async fn get(&self, _: &str) -> Result<Option<Alias>, StoreError> {
        unfinished()
    }
}

#[async_trait]
impl AliasWriter for LambdaAliases {
    async fn compare_and_swap(&self, _: &str, _: u64, _: ReleaseId) -> Result<Alias, StoreError> {
        unfinished()
    }
}

#[async_trait]
impl RoutingReader for LambdaAliases {
    async fn routing(&self, _: &str) -> Result<Routing, StoreError> {
        unfinished()
    }
}
