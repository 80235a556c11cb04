//! `GET /v1/audit/events`: the events that a question asks for, page by page.

mod answer;

use std::sync::Arc;

use audit::stream::rfc3339;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use web::ApiError;

use self::answer::Answer;
use crate::function::AuditQuery;
use crate::question::Question;
use crate::routes::{self, Auditor, EXPIRED_HEADER, NEXT_HEADER, NO_STORE};

pub(in crate::routes) async fn list(
    auditor: Auditor,
    State(query): State<Arc<AuditQuery>>,
    RawQuery(parameters): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let now_us = query.clock.now_us();
    let (limits, origin) = (&query.limits, &query.origin);
    let question = Question::read(parameters.as_deref(), &headers, limits, origin, now_us)?;
    let place = query.admit()?;
    let head = query.head().await?;
    let found = query.find(&question, &head).await?;
    let answer = Answer::begin(&query, &question, found, &head).await?;
    let size = head.checkpoint.size;
    let durability = query
        .record(&auditor, question.to_record(), answer.count(), size)
        .await?;
    let next = answer.next().map(|next| question.cursor(next).to_string());
    let body = answer.into_body(query, &head, next.as_deref(), place)?;
    let media_type = HeaderValue::from_static(question.format.media_type());
    let mut response = routes::as_of(routes::response(body, media_type, NO_STORE), &head);
    let expired = question.expired_before_us.map(rfc3339);
    for (name, value) in [(NEXT_HEADER, next), (EXPIRED_HEADER, expired)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(routes::recorded(response, durability))
}
