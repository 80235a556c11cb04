//! What a sealer works with, and what it is told.

use std::num::NonZeroUsize;
use std::sync::Arc;

use audit::note::VerifierKey;
use domain::ports::{
    AuditReader, Clock, LogLock, LogPublisher, LogReader, LogWriter, SealIndexReader,
    SealIndexWriter, Signer, StageRemover,
};

use crate::keys::StreamKeys;

/// What a sealer works with.
pub struct Ports {
    /// The streams.
    pub audit: Arc<dyn AuditReader>,
    /// The log's objects, and what is published.
    pub log: Arc<dyn LogReader>,
    /// Creates the log's objects.
    pub writer: Arc<dyn LogWriter>,
    /// Publishes checkpoints.
    pub publisher: Arc<dyn LogPublisher>,
    /// Decides which history is true.
    pub lock: Arc<dyn LogLock>,
    /// Removes staged records that are carried out.
    pub stage: Arc<dyn StageRemover>,
    /// Where events stand in the log.
    pub index: Arc<dyn SealIndexReader>,
    /// Remembers where events stand in the log.
    pub index_writer: Arc<dyn SealIndexWriter>,
    /// Signs checkpoints: Ed25519.
    pub signer: Arc<dyn Signer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Ports {
    /// The ports where one store has all of the log's objects, and one all of its index.
    pub fn of_stores(
        audit: Arc<dyn AuditReader>,
        log: Arc<impl LogReader + LogWriter + LogPublisher + StageRemover + 'static>,
        lock: Arc<dyn LogLock>,
        index: Arc<impl SealIndexReader + SealIndexWriter + 'static>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            audit,
            log: log.clone(),
            writer: log.clone(),
            publisher: log.clone(),
            lock,
            stage: log,
            index: index.clone(),
            index_writer: index,
            signer,
            clock,
        }
    }
}

/// What a sealer is told.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The log's name, and its key's.
    pub origin: String,
    /// Keys that signed the log's checkpoints earlier, beside the signer's own.
    pub earlier_keys: Vec<VerifierKey>,
    /// Who may vouch for streams.
    pub stream_keys: StreamKeys,
    /// Ids of those keys that vouch for the streams of people's commands alone.
    pub commands_only: Vec<String>,
    /// A stream is closed where nothing came for longer than this, in microseconds.
    pub idle_after_us: u64,
    /// Where nothing happens a seal says so this often, in microseconds; as often the next hour of a day's sweep over
    /// closed streams is looked at.
    pub heartbeat_us: u64,
    /// A checkpoint is made of about this many leaves at most.
    pub max_leaves: usize,
    /// A checkpoint is made of about this many bytes of entries at most.
    pub max_bytes: usize,
    /// Threads that verify signatures.
    pub threads: NonZeroUsize,
}

impl Rules {
    /// The usual rules for the log of this name.
    pub fn of(origin: String, stream_keys: StreamKeys) -> Self {
        Self {
            origin,
            earlier_keys: Vec::new(),
            stream_keys,
            commands_only: Vec::new(),
            idle_after_us: 6 * 3_600_000_000,
            heartbeat_us: 600_000_000,
            max_leaves: 32_768,
            max_bytes: 32 << 20,
            threads: NonZeroUsize::MIN,
        }
    }
}
