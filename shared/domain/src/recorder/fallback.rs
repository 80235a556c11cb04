//! What is beside the audit log: the spill and the process's own log.

use std::sync::Arc;

use audit::SignedRegistration;

use super::circuit::Circuit;
use super::tail::{Place, Tail};
use super::{Durability, Recorder};
use crate::StoreError;
use crate::ports::SpillWriter;
use crate::spill::SpillItem;

/// What takes records while the audit log does not.
pub(super) struct Fallback {
    store: Arc<dyn SpillWriter>,
    lines: Arc<dyn SpillWriter>,
    /// Whether the audit log is worth asking.
    pub(super) log: Circuit,
    /// Whether the spill's store is.
    pub(super) spill: Circuit,
}

/// Whether this is a refusal that has nothing to do with what was to be written: then the spill takes it. A position
/// that is taken, or a record that is too long, would be refused when it is replayed, too.
pub(super) fn is_outage(error: &StoreError) -> bool {
    match error {
        StoreError::Conflict(_) | StoreError::TooLarge(_) => false,
        StoreError::NotFound(_)
        | StoreError::OutcomeUnknown(_)
        | StoreError::Unavailable(_)
        | StoreError::Denied(_)
        | StoreError::Corrupt(_) => true,
    }
}

impl Fallback {
    pub(super) fn new(store: Arc<dyn SpillWriter>, lines: Arc<dyn SpillWriter>) -> Self {
        Self {
            store,
            lines,
            log: Circuit::default(),
            spill: Circuit::default(),
        }
    }

    /// The best place beside the log, as far as is known.
    fn best_beside_log(&self, now_us: u64) -> Place {
        if self.spill.is_due(now_us) {
            Place::Spill
        } else {
            Place::Lines
        }
    }

    /// Whether a better place than this is worth trying.
    pub(super) fn can_improve(&self, place: Place, now_us: u64) -> bool {
        match place {
            Place::Log => false,
            Place::Spill => self.log.is_due(now_us),
            Place::Lines => self.log.is_due(now_us) || self.spill.is_due(now_us),
        }
    }

    /// The log failed: the stream goes elsewhere from now on.
    pub(super) fn leave_log(&self, tail: &Tail, error: &StoreError, now_us: u64) {
        let place = self.best_beside_log(now_us);
        if tail.move_on(place) {
            self.log_failed(error, now_us);
        }
    }

    /// The log failed.
    pub(super) fn log_failed(&self, error: &StoreError, now_us: u64) {
        self.log.failed(now_us);
        tracing::error!(code = "audit.spilling", error = %error, "the audit log takes no events: they go to the spill");
    }

    fn spill_failed(&self, error: &StoreError, now_us: u64) {
        self.spill.failed(now_us);
        tracing::error!(code = "audit.spill_unavailable", error = %error, "the spill takes no events: they go to this log");
    }

    /// No better place than this took a stream: none is tried for a while.
    pub(super) fn not_improved(&self, place: Place, now_us: u64) {
        self.log.failed(now_us);
        if place == Place::Lines {
            self.spill.failed(now_us);
        }
    }

    /// Registers a stream in the spill; false where the spill does not take it.
    pub(super) async fn register_in_spill(
        &self,
        signed: &SignedRegistration,
        now_us: u64,
    ) -> Result<bool, StoreError> {
        let item = SpillItem::of_registration(signed)?;
        if !self.spill.is_due(now_us) {
            return Ok(false);
        }
        if let Err(error) = self.store.put(&item).await {
            self.spill_failed(&error, now_us);
            return Ok(false);
        }
        self.spill.succeeded();
        Ok(true)
    }

    /// Registers a stream in the process's own log.
    pub(super) async fn register_in_lines(
        &self,
        signed: &SignedRegistration,
    ) -> Result<(), StoreError> {
        self.lines.put(&SpillItem::of_registration(signed)?).await
    }

    /// Makes the first records that the stream keeps durable beside the log, or loses them and all that follow.
    async fn write(&self, tail: &Tail, now_us: u64) -> Result<(), StoreError> {
        let (records, place) = tail.batch();
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(());
        };
        let (first, last) = (first.seq, last.seq);
        let written = match SpillItem::of_records(records) {
            Ok(item) => self.put(tail, &item, place, now_us).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(durability) => tail.made_durable(last, durability),
            Err(error) => {
                tail.lose(first, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn put(
        &self,
        tail: &Tail,
        item: &SpillItem,
        place: Place,
        now_us: u64,
    ) -> Result<Durability, StoreError> {
        if place < Place::Lines {
            match self.store.put(item).await {
                Ok(()) => {
                    self.spill.succeeded();
                    return Ok(Durability::Spilled);
                }
                Err(error) => {
                    self.spill_failed(&error, now_us);
                    tail.move_on(Place::Lines);
                }
            }
        }
        self.lines.put(item).await?;
        Ok(Durability::Logged)
    }
}

impl Recorder {
    /// Waits until record `seq` of a stream that left the log is durable, and writes it where nobody else does.
    pub(super) async fn spilled(
        &self,
        fallback: &Fallback,
        tail: &Arc<Tail>,
        seq: u64,
    ) -> Result<Durability, StoreError> {
        let mut watch = Watch {
            recorder: self,
            tail: Some(tail),
        };
        loop {
            if let Some(outcome) = tail.outcome(seq) {
                watch.tail = None;
                return outcome;
            }
            let _turn = tail.turn.lock().await;
            // Whoever had the turn before may have written it.
            if tail.outcome(seq).is_none()
                && fallback.write(tail, self.clock.now_us()).await.is_err()
            {
                self.end(tail.stream);
            }
        }
    }

    /// Writes what was left by callers that went away. Whether it succeeds is for nobody to know.
    pub(super) async fn spill_unwatched(&self, fallback: &Fallback) {
        loop {
            let Some(tail) = self.unwatched().pop() else {
                return;
            };
            if let Some(seq) = tail.last_kept()
                && let Err(error) = self.spilled(fallback, &tail, seq).await
            {
                tracing::error!(code = "audit.not_spilled", error = %error, "events that nobody waited for were lost");
            }
        }
    }
}

/// Remembers a stream whose records wait to be spilled when the caller that waits for them goes away.
struct Watch<'a> {
    recorder: &'a Recorder,
    tail: Option<&'a Arc<Tail>>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(tail) = self.tail
            && tail.last_kept().is_some()
        {
            self.recorder.unwatched().push(Arc::clone(tail));
        }
    }
}
