//! Sealed artifacts as directories of four files, or five, created whole by one rename.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use artifact::files::{CONTAINER_FILE, MANIFEST_FILE, PACKED_FILE, SIDECAR_FILE, SIGNATURE_FILE};
use artifact::manifest::MAX_MANIFEST_SIZE;
use artifact::sidecar::MAX_SIDECAR_SIZE;
use artifact::signature::MAX_BUNDLE_SIZE;
use artifact::{ModelName, ModelVersion};
use async_trait::async_trait;
use domain::StoreError;
use domain::ports::{ArtifactFiles, ArtifactReader, ArtifactWriter, LoadableFiles, ModelContainer};

use crate::durable;
use crate::error::{OpenError, corrupt, outcome_unknown, run_blocking, unavailable};

/// Largest sealed model that is stored or read, in bytes (2 GiB).
pub const MAX_CONTAINER_BYTES: u64 = 2 << 30;

/// Directory in which artifacts are put together.
const WORKSHOP: &str = ".incoming";
/// Age after which something unfinished that nobody holds is removed.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// Sealed artifacts below `DATA/artifacts`; any number of processes may read and create at once.
#[derive(Debug, Clone)]
pub struct FileArtifacts {
    root: PathBuf,
}

impl FileArtifacts {
    /// Opens `DATA/artifacts`, creating it where it is missing.
    ///
    /// # Errors
    /// [`OpenError`] where a directory cannot be created or read.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let root = data_dir.join("artifacts");
        let workshop = root.join(WORKSHOP);
        durable::create_dir(&workshop).map_err(OpenError::io("create", &workshop))?;
        remove_abandoned(&workshop).map_err(OpenError::io("clean up", &workshop))?;
        Ok(Self { root })
    }

    fn dir(&self, name: &ModelName, version: &ModelVersion) -> PathBuf {
        self.root.join(name.as_str()).join(version.to_string())
    }

    fn workshop(&self) -> PathBuf {
        self.root.join(WORKSHOP)
    }
}

#[async_trait]
impl ArtifactReader for FileArtifacts {
    async fn read(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<ArtifactFiles, StoreError> {
        let dir = self.dir(name, version);
        run_blocking(move || read(&dir)).await
    }

    async fn read_loadable(
        &self,
        name: &ModelName,
        version: &ModelVersion,
    ) -> Result<LoadableFiles, StoreError> {
        let dir = self.dir(name, version);
        run_blocking(move || read_loadable(&dir)).await
    }

    async fn versions(&self, name: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        let dir = self.root.join(name.as_str());
        run_blocking(move || versions(&dir).map_err(unavailable("list", &dir))).await
    }
}

#[async_trait]
impl ArtifactWriter for FileArtifacts {
    async fn create(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        files: &ArtifactFiles,
    ) -> Result<(), StoreError> {
        let (dir, workshop, files) = (self.dir(name, version), self.workshop(), files.clone());
        run_blocking(move || create(&dir, &workshop, &files)).await
    }

    async fn replace_sidecar(
        &self,
        name: &ModelName,
        version: &ModelVersion,
        sidecar: &[u8],
    ) -> Result<(), StoreError> {
        let (dir, workshop, sidecar) = (self.dir(name, version), self.workshop(), sidecar.to_vec());
        run_blocking(move || {
            check_size(SIDECAR_FILE, &sidecar, MAX_SIDECAR_SIZE as u64)?;
            check_exists(&dir)?;
            let path = dir.join(SIDECAR_FILE);
            durable::replace(&workshop, &path, &sidecar).map_err(|error| error.into_store(&path))
        })
        .await
    }
}

/// Name, content and largest size of each file.
fn parts(files: &ArtifactFiles) -> Vec<(&'static str, &[u8], u64)> {
    let mut parts = vec![
        (MANIFEST_FILE, &*files.manifest, MAX_MANIFEST_SIZE as u64),
        (CONTAINER_FILE, &files.sealed, MAX_CONTAINER_BYTES),
        (SIGNATURE_FILE, &files.bundle, MAX_BUNDLE_SIZE as u64),
        (SIDECAR_FILE, &files.sidecar, MAX_SIDECAR_SIZE as u64),
    ];
    if let Some(packed) = &files.packed {
        parts.push((PACKED_FILE, packed, MAX_CONTAINER_BYTES));
    }
    parts
}

fn check_size(name: &str, bytes: &[u8], max: u64) -> Result<(), StoreError> {
    if bytes.len() as u64 > max {
        return Err(StoreError::Conflict(format!(
            "{name} of {} bytes: expected at most {max}",
            bytes.len()
        )));
    }
    Ok(())
}

fn exists(dir: &Path) -> Result<bool, StoreError> {
    dir.try_exists().map_err(unavailable("look for", dir))
}

fn read(dir: &Path) -> Result<ArtifactFiles, StoreError> {
    check_exists(dir)?;
    Ok(ArtifactFiles {
        manifest: read_part(dir, MANIFEST_FILE, MAX_MANIFEST_SIZE as u64)?,
        sealed: read_part(dir, CONTAINER_FILE, MAX_CONTAINER_BYTES)?,
        packed: read_packed(dir)?,
        bundle: read_part(dir, SIGNATURE_FILE, MAX_BUNDLE_SIZE as u64)?,
        sidecar: read_part(dir, SIDECAR_FILE, MAX_SIDECAR_SIZE as u64)?,
    })
}

fn read_loadable(dir: &Path) -> Result<LoadableFiles, StoreError> {
    check_exists(dir)?;
    Ok(LoadableFiles {
        manifest: read_part(dir, MANIFEST_FILE, MAX_MANIFEST_SIZE as u64)?,
        container: match read_packed(dir)? {
            Some(packed) => ModelContainer::Packed(packed),
            None => ModelContainer::Onnx(read_part(dir, CONTAINER_FILE, MAX_CONTAINER_BYTES)?),
        },
        bundle: read_part(dir, SIGNATURE_FILE, MAX_BUNDLE_SIZE as u64)?,
        sidecar: read_part(dir, SIDECAR_FILE, MAX_SIDECAR_SIZE as u64)?,
    })
}

fn check_exists(dir: &Path) -> Result<(), StoreError> {
    if exists(dir)? {
        Ok(())
    } else {
        Err(StoreError::NotFound(dir.display().to_string()))
    }
}

/// The container of the packed form; whether there should be one is for the signature to say.
fn read_packed(dir: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    exists(&dir.join(PACKED_FILE))?
        .then(|| read_part(dir, PACKED_FILE, MAX_CONTAINER_BYTES))
        .transpose()
}

fn read_part(dir: &Path, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
    let path = dir.join(name);
    durable::read_file(&path, max).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            corrupt(&path, "missing from an artifact that was created whole")
        }
        io::ErrorKind::InvalidData => corrupt(&path, error),
        _ => unavailable("read", &path)(error),
    })
}

fn versions(dir: &Path) -> io::Result<Vec<ModelVersion>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut versions = Vec::new();
    for entry in entries {
        if let Some(version) = entry?
            .file_name()
            .to_str()
            .and_then(|name| ModelVersion::parse(name).ok())
        {
            versions.push(version);
        }
    }
    versions.sort();
    Ok(versions)
}

fn create(dir: &Path, workshop: &Path, files: &ArtifactFiles) -> Result<(), StoreError> {
    for (name, bytes, max) in parts(files) {
        check_size(name, bytes, max)?;
    }
    if exists(dir)? {
        return confirm_same(dir, files);
    }
    let Some(model_dir) = dir.parent() else {
        return Err(StoreError::Unavailable(format!(
            "{} has no parent",
            dir.display()
        )));
    };
    durable::create_dir(model_dir).map_err(unavailable("create", model_dir))?;
    let unfinished = durable::unfinished_name(workshop).map_err(unavailable("name", workshop))?;
    // The lock tells other processes that somebody is at work here; it lasts as long as `held`.
    let held = assemble(&unfinished, files).map_err(unavailable("write", &unfinished));
    let renamed = held.and_then(|held| match std::fs::rename(&unfinished, dir) {
        Ok(()) => Ok(Some(held)),
        Err(error) if taken(&error) => Ok(None),
        Err(error) => Err(unavailable("rename to", dir)(error)),
    });
    match renamed {
        Ok(Some(_held)) => durable::sync_dir(model_dir).map_err(outcome_unknown("sync", model_dir)),
        other => {
            let _ = std::fs::remove_dir_all(&unfinished);
            other?;
            confirm_same(dir, files)
        }
    }
}

fn taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}

fn assemble(dir: &Path, files: &ArtifactFiles) -> io::Result<File> {
    durable::create_dir(dir)?;
    let held = File::open(dir)?;
    held.lock()?;
    for (name, bytes, _) in parts(files) {
        durable::create_file(&dir.join(name), bytes)?;
    }
    held.sync_all()?;
    Ok(held)
}

/// The version exists: a success if it has these files, so that a lost reply can be retried.
fn confirm_same(dir: &Path, files: &ArtifactFiles) -> Result<(), StoreError> {
    let stored = read(dir)?;
    if stored.packed.is_some() != files.packed.is_some() {
        return Err(StoreError::Conflict(format!(
            "{} exists with other files",
            dir.display()
        )));
    }
    for ((name, new, _), (_, old, _)) in parts(files).into_iter().zip(parts(&stored)) {
        if new != old {
            return Err(StoreError::Conflict(format!(
                "{} exists with another {name}",
                dir.display()
            )));
        }
    }
    // The first attempt may have failed just before this.
    let parent = dir.parent().unwrap_or(dir);
    durable::sync_dir(parent).map_err(outcome_unknown("sync", parent))
}

fn remove_abandoned(workshop: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(workshop)? {
        let path = entry?.path();
        // What vanishes meanwhile was somebody's, and is finished.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        let age = metadata
            .modified()
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_none_or(|age| age < ABANDONED_AFTER) || file.try_lock().is_err() {
            continue;
        }
        let removed = if metadata.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;

    use super::*;

    #[test]
    fn only_what_is_old_and_held_by_nobody_is_removed() {
        let data = tempfile::tempdir().unwrap();
        FileArtifacts::open(data.path()).unwrap();
        let workshop = data.path().join("artifacts").join(WORKSHOP);
        let old = FileTimes::new().set_modified(SystemTime::now() - Duration::from_hours(2));
        let make = |name: &str| {
            let path = workshop.join(name);
            durable::create_dir(&path).unwrap();
            durable::create_file(&path.join(MANIFEST_FILE), b"{}").unwrap();
            path
        };
        let (fresh, held, abandoned) = (make(".tmp-1"), make(".tmp-2"), make(".tmp-3"));
        for path in [&held, &abandoned] {
            File::open(path).unwrap().set_times(old).unwrap();
        }
        let lock = File::open(&held).unwrap();
        lock.lock().unwrap();
        FileArtifacts::open(data.path()).unwrap();
        assert!(fresh.exists() && held.exists() && !abandoned.exists());
    }
}
