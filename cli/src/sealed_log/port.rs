//! The log of a store behind a port.

use std::sync::Arc;

use domain::ports::LogReader;
use domain::{LogPath, StoreError};
use tokio::runtime::Runtime;

use super::{LogObjects, ObjectError};
use audit::tiles::CHECKPOINT_PATH;

/// Reads at once from a store that is far away.
const PARALLEL: usize = 16;

/// A log behind [`LogReader`].
pub(crate) struct PortLog {
    runtime: Arc<Runtime>,
    reader: Arc<dyn LogReader>,
    place: String,
}

impl PortLog {
    /// The log that `reader` reads; its calls are made in `runtime`.
    pub(crate) fn new(runtime: &Arc<Runtime>, reader: Arc<dyn LogReader>, place: String) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            reader,
            place,
        }
    }
}

impl LogObjects for PortLog {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, ObjectError> {
        let unreachable = |error: StoreError| match error {
            StoreError::NotFound(_) => ObjectError::Absent,
            other => ObjectError::Unreachable(other.to_string()),
        };
        if path == CHECKPOINT_PATH {
            let found = self.runtime.block_on(self.reader.checkpoint());
            return found.map_err(unreachable)?.ok_or(ObjectError::Absent);
        }
        let path =
            LogPath::parse(path).map_err(|error| ObjectError::Unreachable(error.to_string()))?;
        match self.runtime.block_on(self.reader.read(&path, max)) {
            // Longer than a tile can be: it is there, and it is none. What it begins with is not needed to say so.
            Err(StoreError::Corrupt(_)) => Ok(vec![0; max as usize + 1]),
            read => read.map_err(unreachable),
        }
    }

    fn parallel(&self) -> usize {
        PARALLEL
    }
}
