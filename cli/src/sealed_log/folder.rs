//! A log in a folder: a copy of its bucket, or `DATA/log` of a server.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{LogObjects, ObjectError};
use crate::failure::Failure;

/// A folder with `checkpoint` and `tile/…`.
#[derive(Debug, Clone)]
pub(crate) struct FolderLog {
    dir: PathBuf,
}

impl FolderLog {
    /// The log in a folder that must be there: a misspelt name is no empty log.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        if dir.is_dir() {
            return Ok(Self {
                dir: dir.to_owned(),
            });
        }
        let message = format!("log {}: no such directory", dir.display());
        Err(Failure::not_found("file.not_found", message).at("--log"))
    }
}

impl LogObjects for FolderLog {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, ObjectError> {
        let mut bytes = Vec::new();
        let read = File::open(self.dir.join(path))
            .and_then(|file| file.take(max.saturating_add(1)).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(bytes),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(ObjectError::Absent)
            }
            Err(error) => Err(ObjectError::Unreachable(error.to_string())),
        }
    }

    fn parallel(&self) -> usize {
        1
    }
}
