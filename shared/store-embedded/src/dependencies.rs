//! Whether the parts of a data directory are there and can be used while a process has them open.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::Dependency;

use crate::error::{OpenError, corrupt, run_blocking, unavailable};
use crate::{LocalKeys, RedbClaims};

/// The folders of a data directory.
const FOLDERS: [&str; 5] = ["aliases", "artifacts", "audit", "keys", "releases"];

/// A file that is written to see whether one can be, and removed again.
const PROBE: &str = ".writable";

/// What is written: a block, so that a full disk refuses it.
const PROBE_BYTES: [u8; 4096] = [0; 4096];

/// `data`: every folder is there and can be listed, and a file can be written.
#[derive(Debug, Clone)]
pub(crate) struct DataFolders {
    dir: PathBuf,
}

impl DataFolders {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.to_owned(),
        }
    }
}

#[async_trait]
impl Dependency for DataFolders {
    fn name(&self) -> &'static str {
        "data"
    }

    async fn check(&self) -> Result<(), StoreError> {
        let dir = self.dir.clone();
        run_blocking(move || {
            for folder in FOLDERS {
                let path = dir.join(folder);
                std::fs::read_dir(&path).map_err(|error| absent_or("list", &path, error))?;
            }
            let path = dir.join(PROBE);
            write_probe(&path).map_err(unavailable("write", &path))
        })
        .await
    }
}

fn write_probe(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let written = file.write_all(&PROBE_BYTES);
    std::fs::remove_file(path)?;
    written
}

/// A path that is not there is gone; every other error may pass.
fn absent_or(action: &str, path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            StoreError::NotFound(path.display().to_string())
        }
        _ => unavailable(action, path)(error),
    }
}

#[async_trait]
impl Dependency for RedbClaims {
    fn name(&self) -> &'static str {
        "claims"
    }

    async fn check(&self) -> Result<(), StoreError> {
        RedbClaims::check(self).await
    }
}

/// `keys`: the key files are there, nobody else may read them, and they are the keys that were opened. A master key
/// that was added since is not used until the keys are opened anew, and does no harm.
#[derive(Debug, Clone)]
pub(crate) struct KeyFiles {
    dir: PathBuf,
    opened: LocalKeys,
}

impl KeyFiles {
    pub(crate) fn new(dir: &Path, opened: LocalKeys) -> Self {
        Self {
            dir: dir.to_owned(),
            opened,
        }
    }
}

#[async_trait]
impl Dependency for KeyFiles {
    fn name(&self) -> &'static str {
        "keys"
    }

    async fn check(&self) -> Result<(), StoreError> {
        let (dir, opened) = (self.dir.clone(), self.opened.clone());
        run_blocking(move || {
            let found = LocalKeys::open(&dir).map_err(|error| match error {
                OpenError::Missing { path, .. } => StoreError::NotFound(path.display().to_string()),
                error @ (OpenError::Malformed { .. } | OpenError::Mode { .. }) => {
                    StoreError::Corrupt(error.to_string())
                }
                error => StoreError::Unavailable(error.to_string()),
            })?;
            match opened.missing_in(&found) {
                None => Ok(()),
                Some(key) => Err(corrupt(&dir, format!("the opened {key} is not there"))),
            }
        })
        .await
    }
}
