//! The sealed log: a file for each object below `DATA/log`, the checkpoint that is published, and what was committed
//! last.
//!
//! ```text
//! DATA/log/tile/0/000.p/7    an object, created once
//! DATA/log/checkpoint        published last
//! DATA/log/committed         committed last
//! ```
//! Any number of processes may use it at once: who replaces a file holds a lock on the directory meanwhile.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::ports::{LogLock, LogPublisher, LogReader, LogWriter, StageRemover};
use domain::{LogPath, StoreError};

use crate::durable::{self, WriteError};
use crate::error::{OpenError, corrupt, outcome_unknown, run_blocking, unavailable};

const CHECKPOINT: &str = "checkpoint";
const COMMITTED: &str = "committed";
/// What begins so may be removed.
const STAGE: &str = "stage/";
/// Longest checkpoint or commit in bytes.
const MAX_HEAD_BYTES: u64 = 16 << 20;

/// The sealed log below `DATA/log`.
#[derive(Debug)]
pub struct FileLog {
    dir: Arc<Path>,
    /// Directories whose names are known to be durable, up to `dir`.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

impl FileLog {
    /// Opens `DATA/log`, creating it where it is missing.
    ///
    /// # Errors
    /// [`OpenError`] where it cannot be created.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let dir = data_dir.join("log");
        durable::create_dir(&dir).map_err(OpenError::io("create", &dir))?;
        let lock = durable::open_lock(&dir).map_err(OpenError::io("open the lock of", &dir))?;
        if lock.try_lock().is_ok() {
            durable::remove_unfinished(&dir).map_err(OpenError::io("tidy up", &dir))?;
        }
        Ok(Self {
            dir: dir.into(),
            durable: Arc::default(),
        })
    }

    /// Removes what was staged and never committed. Only while no other process seals: where what is committed is
    /// published nothing staged is needed.
    pub(crate) fn discard_stages(&self) -> Result<(), OpenError> {
        let read = |name| head(&self.dir.join(name)).ok().flatten();
        if read(COMMITTED) != read(CHECKPOINT) {
            return Ok(());
        }
        let stages = self.dir.join(STAGE);
        match std::fs::remove_dir_all(&stages) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(OpenError::io("remove", &stages)(error))
            }
            _ => Ok(()),
        }
    }

    /// Puts `next` in the place of `expected` in one of the two files that change.
    async fn replace(
        &self,
        name: &'static str,
        expected: Option<&[u8]>,
        next: &[u8],
    ) -> Result<(), StoreError> {
        let (dir, expected) = (Arc::clone(&self.dir), expected.map(<[u8]>::to_vec));
        let next = next.to_vec();
        run_blocking(move || {
            let path = dir.join(name);
            let lock = open_lock(&dir)?;
            lock.lock().map_err(unavailable("lock", &dir))?;
            let found = head(&path)?;
            if found.as_deref() == Some(&next) {
                return make_durable(&dir);
            }
            if found != expected {
                return Err(StoreError::Conflict(format!(
                    "{} is not what was expected",
                    path.display()
                )));
            }
            durable::replace(&dir, &path, &next).map_err(|error| error.into_store(&path))
        })
        .await
    }

    async fn read_head(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.dir.join(name);
        run_blocking(move || head(&path)).await
    }
}

/// The lock on the directory, which is free again when the file is dropped. Shared it keeps unfinished files from
/// being tidied up, alone it keeps the files that change as they are.
fn open_lock(dir: &Path) -> Result<File, StoreError> {
    durable::open_lock(dir).map_err(unavailable("open the lock of", dir))
}

/// An earlier call may have ended before the names in the directory were synced.
fn make_durable(dir: &Path) -> Result<(), StoreError> {
    durable::sync_dir(dir).map_err(outcome_unknown("sync", dir))
}

fn head(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match durable::read_file(path, MAX_HEAD_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path)(error)),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| match error.kind() {
        ErrorKind::InvalidData => corrupt(path, error),
        _ => unavailable("read", path)(error),
    }
}

fn create(
    dir: &Path,
    known: &Mutex<HashSet<PathBuf>>,
    path: &Path,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let lock = open_lock(dir)?;
    lock.lock_shared().map_err(unavailable("lock", dir))?;
    let parent = path.parent().unwrap_or(dir);
    let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let is_known = known().contains(parent);
    if !is_known {
        durable::create_dirs_below(dir, parent).map_err(unavailable("create", parent))?;
        known().insert(parent.to_owned());
    }
    match durable::create_whole(dir, path, bytes) {
        Err(WriteError::Exists) => {
            let conflict = || {
                Err(StoreError::Conflict(format!(
                    "{} exists with other content",
                    path.display()
                )))
            };
            match durable::read_file(path, bytes.len() as u64) {
                Ok(found) if found == bytes => make_durable(parent),
                Ok(_) => conflict(),
                // A longer one is another.
                Err(error) if error.kind() == ErrorKind::InvalidData => conflict(),
                Err(error) => Err(unavailable("compare with", path)(error)),
            }
        }
        result => result.map_err(|error| {
            // Perhaps the directory is gone: the next call looks again.
            known().remove(parent);
            error.into_store(path)
        }),
    }
}

#[async_trait]
impl LogReader for FileLog {
    async fn read(&self, path: &LogPath, max: u64) -> Result<Vec<u8>, StoreError> {
        let path: PathBuf = self.dir.join(path.as_str());
        run_blocking(move || {
            durable::read_file(&path, max).map_err(|error| match error.kind() {
                ErrorKind::NotFound => StoreError::NotFound(path.display().to_string()),
                _ => unreadable(&path)(error),
            })
        })
        .await
    }

    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_head(CHECKPOINT).await
    }
}

#[async_trait]
impl LogWriter for FileLog {
    async fn create(&self, path: &LogPath, bytes: &[u8]) -> Result<(), StoreError> {
        let (dir, path) = (Arc::clone(&self.dir), self.dir.join(path.as_str()));
        let (known, bytes) = (Arc::clone(&self.durable), bytes.to_vec());
        run_blocking(move || create(&dir, &known, &path, &bytes)).await
    }
}

#[async_trait]
impl LogPublisher for FileLog {
    async fn publish(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        self.replace(CHECKPOINT, expected, next).await
    }
}

#[async_trait]
impl LogLock for FileLog {
    async fn committed(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_head(COMMITTED).await
    }

    async fn commit(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        self.replace(COMMITTED, expected, next).await
    }
}

#[async_trait]
impl StageRemover for FileLog {
    async fn remove(&self, path: &LogPath) -> Result<(), StoreError> {
        if !path.as_str().starts_with(STAGE) {
            return Err(StoreError::Denied(format!(
                "{path} is not removed: it does not begin with {STAGE}"
            )));
        }
        let path = self.dir.join(path.as_str());
        // Not synced: one that comes back after a power failure is carried out already, and nobody asks for it.
        run_blocking(move || match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(unavailable("remove", &path)(error))
            }
            _ => Ok(()),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_that_cannot_be_read_is_no_conflict() {
        let dir = tempfile::tempdir().unwrap();
        let log = FileLog::open(dir.path()).unwrap();
        let path = LogPath::parse("tile/0/000").unwrap();
        log.create(&path, b"hashes").await.unwrap();
        let file = dir.path().join("log/tile/0/000");
        std::fs::remove_file(&file).unwrap();
        // A link to itself: the name is taken, and reading fails.
        std::os::unix::fs::symlink("000", &file).unwrap();
        let unread = log.create(&path, b"hashes").await;
        assert!(
            matches!(&unread, Err(StoreError::Unavailable(text)) if text.contains("compare with")),
            "{unread:?}"
        );
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, b"hashes, and more").unwrap();
        let longer = log.create(&path, b"hashes").await;
        assert!(matches!(longer, Err(StoreError::Conflict(_))), "{longer:?}");
    }

    #[tokio::test]
    async fn a_directory_that_was_removed_is_an_error_and_made_again_by_the_next_call() {
        let dir = tempfile::tempdir().unwrap();
        let log = FileLog::open(dir.path()).unwrap();
        let path = |name: &str| LogPath::parse(&format!("tile/0/{name}")).unwrap();
        log.create(&path("000"), b"a").await.unwrap();
        std::fs::remove_dir_all(dir.path().join("log/tile")).unwrap();
        let gone = log.create(&path("001"), b"b").await;
        assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
        log.create(&path("001"), b"b").await.unwrap();
        assert_eq!(log.read(&path("001"), 1).await.unwrap(), b"b");
    }
}
