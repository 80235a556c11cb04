//! `POST /v2/models/{model}[/versions/{version}]/infer`

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use web::{ApiError, Caller, RequestInfo};

use super::models::ModelPath;
use crate::answer::InferenceRequest;
use crate::explain;
use crate::function::Predict;
use crate::oip::{request, response};
use crate::routes;

/// Answers a request in the Open Inference Protocol's form.
pub(in crate::routes) async fn infer(
    caller: Caller,
    State(predict): State<Arc<Predict>>,
    Path(path): Path<ModelPath>,
    Extension(info): Extension<RequestInfo>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (place, body) = routes::admit(&caller, &predict, &headers, body).await?;
    let serving = predict.must_serve(info.deadline).await?;
    let live = path.find(&serving)?;
    let model = live.model.scorer.model();
    let named = |error: ApiError| error.for_model(&live.model.label);
    let parsed = request::parse(&headers, &body, model.inputs()).map_err(named)?;
    let named = |error: ApiError| match &parsed.id {
        Some(id) => named(error).for_request(id),
        None => named(error),
    };
    let version = parsed.model_version.as_deref();
    path.agree(&serving, parsed.model_name.as_deref(), version)
        .map_err(named)?;
    let outputs = model.outputs().iter().map(|spec| spec.name.as_str());
    let explained = explain::TENSORS
        .into_iter()
        .filter(|_| parsed.wanted.explain);
    response::check_wanted(&parsed.wanted, outputs.chain(explained)).map_err(named)?;
    let request = InferenceRequest {
        id_given: info.given || parsed.id.is_some(),
        id: parsed.id.clone().unwrap_or(info.id),
        pinned: path.is_pinned() || version.is_some(),
        place,
        principal: caller.0.id,
        explain: parsed.wanted.explain,
        symbols: parsed.symbol.into_iter().collect(),
        inputs: parsed.inputs,
        arrived: info.arrived,
    };
    let answered = predict.answer(&serving, live, request).await?;
    Ok(routes::mark(
        response::write(&answered, &parsed.wanted, &headers)?,
        &answered,
    ))
}
