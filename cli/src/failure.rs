//! Why a command did not do what it was asked to: one sentence, a stable code and an exit code.

use std::fmt;
use std::io;
use std::path::Path;

use artifact::{OpenError, SealError};
use domain::StoreError;
use engine::{ExplainError, InputError, LoadError, RunError, ScoreError};
use serde::Serialize;
use serde_json::{Map, Value};

/// What the process ends with; `sealcast --help` and `docs/cli.md` list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Refused, or a verification failed.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What was named is not there.
    NotFound = 3,
    /// A store, a file system or the network did not do its part; trying again may help.
    Unavailable = 4,
    /// A fault of this program.
    Internal = 5,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// One sentence that names the file or field and what was expected.
    #[serde(rename = "error")]
    pub(crate) message: String,
    /// Stable code.
    pub(crate) code: String,
    /// The field, option or place at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// More about the place, for machines.
    #[serde(flatten)]
    pub(crate) details: Map<String, Value>,
    /// How the process ends.
    #[serde(skip)]
    pub(crate) exit: Exit,
}

impl Failure {
    fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: code.to_owned(),
            field: None,
            details: Map::new(),
            exit,
        }
    }

    /// The input is not what it should be, or a verification failed.
    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, code, message)
    }

    /// The options contradict each other or the files that they name.
    pub(crate) fn usage(option: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message).at(option)
    }

    /// This build was made without what talks to AWS.
    #[cfg(not(feature = "aws"))]
    pub(crate) fn not_built(option: &str, lack: &str) -> Self {
        let message = format!(
            "{option}: this build of sealcast {lack}; one with AWS is made by \
             cargo install --locked --path cli --features aws"
        );
        Self::usage(option, message)
    }

    /// What was named is not there.
    pub(crate) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, code, message)
    }

    /// A store, a file system or the network did not do its part.
    pub(crate) fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, code, message)
    }

    /// A fault of this program.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, "internal", message)
    }

    /// Names the field, option or place at fault.
    pub(crate) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names no place.
    pub(crate) fn without_place(mut self) -> Self {
        self.field = None;
        self
    }

    /// Adds a detail for machines.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Puts what was being done before the sentence.
    pub(crate) fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// A file that could not be read or written.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        let place = path.display();
        // What is read like a file may be a store.
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(error) = inner.cloned().map(|error: StoreError| Self::from(error)) {
            return error.while_doing(format!("{action} {place}"));
        }
        let failure = match error.kind() {
            io::ErrorKind::NotFound => {
                Self::not_found("file.not_found", format!("{action} {place}: no such file"))
            }
            io::ErrorKind::AlreadyExists => Self::refused(
                "file.exists",
                format!("{action} {place}: it exists and is never overwritten"),
            ),
            _ => Self::unavailable("file.unavailable", format!("{action} {place}: {error}")),
        };
        failure.at(place.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (exit, code) = match &error {
            StoreError::NotFound(_) => (Exit::NotFound, "store.not_found"),
            StoreError::Conflict(_) => (Exit::Refused, "store.conflict"),
            StoreError::OutcomeUnknown(_) => (Exit::Unavailable, "store.outcome_unknown"),
            StoreError::Unavailable(_) => (Exit::Unavailable, "store.unavailable"),
            StoreError::Corrupt(_) => (Exit::Refused, "store.corrupt"),
            StoreError::Denied(_) => (Exit::Refused, "store.denied"),
            StoreError::TooLarge(_) => (Exit::Refused, "store.too_large"),
        };
        Self::new(exit, code, error.to_string())
    }
}

impl From<store_embedded::OpenError> for Failure {
    fn from(error: store_embedded::OpenError) -> Self {
        use store_embedded::OpenError as E;
        let (exit, code) = match &error {
            E::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                (Exit::NotFound, "store.not_found")
            }
            E::Io { .. } => (Exit::Unavailable, "store.unavailable"),
            E::InUse(_) => (Exit::Unavailable, "store.in_use"),
            E::Exists(_) => (Exit::Refused, "store.exists"),
            E::Missing { .. } => (Exit::NotFound, "store.not_found"),
            E::Mode { .. } => (Exit::Refused, "store.file_mode"),
            E::Malformed { .. } => (Exit::Refused, "store.malformed"),
        };
        Self::new(exit, code, error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::refused(error.code(), error.to_string())
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        Self::refused(error.code(), error.to_string())
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let failure = Self::refused(error.code(), error.to_string());
        match error {
            LoadError::ManifestMismatch { field, .. } => failure.at(field),
            LoadError::UnsupportedOperator { node, .. } => failure.at(node),
            _ => failure,
        }
    }
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        Self::refused(error.code(), error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Input { .. } => "input.unfit",
            RunError::Panicked { .. } => "model.panicked",
            RunError::Failed { .. } => "model.failed",
        };
        let failure = Self::refused(code, error.to_string());
        match error {
            RunError::Input { input, .. } => failure.at(input),
            _ => failure,
        }
    }
}

impl From<ScoreError> for Failure {
    fn from(error: ScoreError) -> Self {
        Self::refused(error.code(), error.to_string())
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        Self::refused(error.code, error.to_string()).at(error.field)
    }
}
