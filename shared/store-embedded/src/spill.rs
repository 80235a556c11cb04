//! The spill: a file for each item in a folder that may be on another disk than the data directory.
//!
//! ```text
//! DIR/<item>.jsonl         waits to be replayed
//! DIR/aside/<item>.<tag>   never will be
//! ```

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::{SpillReader, SpillRemover, SpillWriter};
use domain::spill::{MAX_ITEM_BYTES, SpillItem, SpillName};

use crate::durable::{self, UNFINISHED, WriteError};
use crate::error::{OpenError, corrupt, outcome_unknown, run_blocking, unavailable};

/// The folder of what was set aside.
const ASIDE: &str = "aside";

/// The spill below one folder. Any number of processes may use it at once.
#[derive(Debug)]
pub struct FileSpill {
    dir: Arc<Path>,
}

impl FileSpill {
    /// Opens the folder, creating it where it is missing.
    ///
    /// # Errors
    /// [`OpenError`] where it cannot be created.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let aside = dir.join(ASIDE);
        durable::create_dir(&aside).map_err(OpenError::io("create", &aside))?;
        let lock = durable::open_lock(dir).map_err(OpenError::io("open the lock of", dir))?;
        if lock.try_lock().is_ok() {
            durable::remove_unfinished(dir).map_err(OpenError::io("tidy up", dir))?;
        }
        Ok(Self { dir: dir.into() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn sync(dir: &Path) -> Result<(), StoreError> {
    durable::sync_dir(dir).map_err(outcome_unknown("sync", dir))
}

/// A shared lock keeps unfinished files from being tidied up until it is dropped.
fn lock_shared(dir: &Path) -> Result<File, StoreError> {
    let lock = durable::open_lock(dir).map_err(unavailable("open the lock of", dir))?;
    lock.lock_shared().map_err(unavailable("lock", dir))?;
    Ok(lock)
}

fn put(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let _lock = lock_shared(dir)?;
    match durable::create_whole(dir, path, bytes) {
        Err(WriteError::Exists) => {
            let found = durable::read_file(path, bytes.len() as u64);
            if found.is_ok_and(|found| found == bytes) {
                return sync(dir);
            }
            Err(StoreError::Conflict(format!(
                "{} exists with other content",
                path.display()
            )))
        }
        result => result.map_err(|error| error.into_store(path)),
    }
}

/// Whether a file of this name is the folder's own and no item, whoever put it there.
fn is_own(name: &str) -> bool {
    name == ".lock" || name.starts_with(UNFINISHED) || name == ASIDE
}

/// Names of the files in a folder, in no order; our own files for other ends are left out.
fn names_in(dir: &Path) -> Result<Vec<String>, StoreError> {
    let refuse = || unavailable("list", dir);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(refuse())? {
        // A name that is no text is no item's, and cannot be said: it stays where it is.
        let name = entry.map_err(refuse())?.file_name().into_string();
        names.extend(name.ok().filter(|name| !is_own(name)));
    }
    Ok(names)
}

/// The path of a name that was listed: one that leads nowhere else.
fn path_of(dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    if matches!(name, "" | "." | "..") || is_own(name) || name.contains('/') {
        return Err(StoreError::NotFound(format!("an item named {name:?}")));
    }
    Ok(dir.join(name))
}

#[async_trait]
impl SpillWriter for FileSpill {
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError> {
        let (dir, bytes) = (Arc::clone(&self.dir), item.to_bytes());
        let path = dir.join(item.name().to_string());
        run_blocking(move || put(&dir, &path, &bytes)).await
    }
}

#[async_trait]
impl SpillReader for FileSpill {
    async fn list(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let (dir, after) = (Arc::clone(&self.dir), after.to_owned());
        run_blocking(move || {
            let mut names = names_in(&dir)?;
            names.retain(|name| *name > after);
            names.sort_unstable();
            names.truncate(limit);
            Ok(names)
        })
        .await
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = path_of(&self.dir, name)?;
        run_blocking(move || {
            // Whoever opens a pipe waits for who writes to it.
            let read = match path.metadata() {
                Ok(found) if !found.is_file() => return Err(corrupt(&path, "it is no file")),
                Ok(_) => durable::read_file(&path, MAX_ITEM_BYTES),
                Err(error) => Err(error),
            };
            read.map_err(|error| match error.kind() {
                ErrorKind::NotFound => StoreError::NotFound(path.display().to_string()),
                ErrorKind::InvalidData => corrupt(&path, error),
                _ => unavailable("read", &path)(error),
            })
        })
        .await
    }

    async fn set_aside_count(&self, limit: usize) -> Result<usize, StoreError> {
        let aside = self.dir.join(ASIDE);
        run_blocking(move || Ok(names_in(&aside)?.len().min(limit))).await
    }
}

#[async_trait]
impl SpillRemover for FileSpill {
    async fn remove(&self, name: &SpillName) -> Result<(), StoreError> {
        let path = self.dir.join(name.to_string());
        run_blocking(move || match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(unavailable("remove", &path)(error)),
        })
        .await
    }

    async fn set_aside(&self, name: &str, tag: &str) -> Result<(), StoreError> {
        let (dir, path) = (Arc::clone(&self.dir), path_of(&self.dir, name)?);
        let aside = dir.join(ASIDE);
        let target = path_of(&aside, &format!("{name}.{tag}"))?;
        run_blocking(move || match std::fs::rename(&path, &target) {
            // First where it is now, then where it no longer is.
            Ok(()) => sync(&aside).and_then(|()| sync(&dir)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(unavailable("set aside", &path)(error)),
        })
        .await
    }
}
