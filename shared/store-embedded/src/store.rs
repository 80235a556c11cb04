//! The whole data directory as one object.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::ports::{
    AliasReader, AliasWriter, ArtifactReader, ArtifactWriter, AuditAppender, AuditReader,
    AuditRestorer, AuditSearch, Dependency, KeyUnwrapper, KeyWrapper, ReleaseReader, ReleaseWriter,
    RequestClaims, RoutingReader, Signer,
};

use crate::dependencies::{DataFolders, KeyFiles};
use crate::error::OpenError;
use crate::{
    FileArtifacts, FileAudit, FileLog, FileReleases, LocalKeys, RedbClaims, RedbSealIndex,
    RedbSearch,
};

/// Everything below one data directory. One process at a time can open it whole; other processes may use
/// [`FileArtifacts`], [`FileReleases`], [`LocalKeys`] and the reading functions meanwhile.
#[derive(Debug)]
pub struct EmbeddedStore {
    artifacts: Arc<FileArtifacts>,
    releases: Arc<FileReleases>,
    audit: Arc<FileAudit>,
    claims: Arc<RedbClaims>,
    log: Arc<FileLog>,
    seal_index: Arc<RedbSealIndex>,
    search: Arc<RedbSearch>,
    keys: LocalKeys,
    data_dir: PathBuf,
}

impl EmbeddedStore {
    /// Creates a data directory with fresh keys, and opens it.
    ///
    /// # Errors
    /// [`OpenError::Exists`] where it holds keys already; as [`open`](Self::open) otherwise.
    pub fn create(data_dir: &Path) -> Result<Self, OpenError> {
        LocalKeys::create(&keys_dir(data_dir))?;
        Self::open(data_dir)
    }

    /// Opens a data directory that has its keys in `keys`.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where another process has it open; [`OpenError::Missing`] where there are no keys;
    /// other [`OpenError`]s name the file.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let keys = LocalKeys::open(&keys_dir(data_dir))?;
        // The one part that admits a single process comes first, so that a second one changes nothing.
        let claims = RedbClaims::open(data_dir)?;
        let keys = if keys.log_signer().is_some() {
            keys
        } else {
            LocalKeys::add_log_key(&keys_dir(data_dir))?;
            LocalKeys::open(&keys_dir(data_dir))?
        };
        let log = FileLog::open(data_dir)?;
        log.discard_stages()?;
        let audit = Arc::new(FileAudit::open(data_dir)?);
        Ok(Self {
            keys,
            data_dir: data_dir.to_owned(),
            claims: Arc::new(claims),
            artifacts: Arc::new(FileArtifacts::open(data_dir)?),
            releases: Arc::new(FileReleases::open(data_dir)?),
            search: Arc::new(RedbSearch::open(data_dir, Arc::clone(&audit))?),
            audit,
            log: Arc::new(log),
            seal_index: Arc::new(RedbSealIndex::open(data_dir)?),
        })
    }

    /// Reads sealed artifacts.
    pub fn artifact_reader(&self) -> Arc<dyn ArtifactReader> {
        Arc::clone(&self.artifacts) as Arc<dyn ArtifactReader>
    }

    /// Creates sealed artifacts.
    pub fn artifact_writer(&self) -> Arc<dyn ArtifactWriter> {
        Arc::clone(&self.artifacts) as Arc<dyn ArtifactWriter>
    }

    /// Reads releases.
    pub fn release_reader(&self) -> Arc<dyn ReleaseReader> {
        Arc::clone(&self.releases) as Arc<dyn ReleaseReader>
    }

    /// Creates releases.
    pub fn release_writer(&self) -> Arc<dyn ReleaseWriter> {
        Arc::clone(&self.releases) as Arc<dyn ReleaseWriter>
    }

    /// Reads aliases.
    pub fn alias_reader(&self) -> Arc<dyn AliasReader> {
        Arc::clone(&self.releases) as Arc<dyn AliasReader>
    }

    /// Moves aliases.
    pub fn alias_writer(&self) -> Arc<dyn AliasWriter> {
        Arc::clone(&self.releases) as Arc<dyn AliasWriter>
    }

    /// Appends to audit streams.
    pub fn audit_appender(&self) -> Arc<dyn AuditAppender> {
        Arc::clone(&self.audit) as Arc<dyn AuditAppender>
    }

    /// Reads audit streams.
    pub fn audit_reader(&self) -> Arc<dyn AuditReader> {
        Arc::clone(&self.audit) as Arc<dyn AuditReader>
    }

    /// Puts back into audit streams what was kept elsewhere.
    pub fn audit_restorer(&self) -> Arc<dyn AuditRestorer> {
        Arc::clone(&self.audit) as Arc<dyn AuditRestorer>
    }

    /// Finds events.
    pub fn audit_search(&self) -> Arc<dyn AuditSearch> {
        Arc::clone(&self.search) as Arc<dyn AuditSearch>
    }

    /// The sealed log: reads, writes, publishes and commits it.
    pub fn log(&self) -> Arc<FileLog> {
        Arc::clone(&self.log)
    }

    /// Where events stand in the sealed log: reads and writes it.
    pub fn seal_index(&self) -> Arc<RedbSealIndex> {
        Arc::clone(&self.seal_index)
    }

    /// Reads where an alias sends requests: all to [`SERVER_VERSION`](crate::SERVER_VERSION).
    pub fn routing_reader(&self) -> Arc<dyn RoutingReader> {
        Arc::clone(&self.releases) as Arc<dyn RoutingReader>
    }

    /// What answers depend on: `data` (folders), `claims` (the database of answers) and `keys`.
    pub fn dependencies(&self) -> Vec<Arc<dyn Dependency>> {
        vec![
            Arc::new(DataFolders::new(&self.data_dir)),
            Arc::clone(&self.claims) as Arc<dyn Dependency>,
            Arc::new(KeyFiles::new(&keys_dir(&self.data_dir), self.keys.clone())),
        ]
    }

    /// Claims request ids.
    pub fn request_claims(&self) -> Arc<dyn RequestClaims> {
        Arc::clone(&self.claims) as Arc<dyn RequestClaims>
    }

    /// Unwraps data keys.
    pub fn key_unwrapper(&self) -> Arc<dyn KeyUnwrapper> {
        self.keys.unwrapper()
    }

    /// Makes data keys.
    pub fn key_wrapper(&self) -> Arc<dyn KeyWrapper> {
        self.keys.wrapper()
    }

    /// Signs models.
    pub fn model_signer(&self) -> Arc<dyn Signer> {
        self.keys.model_signer()
    }

    /// Registers audit streams.
    pub fn stream_signer(&self) -> Arc<dyn Signer> {
        self.keys.stream_signer()
    }

    /// The keys, for what is trusted.
    pub fn keys(&self) -> &LocalKeys {
        &self.keys
    }

    /// The claims themselves, to be purged once an hour.
    pub fn claims(&self) -> &Arc<RedbClaims> {
        &self.claims
    }

    /// Writes what is queued, and stops the writing threads; later appends and answers are refused. Blocks for
    /// as long as the disk takes: call it when no request is running any more.
    pub fn close(&self) {
        self.audit.close();
        self.claims.close();
    }
}

fn keys_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("keys")
}
