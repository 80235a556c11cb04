//! One S3 bucket: objects read whole, and puts that say what they replace.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::ObjectLockMode;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use domain::StoreError;

use crate::attempt::{Access, Failed, Patience};

/// A bucket and the client for it.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) client: Client,
    pub(crate) patience: Patience,
    pub(crate) name: String,
    /// How long what is created stays as it is, whoever asks (Object Lock, compliance mode); `None`: as the bucket says.
    retention: Option<Duration>,
}

/// An object's content, and the tag of exactly this content.
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: Option<String>,
}

/// What a put asks of the object that is there.
#[derive(Debug, Clone)]
pub(crate) enum Replaces {
    Nothing,
    Tagged(String),
}

/// Why an object was not read.
pub(crate) enum Unread {
    Failed(Failed<GetObjectError>),
    TooLong(String),
}

impl Unread {
    /// Whether there is no such object, or it may not be read: without permission to list, S3 does not say which.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::Failed(failed) => failed.is("NoSuchKey") || failed.is("AccessDenied"),
            Self::TooLong(_) => false,
        }
    }

    /// Whether the bucket says that there is no such object.
    fn is_not_there(&self) -> bool {
        matches!(self, Self::Failed(failed) if failed.is("NoSuchKey"))
    }

    pub(crate) fn into_store(self) -> StoreError {
        match self {
            Self::Failed(failed) => failed.into_store(),
            Self::TooLong(text) => StoreError::Corrupt(text),
        }
    }
}

impl Bucket {
    pub(crate) fn new(client: Client, patience: Patience, name: String) -> Self {
        Self {
            client,
            patience,
            name,
            retention: None,
        }
    }

    /// The same bucket, where every object that is created from now on stays for this long.
    pub(crate) fn retaining(self, retention: Duration) -> Self {
        Self {
            retention: Some(retention),
            ..self
        }
    }

    pub(crate) fn what(&self, action: &str, key: &str) -> String {
        format!("{action} s3://{}/{key}", self.name)
    }

    /// One attempt to read an object of at most `max` bytes, to its end; `Err` holds the length of a longer one.
    async fn get_once(
        &self,
        key: &str,
        max: u64,
    ) -> Result<Result<Object, i64>, SdkError<GetObjectError, HttpResponse>> {
        let get = self.client.get_object().bucket(&self.name).key(key);
        let reply = get.send().await?;
        // Without a length nothing tells when the body is whole.
        let length = reply.content_length.unwrap_or(-1);
        if u64::try_from(length).map_or(true, |length| length > max) {
            return Ok(Err(length));
        }
        let etag = reply.e_tag;
        let bytes = reply.body.collect().await;
        let bytes =
            bytes.map_err(|error| SdkError::dispatch_failure(ConnectorError::io(error.into())))?;
        Ok(Ok(Object {
            bytes: bytes.to_vec(),
            etag,
        }))
    }

    /// The object, which has about `size` bytes and at most `max`.
    pub(crate) async fn get(&self, key: &str, size: u64, max: u64) -> Result<Object, Unread> {
        let what = self.what("read", key);
        let read = self
            .patience
            .for_bytes(size.min(max))
            .attempt(Access::Read, what, || self.get_once(key, max))
            .await
            .map_err(Unread::Failed)?;
        read.map_err(|length| {
            let bucket = &self.name;
            Unread::TooLong(format!(
                "s3://{bucket}/{key} has {length} bytes: expected at most {max}"
            ))
        })
    }

    /// Writes the object if what it replaces is still there.
    pub(crate) async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        replaces: Replaces,
    ) -> Result<(), Failed<PutObjectError>> {
        let retain = self
            .retention
            .filter(|_| matches!(replaces, Replaces::Nothing));
        let until = retain.map(|retention| DateTime::from(SystemTime::now() + retention));
        let call = || {
            let put = self.client.put_object().bucket(&self.name).key(key);
            let put = match &replaces {
                Replaces::Nothing => put.if_none_match("*"),
                Replaces::Tagged(etag) => put.if_match(etag),
            };
            let put = put
                .set_object_lock_mode(until.map(|_| ObjectLockMode::Compliance))
                .set_object_lock_retain_until_date(until);
            put.body(ByteStream::from(bytes.clone())).send()
        };
        let what = self.what("write", key);
        self.patience
            .for_bytes(bytes.len() as u64)
            .attempt(Access::Write, what, call)
            .await
            .map(|_| ())
    }

    /// Creates the object, or finds the same bytes there already.
    pub(crate) async fn create_same(
        &self,
        key: &str,
        content: &[u8],
        max: u64,
    ) -> Result<(), StoreError> {
        if content.len() as u64 > max {
            return Err(StoreError::TooLarge(format!(
                "{key} of {} bytes: expected at most {max}",
                content.len()
            )));
        }
        let bytes = Bytes::copy_from_slice(content);
        let Err(failed) = self.put(key, bytes, Replaces::Nothing).await else {
            return Ok(());
        };
        // It exists, another put was under way (409) all the time, or a reply was lost: what is there decides.
        let exists = failed.status() == Some(412);
        if !exists && failed.status() != Some(409) && !failed.in_doubt {
            return Err(failed.into_store());
        }
        match self.get(key, content.len() as u64, max).await {
            Ok(stored) if stored.bytes == content => Ok(()),
            Ok(_) => Err(StoreError::Conflict(format!(
                "s3://{}/{key} exists with other content",
                self.name
            ))),
            Err(Unread::TooLong(text)) => Err(StoreError::Conflict(text)),
            Err(_) if failed.in_doubt => Err(StoreError::OutcomeUnknown(self.what("write", key))),
            Err(unread) if exists && !unread.is_not_there() => Err(unread.into_store()),
            // Whatever stood in the way is gone again.
            Err(_) => Err(StoreError::Unavailable(self.what("write", key))),
        }
    }
}
