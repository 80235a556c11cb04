//! Sealed artifacts in S3.
//!
//! ```text
//! models/<name>/<version>/manifest.json        write-once
//! models/<name>/<version>/model.onnx.sealed    write-once
//! models/<name>/<version>/model.sig            write-once
//! models/<name>/<version>/key.json             replaced where its key is wrapped anew
//! models/<name>/<version>/complete.json        write-once, last: makes the version exist
//! ```
//! Files are written in this order, each only where it does not exist. Whoever
//! finds another file in its way stops there, so at most one set of files comes
//! to its end; the same set, sent again, goes on where it was left.

mod marker;

use artifact::files::{CONTAINER_FILE, MANIFEST_FILE, SIDECAR_FILE, SIGNATURE_FILE};
use artifact::manifest::MAX_MANIFEST_SIZE;
use artifact::sidecar::MAX_SIDECAR_SIZE;
use artifact::signature::MAX_BUNDLE_SIZE;
use artifact::{ModelName, ModelVersion};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use domain::StoreError;
use domain::ports::{ArtifactFiles, ArtifactReader, ArtifactWriter};
use futures::future::{FutureExt, try_join4};

use self::marker::{COMPLETE_FILE, MAX_MARKER_BYTES, Marker};
use crate::attempt::{Access, Failed, Patience};

/// Largest sealed model that is stored or read, in bytes (2 GiB).
const MAX_CONTAINER_BYTES: u64 = 2 << 30;

/// Sealed artifacts in an S3 bucket.
#[derive(Debug)]
pub struct S3Artifacts {
    client: Client,
    patience: Patience,
    bucket: String,
}

/// An object's content, and the tag of exactly this content.
struct Object {
    bytes: Vec<u8>,
    etag: Option<String>,
}

/// What a put asks of the object that is there.
#[derive(Debug, Clone)]
enum Replaces {
    Nothing,
    Tagged(String),
}

/// Why an object was not read.
enum Unread {
    Failed(Failed<GetObjectError>),
    TooLong(String),
}

impl Unread {
    /// Whether there is no such object, or it may not be read: without permission to list, S3 does not say which.
    fn is_missing(&self) -> bool {
        match self {
            Self::Failed(failed) => failed.is("NoSuchKey") || failed.is("AccessDenied"),
            Self::TooLong(_) => false,
        }
    }

    fn into_store(self) -> StoreError {
        match self {
            Self::Failed(failed) => failed.into_store(),
            Self::TooLong(text) => StoreError::Corrupt(text),
        }
    }
}

impl S3Artifacts {
    pub(crate) fn new(client: Client, patience: Patience, bucket: String) -> Self {
        Self {
            client,
            patience,
            bucket,
        }
    }

    fn what(&self, action: &str, key: &str) -> String {
        format!("{action} s3://{}/{key}", self.bucket)
    }

    /// One attempt to read an object of at most `max` bytes, to its end; `Err` holds the length of a longer one.
    async fn get_once(
        &self,
        key: &str,
        max: u64,
    ) -> Result<Result<Object, i64>, SdkError<GetObjectError, HttpResponse>> {
        let get = self.client.get_object().bucket(&self.bucket).key(key);
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
    async fn get(&self, key: &str, size: u64, max: u64) -> Result<Object, Unread> {
        let what = self.what("read", key);
        let read = self
            .patience
            .for_bytes(size.min(max))
            .attempt(Access::Read, what, || self.get_once(key, max))
            .await
            .map_err(Unread::Failed)?;
        read.map_err(|length| {
            let bucket = &self.bucket;
            Unread::TooLong(format!(
                "s3://{bucket}/{key} has {length} bytes: expected at most {max}"
            ))
        })
    }

    /// Writes the object if what it replaces is still there.
    async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        replaces: Replaces,
    ) -> Result<(), Failed<PutObjectError>> {
        let call = || {
            let put = self.client.put_object().bucket(&self.bucket).key(key);
            let put = match &replaces {
                Replaces::Nothing => put.if_none_match("*"),
                Replaces::Tagged(etag) => put.if_match(etag),
            };
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
    async fn create_same(&self, key: &str, content: &[u8], max: u64) -> Result<(), StoreError> {
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
        // It exists, or a reply was lost: what is there decides.
        let refused = failed.status() == Some(412);
        if !refused && !failed.in_doubt {
            return Err(failed.into_store());
        }
        match self.get(key, content.len() as u64, max).await {
            Ok(stored) if stored.bytes == content => Ok(()),
            Ok(_) => Err(StoreError::Conflict(format!(
                "s3://{}/{key} exists with other content",
                self.bucket
            ))),
            Err(unread) if refused => Err(unread.into_store()),
            Err(_) => Err(failed.into_store()),
        }
    }

    async fn marker(&self, prefix: &str) -> Result<Marker, StoreError> {
        let key = format!("{prefix}{COMPLETE_FILE}");
        let size = MAX_MARKER_BYTES;
        let object = self.get(&key, 0, size).await.map_err(|failed| {
            if failed.is_missing() {
                return StoreError::NotFound(format!(
                    "s3://{}/{key}: there is no such version, or reading it is not allowed",
                    self.bucket
                ));
            }
            failed.into_store()
        })?;
        Marker::from_json(&object.bytes)
            .map_err(|error| StoreError::Corrupt(format!("s3://{}/{key}: {error}", self.bucket)))
    }

    /// A file of a version that exists.
    async fn file(
        &self,
        prefix: &str,
        file: &str,
        size: u64,
        max: u64,
    ) -> Result<Object, StoreError> {
        let key = format!("{prefix}{file}");
        self.get(&key, size, max).await.map_err(|failed| {
            // The version's marker was read a moment ago.
            if failed.is_missing() {
                StoreError::Corrupt(format!(
                    "s3://{}/{key}: missing from an artifact that was created whole",
                    self.bucket
                ))
            } else {
                failed.into_store()
            }
        })
    }
}

fn prefix(name: &ModelName, version: &ModelVersion) -> String {
    format!("models/{name}/{version}/")
}

#[async_trait]
impl ArtifactReader for S3Artifacts {
    async fn read(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<ArtifactFiles, StoreError> {
        let prefix = prefix(name, version);
        let marker = self.marker(&prefix).await?;
        let file = |file, size, max| self.file(&prefix, file, size, max).boxed();
        // What is written once is no longer than it was: a longer object is refused before it is read.
        let once = |name, size: u64, max| file(name, size, size.min(max));
        let (manifest, sealed, bundle, sidecar) = try_join4(
            once(
                MANIFEST_FILE,
                marker.manifest.size,
                MAX_MANIFEST_SIZE as u64,
            ),
            once(CONTAINER_FILE, marker.container.size, MAX_CONTAINER_BYTES),
            once(SIGNATURE_FILE, marker.bundle.size, MAX_BUNDLE_SIZE as u64),
            file(SIDECAR_FILE, marker.sidecar.size, MAX_SIDECAR_SIZE as u64),
        )
        .await?;
        Ok(ArtifactFiles {
            manifest: manifest.bytes,
            sealed: sealed.bytes,
            bundle: bundle.bytes,
            sidecar: sidecar.bytes,
        })
    }

    async fn versions(&self, name: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        let prefix = format!("models/{name}/");
        let mut versions = Vec::new();
        let mut after = None;
        loop {
            let call = || {
                self.client
                    .list_objects_v2()
                    .bucket(&self.bucket)
                    .prefix(&prefix)
                    .set_continuation_token(after.clone())
                    .send()
            };
            let what = self.what("list", &prefix);
            let page = self.patience.attempt(Access::Read, what, call).await?;
            let keys = page.contents.unwrap_or_default();
            versions.extend(keys.iter().filter_map(|object| {
                let version = object.key()?.strip_prefix(&prefix)?;
                let version = version.strip_suffix(COMPLETE_FILE)?.strip_suffix('/')?;
                ModelVersion::parse(version).ok()
            }));
            after = page.next_continuation_token;
            if after.is_none() {
                break;
            }
        }
        versions.sort_unstable();
        Ok(versions)
    }
}

#[async_trait]
impl ArtifactWriter for S3Artifacts {
    async fn create(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        files: &ArtifactFiles,
    ) -> Result<(), StoreError> {
        let prefix = prefix(name, version);
        let marker = Marker::of(files).to_json();
        for (file, content, max) in [
            (
                MANIFEST_FILE,
                files.manifest.as_slice(),
                MAX_MANIFEST_SIZE as u64,
            ),
            (CONTAINER_FILE, &files.sealed, MAX_CONTAINER_BYTES),
            (SIGNATURE_FILE, &files.bundle, MAX_BUNDLE_SIZE as u64),
            (SIDECAR_FILE, &files.sidecar, MAX_SIDECAR_SIZE as u64),
            (COMPLETE_FILE, &marker, MAX_MARKER_BYTES),
        ] {
            self.create_same(&format!("{prefix}{file}"), content, max)
                .await?;
        }
        Ok(())
    }

    async fn replace_sidecar(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        sidecar: &[u8],
    ) -> Result<(), StoreError> {
        let max = MAX_SIDECAR_SIZE as u64;
        if sidecar.len() as u64 > max {
            return Err(StoreError::TooLarge(format!(
                "{SIDECAR_FILE} of {} bytes: expected at most {max}",
                sidecar.len()
            )));
        }
        let prefix = prefix(name, version);
        self.marker(&prefix).await?;
        let before = self.file(&prefix, SIDECAR_FILE, max, max).await?;
        let key = format!("{prefix}{SIDECAR_FILE}");
        let etag = before.etag.ok_or_else(|| {
            StoreError::Corrupt(format!("s3://{}/{key} has no ETag", self.bucket))
        })?;
        let bytes = Bytes::copy_from_slice(sidecar);
        let Err(failed) = self.put(&key, bytes, Replaces::Tagged(etag)).await else {
            return Ok(());
        };
        if !failed.in_doubt {
            return Err(failed.into_store());
        }
        match self.file(&prefix, SIDECAR_FILE, max, max).await {
            Ok(stored) if stored.bytes == sidecar => Ok(()),
            _ => Err(failed.into_store()),
        }
    }
}
