//! `GET /v1/audit/streams/{stream}/registration`: what vouches for a stream's key, the first line of its file.

use std::sync::Arc;

use audit::export::registration_line;
use axum::extract::State;
use axum::response::Response;
use web::ApiError;

use super::{OneStream, filters};
use crate::function::AuditQuery;
use crate::routes::{self, Auditor, JSON, NO_STORE};

pub(in crate::routes) async fn registration(
    auditor: Auditor,
    OneStream(stream): OneStream,
    State(query): State<Arc<AuditQuery>>,
) -> Result<Response, ApiError> {
    let _place = query.admit()?;
    let head = query.head().await?;
    let Some(signed) = query.read_registration(stream, &head).await? else {
        let message = "there is no such stream";
        return Err(routes::not_found("audit.stream_unknown", message));
    };
    let asked = filters([("stream", stream.to_string())]);
    let size = head.checkpoint.size;
    let durability = query.record(&auditor, asked, 1, size).await?;
    let response = routes::response(registration_line(&signed).into(), JSON, NO_STORE);
    Ok(routes::recorded(routes::as_of(response, &head), durability))
}
