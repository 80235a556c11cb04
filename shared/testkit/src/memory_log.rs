//! The sealed log and its index in memory, for tests that run a sealer thousands of times.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use audit::StreamId;
use audit::seal::{LeafRange, SealedStream};
use domain::ports::{
    IndexPosition, LogLock, LogPublisher, LogReader, LogWriter, SealIndexReader, SealIndexWriter,
    StageRemover, expects_events,
};
use domain::{LogPath, StoreError};

#[derive(Debug, Default)]
struct Objects {
    stored: BTreeMap<LogPath, Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
    published: Vec<Vec<u8>>,
}

/// A sealed log in memory; durable for as long as the test runs.
#[derive(Debug, Default)]
pub struct MemoryLog(Mutex<Objects>);

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every object below the prefix, by its path.
    pub fn objects_below(&self, prefix: &str) -> BTreeMap<LogPath, Vec<u8>> {
        let objects = self.objects();
        let below = objects.stored.iter();
        below
            .filter(|(path, _)| path.as_str().starts_with(prefix))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect()
    }

    /// Every checkpoint that was ever published, in order.
    pub fn all_published(&self) -> Vec<Vec<u8>> {
        self.objects().published.clone()
    }

    /// Puts other bytes in the place of an object's, as somebody would who has the disk. `None` removes it.
    pub fn tamper(&self, path: &LogPath, bytes: Option<Vec<u8>>) {
        let mut objects = self.objects();
        match bytes {
            Some(bytes) => objects.stored.insert(path.clone(), bytes),
            None => objects.stored.remove(path),
        };
    }

    /// Puts other bytes in the lock, as somebody would who has the disk.
    pub fn set_committed(&self, committed: Option<Vec<u8>>) {
        self.objects().committed = committed;
    }

    /// Publishes other bytes, as somebody would who has the disk.
    pub fn set_checkpoint(&self, checkpoint: Option<Vec<u8>>) {
        self.objects().checkpoint = checkpoint;
    }
}

/// Puts `next` in the place of `expected`; true where that changed something.
fn replace(
    kept: &mut Option<Vec<u8>>,
    expected: Option<&[u8]>,
    next: &[u8],
) -> Result<bool, StoreError> {
    if kept.as_deref() == Some(next) {
        return Ok(false);
    }
    if kept.as_deref() != expected {
        return Err(StoreError::Conflict(
            "it is not what was expected".to_owned(),
        ));
    }
    *kept = Some(next.to_vec());
    Ok(true)
}

#[async_trait]
impl LogReader for MemoryLog {
    async fn read(&self, path: &LogPath, max: u64) -> Result<Vec<u8>, StoreError> {
        let objects = self.objects();
        let bytes = objects.stored.get(path);
        let bytes = bytes.ok_or_else(|| StoreError::NotFound(path.to_string()))?;
        if bytes.len() as u64 > max {
            let length = bytes.len();
            return Err(StoreError::Corrupt(format!("{path} has {length} bytes")));
        }
        Ok(bytes.clone())
    }

    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.objects().checkpoint.clone())
    }
}

#[async_trait]
impl LogWriter for MemoryLog {
    async fn create(&self, path: &LogPath, bytes: &[u8]) -> Result<(), StoreError> {
        let mut objects = self.objects();
        let kept = objects.stored.entry(path.clone());
        if kept.or_insert_with(|| bytes.to_vec()) == bytes {
            Ok(())
        } else {
            Err(StoreError::Conflict(format!("{path} has other content")))
        }
    }
}

#[async_trait]
impl LogPublisher for MemoryLog {
    async fn publish(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        let mut objects = self.objects();
        if replace(&mut objects.checkpoint, expected, next)? {
            objects.published.push(next.to_vec());
        }
        Ok(())
    }
}

#[async_trait]
impl LogLock for MemoryLog {
    async fn committed(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.objects().committed.clone())
    }

    async fn commit(&self, expected: Option<&[u8]>, next: &[u8]) -> Result<(), StoreError> {
        replace(&mut self.objects().committed, expected, next).map(|_| ())
    }
}

#[async_trait]
impl StageRemover for MemoryLog {
    async fn remove(&self, path: &LogPath) -> Result<(), StoreError> {
        if !path.as_str().starts_with("stage/") {
            return Err(StoreError::Denied(format!("{path} is no staged record")));
        }
        self.objects().stored.remove(path);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Index {
    states: BTreeMap<StreamId, SealedStream>,
    ranges: BTreeMap<(StreamId, u64), LeafRange>,
    position: IndexPosition,
    /// Taken out of the list of open streams. As in a table of its own, only a stream that is put as it is, or opens,
    /// is listed.
    unlisted: BTreeSet<StreamId>,
}

/// The sealed log's index in memory.
#[derive(Debug, Default)]
pub struct MemorySealIndex(Mutex<Index>);

impl MemorySealIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a stream out of the list of open ones, as somebody would who may write the index.
    pub fn unlist(&self, stream: StreamId) {
        self.index().unlisted.insert(stream);
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SealIndexReader for MemorySealIndex {
    async fn state(&self, stream: StreamId) -> Result<Option<SealedStream>, StoreError> {
        Ok(self.index().states.get(&stream).cloned())
    }

    async fn leaf_index(&self, stream: StreamId, seq: u64) -> Result<Option<u64>, StoreError> {
        let index = self.index();
        let before = index.ranges.range((stream, 0)..=(stream, seq)).next_back();
        Ok(before.and_then(|(_, range)| {
            let offset = seq - range.seq_lo;
            (offset < range.count).then(|| range.index + offset)
        }))
    }

    async fn open_streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<SealedStream>, StoreError> {
        let index = self.index();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let later = index.states.range((from, Bound::Unbounded));
        let is_open = |stream: &StreamId, state: &SealedStream| {
            expects_events(state) && !index.unlisted.contains(stream)
        };
        let open = later.filter(|(stream, state)| is_open(stream, state));
        Ok(open.take(limit).map(|(_, state)| state.clone()).collect())
    }

    async fn position(&self) -> Result<IndexPosition, StoreError> {
        Ok(self.index().position)
    }
}

#[async_trait]
impl SealIndexWriter for MemorySealIndex {
    async fn put(&self, streams: &[SealedStream], ranges: &[LeafRange]) -> Result<(), StoreError> {
        let mut index = self.index();
        for range in ranges {
            let key = (range.stream, range.seq_lo);
            if index.ranges.entry(key).or_insert(*range) != range {
                return Err(StoreError::Conflict(format!("another range at {key:?}")));
            }
        }
        for state in streams {
            let known = index.states.get(&state.stream);
            let goes_on = known.is_some_and(|known| {
                known.tree_size < state.tree_size && expects_events(known) == expects_events(state)
            });
            if known.is_none_or(|known| known.tree_size <= state.tree_size) {
                index.states.insert(state.stream, state.clone());
                if !goes_on {
                    index.unlisted.remove(&state.stream);
                }
            }
        }
        Ok(())
    }

    async fn advance(&self, position: IndexPosition) -> Result<(), StoreError> {
        let mut index = self.index();
        let order = |of: IndexPosition| (of.tree_size, of.listed_until_us);
        if order(position) > order(index.position) {
            index.position = position;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{
        log_lock_contract, log_store_contract, seal_index_contract, stage_contract,
    };

    #[tokio::test]
    async fn the_log_in_memory_keeps_the_contract() {
        let log = MemoryLog::new();
        log_store_contract(&log, &log, &log).await;
        log_lock_contract(&log).await;
        stage_contract(&log, &log, &log, false).await;
    }

    #[tokio::test]
    async fn the_index_in_memory_keeps_the_contract() {
        let index = MemorySealIndex::new();
        seal_index_contract(&index, &index).await;
    }
}
