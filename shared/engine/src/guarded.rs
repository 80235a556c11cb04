//! Reading what nobody vouches for: on a thread of its own, under a deadline, with panics caught.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use crate::error::{LoadError, describe_panic};
use crate::limits::LoadLimits;

/// Stack of the loading thread, in bytes: the graph engine recurses along chains of nodes.
const STACK_SIZE: usize = 64 << 20;

/// Refuses a file that is too long before it is copied.
pub(crate) fn check_size(bytes: &[u8], limits: &LoadLimits) -> Result<(), LoadError> {
    if bytes.len() > limits.max_bytes {
        return Err(LoadError::TooLarge {
            what: "the file in bytes".to_owned(),
            actual: bytes.len(),
            limit: limits.max_bytes,
        });
    }
    Ok(())
}

/// Does a job on a thread of its own, under the deadline and with panics caught.
///
/// A job that misses its deadline is left behind on its thread, where it ends by itself.
pub(crate) fn on_thread<T: Send + 'static, E: From<LoadError> + Send + 'static>(
    limits: &LoadLimits,
    job: impl FnOnce(&LoadLimits) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let (sender, receiver) = channel();
    let own_limits = limits.clone();
    let loader = thread::Builder::new()
        .name("model-load".to_owned())
        .stack_size(STACK_SIZE)
        .spawn(move || {
            let result =
                catch_unwind(AssertUnwindSafe(|| job(&own_limits))).unwrap_or_else(|payload| {
                    Err(E::from(LoadError::Panicked {
                        message: describe_panic(payload.as_ref()),
                    }))
                });
            // Nobody listens any more once the deadline has passed.
            let _ = sender.send(result);
        })
        .map_err(|error| LoadError::Refused {
            reason: format!("no thread to load on: {error}"),
        })?;
    let outcome = receiver.recv_timeout(limits.deadline);
    // A thread is joined, never detached: glibc may look at a detached thread after it has ended, and a stack of this
    // size is unmapped by then.
    let reaped = if let Err(RecvTimeoutError::Timeout) = outcome {
        let reaper = thread::Builder::new().name("model-load-end".to_owned());
        reaper.spawn(move || loader.join()).map(drop)
    } else {
        let _ = loader.join();
        Ok(())
    };
    match outcome {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            reaped.map_err(|error| LoadError::Refused {
                reason: format!("no thread to wait for a slow load: {error}"),
            })?;
            Err(E::from(LoadError::Deadline {
                limit_ms: u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX),
            }))
        }
        Err(RecvTimeoutError::Disconnected) => Err(E::from(LoadError::Panicked {
            message: "the loading thread ended without a word".to_owned(),
        })),
    }
}
