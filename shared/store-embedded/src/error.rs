//! Errors of opening a store, and how an operating system's error becomes a port's.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use domain::StoreError;

/// Why a store, or a part of it, was not opened or created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process: stop that process or name another data directory", path = .0.display())]
    InUse(PathBuf),
    /// It is there already, and is never overwritten.
    #[error("{path} exists and is never overwritten: move it away or name another data directory", path = .0.display())]
    Exists(PathBuf),
    /// It is not there.
    #[error("{path} does not exist: {remedy}", path = path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A file with a secret that others may read or write.
    #[error("{path} has mode {mode:04o}: expected 0600 or less; others must have no access (chmod 600)", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not what was written.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn malformed(path: &Path, reason: impl fmt::Display) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// An error before anything was changed.
pub(crate) fn unavailable(action: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::Unavailable(format!("{action} {}: {error}", path.display()))
}

/// An error after which the change may be there or not.
pub(crate) fn outcome_unknown(action: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::OutcomeUnknown(format!("{action} {}: {error}", path.display()))
}

pub(crate) fn corrupt(path: &Path, reason: impl fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{}: {reason}", path.display()))
}

/// Runs blocking work on the runtime's threads for it.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::OutcomeUnknown(format!(
            "a blocking task ended early: {error}"
        ))),
    }
}
