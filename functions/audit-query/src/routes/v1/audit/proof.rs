//! `GET /v1/audit/events/{stream}/{seq}/proof`: the proof alone, a `tlog-proof@v1` file.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use web::ApiError;

use super::{OneEvent, event};
use crate::function::AuditQuery;
use crate::routes::{self, Auditor, NO_STORE, TEXT};

pub(in crate::routes) async fn prove(
    auditor: Auditor,
    asked: OneEvent,
    State(query): State<Arc<AuditQuery>>,
) -> Result<Response, ApiError> {
    let _place = query.admit()?;
    let head = query.head().await?;
    let size = head.checkpoint.size;
    let event = event::find(&query, &asked, &head).await?;
    let (Some(leaf), Some(index)) = (event.leaf_hash(), event.index) else {
        return Err(match event.fault {
            Some(fault) => ApiError::new(StatusCode::CONFLICT, fault.code, fault.detail),
            None => not_sealed(size),
        });
    };
    let proof = query.prove(leaf, index, &head).await?;
    let durability = query.record(&auditor, asked.filters(), 1, size).await?;
    let response = routes::response(proof.to_string().into(), TEXT, NO_STORE);
    let response = routes::as_of(response, &head);
    Ok(routes::recorded(response, durability))
}

fn not_sealed(size: u64) -> ApiError {
    let message = format!(
        "the event is recorded and not sealed yet, as of tree size {size}; events are sealed about once a minute: ask \
         again then"
    );
    ApiError::new(StatusCode::CONFLICT, "audit.not_sealed", message)
}
