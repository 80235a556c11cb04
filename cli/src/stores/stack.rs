//! The stores of a deployed stack: S3, KMS, `DynamoDB` and the alias of a Lambda function.

use std::path::Path;
use std::sync::Arc;

use artifact::{PublicKey, TrustedKey};
use async_trait::async_trait;
use audit::note::VerifierKey;
use audit::stream::COMMAND_HOST;
use domain::ports::{Signer, SpillWriter};
use store_aws::{Connection, SigningAlgorithm};
use tokio::runtime::Runtime;

use super::port_streams::PortStreams;
use super::stack_file::StackFile;
use super::streams::StreamSource;
use super::{Artifacts, Keys, Parts, Recording, Releases, name_log_key};
use crate::failure::Failure;
use crate::identity::find_identity;
use crate::sealed_log::{LogObjects, PortLog};
use crate::stream_file;

/// A stack's clients, and the names that they are asked with.
pub(super) struct StackStores {
    connection: Connection,
    stack: StackFile,
}

impl StackStores {
    /// Connects with what the environment's `AWS_*` variables, profiles and roles say. No store is asked yet.
    pub(super) async fn open(stack: StackFile) -> Result<Self, Failure> {
        // The adapters would only say that nothing answered.
        find_identity().await?;
        Ok(Self {
            connection: Connection::from_env().await,
            stack,
        })
    }

    fn model_signer(&self) -> Arc<dyn Signer> {
        let key = &self.stack.model_signing_key;
        self.connection.signer(key, SigningAlgorithm::P256)
    }

    fn stream_signer(&self) -> Arc<dyn Signer> {
        let key = &self.stack.stream_key;
        self.connection.signer(key, SigningAlgorithm::Ed25519)
    }

    fn operator_stream_signer(&self) -> Option<Arc<dyn Signer>> {
        let key = self.stack.operator_stream_key.as_deref()?;
        Some(self.connection.signer(key, SigningAlgorithm::Ed25519))
    }
}

/// The Ed25519 key that this setting of the stack names.
async fn ed25519_key(signer: &dyn Signer, setting: &str) -> Result<audit::PublicKey, Failure> {
    let pem = signer.public_key_pem().await?;
    let parsed = stream_file::parse_key(&pem);
    parsed.map(|(key, _)| key).ok_or_else(|| {
        let message = format!("{setting}: expected an Ed25519 public key");
        Failure::refused("audit.key_malformed", message).at(setting)
    })
}

#[async_trait]
impl Parts for StackStores {
    fn artifacts(&self) -> Result<Artifacts, Failure> {
        let bucket = self.connection.artifacts(&self.stack.models_bucket);
        Ok(Artifacts {
            reader: bucket.clone(),
            writer: bucket,
        })
    }

    fn releases(&self) -> Result<Releases, Failure> {
        let table = self.connection.releases(&self.stack.registry_table);
        let aliases = self.connection.aliases(&self.stack.predict_function);
        Ok(Releases {
            reader: table.clone(),
            writer: table,
            alias_reader: aliases.clone(),
            alias_writer: aliases.clone(),
            routing: Some(aliases),
        })
    }

    fn keys(&self) -> Result<Keys, Failure> {
        let data_keys = self.connection.data_keys();
        Ok(Keys {
            wrapping_key: self.stack.data_key.clone(),
            wrapper: data_keys.clone(),
            unwrapper: data_keys,
            model_signer: self.model_signer(),
            stream_signer: self.stream_signer(),
            operator_stream_signer: self.operator_stream_signer(),
        })
    }

    async fn recording(&self) -> Result<Recording, Failure> {
        let Some(signer) = self.operator_stream_signer() else {
            let place = "SEALCAST_OPERATOR_STREAM_KEY";
            let message = format!(
                "{}: {place}: expected the key that registers what this command records; `make deploy` writes it",
                self.stack.path
            );
            return Err(Failure::refused("stack.malformed", message).at(place));
        };
        Ok(Recording {
            appender: self.connection.audit(&self.stack.audit_table),
            signer,
            host: format!("{COMMAND_HOST}{}", self.connection.caller().await?),
        })
    }

    async fn trusted_model_keys(&self) -> Result<Vec<TrustedKey>, Failure> {
        if let Some(keys) = &self.stack.trusted_keys {
            return Ok(keys.clone());
        }
        let pem = self.model_signer().public_key_pem().await?;
        let key = PublicKey::from_pem(&pem).map_err(|error| {
            let place = "SEALCAST_MODEL_SIGNING_KEY";
            Failure::refused("artifact.public_key", format!("{place}: {error}")).at(place)
        })?;
        Ok(vec![TrustedKey::always(key)])
    }

    async fn trusted_stream_keys(&self) -> Result<Vec<(String, audit::PublicKey)>, Failure> {
        let signer = self.stream_signer();
        let key = ed25519_key(signer.as_ref(), "SEALCAST_STREAM_KEY").await?;
        let mut keys = vec![(signer.key_id().to_owned(), key)];
        if let Some(signer) = self.operator_stream_signer() {
            let key = ed25519_key(signer.as_ref(), "SEALCAST_OPERATOR_STREAM_KEY").await?;
            keys.push((signer.key_id().to_owned(), key));
        }
        Ok(keys)
    }

    fn spill(&self, _: Option<&Path>) -> Result<Arc<dyn SpillWriter>, Failure> {
        let Some(bucket) = &self.stack.spill_bucket else {
            let place = "SEALCAST_SPILL_BUCKET";
            let message = format!("{}: {place}: the stack has no spill", self.stack.path);
            return Err(Failure::refused("spill.none", message).at(place));
        };
        Ok(self.connection.spill(bucket))
    }

    async fn trusted_log_keys(&self, origin: Option<&str>) -> Result<Vec<VerifierKey>, Failure> {
        let origin = origin.or(self.stack.log_origin.as_deref());
        let (Some(key), Some(origin)) = (&self.stack.log_key, origin) else {
            return Ok(Vec::new());
        };
        let signer = self.connection.signer(key, SigningAlgorithm::Ed25519);
        let key = ed25519_key(signer.as_ref(), "SEALCAST_LOG_KEY").await?;
        Ok(vec![name_log_key(origin, &key)?])
    }

    fn log(&self, runtime: &Arc<Runtime>) -> Result<Arc<dyn LogObjects>, Failure> {
        let place = format!("stack {}", self.stack.path);
        let Some(bucket) = &self.stack.log_bucket else {
            let message = format!("{place}: has no SEALCAST_LOG_BUCKET: nothing seals its streams");
            return Err(Failure::not_found("audit.log_not_found", message).at("--stack"));
        };
        let reader = self.connection.log_objects(bucket, None);
        Ok(Arc::new(PortLog::new(runtime, reader, place)))
    }

    fn streams(&self, runtime: &Arc<Runtime>) -> Box<dyn StreamSource> {
        let table = self.connection.audit(&self.stack.audit_table);
        let place = format!("stack {}", self.stack.path);
        Box::new(PortStreams::new(runtime, table, place))
    }
}
