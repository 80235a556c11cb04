//! Places among the requests that are handled at once: how many, and how much memory their bodies may take.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use web::ApiError;

use crate::function::Predict;

/// Most requests at once; more are turned away before their bodies are read.
pub const MAX_IN_FLIGHT: usize = 512;

/// Most memory that the bodies of the requests under way may take together, in KiB: 256 MiB.
pub const MAX_BODIES_KIB: usize = 256 * 1024;

/// The places of a process.
pub(crate) struct Places {
    requests: Arc<Semaphore>,
    bodies_kib: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            bodies_kib: Arc::new(Semaphore::new(MAX_BODIES_KIB)),
        }
    }
}

/// A request's place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    _request: OwnedSemaphorePermit,
    body_kib: OwnedSemaphorePermit,
}

impl Place {
    /// Keeps memory for a body of `bytes`, now that its length is known, and gives back the rest.
    pub fn keep(&mut self, bytes: usize) {
        let surplus = self
            .body_kib
            .num_permits()
            .saturating_sub(bytes.div_ceil(1024));
        drop(self.body_kib.split(surplus));
    }
}

impl Predict {
    /// A place for a request whose body may take `bytes`.
    ///
    /// # Errors
    /// 503 `server.overloaded` where there is none.
    pub fn admit(&self, bytes: usize) -> Result<Place, ApiError> {
        let overloaded = |what| {
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server.overloaded",
                format!("{what}; try again"),
            )
        };
        let request = Arc::clone(&self.places.requests)
            .try_acquire_owned()
            .map_err(|_| overloaded(format!("more than {MAX_IN_FLIGHT} requests at once")))?;
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let body_kib = Arc::clone(&self.places.bodies_kib)
            .try_acquire_many_owned(kib)
            .map_err(|_| {
                let mib = MAX_BODIES_KIB / 1024;
                overloaded(format!("more than {mib} MiB of requests at once"))
            })?;
        Ok(Place {
            _request: request,
            body_kib,
        })
    }
}
