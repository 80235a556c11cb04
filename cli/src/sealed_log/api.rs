//! The log behind an API.

use std::sync::Arc;
use std::time::Duration;

use super::{LogObjects, ObjectError};
use crate::ask::Client;
use crate::failure::{Exit, Failure};

/// Reads at once.
const PARALLEL: usize = 8;
/// How long to wait before each further attempt.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// A log behind `/v1/audit/…`.
pub(crate) struct ApiLog {
    client: Arc<Client>,
}

impl ApiLog {
    /// The log that the client's server serves.
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client }
    }
}

/// Asks until there is an answer: a server that restarts, or has too much to do, is asked again.
pub(crate) fn persist<T>(mut ask: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    for pause in PAUSES {
        match ask() {
            Err(failure) if failure.exit == Exit::Unavailable => std::thread::sleep(pause),
            answered => return answered,
        }
    }
    ask()
}

impl LogObjects for ApiLog {
    fn place(&self) -> String {
        self.client.address().to_owned()
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, ObjectError> {
        let route = format!("/v1/audit/{path}");
        // The bytes beyond the longest answer are a failure of their own: it is no tile, and no answer either.
        let fetched = persist(|| self.client.get(&route, max.saturating_add(1)));
        match fetched {
            Ok(fetched) => Ok(fetched.body),
            Err(failure) if failure.exit == Exit::NotFound => Err(ObjectError::Absent),
            Err(failure) => Err(ObjectError::Unreachable(failure.message)),
        }
    }

    fn parallel(&self) -> usize {
        PARALLEL
    }
}
