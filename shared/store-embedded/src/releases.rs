//! Releases and aliases as small files; writers take turns by a lock file, readers take none.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain::ports::{
    Alias, AliasReader, AliasWriter, ReleaseReader, ReleaseWriter, Routing, RoutingReader, Target,
};
use domain::{Release, ReleaseId, StoreError};
use serde::{Deserialize, Serialize};

use crate::durable::{self, WriteError};
use crate::error::{OpenError, corrupt, outcome_unknown, run_blocking, unavailable};

const MAX_RELEASE_BYTES: u64 = 4 << 20;
const MAX_ALIAS_BYTES: u64 = 4096;

/// The one version that an alias's requests go to: the server that follows it.
pub const SERVER_VERSION: &str = "server";

/// Releases below `DATA/releases`, aliases below `DATA/aliases`; any number of processes may use them at once.
#[derive(Debug, Clone)]
pub struct FileReleases {
    releases: PathBuf,
    aliases: PathBuf,
}

/// The version tag of an alias's file.
#[derive(Serialize, Deserialize)]
enum AliasFormat {
    #[serde(rename = "sealcast.alias/v1")]
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAlias {
    format: AliasFormat,
    release: ReleaseId,
    revision: u64,
}

impl FileReleases {
    /// Opens `DATA/releases` and `DATA/aliases`, creating them where they are missing.
    ///
    /// # Errors
    /// [`OpenError`] where a directory cannot be created.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let (releases, aliases) = (data_dir.join("releases"), data_dir.join("aliases"));
        for dir in [&releases, &aliases] {
            durable::create_dir(dir).map_err(OpenError::io("create", dir))?;
        }
        Ok(Self { releases, aliases })
    }
}

/// Runs `work` while no other process or thread writes in `dir`.
fn write_alone<T>(
    dir: &Path,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let lock = durable::open_lock(dir).map_err(unavailable("open the lock of", dir))?;
    lock.lock().map_err(unavailable("lock", dir))?;
    durable::remove_unfinished(dir).map_err(unavailable("clean up", dir))?;
    work()
}

fn release_path(dir: &Path, id: ReleaseId) -> PathBuf {
    dir.join(format!("{id}.json"))
}

fn read_release(dir: &Path, id: ReleaseId) -> Result<Release, StoreError> {
    let path = release_path(dir, id);
    let bytes =
        durable::read_file(&path, MAX_RELEASE_BYTES).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound(format!("release {id}")),
            io::ErrorKind::InvalidData => corrupt(&path, error),
            _ => unavailable("read", &path)(error),
        })?;
    let release: Release = serde_json::from_slice(&bytes).map_err(|error| corrupt(&path, error))?;
    if release.id == id {
        Ok(release)
    } else {
        Err(corrupt(
            &path,
            format!("holds release {}, expected {id}", release.id),
        ))
    }
}

fn newest(dir: &Path) -> Result<Option<ReleaseId>, StoreError> {
    let refuse = || unavailable("list", dir);
    let mut newest = None;
    for entry in std::fs::read_dir(dir).map_err(refuse())? {
        let name = entry.map_err(refuse())?.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(".json"))
            .and_then(|id| ReleaseId::parse(id).ok());
        newest = newest.max(id);
    }
    Ok(newest)
}

fn create_release(dir: &Path, release: &Release) -> Result<(), StoreError> {
    let path = release_path(dir, release.id);
    let bytes = serde_json::to_vec_pretty(release)
        .map_err(|error| StoreError::Conflict(format!("release {}: {error}", release.id)))?;
    if bytes.len() as u64 > MAX_RELEASE_BYTES {
        return Err(StoreError::Conflict(format!(
            "release {} of {} bytes: expected at most {MAX_RELEASE_BYTES}",
            release.id,
            bytes.len()
        )));
    }
    let next = newest(dir)?.map_or(1, |id| id.number() + 1);
    if release.id.number() < next {
        return confirm_same(dir, release);
    }
    if release.id.number() > next {
        return Err(StoreError::Conflict(format!(
            "release {}: the next id is {}",
            release.id,
            ReleaseId::from_number(next).map_or_else(String::new, |id| id.to_string())
        )));
    }
    match durable::create_whole(dir, &path, &bytes) {
        Err(WriteError::Exists) => confirm_same(dir, release),
        result => result.map_err(|error| error.into_store(&path)),
    }
}

fn confirm_same(dir: &Path, release: &Release) -> Result<(), StoreError> {
    if read_release(dir, release.id)? != *release {
        return Err(StoreError::Conflict(format!(
            "release {} exists with other content",
            release.id
        )));
    }
    // The first attempt may have failed just before this.
    durable::sync_dir(dir).map_err(outcome_unknown("sync", dir))
}

#[async_trait]
impl ReleaseReader for FileReleases {
    async fn get(&self, id: ReleaseId) -> Result<Release, StoreError> {
        let dir = self.releases.clone();
        run_blocking(move || read_release(&dir, id)).await
    }

    async fn newest(&self) -> Result<Option<ReleaseId>, StoreError> {
        let dir = self.releases.clone();
        run_blocking(move || newest(&dir)).await
    }
}

#[async_trait]
impl ReleaseWriter for FileReleases {
    async fn create(&self, release: &Release) -> Result<(), StoreError> {
        let (dir, release) = (self.releases.clone(), release.clone());
        run_blocking(move || write_alone(&dir, || create_release(&dir, &release))).await
    }
}

/// The file of an alias, whose name is 1 to 64 of `a-z 0-9 -`.
fn alias_path(dir: &Path, alias: &str) -> Result<PathBuf, StoreError> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=64).contains(&alias.len()) || !alias.bytes().all(valid) {
        let shown: String = alias.chars().take(80).collect();
        return Err(StoreError::Conflict(format!(
            "alias {shown:?}: expected 1 to 64 characters of a-z, 0-9 and '-'"
        )));
    }
    Ok(dir.join(format!("{alias}.json")))
}

fn read_alias(path: &Path) -> Result<Option<Alias>, StoreError> {
    let bytes = match durable::read_file(path, MAX_ALIAS_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                io::ErrorKind::InvalidData => Err(corrupt(path, error)),
                _ => Err(unavailable("read", path)(error)),
            };
        }
    };
    let stored: StoredAlias =
        serde_json::from_slice(&bytes).map_err(|error| corrupt(path, error))?;
    Ok(Some(Alias {
        release: stored.release,
        revision: stored.revision,
    }))
}

fn swap_alias(
    dir: &Path,
    path: &Path,
    expected: u64,
    release: ReleaseId,
) -> Result<Alias, StoreError> {
    let found = read_alias(path)?.map_or(0, |alias| alias.revision);
    if found != expected {
        return Err(StoreError::Conflict(format!(
            "{}: revision {found}, expected {expected}",
            path.display()
        )));
    }
    let alias = Alias {
        release,
        revision: expected + 1,
    };
    let stored = StoredAlias {
        format: AliasFormat::V1,
        release,
        revision: alias.revision,
    };
    let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| corrupt(path, error))?;
    durable::replace(dir, path, &bytes).map_err(|error| error.into_store(path))?;
    Ok(alias)
}

#[async_trait]
impl AliasReader for FileReleases {
    async fn get(&self, alias: &str) -> Result<Option<Alias>, StoreError> {
        let path = alias_path(&self.aliases, alias)?;
        run_blocking(move || read_alias(&path)).await
    }
}

#[async_trait]
impl RoutingReader for FileReleases {
    async fn routing(&self, alias: &str) -> Result<Routing, StoreError> {
        let target = Target {
            version: SERVER_VERSION.to_owned(),
            weight: 1.0,
        };
        Ok(Routing {
            alias: AliasReader::get(self, alias).await?,
            targets: vec![target],
        })
    }
}

#[async_trait]
impl AliasWriter for FileReleases {
    async fn compare_and_swap(
        &self,
        alias: &str,
        expected: u64,
        release: ReleaseId,
    ) -> Result<Alias, StoreError> {
        let path = alias_path(&self.aliases, alias)?;
        let dir = self.aliases.clone();
        run_blocking(move || write_alone(&dir, || swap_alias(&dir, &path, expected, release))).await
    }
}
