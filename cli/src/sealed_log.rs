//! The sealed log wherever it is kept: its checkpoint and its tiles, in a folder, behind an API or in a store.

mod ahead;
mod api;
mod find;
mod folder;
mod mirror;
mod port;
mod tiles;

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::tiles::CHECKPOINT_PATH;
use audit::{SignedRegistration, StreamId, export};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use self::api::ApiLog;
pub(crate) use self::api::persist;
pub(crate) use self::find::{FindError, Place, Registrations, find_event};
pub(crate) use self::folder::FolderLog;
pub(crate) use self::mirror::Mirror;
pub(crate) use self::port::PortLog;
pub(crate) use self::tiles::{Tiles, reading_order};
use crate::arguments::StoreArguments;
use crate::ask::{self, Client, Proof};
use crate::failure::Failure;
use crate::stores::Stores;

/// Longest checkpoint that is read, in bytes; a signed note is no longer.
const MAX_CHECKPOINT: u64 = audit::note::MAX_NOTE_BYTES as u64;
/// Longest registration that is read, in bytes.
const MAX_REGISTRATION: u64 = 64 << 10;

/// Why an object of a log was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ObjectError {
    /// It is not there.
    Absent,
    /// Nobody knows whether it is there: what keeps it did not answer, or refused to.
    Unreachable(String),
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not there"),
            Self::Unreachable(reason) => write!(f, "not reachable: {reason}"),
        }
    }
}

/// Gives the objects of a log by their paths; several threads may ask at once.
pub(crate) trait LogObjects: Send + Sync {
    /// What keeps the log, for sentences.
    fn place(&self) -> String;

    /// The object's bytes; of one that is longer than `max`, `max + 1` bytes.
    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, ObjectError>;

    /// How many reads are worth making at once.
    fn parallel(&self) -> usize;
}

/// Which log `--log` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogPlace {
    /// The one in this folder.
    Folder(PathBuf),
    /// That of the store.
    Store,
}

impl LogPlace {
    fn of(value: OsString) -> Self {
        if value.is_empty() {
            Self::Store
        } else {
            Self::Folder(value.into())
        }
    }
}

/// Which log a command reads.
#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    /// A folder with a copy of the log, `checkpoint` and `tile/…`, as a bucket or DATA/log has it. Without DIR, the
    /// log of the store that --data or --stack names.
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        default_missing_value = "",
        value_parser = OsStringValueParser::new().map(LogPlace::of),
        conflicts_with = "server"
    )]
    pub(crate) log: Option<LogPlace>,
    #[command(flatten)]
    pub(crate) api: ApiArguments,
}

/// Which API a command asks, and as whom.
#[derive(Debug, Args)]
pub(crate) struct ApiArguments {
    /// The API of a server or of a deployed stack; a path before the routes is kept.
    #[arg(long, visible_alias = "addr", value_name = "URL", value_parser = ask::parse_address)]
    pub(crate) server: Option<String>,
    /// The file with the bearer token of an auditor.
    #[arg(long, value_name = "FILE", conflicts_with = "sigv4")]
    token_file: Option<PathBuf>,
    /// Sign requests with the IAM credentials and region of the `AWS_*` variables, for a deployed stack.
    #[arg(long)]
    sigv4: bool,
    /// How long to wait for one answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

impl ApiArguments {
    /// The client of the server that was named.
    pub(crate) fn client(&self, server: &str) -> Result<Client, Failure> {
        let proof = match (&self.token_file, self.sigv4) {
            (Some(path), _) => Proof::TokenFile(path.clone()),
            (None, true) => Proof::Sigv4,
            (None, false) => {
                let message = "the API asks who reads: give --token-file or --sigv4";
                return Err(Failure::usage("--token-file", message));
            }
        };
        Client::new(server, &proof, Duration::from_millis(self.timeout_ms))
    }
}

/// A log that was opened.
pub(crate) enum Source {
    /// A copy in a folder; no keys are known but those that are given.
    Folder(FolderLog),
    /// Behind an API.
    Api(Arc<Client>),
    /// In a store, with what knows the store's keys.
    Store(Stores, Arc<dyn LogObjects>),
}

impl LogArguments {
    /// Whether a log was named at all.
    pub(crate) fn named(&self) -> bool {
        self.log.is_some() || self.api.server.is_some()
    }

    /// Opens the log that was named, else the store's.
    pub(crate) fn open(&self, store: &StoreArguments) -> Result<Source, Failure> {
        if let Some(server) = &self.api.server {
            return Ok(Source::Api(Arc::new(self.api.client(server)?)));
        }
        if let Some(LogPlace::Folder(dir)) = &self.log {
            return Ok(Source::Folder(FolderLog::open(dir)?));
        }
        let stores = Stores::open(store)?;
        let objects = stores.log()?;
        Ok(Source::Store(stores, objects))
    }
}

impl Source {
    /// The log's objects.
    pub(crate) fn objects(&self) -> Arc<dyn LogObjects> {
        match self {
            Self::Folder(folder) => Arc::new(folder.clone()),
            Self::Api(client) => Arc::new(ApiLog::new(Arc::clone(client))),
            Self::Store(_, objects) => Arc::clone(objects),
        }
    }

    /// A stream's registration, where the source has it beside its log: one question instead of a walk through the
    /// log. Whether it is right, its signature says.
    pub(crate) fn registration(&self, stream: StreamId) -> Option<SignedRegistration> {
        let mut line = Vec::new();
        match self {
            Self::Folder(_) => return None,
            Self::Api(client) => {
                let route = format!("/v1/audit/streams/{stream}/registration");
                line = persist(|| client.get(&route, MAX_REGISTRATION)).ok()?.body;
            }
            Self::Store(stores, _) => {
                let lines = stores.streams().open(stream).ok()?.lines;
                let mut lines = BufReader::new(lines.take(MAX_REGISTRATION));
                lines.read_until(b'\n', &mut line).ok()?;
            }
        }
        export::parse_registration_line(&line).ok()
    }
}

/// The newest checkpoint, a signed note, as it was published.
pub(crate) fn read_checkpoint(objects: &dyn LogObjects) -> Result<Vec<u8>, Failure> {
    let place = objects.place();
    match objects.read(CHECKPOINT_PATH, MAX_CHECKPOINT) {
        Ok(bytes) => Ok(bytes),
        Err(ObjectError::Absent) => {
            let message =
                format!("{place}: no checkpoint is there: nothing is sealed yet, or it is no log");
            Err(Failure::not_found("audit.checkpoint_not_found", message))
        }
        Err(error @ ObjectError::Unreachable(_)) => {
            let message = format!("{place}: the checkpoint is {error}");
            Err(Failure::unavailable("audit.log_unreachable", message))
        }
    }
}
