//! Finds where the events stand that a question asks for.

use domain::{EventKeys, EventPosition};
use http::StatusCode;
use tokio::time::{Instant, timeout_at};
use web::ApiError;

use crate::function::AuditQuery;
use crate::head::Head;
use crate::question::Question;
use crate::read::{BATCH, EventFault, FoundEvent};
use crate::sealed::MISPLACED;

/// Some of the events that are asked for, ascending.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) positions: Vec<EventPosition>,
    /// After which event the question goes on, where it does.
    pub(crate) next: Option<EventPosition>,
}

impl AuditQuery {
    /// Up to as many events as are asked for; fewer where finding them takes long.
    pub(crate) async fn find(&self, question: &Question, head: &Head) -> Result<Found, ApiError> {
        let deadline = Instant::now() + self.limits.find;
        let mut query = question.to_event_query();
        let mut found = Found::default();
        loop {
            query.limit = question.limit - found.positions.len();
            let page = match timeout_at(deadline, self.ports.search.search(&query)).await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => {
                    tracing::error!(error = %error, "the index of events does not answer");
                    return Err(ApiError::store_unavailable());
                }
                Err(_) if query.after == question.after => return Err(too_slow()),
                Err(_) => return Ok(found),
            };
            let narrowed = self.narrow(question, page.events, head).await?;
            found.positions.extend(narrowed);
            found.next = page.next;
            let Some(next) = page.next else {
                return Ok(found);
            };
            if query.after >= Some(next) {
                tracing::error!(?next, "the index of events does not get on");
                return Err(ApiError::store_unavailable());
            }
            if found.positions.len() >= question.limit || Instant::now() >= deadline {
                return Ok(found);
            }
            query.after = Some(next);
        }
    }

    /// Those of the events that meet every filter, where the index knows only one. An event whose row is gone is read
    /// from the log. What cannot be read is kept: it may be one of them, and is marked when it is given.
    async fn narrow(
        &self,
        question: &Question,
        positions: Vec<EventPosition>,
        head: &Head,
    ) -> Result<Vec<EventPosition>, ApiError> {
        if !question.filters.are_several() {
            return Ok(positions);
        }
        let mut kept = Vec::with_capacity(positions.len());
        for batch in positions.chunks(BATCH) {
            let rows = self.read_rows(batch).await?;
            let gone = |position: &&EventPosition| rows.record(position).is_none();
            let gone: Vec<EventPosition> = batch.iter().filter(gone).copied().collect();
            let sealed = self.read_events(&gone, head).await?;
            let mut sealed = sealed.iter();
            kept.extend(batch.iter().copied().filter(|position| {
                let record = rows
                    .record(position)
                    .or_else(|| sealed.next()?.record.as_ref());
                match record.map(|record| EventKeys::of(&record.entry)) {
                    Some(Ok(keys)) => question.filters.match_keys(&keys),
                    Some(Err(_)) | None => true,
                }
            }));
        }
        Ok(kept)
    }

    /// The events that were found at these positions, as of `head`. One that says itself that it is not what is asked
    /// for is marked: somebody changed what it is found by.
    pub(crate) async fn read_found(
        &self,
        question: &Question,
        positions: &[EventPosition],
        head: &Head,
    ) -> Result<Vec<FoundEvent>, ApiError> {
        let mut events = self.read_events(positions, head).await?;
        for (event, position) in events.iter_mut().zip(positions) {
            let record = event.record.as_ref().filter(|_| event.fault.is_none());
            let keys = record.and_then(|record| EventKeys::of(&record.entry).ok());
            if let Some(keys) = keys
                && !(keys.time_us == position.time_us && question.filters.match_keys(&keys))
            {
                let why = "the index of events gives it for what it is not about, or for another time than its own";
                event.fault = Some(EventFault::new(MISPLACED, why));
            }
        }
        Ok(events)
    }
}

fn too_slow() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "query.timeout",
        "the index of events did not answer in time: pass a narrower range (from, until), or symbol, model or \
         request_id, or try again",
    )
}
