//! `GET /v1/audit/log.vkey`: the key that checkpoints are verified with, as `sumdb/note` reads it. Who verifies should
//! have it from elsewhere. No record: it says nothing of any event.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use web::ApiError;

use super::without_parameters;
use crate::function::AuditQuery;
use crate::routes::{self, Auditor, NO_STORE, TEXT};

pub(in crate::routes) async fn vkey(
    _: Auditor,
    State(query): State<Arc<AuditQuery>>,
    RawQuery(parameters): RawQuery,
) -> Result<Response, ApiError> {
    without_parameters(parameters.as_deref())?;
    let vkey = format!("{}\n", query.log_key().await?);
    Ok(routes::response(vkey.into(), TEXT, NO_STORE))
}
