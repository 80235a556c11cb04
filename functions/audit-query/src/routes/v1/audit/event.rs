//! `GET /v1/audit/events/{stream}/{seq}`: one event, with its proof once it is sealed.

use std::sync::Arc;

use audit::StreamId;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use web::ApiError;

use super::{filters, read_seq, read_stream, without_parameters};
use crate::function::AuditQuery;
use crate::head::Head;
use crate::read::FoundEvent;
use crate::routes::{self, Auditor, dto};
use crate::sealed::MISSING;

pub(in crate::routes) async fn one(
    auditor: Auditor,
    State(query): State<Arc<AuditQuery>>,
    Path((stream, seq)): Path<(String, String)>,
    RawQuery(parameters): RawQuery,
) -> Result<Response, ApiError> {
    without_parameters(parameters.as_deref())?;
    let (stream, seq) = (read_stream(&stream)?, read_seq(&seq)?);
    let _place = query.admit()?;
    let head = query.head().await?;
    let event = find(&query, stream, seq, &head).await?;
    let proof = match (event.leaf_hash(), event.index) {
        (Some(leaf), Some(index)) => Some(query.prove(leaf, index, &head).await?.to_string()),
        _ => None,
    };
    let asked = filters([("stream", stream.to_string()), ("seq", seq.to_string())]);
    let size = head.checkpoint.size;
    let durability = query.record(&auditor, asked, 1, size).await?;
    let body = dto::OneEventResponse {
        event: dto::EventResponse::of(&event),
        proof,
        as_of: dto::AsOfResponse::of(&head),
    };
    let response = routes::as_of(routes::json(&body)?, &head);
    Ok(routes::recorded(response, durability))
}

/// The event as of `head`, what is wrong with it recorded.
pub(super) async fn find(
    query: &AuditQuery,
    stream: StreamId,
    seq: u64,
    head: &Head,
) -> Result<FoundEvent, ApiError> {
    let event = query.read_event((stream, seq), head).await?;
    if event
        .fault
        .as_ref()
        .is_some_and(|fault| fault.code == MISSING)
    {
        let message = "there is no such event in this stream";
        return Err(routes::not_found("audit.event_unknown", message));
    }
    query.raise_faults(std::slice::from_ref(&event)).await;
    Ok(event)
}
