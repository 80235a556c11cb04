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
        let is_late = newest
            .get(&heartbeat.version)
            .is_some_and(|before| before.at_us > heartbeat.at_us);
        if !is_late {
            newest.insert(heartbeat.version.clone(), heartbeat.clone());
        }
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
