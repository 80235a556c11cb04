use async_trait::async_trait;
use domain::StoreError;
#[allow(clippy::wildcard_imports)]
use domain::ports::*;
use domain::{ModelName, ModelVersion};

use crate::attempt::Patience;

fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this adapter is not written yet".to_owned(),
    ))
}

/// S3Artifacts.
#[derive(Debug)]
pub struct S3Artifacts {
    client: aws_sdk_s3::Client,
    patience: Patience,
    bucket: String,
}

impl S3Artifacts {
    pub(crate) fn new(client: aws_sdk_s3::Client, patience: Patience, bucket: String) -> Self {
        Self {
            client,
            patience,
            bucket,
        }
    }
}

#[async_trait]
impl ArtifactReader for S3Artifacts {
    async fn read(&self, _: &ModelName, _: &ModelVersion) -> Result<ArtifactFiles, StoreError> {
        unfinished()
    }
    async fn versions(&self, _: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        unfinished()
    }
}

#[async_trait]
impl ArtifactWriter for S3Artifacts {
    async fn create(
        &self,
        _: &ModelName,
        _: &ModelVersion,
        _: &ArtifactFiles,
    ) -> Result<(), StoreError> {
        unfinished()
    }
    async fn replace_sidecar(
        &self,
        _: &ModelName,
        _: &ModelVersion,
        _: &[u8],
    ) -> Result<(), StoreError> {
        unfinished()
    }
}
