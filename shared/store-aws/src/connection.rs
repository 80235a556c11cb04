//! The clients, made once, and the adapters over them.

#[cfg(any(feature = "s3", feature = "kms", feature = "dynamodb"))]
use domain::ports::Dependency;
use std::sync::Arc;
#[cfg(feature = "s3")]
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

#[cfg(feature = "sts")]
use crate::attempt::Access;
use crate::attempt::Patience;
#[cfg(any(feature = "s3", feature = "kms", feature = "dynamodb"))]
use crate::dependency;

/// Where services are, in the place of what the environment says: for a stack whose parts live apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// URL of S3.
    pub s3: Option<String>,
    /// URL of KMS.
    pub kms: Option<String>,
    /// URL of `DynamoDB`.
    pub dynamodb: Option<String>,
    /// URL of Lambda.
    pub lambda: Option<String>,
}

/// The clients of one process. A TLS connection is opened by the first call that needs it.
#[derive(Debug, Clone)]
pub struct Connection {
    patience: Patience,
    #[cfg(feature = "s3")]
    s3: aws_sdk_s3::Client,
    #[cfg(feature = "kms")]
    kms: aws_sdk_kms::Client,
    #[cfg(feature = "dynamodb")]
    dynamodb: aws_sdk_dynamodb::Client,
    #[cfg(feature = "lambda")]
    lambda: aws_sdk_lambda::Client,
    #[cfg(feature = "sts")]
    sts: aws_sdk_sts::Client,
}

impl Connection {
    /// Clients as the standard `AWS_*` variables say: region, credentials, `AWS_ENDPOINT_URL` and
    /// `AWS_ENDPOINT_URL_<SERVICE>`. Nothing is sent, so nothing can fail yet.
    pub async fn from_env() -> Self {
        Self::to(&Endpoints::default()).await
    }

    /// As [`from_env`](Self::from_env), with these services elsewhere.
    pub async fn to(endpoints: &Endpoints) -> Self {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .load()
            .await;
        Self::over(&config, endpoints)
    }

    /// The same clients with more time for every call: 20 s, in attempts of 5 s, 5 s, and the rest. For a command line,
    /// where a person waits and no request's deadline runs.
    #[must_use]
    pub fn unhurried(mut self) -> Self {
        self.patience = self.patience.unhurried();
        self
    }

    fn over(config: &SdkConfig, endpoints: &Endpoints) -> Self {
        Self {
            patience: Patience::default(),
            #[cfg(feature = "s3")]
            s3: s3_client(config, endpoints.s3.as_deref()),
            #[cfg(feature = "kms")]
            kms: {
                let mut config = aws_sdk_kms::config::Builder::from(config);
                if let Some(url) = &endpoints.kms {
                    config.set_endpoint_url(Some(url.clone()));
                }
                aws_sdk_kms::Client::from_conf(config.build())
            },
            #[cfg(feature = "dynamodb")]
            dynamodb: {
                let mut config = aws_sdk_dynamodb::config::Builder::from(config);
                if let Some(url) = &endpoints.dynamodb {
                    config.set_endpoint_url(Some(url.clone()));
                }
                aws_sdk_dynamodb::Client::from_conf(config.build())
            },
            #[cfg(feature = "lambda")]
            lambda: {
                let mut config = aws_sdk_lambda::config::Builder::from(config);
                if let Some(url) = &endpoints.lambda {
                    config.set_endpoint_url(Some(url.clone()));
                }
                aws_sdk_lambda::Client::from_conf(config.build())
            },
            #[cfg(feature = "sts")]
            sts: aws_sdk_sts::Client::new(config),
        }
    }
}

/// S3 away from AWS is addressed by path: a bucket's name is then no host's name.
#[cfg(feature = "s3")]
fn s3_client(config: &SdkConfig, url: Option<&str>) -> aws_sdk_s3::Client {
    let elsewhere = url.is_some()
        || config.endpoint_url().is_some()
        || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let mut config = aws_sdk_s3::config::Builder::from(config).force_path_style(elsewhere);
    if let Some(url) = url {
        config.set_endpoint_url(Some(url.to_owned()));
    }
    aws_sdk_s3::Client::from_conf(config.build())
}

#[cfg(feature = "s3")]
impl Connection {
    /// Sealed artifacts in this bucket.
    pub fn artifacts(&self, bucket: &str) -> Arc<crate::S3Artifacts> {
        let (client, patience) = (self.s3.clone(), self.patience.clone());
        Arc::new(crate::S3Artifacts::new(client, patience, bucket.to_owned()))
    }

    /// The objects of the sealed log in this bucket; `tile/…` is kept as it is for `retention`, where it is given
    /// (Object Lock, compliance mode: the bucket must have it enabled).
    pub fn log_objects(&self, bucket: &str, retention: Option<Duration>) -> Arc<crate::S3Log> {
        let (client, patience) = (self.s3.clone(), self.patience.clone());
        let bucket = bucket.to_owned();
        Arc::new(crate::S3Log::new(client, patience, bucket, retention))
    }

    /// The objects of the sealed log in a bucket that locks whatever it gets for as long as it says itself (Object Lock
    /// with a default retention in compliance mode); `stage/…` is locked for 30 days only.
    pub fn locked_log_objects(&self, bucket: &str) -> Arc<crate::S3Log> {
        let (client, patience) = (self.s3.clone(), self.patience.clone());
        Arc::new(crate::S3Log::locked(client, patience, bucket.to_owned()))
    }

    /// What the audit log did not take, in this bucket.
    pub fn spill(&self, bucket: &str) -> Arc<crate::S3Spill> {
        let (client, patience) = (self.s3.clone(), self.patience.clone());
        Arc::new(crate::S3Spill::new(client, patience, bucket.to_owned()))
    }

    /// Whether the bucket is there: `HeadBucket`.
    pub fn bucket_dependency(&self, name: &str, bucket: &str) -> Arc<dyn Dependency> {
        let (client, patience) = (self.s3.clone(), self.patience.clone());
        dependency::bucket(client, patience, name, bucket)
    }
}

#[cfg(feature = "kms")]
impl Connection {
    /// Makes and unwraps data keys; the key is named with each call.
    pub fn data_keys(&self) -> Arc<crate::KmsDataKeys> {
        Arc::new(crate::KmsDataKeys::new(
            self.kms.clone(),
            self.patience.clone(),
        ))
    }

    /// Signs with this key, which signs by `algorithm`.
    pub fn signer(
        &self,
        key_arn: &str,
        algorithm: crate::SigningAlgorithm,
    ) -> Arc<crate::KmsSigner> {
        let (client, patience) = (self.kms.clone(), self.patience.clone());
        let key_arn = key_arn.to_owned();
        Arc::new(crate::KmsSigner::new(client, patience, key_arn, algorithm))
    }

    /// Whether the key is there and enabled: `DescribeKey`.
    pub fn key_dependency(&self, name: &str, key_arn: &str) -> Arc<dyn Dependency> {
        let (client, patience) = (self.kms.clone(), self.patience.clone());
        dependency::key(client, patience, name, key_arn)
    }
}

#[cfg(feature = "dynamodb")]
impl Connection {
    /// Releases in this table.
    pub fn releases(&self, table: &str) -> Arc<crate::DynamoReleases> {
        let (client, patience) = (self.dynamodb.clone(), self.patience.clone());
        Arc::new(crate::DynamoReleases::new(
            client,
            patience,
            table.to_owned(),
        ))
    }

    /// Audit streams in this table.
    pub fn audit(&self, table: &str) -> Arc<crate::DynamoAudit> {
        let (client, patience) = (self.dynamodb.clone(), self.patience.clone());
        Arc::new(crate::DynamoAudit::new(client, patience, table.to_owned()))
    }

    /// The lock of the log with this origin in this table.
    pub fn log_lock(&self, table: &str, origin: &str) -> Arc<crate::DynamoLogLock> {
        let (client, patience) = (self.dynamodb.clone(), self.patience.clone());
        let table = table.to_owned();
        Arc::new(crate::DynamoLogLock::new(client, patience, table, origin))
    }

    /// The index of the log with this origin, in the table of its lock.
    pub fn seal_index(&self, table: &str, origin: &str) -> Arc<crate::DynamoSealIndex> {
        let (client, patience) = (self.dynamodb.clone(), self.patience.clone());
        let table = table.to_owned();
        Arc::new(crate::DynamoSealIndex::new(client, patience, table, origin))
    }

    /// Request claims in this table.
    pub fn claims(&self, table: &str) -> Arc<crate::DynamoClaims> {
        let (client, patience) = (self.dynamodb.clone(), self.patience.clone());
        Arc::new(crate::DynamoClaims::new(client, patience, table.to_owned()))
    }

    /// Heartbeats in this table.
    pub fn heartbeats(&self, table: &str) -> Arc<crate::DynamoHeartbeats> {
        let (client, patience) = (self.dynamodb.clone(), self.patience.clone());
        Arc::new(crate::DynamoHeartbeats::new(
            client,
            patience,
            table.to_owned(),
        ))
    }

    /// Whether the table is there: a `GetItem` of a row that need not be there, in a partition that the role may read
    /// (`REL` of the registry, `H#` of the requests).
    pub fn table_dependency(
        &self,
        name: &str,
        table: &str,
        partition: &str,
    ) -> Arc<dyn Dependency> {
        let (client, patience) = (self.dynamodb.clone(), self.patience.clone());
        dependency::table(client, patience, name, table, partition)
    }
}

#[cfg(feature = "lambda")]
impl Connection {
    /// Aliases of this function.
    pub fn aliases(&self, function_name: &str) -> Arc<crate::LambdaAliases> {
        let (client, patience) = (self.lambda.clone(), self.patience.clone());
        let function = function_name.to_owned();
        Arc::new(crate::LambdaAliases::new(client, patience, function))
    }
}

#[cfg(feature = "sts")]
impl Connection {
    /// The ARN of whoever makes these calls, as AWS knows them; no permission is needed to ask.
    ///
    /// # Errors
    /// [`StoreError`](domain::StoreError) where STS refuses the credentials, or does not answer.
    pub async fn caller(&self) -> Result<String, domain::StoreError> {
        let call = || self.sts.get_caller_identity().send();
        let what = "ask who calls".to_owned();
        let reply = self.patience.attempt(Access::Read, what, call).await?;
        reply
            .arn
            .ok_or_else(|| domain::StoreError::Corrupt("STS does not say who calls".to_owned()))
    }
}
