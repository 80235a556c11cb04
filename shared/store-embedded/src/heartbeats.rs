//! Heartbeats in memory: what a version of one process says is heard in that process alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::{Heartbeat, HeartbeatReader, HeartbeatWriter};

/// The newest heartbeat of each version.
#[derive(Debug, Default)]
pub struct MemoryHeartbeats(Mutex<BTreeMap<String, Heartbeat>>);

#[async_trait]
impl HeartbeatWriter for MemoryHeartbeats {
    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.insert(heartbeat.version.clone(), heartbeat.clone());
        Ok(())
    }
}

#[async_trait]
impl HeartbeatReader for MemoryHeartbeats {
    async fn newest(&self, version: &str) -> Result<Option<Heartbeat>, StoreError> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(newest.get(version).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(version: &str, at_us: u64) -> Heartbeat {
        Heartbeat {
            version: version.to_owned(),
            at_us,
            release: None,
            reason: None,
            newest_event_us: None,
        }
    }

    #[tokio::test]
    async fn each_version_is_heard_with_what_it_said_last() {
        let heartbeats = MemoryHeartbeats::default();
        assert_eq!(heartbeats.newest("7").await, Ok(None));
        for said in [heartbeat("7", 2), heartbeat("8", 3), heartbeat("7", 1)] {
            heartbeats.beat(&said).await.unwrap();
        }
        assert_eq!(heartbeats.newest("7").await, Ok(Some(heartbeat("7", 1))));
        assert_eq!(heartbeats.newest("8").await, Ok(Some(heartbeat("8", 3))));
    }
}
