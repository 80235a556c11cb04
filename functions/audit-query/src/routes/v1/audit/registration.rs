//! `GET /v1/audit/streams/{stream}/registration`: what vouches for a stream's key, the first line of its file.

use std::sync::Arc;

use audit::export::registration_line;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use web::ApiError;

use super::{filters, read_stream, without_parameters};
use crate::function::{AuditQuery, Held};
use crate::routes::{self, Auditor, JSON, NO_STORE};

pub(in crate::routes) async fn registration(
    auditor: Auditor,
    State(query): State<Arc<AuditQuery>>,
    Path(stream): Path<String>,
    RawQuery(parameters): RawQuery,
) -> Result<Response, ApiError> {
    without_parameters(parameters.as_deref())?;
    let stream = read_stream(&stream)?;
    let _place = query.admit()?;
    let read = query.ports.streams.registration(stream);
    let signed = match query.ask("registration", read).await? {
        Held::Found(signed) => signed,
        Held::Missing => {
            let message = "there is no such stream";
            return Err(routes::not_found("audit.stream_unknown", message));
        }
        Held::Unreadable(why) => {
            let code = "audit.registration_unreadable";
            query.alarms.raise(code, stream.to_string(), why).await;
            let message = "the stream's registration cannot be read";
            return Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                message,
            ));
        }
    };
    let size = query.head().await?.checkpoint.size;
    let asked = filters([("stream", stream.to_string())]);
    let durability = query.record(&auditor, asked, 1, size).await?;
    let response = routes::response(registration_line(&signed).into(), JSON, NO_STORE);
    Ok(routes::recorded(response, durability))
}
