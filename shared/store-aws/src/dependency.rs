//! Whether the tables, buckets and keys that answers depend on are there and can be used.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::Dependency;

use crate::attempt::{Access, Patience};

type Check =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>> + Send + Sync>;

/// Something that one call can be asked about.
struct Checked {
    name: String,
    check: Check,
}

#[async_trait]
impl Dependency for Checked {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<(), StoreError> {
        (self.check)().await
    }
}

/// A dependency that is checked by `check` with `about`.
fn checked<A, F>(
    name: &str,
    about: A,
    check: impl Fn(Arc<A>) -> F + Send + Sync + 'static,
) -> Arc<dyn Dependency>
where
    A: Send + Sync + 'static,
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let about = Arc::new(about);
    Arc::new(Checked {
        name: name.to_owned(),
        check: Box::new(move || Box::pin(check(Arc::clone(&about)))),
    })
}

/// `HeadBucket`.
#[cfg(feature = "s3")]
pub(crate) fn bucket(
    client: aws_sdk_s3::Client,
    patience: Patience,
    name: &str,
    bucket: &str,
) -> Arc<dyn Dependency> {
    let about = (client, patience, bucket.to_owned());
    checked(name, about, |about| async move {
        let (client, patience, bucket) = &*about;
        let call = || client.head_bucket().bucket(bucket).send();
        let what = format!("look for bucket {bucket}");
        patience.attempt(Access::Read, what, call).await?;
        Ok(())
    })
}

/// `DescribeKey`: the key is enabled.
#[cfg(feature = "kms")]
pub(crate) fn key(
    client: aws_sdk_kms::Client,
    patience: Patience,
    name: &str,
    key_arn: &str,
) -> Arc<dyn Dependency> {
    let about = (client, patience, key_arn.to_owned());
    checked(name, about, |about| async move {
        let (client, patience, key_arn) = &*about;
        let call = || client.describe_key().key_id(key_arn).send();
        let what = format!("describe key {key_arn}");
        let reply = patience.attempt(Access::Read, what, call).await?;
        let state = reply.key_metadata.and_then(|metadata| metadata.key_state);
        match state {
            Some(aws_sdk_kms::types::KeyState::Enabled) => Ok(()),
            Some(state) => Err(StoreError::NotFound(format!(
                "key {key_arn} is {}: expected Enabled",
                state.as_str()
            ))),
            None => Err(StoreError::Corrupt(format!("key {key_arn} has no state"))),
        }
    })
}

/// A `GetItem` in this partition, of a row that need not be there.
#[cfg(feature = "dynamodb")]
pub(crate) fn table(
    client: aws_sdk_dynamodb::Client,
    patience: Patience,
    name: &str,
    table: &str,
    partition: &str,
) -> Arc<dyn Dependency> {
    use aws_sdk_dynamodb::types::AttributeValue;
    let about = (client, patience, table.to_owned(), partition.to_owned());
    checked(name, about, |about| async move {
        let (client, patience, table, partition) = &*about;
        let call = || {
            client
                .get_item()
                .table_name(table)
                .key("pk", AttributeValue::S(partition.clone()))
                .key("sk", AttributeValue::S("-".to_owned()))
                .send()
        };
        let what = format!("look into table {table}");
        match patience.attempt(Access::Read, what, call).await {
            Ok(_) => Ok(()),
            Err(failed) if failed.is("ResourceNotFoundException") => {
                Err(StoreError::NotFound(format!("table {table}")))
            }
            Err(failed) => Err(failed.into_store()),
        }
    })
}
