//! The stores of a local data directory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact::TrustedKey;
use async_trait::async_trait;
use audit::note::VerifierKey;
use audit::stream::COMMAND_HOST;
use audit::{StreamId, export};
use domain::ports::SpillWriter;
use store_embedded::{ExportError, FileArtifacts, FileAudit, FileReleases, FileSpill, LocalKeys};
use tokio::runtime::Runtime;

use super::streams::{CopyError, ListedStream, OpenStream, StreamSource};
use super::{Artifacts, Keys, Parts, Recording, Releases, name_log_key};
use crate::failure::Failure;
use crate::sealed_log::{FolderLog, LogObjects};
use crate::stream_file;

const MAX_REGISTRATION: u64 = 64 << 10;
/// Where the log is below the data directory.
const LOG: &str = "log";
/// The log's origin where the environment does not say another: the server's default.
const LOG_ORIGIN: &str = "sealcast.local";

/// A data directory, and the folder of its keys.
pub(super) struct LocalStores {
    data: PathBuf,
    keys: PathBuf,
}

impl LocalStores {
    pub(super) fn new(data: PathBuf, keys: PathBuf) -> Self {
        Self { data, keys }
    }
}

#[async_trait]
impl Parts for LocalStores {
    fn artifacts(&self) -> Result<Artifacts, Failure> {
        let files = Arc::new(FileArtifacts::open(&self.data)?);
        Ok(Artifacts {
            reader: files.clone(),
            writer: files,
        })
    }

    fn releases(&self) -> Result<Releases, Failure> {
        let files = Arc::new(FileReleases::open(&self.data)?);
        Ok(Releases {
            reader: files.clone(),
            writer: files.clone(),
            alias_reader: files.clone(),
            alias_writer: files,
            routing: None,
        })
    }

    fn keys(&self) -> Result<Keys, Failure> {
        let keys = LocalKeys::open(&self.keys)?;
        Ok(Keys {
            wrapping_key: keys.master_key_id().to_owned(),
            wrapper: keys.wrapper(),
            unwrapper: keys.unwrapper(),
            model_signer: keys.model_signer(),
            stream_signer: keys.stream_signer(),
            operator_stream_signer: Some(keys.stream_signer()),
        })
    }

    async fn recording(&self) -> Result<Recording, Failure> {
        Ok(Recording {
            appender: Arc::new(FileAudit::open(&self.data)?),
            signer: LocalKeys::open(&self.keys)?.stream_signer(),
            host: format!("{COMMAND_HOST}{}", std::process::id()),
        })
    }

    async fn trusted_model_keys(&self) -> Result<Vec<TrustedKey>, Failure> {
        Ok(LocalKeys::open(&self.keys)?.trusted_model_keys())
    }

    async fn trusted_stream_keys(&self) -> Result<Vec<(String, audit::PublicKey)>, Failure> {
        Ok(LocalKeys::open(&self.keys)?.trusted_stream_keys())
    }

    fn spill(&self, dir: Option<&Path>) -> Result<Arc<dyn SpillWriter>, Failure> {
        let own = self.data.join("spill");
        Ok(Arc::new(FileSpill::open(dir.unwrap_or(&own))?))
    }

    async fn trusted_log_keys(&self, origin: Option<&str>) -> Result<Vec<VerifierKey>, Failure> {
        let keys = LocalKeys::open(&self.keys)?;
        let Some(signer) = keys.log_signer() else {
            return Ok(Vec::new());
        };
        let pem = signer.public_key_pem().await?;
        let newest = stream_file::parse_key(&pem).map(|(key, _)| key);
        let set = std::env::var("SEALCAST_LOG_ORIGIN").ok();
        let origin = origin.map(str::to_owned).or(set);
        let origin = origin.as_deref().unwrap_or(LOG_ORIGIN);
        let all = newest.iter().chain(keys.earlier_log_keys());
        all.map(|key| name_log_key(origin, key)).collect()
    }

    fn log(&self, _runtime: &Arc<Runtime>) -> Result<Arc<dyn LogObjects>, Failure> {
        Ok(Arc::new(FolderLog::open(&self.data.join(LOG))?))
    }

    fn streams(&self, _runtime: &Arc<Runtime>) -> Box<dyn StreamSource> {
        Box::new(FileStreams {
            data: self.data.clone(),
        })
    }
}

/// The streams of a data directory: files in the form of [`audit::export`], read as they stand.
struct FileStreams {
    data: PathBuf,
}

impl FileStreams {
    fn path(&self, stream: StreamId) -> PathBuf {
        self.data.join("audit").join(format!("{stream}.jsonl"))
    }

    fn describe(&self, stream: StreamId) -> Result<ListedStream, Failure> {
        let path = self.path(stream);
        let fail = |error: io::Error| Failure::file("read", &path, &error);
        let file = File::open(&path).map_err(fail)?;
        let bytes = file.metadata().map_err(fail)?.len();
        let mut line = Vec::new();
        BufReader::new(file.take(MAX_REGISTRATION))
            .read_until(b'\n', &mut line)
            .map_err(fail)?;
        let signed = export::parse_registration_line(&line).ok();
        Ok(ListedStream {
            file: Some(path.display().to_string()),
            bytes: Some(bytes),
            ..ListedStream::new(stream, signed.as_ref())
        })
    }
}

impl StreamSource for FileStreams {
    fn place(&self) -> String {
        self.data.display().to_string()
    }

    fn ids(&self) -> Result<Vec<StreamId>, Failure> {
        Ok(store_embedded::list_streams(&self.data)?)
    }

    fn list(&self) -> Result<Vec<ListedStream>, Failure> {
        let ids = self.ids()?.into_iter();
        ids.map(|stream| self.describe(stream)).collect()
    }

    fn open(&self, stream: StreamId) -> Result<OpenStream, Failure> {
        let path = self.path(stream);
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                let absent = ExportError::NotFound(stream).to_string();
                Failure::not_found("audit.stream_not_found", absent).at("--stream")
            }
            _ => Failure::file("read", &path, &error),
        };
        let file = File::open(&path).map_err(fail)?;
        Ok(OpenStream {
            bytes: file.metadata().map_err(fail)?.len(),
            name: path.display().to_string(),
            lines: Box::new(file),
        })
    }

    fn copy(&self, stream: StreamId, out: &mut dyn Write) -> Result<u64, CopyError> {
        store_embedded::export_stream(&self.data, stream, out).map_err(|error| match error {
            ExportError::NotFound(_) => CopyError::Source(
                Failure::not_found("audit.stream_not_found", error.to_string()).at("--stream"),
            ),
            ExportError::Read { path, source } => {
                CopyError::Source(Failure::file("read", &path, &source))
            }
            ExportError::Write(source) => CopyError::Output(source),
        })
    }
}
