//! The stores that a command works on: a local data directory or a deployed stack, behind the same ports.

#[cfg(any(feature = "aws", test))]
mod port_streams;
#[cfg(any(feature = "aws", test))]
mod stack_file;

mod local;
#[cfg(feature = "aws")]
mod stack;
mod streams;

use std::path::Path;
use std::sync::Arc;

use artifact::TrustedKey;
use async_trait::async_trait;
use audit::note::{KeyName, VerifierKey};
use domain::ports::{
    AliasReader, AliasWriter, ArtifactReader, ArtifactWriter, AuditAppender, KeyUnwrapper,
    KeyWrapper, ReleaseReader, ReleaseWriter, RoutingReader, Signer, SpillWriter,
};
use tokio::runtime::Runtime;

use self::local::LocalStores;
pub(crate) use self::streams::{CopyError, ListedStream, OpenStream, StreamSource};
use crate::arguments::{StoreArguments, StorePlace, check_data_dir};
use crate::failure::Failure;
use crate::sealed_log::LogObjects;

/// Where sealed artifacts are.
pub(crate) struct Artifacts {
    pub(crate) reader: Arc<dyn ArtifactReader>,
    pub(crate) writer: Arc<dyn ArtifactWriter>,
}

/// Where releases are, and the alias that points to one of them.
pub(crate) struct Releases {
    pub(crate) reader: Arc<dyn ReleaseReader>,
    pub(crate) writer: Arc<dyn ReleaseWriter>,
    pub(crate) alias_reader: Arc<dyn AliasReader>,
    pub(crate) alias_writer: Arc<dyn AliasWriter>,
    /// Which versions of a function serve; `None` where there is no function.
    pub(crate) routing: Option<Arc<dyn RoutingReader>>,
}

/// The keys that sealing, opening and registering take.
pub(crate) struct Keys {
    /// Id of the key that wraps new data keys.
    pub(crate) wrapping_key: String,
    pub(crate) wrapper: Arc<dyn KeyWrapper>,
    pub(crate) unwrapper: Arc<dyn KeyUnwrapper>,
    /// Signs models.
    pub(crate) model_signer: Arc<dyn Signer>,
    /// Registers audit streams.
    pub(crate) stream_signer: Arc<dyn Signer>,
    /// Registers the audit streams of people's commands: a local store's is the one above.
    pub(crate) operator_stream_signer: Option<Arc<dyn Signer>>,
}

/// What a command records with what it does.
pub(crate) struct Recording {
    pub(crate) appender: Arc<dyn AuditAppender>,
    /// Registers the command's stream.
    pub(crate) signer: Arc<dyn Signer>,
    /// Who runs the command, as the store knows them.
    pub(crate) host: String,
}

/// The parts of a store. Each is opened when a command asks for it, so that a command needs no more than it uses:
/// no private key to read a stream, no permission on a bucket to show a release.
#[async_trait]
trait Parts: Send + Sync {
    fn artifacts(&self) -> Result<Artifacts, Failure>;
    fn releases(&self) -> Result<Releases, Failure>;
    fn keys(&self) -> Result<Keys, Failure>;

    /// Where the command records what it does, and as whom.
    async fn recording(&self) -> Result<Recording, Failure>;

    /// The keys whose signatures under models are accepted.
    async fn trusted_model_keys(&self) -> Result<Vec<TrustedKey>, Failure>;

    /// The keys that vouch for audit streams, with the ids that registrations name them by.
    async fn trusted_stream_keys(&self) -> Result<Vec<(String, audit::PublicKey)>, Failure>;

    /// What the audit log did not take; a local store's is in `dir`, where that is given.
    fn spill(&self, dir: Option<&Path>) -> Result<Arc<dyn SpillWriter>, Failure>;

    /// The keys that sign the log's checkpoints, the present one first; none where the store knows of none. Without
    /// an origin, the store's own names them.
    async fn trusted_log_keys(&self, origin: Option<&str>) -> Result<Vec<VerifierKey>, Failure>;

    /// The sealed log; what waits for something does so in the runtime.
    fn log(&self, runtime: &Arc<Runtime>) -> Result<Arc<dyn LogObjects>, Failure>;

    /// The audit streams; what waits for something does so in the runtime.
    fn streams(&self, runtime: &Arc<Runtime>) -> Box<dyn StreamSource>;
}

/// The stores of one place, and the runtime that their calls are made in.
pub(crate) struct Stores {
    // One runtime for all calls: connections that are kept open belong to it.
    runtime: Arc<Runtime>,
    parts: Box<dyn Parts>,
}

impl Stores {
    /// The stores that the options name.
    pub(crate) fn open(arguments: &StoreArguments) -> Result<Self, Failure> {
        match arguments.place()? {
            StorePlace::Data(data) => {
                check_data_dir(&data)?;
                let keys = data.join("keys");
                Self::with(|_| Ok(Box::new(LocalStores::new(data, keys))))
            }
            StorePlace::Stack(file) => Self::of_stack(&file),
        }
    }

    /// As [`open`](Self::open), for a command that needs the keys alone: a local store's are in `keys`, where that
    /// is given, and then the data directory need not exist.
    pub(crate) fn open_keys(
        arguments: &StoreArguments,
        keys: Option<&Path>,
    ) -> Result<Self, Failure> {
        match (arguments.place()?, keys) {
            (StorePlace::Data(data), keys) => {
                let keys = keys.map_or_else(|| data.join("keys"), Path::to_owned);
                Self::with(|_| Ok(Box::new(LocalStores::new(data, keys))))
            }
            (StorePlace::Stack(file), None) => Self::of_stack(&file),
            (StorePlace::Stack(file), Some(_)) => {
                let message = format!(
                    "the keys of stack {} stay in its key service: leave out --keys, or give --data",
                    file.display()
                );
                Err(Failure::usage("--keys", message))
            }
        }
    }

    #[cfg(feature = "aws")]
    fn of_stack(file: &Path) -> Result<Self, Failure> {
        let settings = stack_file::StackFile::read(file)?;
        Self::with(|runtime| {
            Ok(Box::new(
                runtime.block_on(stack::StackStores::open(settings))?,
            ))
        })
    }

    #[cfg(not(feature = "aws"))]
    fn of_stack(_file: &Path) -> Result<Self, Failure> {
        Err(Failure::not_built("--stack", "has no AWS stores"))
    }

    fn with(
        open: impl FnOnce(&Runtime) -> Result<Box<dyn Parts>, Failure>,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::unavailable("system.no_runtime", error.to_string()))?;
        Ok(Self {
            parts: open(&runtime)?,
            runtime: Arc::new(runtime),
        })
    }

    /// Runs a future to its end.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Where sealed artifacts are.
    pub(crate) fn artifacts(&self) -> Result<Artifacts, Failure> {
        self.parts.artifacts()
    }

    /// Where releases are.
    pub(crate) fn releases(&self) -> Result<Releases, Failure> {
        self.parts.releases()
    }

    /// The keys.
    pub(crate) fn keys(&self) -> Result<Keys, Failure> {
        self.parts.keys()
    }

    /// Where the command records what it does, and as whom.
    pub(crate) async fn recording(&self) -> Result<Recording, Failure> {
        self.parts.recording().await
    }

    /// The keys whose signatures under models are accepted.
    pub(crate) async fn trusted_model_keys(&self) -> Result<Vec<TrustedKey>, Failure> {
        self.parts.trusted_model_keys().await
    }

    /// The keys that vouch for audit streams, with the ids that registrations name them by.
    pub(crate) async fn trusted_stream_keys(
        &self,
    ) -> Result<Vec<(String, audit::PublicKey)>, Failure> {
        self.parts.trusted_stream_keys().await
    }

    /// What the audit log did not take; a local store's is in `dir`, where that is given.
    pub(crate) fn spill(&self, dir: Option<&Path>) -> Result<Arc<dyn SpillWriter>, Failure> {
        self.parts.spill(dir)
    }

    /// The keys that sign the log's checkpoints, the present one first; none where the store knows of none. Without
    /// an origin, the store's own names them.
    pub(crate) async fn trusted_log_keys(
        &self,
        origin: Option<&str>,
    ) -> Result<Vec<VerifierKey>, Failure> {
        self.parts.trusted_log_keys(origin).await
    }

    /// The sealed log.
    pub(crate) fn log(&self) -> Result<Arc<dyn LogObjects>, Failure> {
        self.parts.log(&self.runtime)
    }

    /// The audit streams.
    pub(crate) fn streams(&self) -> Box<dyn StreamSource> {
        self.parts.streams(&self.runtime)
    }
}

/// The log's key as verifiers know it: by the log's origin.
fn name_log_key(origin: &str, key: &audit::PublicKey) -> Result<VerifierKey, Failure> {
    let name = KeyName::parse(origin).ok_or_else(|| {
        let message = format!("{origin:?}: expected an origin without blanks and plus signs");
        Failure::usage("--origin", message)
    })?;
    VerifierKey::ed25519(name, key)
        .map_err(|error| Failure::refused("audit.key_malformed", error.to_string()))
}
