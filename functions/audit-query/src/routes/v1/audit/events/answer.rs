//! An answer: its first events are read before anything is sent, so that a store that fails is an error and not half
//! an answer. What is written in lines goes on from there as it is read, a batch at a time.

use std::sync::Arc;

use audit::stream::rfc3339;
use axum::body::Body;
use bytes::Bytes;
use domain::EventPosition;
use futures::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use web::ApiError;

use crate::csv_rows;
use crate::find::Found;
use crate::function::AuditQuery;
use crate::head::Head;
use crate::question::{Format, Question};
use crate::read::{BATCH, FoundEvent};
use crate::routes::dto::{AsOfResponse, EventResponse};

/// What is answered: the first events as they are written, and those that are still to be read.
pub(super) struct Answer<'a> {
    question: &'a Question,
    head: Head,
    written: Vec<Vec<u8>>,
    rest: Vec<EventPosition>,
    next: Option<EventPosition>,
}

#[derive(Serialize)]
struct EventsResponse<'a> {
    events: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_before: Option<String>,
    as_of: AsOfResponse<'a>,
}

impl<'a> Answer<'a> {
    /// Reads the first events: all of them, or as many as an answer may hold in memory. Where it cannot go on from
    /// there it ends there.
    pub(super) async fn begin(
        query: &AuditQuery,
        question: &'a Question,
        found: Found,
        head: &Head,
    ) -> Result<Self, ApiError> {
        let format = question.format;
        let (mut written, mut length, mut end) = (Vec::new(), 0, 0);
        let Found {
            mut positions,
            mut next,
        } = found;
        'read: for batch in positions.chunks(BATCH) {
            for (event, position) in read(query, question, batch, head).await?.iter().zip(batch) {
                let bytes = write(format, event)?;
                end += 1;
                length += bytes.len();
                written.push(bytes);
                if length > query.limits.answer_bytes {
                    if end < positions.len() && !(query.limits.streams && format != Format::Json) {
                        next = Some(*position);
                    }
                    break 'read;
                }
            }
        }
        let mut rest = positions.split_off(end);
        if format == Format::Json || !query.limits.streams {
            rest.clear();
        }
        Ok(Self {
            question,
            head: head.clone(),
            written,
            rest,
            next,
        })
    }

    /// How many events are given.
    pub(super) fn count(&self) -> usize {
        self.written.len() + self.rest.len()
    }

    /// After which event the question goes on.
    pub(super) fn next(&self) -> Option<EventPosition> {
        self.next
    }

    /// The body. It ends without its end where a store fails before all is read: the caller sees that it is not whole.
    pub(super) fn into_body(
        self,
        query: Arc<AuditQuery>,
        head: &Head,
        next: Option<&str>,
        place: OwnedSemaphorePermit,
    ) -> Result<Body, ApiError> {
        let format = self.question.format;
        let first = match format {
            Format::Json => {
                let events: Result<_, _> = self
                    .written
                    .iter()
                    .map(|bytes| serde_json::from_slice(bytes))
                    .collect();
                let body = EventsResponse {
                    events: events.map_err(|_| ApiError::internal())?,
                    next,
                    expired_before: self.question.expired_before_us.map(rfc3339),
                    as_of: AsOfResponse::of(head),
                };
                serde_json::to_vec(&body).map_err(|_| ApiError::internal())?
            }
            Format::Ndjson => self.written.concat(),
            Format::Csv => [csv_rows::header(), self.written.concat()].concat(),
        };
        if self.rest.is_empty() {
            return Ok(first.into());
        }
        let state = Some((Bytes::from(first), self.rest.into_iter(), place));
        let (question, head) = (self.question.clone(), self.head);
        let body = stream::try_unfold(state, move |state| {
            let (query, head, question) = (Arc::clone(&query), head.clone(), question.clone());
            async move {
                let Some((chunk, mut rest, place)) = state else {
                    return Ok(None);
                };
                let batch: Vec<EventPosition> = rest.by_ref().take(BATCH).collect();
                if batch.is_empty() {
                    return Ok(Some((chunk, None)));
                }
                let next = write_batch(&query, &question, &batch, &head).await;
                let next = next.map_err(|error| std::io::Error::other(error.code))?;
                Ok::<_, std::io::Error>(Some((chunk, Some((next, rest, place)))))
            }
        });
        Ok(Body::from_stream(body))
    }
}

async fn read(
    query: &AuditQuery,
    question: &Question,
    batch: &[EventPosition],
    head: &Head,
) -> Result<Vec<FoundEvent>, ApiError> {
    let events = query.read_found(question, batch, head).await?;
    query.raise_faults(&events).await;
    Ok(events)
}

async fn write_batch(
    query: &AuditQuery,
    question: &Question,
    batch: &[EventPosition],
    head: &Head,
) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::new();
    for event in read(query, question, batch, head).await? {
        bytes.extend(write(question.format, &event)?);
    }
    Ok(bytes.into())
}

/// An event as it stands in an answer.
fn write(format: Format, event: &FoundEvent) -> Result<Vec<u8>, ApiError> {
    if format == Format::Csv {
        return Ok(csv_rows::line(event));
    }
    let mut bytes =
        serde_json::to_vec(&EventResponse::of(event)).map_err(|_| ApiError::internal())?;
    if format == Format::Ndjson {
        bytes.push(b'\n');
    }
    Ok(bytes)
}
