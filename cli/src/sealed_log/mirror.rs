//! A copy of what is read of a log, so that an interrupted run goes on where it was and the evidence is kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::tiles::CHECKPOINT_PATH;

use super::{FolderLog, LogObjects, ObjectError};
use crate::failure::Failure;
use crate::files;

/// A log whose tiles are kept in a folder as they are read, and read from there where they are there already. A tile
/// is never another, so what was kept stays right; the checkpoint is always asked for.
pub(crate) struct Mirror {
    objects: Arc<dyn LogObjects>,
    kept: FolderLog,
    dir: PathBuf,
}

impl Mirror {
    /// Keeps what is read of `objects` in `dir`, which is made where it is missing.
    pub(crate) fn new(objects: Arc<dyn LogObjects>, dir: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir).map_err(|error| Failure::file("create", dir, &error))?;
        Ok(Self {
            objects,
            kept: FolderLog::open(dir)?,
            dir: dir.to_owned(),
        })
    }

    /// The checkpoint that an earlier run kept; none where there was no run. A failure where nobody can tell: what
    /// might be there must not be passed by, and then overwritten.
    pub(crate) fn kept_checkpoint(&self) -> Result<Option<PathBuf>, Failure> {
        let path = self.dir.join(CHECKPOINT_PATH);
        match path.try_exists() {
            Ok(exists) => Ok(exists.then_some(path)),
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    /// Keeps the checkpoint that everything is verified against: the folder is a log of its own then.
    pub(crate) fn keep_checkpoint(&self, note: &[u8]) -> Result<(), Failure> {
        self.keep(CHECKPOINT_PATH, note).map_err(|error| {
            let path = self.dir.join(CHECKPOINT_PATH);
            Failure::file("write", &path, &error)
        })
    }

    /// Gives the file its name when it is whole: a run that is killed leaves no half tile.
    fn keep(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.dir.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let unfinished =
            files::unfinished_beside(&path).map_err(|failure| io::Error::other(failure.message))?;
        std::fs::write(&unfinished, bytes)
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .inspect_err(|_| {
                let _ = std::fs::remove_file(&unfinished);
            })
    }
}

impl LogObjects for Mirror {
    fn place(&self) -> String {
        self.objects.place()
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, ObjectError> {
        if path == CHECKPOINT_PATH {
            return self.objects.read(path, max);
        }
        if let Ok(bytes) = self.kept.read(path, max) {
            return Ok(bytes);
        }
        let bytes = self.objects.read(path, max)?;
        self.keep(path, &bytes).map_err(|error| {
            let place = self.dir.display();
            ObjectError::Unreachable(format!("{place} keeps no copy: {error}"))
        })?;
        Ok(bytes)
    }

    fn parallel(&self) -> usize {
        self.objects.parallel()
    }
}
