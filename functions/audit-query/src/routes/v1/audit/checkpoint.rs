//! `GET /v1/audit/checkpoint`: the newest checkpoint, a signed note. No record: it says nothing of any event.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use web::ApiError;

use super::without_parameters;
use crate::function::AuditQuery;
use crate::routes::{self, Auditor, NO_STORE, TEXT};

pub(in crate::routes) async fn newest(
    _: Auditor,
    State(query): State<Arc<AuditQuery>>,
    RawQuery(parameters): RawQuery,
) -> Result<Response, ApiError> {
    without_parameters(parameters.as_deref())?;
    let head = query.head().await?;
    let Some(note) = &head.note else {
        let message = "nothing is sealed yet, so there is no checkpoint";
        return Err(routes::not_found("audit.no_checkpoint", message));
    };
    let response = routes::response(note.to_string().into(), TEXT, NO_STORE);
    Ok(routes::as_of(response, &head))
}
