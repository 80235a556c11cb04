//! Sealed artifacts in S3.
//!
//! ```text
//! models/<name>/<version>/manifest.json        write-once
//! models/<name>/<version>/model.onnx.sealed    write-once
//! models/<name>/<version>/model.packed.sealed  write-once; of a model that has a packed form
//! models/<name>/<version>/model.sig            write-once
//! models/<name>/<version>/key.json             replaced where its key is wrapped anew
//! models/<name>/<version>/complete.json        write-once, last: makes the version exist
//! ```
//! Files are written in this order, each only where it does not exist. Whoever
//! finds another file in its way stops there, so at most one set of files comes
//! to its end; the same set, sent again, goes on where it was left.

mod marker;

use artifact::files::{CONTAINER_FILE, MANIFEST_FILE, PACKED_FILE, SIDECAR_FILE, SIGNATURE_FILE};
use artifact::manifest::MAX_MANIFEST_SIZE;
use artifact::sidecar::MAX_SIDECAR_SIZE;
use artifact::signature::MAX_BUNDLE_SIZE;
use artifact::{ModelName, ModelVersion};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use domain::StoreError;
use domain::ports::{ArtifactFiles, ArtifactReader, ArtifactWriter, LoadableFiles, ModelContainer};
use futures::future::{OptionFuture, try_join, try_join3};

use self::marker::{COMPLETE_FILE, Digested, MAX_MARKER_BYTES, Marker};
use crate::attempt::{Access, Patience};
use crate::bucket::{Bucket, Object, Replaces};

/// Largest sealed model that is stored or read, in bytes (2 GiB).
const MAX_CONTAINER_BYTES: u64 = 2 << 30;

/// Sealed artifacts in an S3 bucket.
#[derive(Debug)]
pub struct S3Artifacts {
    bucket: Bucket,
}

impl S3Artifacts {
    pub(crate) fn new(client: Client, patience: Patience, bucket: String) -> Self {
        Self {
            bucket: Bucket::new(client, patience, bucket),
        }
    }

    async fn marker(&self, prefix: &str) -> Result<Marker, StoreError> {
        let key = format!("{prefix}{COMPLETE_FILE}");
        let size = MAX_MARKER_BYTES;
        let object = self.bucket.get(&key, 0, size).await.map_err(|failed| {
            if failed.is_missing() {
                return StoreError::NotFound(format!(
                    "s3://{}/{key}: there is no such version, or reading it is not allowed",
                    self.bucket.name
                ));
            }
            failed.into_store()
        })?;
        Marker::from_json(&object.bytes).map_err(|error| {
            StoreError::Corrupt(format!("s3://{}/{key}: {error}", self.bucket.name))
        })
    }

    /// A file that is written once, of a version that exists. It is no longer than it was: a longer object is
    /// refused before it is read.
    async fn once(
        &self,
        prefix: &str,
        file: &str,
        known: &Digested,
        max: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let object = self
            .file(prefix, file, known.size, known.size.min(max))
            .await?;
        Ok(object.bytes)
    }

    /// Manifest, bundle and sidecar.
    async fn small_files(
        &self,
        prefix: &str,
        marker: &Marker,
    ) -> Result<(Vec<u8>, Vec<u8>, Vec<u8>), StoreError> {
        let (max_manifest, max_bundle) = (MAX_MANIFEST_SIZE as u64, MAX_BUNDLE_SIZE as u64);
        let (size, max_sidecar) = (marker.sidecar.size, MAX_SIDECAR_SIZE as u64);
        let (manifest, bundle, sidecar) = try_join3(
            self.once(prefix, MANIFEST_FILE, &marker.manifest, max_manifest),
            self.once(prefix, SIGNATURE_FILE, &marker.bundle, max_bundle),
            self.file(prefix, SIDECAR_FILE, size, max_sidecar),
        )
        .await?;
        Ok((manifest, bundle, sidecar.bytes))
    }

    /// The container of the ONNX file.
    async fn sealed(&self, prefix: &str, marker: &Marker) -> Result<Vec<u8>, StoreError> {
        self.once(
            prefix,
            CONTAINER_FILE,
            &marker.container,
            MAX_CONTAINER_BYTES,
        )
        .await
    }

    /// The container of the packed form, where there is one.
    async fn packed(&self, prefix: &str, marker: &Marker) -> Result<Option<Vec<u8>>, StoreError> {
        let read = marker
            .packed
            .as_ref()
            .map(|known| self.once(prefix, PACKED_FILE, known, MAX_CONTAINER_BYTES));
        OptionFuture::from(read).await.transpose()
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
        // Several are read at once: boxed, so that their states do not add up on the stack.
        let read = Box::pin(self.bucket.get(&key, size, max));
        read.await.map_err(|failed| {
            // The version's marker was read a moment ago.
            if failed.is_missing() {
                StoreError::Corrupt(format!(
                    "s3://{}/{key}: missing from an artifact that was created whole",
                    self.bucket.name
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
        let containers = try_join(self.sealed(&prefix, &marker), self.packed(&prefix, &marker));
        let ((manifest, bundle, sidecar), (sealed, packed)) =
            try_join(self.small_files(&prefix, &marker), containers).await?;
        Ok(ArtifactFiles {
            manifest,
            sealed,
            packed,
            bundle,
            sidecar,
        })
    }

    async fn read_loadable(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<LoadableFiles, StoreError> {
        let prefix = prefix(name, version);
        let marker = self.marker(&prefix).await?;
        let container = async {
            match self.packed(&prefix, &marker).await? {
                Some(packed) => Ok(ModelContainer::Packed(packed)),
                None => self
                    .sealed(&prefix, &marker)
                    .await
                    .map(ModelContainer::Onnx),
            }
        };
        let ((manifest, bundle, sidecar), container) =
            try_join(self.small_files(&prefix, &marker), container).await?;
        Ok(LoadableFiles {
            manifest,
            container,
            bundle,
            sidecar,
        })
    }

    async fn versions(&self, name: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        let prefix = format!("models/{name}/");
        let mut versions = Vec::new();
        let mut after = None;
        loop {
            let call = || {
                self.bucket
                    .client
                    .list_objects_v2()
                    .bucket(&self.bucket.name)
                    .prefix(&prefix)
                    .set_continuation_token(after.clone())
                    .send()
            };
            let what = self.bucket.what("list", &prefix);
            let page = self
                .bucket
                .patience
                .attempt(Access::Read, what, call)
                .await?;
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
        let packed = files.packed.as_deref();
        for (file, content, max) in [
            (
                MANIFEST_FILE,
                Some(files.manifest.as_slice()),
                MAX_MANIFEST_SIZE as u64,
            ),
            (CONTAINER_FILE, Some(&*files.sealed), MAX_CONTAINER_BYTES),
            (PACKED_FILE, packed, MAX_CONTAINER_BYTES),
            (SIGNATURE_FILE, Some(&*files.bundle), MAX_BUNDLE_SIZE as u64),
            (SIDECAR_FILE, Some(&*files.sidecar), MAX_SIDECAR_SIZE as u64),
            (COMPLETE_FILE, Some(&*marker), MAX_MARKER_BYTES),
        ] {
            let Some(content) = content else { continue };
            self.bucket
                .create_same(&format!("{prefix}{file}"), content, max)
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
            StoreError::Corrupt(format!("s3://{}/{key} has no ETag", self.bucket.name))
        })?;
        let bytes = Bytes::copy_from_slice(sidecar);
        let Err(failed) = self.bucket.put(&key, bytes, Replaces::Tagged(etag)).await else {
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
