//! Files that are there, whole, or not there: also after a power failure.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use domain::StoreError;
use domain::ports::Entropy;
use domain::system::SystemEntropy;

/// Names that start so are of files and directories that are being made.
pub(crate) const UNFINISHED: &str = ".tmp-";

/// A write that failed.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The name is taken; nothing was changed.
    Exists,
    /// Nothing was changed.
    NotApplied(io::Error),
    /// The change is visible, but might not survive a power failure.
    Unknown(io::Error),
}

impl WriteError {
    /// The port's error for it; `Exists` becomes a conflict.
    pub(crate) fn into_store(self, path: &Path) -> StoreError {
        let path = path.display();
        match self {
            Self::Exists => StoreError::Conflict(format!("{path} exists")),
            Self::NotApplied(error) => StoreError::Unavailable(format!("write {path}: {error}")),
            Self::Unknown(error) => StoreError::OutcomeUnknown(format!("sync {path}: {error}")),
        }
    }
}

/// Creates a directory (0700), and those above it, where they are missing. The name of one that was there is made
/// durable too: who made it may not have come so far.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    let create = || DirBuilder::new().mode(0o700).create(path);
    let created = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().ok_or(error).and_then(create_dir)?;
            // Once: there are file systems in which nobody makes a directory, and they say that it is not there.
            create()
        }
        created => created,
    };
    match created {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            match sync_parent(path) {
                // Nothing of ours makes a directory where it may not read: somebody else did, and it is theirs to keep.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            }
        }
        Err(error) => Err(error),
    }
}

/// Creates `path` below `top`, and what is missing between them, and makes all of these names durable: also those that
/// were there, since who made them may not have come so far. `top` itself is there and durable.
pub(crate) fn create_dirs_below(top: &Path, path: &Path) -> io::Result<()> {
    if path == top {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dirs_below(top, parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync_parent(path)
}

/// Makes durable which names the directory holds.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

/// Creates a file (0600) with this content and syncs it; its directory is not synced.
pub(crate) fn create_file(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// A name in `dir` that nothing has.
pub(crate) fn unfinished_name(dir: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 16];
    SystemEntropy.fill(&mut random).map_err(io::Error::other)?;
    Ok(dir.join(format!("{UNFINISHED}{}", hex::encode(random))))
}

/// Creates `path`, whole, where the name is free; `workshop` is a directory on the same file system.
pub(crate) fn create_whole(workshop: &Path, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let unfinished = unfinished_name(workshop).map_err(WriteError::NotApplied)?;
    let linked =
        create_file(&unfinished, bytes).and_then(|_| std::fs::hard_link(&unfinished, path));
    // A leftover does no harm, and is removed when its workshop is next used.
    let _ = std::fs::remove_file(&unfinished);
    match linked {
        Ok(()) => sync_parent(path).map_err(WriteError::Unknown),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(WriteError::Exists),
        Err(error) => Err(WriteError::NotApplied(error)),
    }
}

/// Puts a file with this content in the place of `path`; readers see the old or the new one, whole.
pub(crate) fn replace(workshop: &Path, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let unfinished = unfinished_name(workshop).map_err(WriteError::NotApplied)?;
    let renamed = create_file(&unfinished, bytes).and_then(|_| std::fs::rename(&unfinished, path));
    if let Err(error) = renamed {
        let _ = std::fs::remove_file(&unfinished);
        return Err(WriteError::NotApplied(error));
    }
    sync_parent(path).map_err(WriteError::Unknown)
}

/// Removes what killed processes left unfinished. Only for a directory that nobody else is writing to.
pub(crate) fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let too_large = || {
        let message = format!("larger than {max} bytes");
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    if len > max {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).map_err(|_| too_large())?);
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

/// Opens the lock file of a directory, creating it where it is missing.
pub(crate) fn open_lock(dir: &Path) -> io::Result<File> {
    let path = dir.join(".lock");
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_created_once_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create_whole(dir.path(), &path, b"one").unwrap();
        assert!(matches!(
            create_whole(dir.path(), &path, b"two"),
            Err(WriteError::Exists)
        ));
        assert_eq!(read_file(&path, 3).unwrap(), b"one");
        replace(dir.path(), &path, b"two").unwrap();
        assert_eq!(read_file(&path, 3).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn where_no_directory_can_be_made_that_is_an_error() {
        // There nobody makes one, although what is above it is there.
        assert!(create_dir(Path::new("/proc/nothing/here")).is_err());
        assert!(create_dir(Path::new("")).is_err());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(create_dir(&dir.path().join("file/below")).is_err());
    }

    #[test]
    fn directories_below_one_are_created_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("tile/0/x001");
        create_dirs_below(dir.path(), &deep).unwrap();
        create_dirs_below(dir.path(), &deep).unwrap();
        create_dirs_below(dir.path(), dir.path()).unwrap();
        let mode = std::fs::metadata(deep.parent().unwrap()).unwrap();
        assert!(deep.is_dir() && mode.permissions().mode() & 0o777 == 0o700);
        create_file(&dir.path().join("f"), b"").unwrap();
        assert!(create_dirs_below(dir.path(), &dir.path().join("f")).is_err());
        // A name that cannot be synced is no success, even where the directory is there.
        let gone = tempfile::tempdir().unwrap();
        let outside = gone.path().join("a/b");
        assert!(create_dirs_below(&gone.path().join("a"), &outside).is_err());
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create_file(&path, b"12345").unwrap();
        assert!(read_file(&path, 5).is_ok());
        let error = read_file(&path, 4).unwrap_err();
        assert_eq!(error.to_string(), "larger than 4 bytes");
    }

    #[test]
    fn directories_are_private_down_from_the_first_that_was_missing() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(&dir.path().join("a/b")).unwrap();
        create_dir(&dir.path().join("a/b")).unwrap();
        for name in ["a", "a/b"] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
        create_file(&dir.path().join("f"), b"").unwrap();
        assert!(create_dir(&dir.path().join("f")).is_err());
    }
}
