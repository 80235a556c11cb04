//! What of a stream is not known to be durable, and where the stream goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audit::{Record, StreamId};

use super::{Durability, Durable};
use crate::StoreError;
use crate::ports::AuditAppender;

/// Bytes of entries in one item of the spill, at most, unless one record alone is longer.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Records in one item of the spill, at most.
const MAX_BATCH: usize = 1000;

/// Where a stream's records go. A stream only ever moves on; its way back is another stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The audit log.
    Log,
    /// The spill.
    Spill,
    /// The process's own log.
    Lines,
}

/// A stream's place, and its records that are not known to be durable, in order.
///
/// They are kept in every place but where there is no spill: when the log fails, all that it has not acknowledged goes
/// to the spill, whoever waited for it, so that no record is durable without those before it.
pub(super) struct Tail {
    pub(super) stream: StreamId,
    state: Mutex<State>,
    /// Held by whoever writes to the spill: one at a time, in order.
    pub(super) turn: futures::lock::Mutex<()>,
}

struct State {
    place: Place,
    kept: VecDeque<Record>,
    /// The weakest place that a record was made durable in: what comes later is worth no more.
    durability: Durability,
    /// From which record on nothing became durable, and why.
    lost: Option<(u64, StoreError)>,
}

impl Tail {
    pub(super) fn new(stream: StreamId, place: Place) -> Arc<Self> {
        Arc::new(Self {
            stream,
            state: Mutex::new(State {
                place,
                kept: VecDeque::new(),
                durability: Durability::Recorded,
                lost: None,
            }),
            turn: futures::lock::Mutex::new(()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self) -> Place {
        self.state().place
    }

    /// Sends records, which follow all that were sent before, where the stream goes: gives what tells when the log has
    /// them, or nothing where they are only kept, to be spilled. `keeps`: whether there is a spill.
    pub(super) fn send(
        &self,
        records: Vec<Record>,
        appender: &dyn AuditAppender,
        keeps: bool,
    ) -> Option<Durable> {
        let mut state = self.state();
        match state.place {
            Place::Log => {
                if keeps {
                    state.kept.extend(records.iter().cloned());
                }
                // The append takes its place in the queue here, under the lock that keeps the records in order.
                Some(appender.append(records))
            }
            Place::Spill | Place::Lines => {
                state.kept.extend(records);
                None
            }
        }
    }

    /// Lets the stream go to `place` from now on; false where it was there or further on already.
    pub(super) fn move_on(&self, place: Place) -> bool {
        let mut state = self.state();
        let moves = place > state.place;
        if moves {
            state.place = place;
        }
        moves
    }

    /// Records up to `last` are durable, as durable as this at least.
    pub(super) fn made_durable(&self, last: u64, durability: Durability) {
        let mut state = self.state();
        while state
            .kept
            .pop_front_if(|record| record.seq <= last)
            .is_some()
        {}
        state.durability = state.durability.max(durability);
    }

    /// Nothing from `first` on will become durable any more.
    pub(super) fn lose(&self, first: u64, error: &StoreError) {
        let mut state = self.state();
        while state
            .kept
            .pop_back_if(|record| record.seq >= first)
            .is_some()
        {}
        if state
            .lost
            .as_ref()
            .is_none_or(|(before, _)| first < *before)
        {
            state.lost = Some((first, error.clone()));
        }
    }

    /// What became of record `seq`; `None` while nobody knows.
    pub(super) fn outcome(&self, seq: u64) -> Option<Result<Durability, StoreError>> {
        let state = self.state();
        match &state.lost {
            Some((first, error)) if seq >= *first => Some(Err(error.clone())),
            _ if state.kept.front().is_none_or(|record| record.seq > seq) => {
                Some(Ok(state.durability))
            }
            _ => None,
        }
    }

    /// The first records that are not known to be durable, as many as one item takes, and where they go.
    pub(super) fn batch(&self) -> (Vec<Record>, Place) {
        let state = self.state();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for record in state.kept.iter().take(MAX_BATCH) {
            bytes += record.entry.len();
            if bytes > MAX_BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.push(record.clone());
        }
        (batch, state.place)
    }

    /// The last record that is not known to be durable.
    pub(super) fn last_kept(&self) -> Option<u64> {
        self.state().kept.back().map(|record| record.seq)
    }
}
