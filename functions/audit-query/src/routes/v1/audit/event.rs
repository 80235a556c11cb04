//! `GET /v1/audit/events/{stream}/{seq}`: one event, with its proof once it is sealed.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use web::ApiError;

use super::OneEvent;
use crate::function::AuditQuery;
use crate::head::Head;
use crate::read::FoundEvent;
use crate::routes::{self, Auditor, dto};
use crate::sealed::MISSING;

pub(in crate::routes) async fn one(
    auditor: Auditor,
    asked: OneEvent,
    State(query): State<Arc<AuditQuery>>,
) -> Result<Response, ApiError> {
    let _place = query.admit()?;
    let head = query.head().await?;
    let event = find(&query, &asked, &head).await?;
    let proof = match (event.leaf_hash(), event.index) {
        (Some(leaf), Some(index)) => Some(query.prove(leaf, index, &head).await?.to_string()),
        _ => None,
    };
    let size = head.checkpoint.size;
    let durability = query.record(&auditor, asked.filters(), 1, size).await?;
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
    asked: &OneEvent,
    head: &Head,
) -> Result<FoundEvent, ApiError> {
    let event = query.read_event(asked.0, head).await?;
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
