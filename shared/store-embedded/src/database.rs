//! A redb file that is this process's alone.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};

use crate::durable;
use crate::error::OpenError;

/// Opens the database, creating it (0600) where it is missing, with `cache_bytes` of memory for its pages.
///
/// # Errors
/// [`OpenError::InUse`] where another process has it open; other [`OpenError`]s name the file.
pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(OpenError::io("open", path))?;
    let database = FileBackend::new(file)
        .and_then(|backend| {
            redb::Builder::new()
                .set_cache_size(cache_bytes)
                .create_with_backend(backend)
        })
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.to_owned()),
            error => OpenError::malformed(path, error),
        })?;
    path.parent()
        .map_or(Ok(()), durable::sync_dir)
        .map_err(OpenError::io("sync the directory of", path))?;
    Ok(database)
}
