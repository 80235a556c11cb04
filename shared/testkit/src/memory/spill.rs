//! A spill in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::StoreError;
use domain::ports::{SpillReader, SpillRemover, SpillWriter};
use domain::spill::{MAX_ITEM_BYTES, SpillItem, SpillName};

#[derive(Debug, Default)]
struct Kept {
    items: BTreeMap<String, Vec<u8>>,
    aside: BTreeMap<String, Vec<u8>>,
}

/// Keeps items in memory; durable for as long as the test runs.
#[derive(Debug, Default)]
pub struct MemorySpill(Mutex<Kept>);

impl MemorySpill {
    /// An empty spill.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of what waits to be replayed.
    pub fn names(&self) -> Vec<String> {
        self.kept().items.keys().cloned().collect()
    }

    /// The names of what was set aside.
    pub fn set_aside_names(&self) -> Vec<String> {
        self.kept().aside.keys().cloned().collect()
    }

    /// Puts bytes under a name, whatever they are.
    pub fn plant(&self, name: &str, bytes: &[u8]) {
        self.kept().items.insert(name.to_owned(), bytes.to_vec());
    }

    /// The bytes under a name.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.kept().items.get(name).cloned()
    }
}

#[async_trait]
impl SpillWriter for MemorySpill {
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError> {
        let name = item.name().to_string();
        let mut kept = self.kept();
        let stored = kept
            .items
            .entry(name.clone())
            .or_insert_with(|| item.to_bytes());
        if *stored == item.to_bytes() {
            Ok(())
        } else {
            Err(StoreError::Conflict(format!("{name} holds other bytes")))
        }
    }
}

#[async_trait]
impl SpillReader for MemorySpill {
    async fn list(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let kept = self.kept();
        let later = kept.items.keys().filter(|name| name.as_str() > after);
        Ok(later.take(limit).cloned().collect())
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let bytes = self.bytes(name);
        let bytes = bytes.ok_or_else(|| StoreError::NotFound(name.to_owned()))?;
        if bytes.len() as u64 > MAX_ITEM_BYTES {
            return Err(StoreError::Corrupt(format!("{name} is too long")));
        }
        Ok(bytes)
    }

    async fn set_aside_count(&self, limit: usize) -> Result<usize, StoreError> {
        Ok(self.kept().aside.len().min(limit))
    }
}

#[async_trait]
impl SpillRemover for MemorySpill {
    async fn remove(&self, name: &SpillName) -> Result<(), StoreError> {
        self.kept().items.remove(&name.to_string());
        Ok(())
    }

    async fn set_aside(&self, name: &str, tag: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if let Some(bytes) = kept.items.remove(name) {
            kept.aside.insert(format!("{name}.{tag}"), bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_spill_in_memory_keeps_the_contract() {
        let spill = MemorySpill::new();
        crate::contract::spill_contract(&spill, &spill, &spill).await;
    }
}
