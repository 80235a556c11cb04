//! The spill in S3.
//!
//! ```text
//! spill/<item>.jsonl         waits to be replayed: write-once
//! aside/<name>.<tag>         never will be
//! ```

use std::fmt::Write as _;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use domain::StoreError;
use domain::ports::{SpillReader, SpillRemover, SpillWriter};
use domain::spill::{MAX_ITEM_BYTES, SpillItem, SpillName};

use crate::attempt::{Access, Patience};
use crate::bucket::{Bucket, Replaces};

const SPILL: &str = "spill/";
const ASIDE: &str = "aside/";
/// About how long an item is, in bytes.
const USUAL_BYTES: u64 = 64 << 10;
/// Names in one list, at most: S3's own limit.
const PAGE: usize = 1000;

/// The spill in an S3 bucket.
#[derive(Debug)]
pub struct S3Spill {
    bucket: Bucket,
}

impl S3Spill {
    pub(crate) fn new(client: Client, patience: Patience, bucket: String) -> Self {
        Self {
            bucket: Bucket::new(client, patience, bucket),
        }
    }

    /// Keys that begin with `prefix`, after `after`, without the prefix.
    async fn list_below(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<String> = Vec::new();
        while names.len() < limit {
            let after = names.last().map_or(after, String::as_str);
            let page = (limit - names.len()).min(PAGE);
            let call = || {
                let list = self.bucket.client.list_objects_v2();
                let list = list.bucket(&self.bucket.name).prefix(prefix);
                list.start_after(format!("{prefix}{after}"))
                    .max_keys(i32::try_from(page).unwrap_or(1))
                    .send()
            };
            let what = self.bucket.what("list", prefix);
            let patience = &self.bucket.patience;
            let found = patience.attempt(Access::Read, what, call).await?;
            let keys = found.contents.unwrap_or_default();
            let more = found.is_truncated.unwrap_or(false) && !keys.is_empty();
            let found = keys
                .iter()
                .filter_map(|object| object.key()?.strip_prefix(prefix));
            names.extend(found.map(str::to_owned));
            if !more {
                break;
            }
        }
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let call = || {
            let delete = self.bucket.client.delete_object();
            delete.bucket(&self.bucket.name).key(key).send()
        };
        let what = self.bucket.what("delete", key);
        let patience = &self.bucket.patience;
        match patience.attempt(Access::Write, what, call).await {
            Ok(_) => Ok(()),
            Err(failed) if failed.is("NoSuchKey") => Ok(()),
            Err(failed) => Err(failed.into_store()),
        }
    }
}

#[async_trait]
impl SpillWriter for S3Spill {
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError> {
        let (key, bytes) = (format!("{SPILL}{}", item.name()), item.to_bytes());
        let put = self
            .bucket
            .put(&key, Bytes::from(bytes.clone()), Replaces::Nothing);
        let Err(failed) = put.await else {
            return Ok(());
        };
        let exists = failed.status() == Some(412);
        if !exists && !failed.in_doubt {
            return Err(failed.into_store());
        }
        match self
            .bucket
            .get(&key, bytes.len() as u64, MAX_ITEM_BYTES)
            .await
        {
            Ok(stored) if stored.bytes == bytes => Ok(()),
            Ok(_) => Err(StoreError::Conflict(format!(
                "s3://{}/{key} exists with other content",
                self.bucket.name
            ))),
            // A role that spills need not read. What stood in the way of the second attempt is then the first one: the
            // name holds a stream's id, which nobody else writes.
            Err(unread) if unread.is_missing() && exists && failed.in_doubt => Ok(()),
            Err(_) => Err(failed.into_store()),
        }
    }
}

#[async_trait]
impl SpillReader for S3Spill {
    async fn list(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.list_below(SPILL, after, limit).await
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let key = format!("{SPILL}{name}");
        match self.bucket.get(&key, USUAL_BYTES, MAX_ITEM_BYTES).await {
            Ok(object) => Ok(object.bytes),
            Err(unread) => Err(unread.into_store()),
        }
    }

    async fn set_aside_count(&self, limit: usize) -> Result<usize, StoreError> {
        Ok(self.list_below(ASIDE, "", limit).await?.len())
    }
}

#[async_trait]
impl SpillRemover for S3Spill {
    async fn remove(&self, name: &SpillName) -> Result<(), StoreError> {
        self.delete(&format!("{SPILL}{name}")).await
    }

    async fn set_aside(&self, name: &str, tag: &str) -> Result<(), StoreError> {
        let key = format!("{SPILL}{name}");
        let source = percent_encoded(&format!("{}/{key}", self.bucket.name));
        let target = format!("{ASIDE}{name}.{tag}");
        let call = || {
            let copy = self.bucket.client.copy_object();
            let copy = copy.bucket(&self.bucket.name).key(&target);
            copy.copy_source(&source).send()
        };
        let what = self.bucket.what("set aside", &key);
        let patience = &self.bucket.patience;
        match patience.attempt(Access::Write, what, call).await {
            Ok(_) => self.delete(&key).await,
            Err(failed) if failed.is("NoSuchKey") => Ok(()),
            Err(failed) => Err(failed.into_store()),
        }
    }
}

/// The path of an object as it stands in a URL (RFC 3986).
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_should_have_is_written_as_urls_are() {
        assert_eq!(
            percent_encoded("b/spill/0a-tail.jsonl"),
            "b/spill/0a-tail.jsonl"
        );
        assert_eq!(percent_encoded("b/é %?#"), "b/%C3%A9%20%25%3F%23");
    }
}
