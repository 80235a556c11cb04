//! One stream's part in a run: its state, and its next records.

use audit::checkpoint::CheckGrowthError;
use audit::seal::{SealedStream, Standing, StreamPage};
use audit::{Record, SignedRegistration, StreamId};
use domain::StoreError;
use domain::ports::expects_events;

use crate::error::SealError;
use crate::queue::{Candidate, Why};
use crate::sealer::Sealer;
use crate::unsealed::unread_since;

/// Records of a stream that are read at once.
const READ: usize = 256;
/// Records after one another that cannot be read and are passed by in a run.
const PASSED_BY: u64 = 16;

/// What there is of a stream.
pub(crate) enum Looked {
    /// Nothing to do.
    Nothing,
    /// It takes part; where there may be more it is to be looked at again.
    Page(Box<StreamPage>, Option<Candidate>),
    /// It could not be read. `again` where it may be another time and nothing else remembers it.
    Unreadable {
        /// Whether the next run has to look for it again.
        again: bool,
        /// Since when records of it may wait, where that is known.
        since_us: Option<u64>,
    },
}

/// Why a stream could not be read.
struct Unreadable(StoreError);

impl Sealer {
    /// Looks at a stream while the log has `size` leaves.
    ///
    /// # Errors
    /// [`SealError`] where the index fails, or knows more than the log has.
    pub(crate) async fn look(
        &self,
        mut candidate: Candidate,
        size: u64,
        now_us: u64,
    ) -> Result<Looked, SealError> {
        let stream = candidate.stream;
        let is_first = candidate.state.is_none();
        if is_first {
            candidate.state = match self.ports.index.state(stream).await {
                Err(StoreError::Corrupt(reason)) => {
                    log_security("audit.log_index_differs", stream, &reason);
                    return Ok(Looked::Unreadable {
                        again: false,
                        since_us: None,
                    });
                }
                state => state.map_err(SealError::store("read the state of a stream"))?,
            };
        }
        let state = candidate.state.clone();
        if let Some(known) = &state
            && known.tree_size > size
        {
            let (from, to) = (known.tree_size, size);
            return Err(CheckGrowthError::RolledBack { from, to }.into());
        }
        match &state {
            // What is listed as open comes with its state.
            Some(known) if is_first && expects_events(known) => self.list_again(known).await?,
            Some(_) if is_first && candidate.why == Why::Registered => return Ok(Looked::Nothing),
            _ => {}
        }
        match self.read_part(&candidate, state.as_ref()).await {
            Err(Unreadable(error)) => Ok(unreadable(&candidate, state.as_ref(), &error)),
            Ok(part) => Ok(self.page(candidate, part, now_us)),
        }
    }

    /// Mends the index where it does not list a stream of which events are expected, which only an attack or a restored
    /// backup explains: without that the stream would be looked at once a day.
    async fn list_again(&self, known: &SealedStream) -> Result<(), SealError> {
        log_security(
            "audit.stream_unlisted",
            known.stream,
            "its events are expected, and the index did not list it: it is listed again",
        );
        let put = self
            .ports
            .index_writer
            .put(std::slice::from_ref(known), &[]);
        put.await
            .map_err(SealError::store("list an open stream again"))
    }

    async fn read_part(
        &self,
        candidate: &Candidate,
        state: Option<&SealedStream>,
    ) -> Result<Part, Unreadable> {
        let stream = candidate.stream;
        let is_registered =
            state.is_some_and(|known| matches!(known.standing, Standing::Registered { .. }));
        let registration = if is_registered {
            None
        } else {
            self.read_registration(stream).await?
        };
        let next = state.map_or(0, |known| known.next_seq);
        let from = candidate.from.unwrap_or(next);
        let (records, more) = self.read_records(stream, from).await?;
        Ok(Part {
            registration,
            records,
            more,
        })
    }

    async fn read_registration(
        &self,
        stream: StreamId,
    ) -> Result<Option<SignedRegistration>, Unreadable> {
        match self.ports.audit.registration(stream).await {
            Ok(registration) => Ok(Some(registration)),
            Err(StoreError::NotFound(_)) => Ok(None),
            // The seal says that nothing vouches for the stream.
            Err(StoreError::Corrupt(reason)) => {
                log_security("audit.registration_unknown", stream, &reason);
                Ok(None)
            }
            Err(error) => Err(Unreadable(error)),
        }
    }

    /// The next records, and whether there may be more. Records that cannot be read are passed by where others follow,
    /// so that the seal shows the gap and nothing that follows is kept out.
    async fn read_records(
        &self,
        stream: StreamId,
        from: u64,
    ) -> Result<(Vec<Record>, bool), Unreadable> {
        let mut reason = match self.read_up_to(stream, from, READ).await? {
            Ok(read) => return Ok(read),
            Err(reason) => reason,
        };
        for next in from + 1..=from.saturating_add(PASSED_BY) {
            let passed = next - 1;
            let detail = format!("event {passed} cannot be read: {reason}");
            log_security("audit.event_unreadable", stream, &detail);
            match self.read_up_to(stream, next, READ).await? {
                Ok(read) => return Ok(read),
                Err(next_reason) => reason = next_reason,
            }
        }
        Err(Unreadable(StoreError::Corrupt(reason)))
    }

    /// The records from `from` up to one that cannot be read. Inner error: that is the first one.
    async fn read_up_to(
        &self,
        stream: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Result<(Vec<Record>, bool), String>, Unreadable> {
        let mut limit = limit;
        loop {
            match self.ports.audit.read(stream, from, limit).await {
                Ok(records) => {
                    let more = records.len() >= limit;
                    return Ok(Ok((records, more)));
                }
                Err(StoreError::Corrupt(_)) if limit > 1 => limit /= 2,
                Err(StoreError::Corrupt(reason)) => return Ok(Err(reason)),
                // What was there is gone. What is sealed of it stays sealed.
                Err(StoreError::NotFound(reason)) => {
                    log_security("audit.stream_missing", stream, &reason);
                    return Ok(Ok((Vec::new(), false)));
                }
                Err(error) => return Err(Unreadable(error)),
            }
        }
    }

    fn page(&self, candidate: Candidate, part: Part, now_us: u64) -> Looked {
        let Part {
            registration,
            records,
            more,
        } = part;
        let is_new = match &candidate.state {
            None => true,
            Some(known) => known.standing == Standing::Refused && registration.is_some(),
        };
        let is_idle = candidate.state.as_ref().is_some_and(|known| {
            let silent_us = now_us.saturating_sub(known.last_sealed_us);
            expects_events(known) && silent_us > self.rules.idle_after_us
        });
        if records.is_empty() && !is_new && !is_idle {
            return Looked::Nothing;
        }
        let again = records.last().filter(|_| more).map(|last| Candidate {
            from: Some(last.seq.saturating_add(1)),
            ..candidate.clone()
        });
        let page = StreamPage {
            stream: candidate.stream,
            known: candidate.state,
            registration,
            records,
        };
        Looked::Page(Box::new(page), again)
    }
}

/// What was read of a stream.
struct Part {
    registration: Option<SignedRegistration>,
    records: Vec<Record>,
    more: bool,
}

fn unreadable(candidate: &Candidate, state: Option<&SealedStream>, error: &StoreError) -> Looked {
    let stream = candidate.stream;
    let is_transient = matches!(
        error,
        StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)
    );
    if is_transient {
        tracing::warn!(audit.stream = %stream, error = %error, "a stream could not be read");
    } else {
        log_security("audit.stream_unreadable", stream, &error.to_string());
    }
    Looked::Unreadable {
        again: is_transient && (state.is_none() || candidate.why == Why::Replayed),
        since_us: unread_since(state),
    }
}

fn log_security(code: &'static str, stream: StreamId, detail: &str) {
    tracing::error!(
        event.kind = "security",
        security.code = code,
        security.subject = %stream,
        audit.stream = %stream,
        "{detail}"
    );
}
