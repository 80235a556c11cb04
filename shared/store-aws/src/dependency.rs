use crate::attempt::Patience;
use async_trait::async_trait;
use domain::StoreError;
use domain::ports::Dependency;
use std::sync::Arc;
struct Pending(String);
#[async_trait]
impl Dependency for Pending {
    fn name(&self) -> &str {
        &self.0
    }
    async fn check(&self) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("not written yet".to_owned()))
    }
}
#[cfg(feature = "s3")]
pub(crate) fn bucket(
    _: aws_sdk_s3::Client,
    _: Patience,
    name: &str,
    _: &str,
) -> Arc<dyn Dependency> {
    Arc::new(Pending(name.to_owned()))
}
#[cfg(feature = "kms")]
pub(crate) fn key(_: aws_sdk_kms::Client, _: Patience, name: &str, _: &str) -> Arc<dyn Dependency> {
    Arc::new(Pending(name.to_owned()))
}
#[cfg(feature = "dynamodb")]
pub(crate) fn table(
    _: aws_sdk_dynamodb::Client,
    _: Patience,
    name: &str,
    _: &str,
) -> Arc<dyn Dependency> {
    Arc::new(Pending(name.to_owned()))
}
