//! `POST /v1/predict/batch`

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use web::{ApiError, Caller, RequestInfo};

use super::dto::{About, BatchRequest, BatchResponse, Prediction};
use super::features::{rename_field, to_tensors};
use super::predict::{choose, read};
use crate::answer::InferenceRequest;
use crate::function::Predict;
use crate::routes;

/// Answers for several rows, all by the same model or none.
pub(in crate::routes) async fn predict_batch(
    caller: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (place, body) = routes::admit(&caller, &predict, &headers, body).await?;
    let request = read::<BatchRequest>(&body)?;
    let id = request.request_id.as_ref().unwrap_or(&info.id).clone();
    let refused = |error: ApiError| error.for_request(&id);
    let serving = predict.must_serve(info.deadline).await.map_err(refused)?;
    let live = choose(
        &serving,
        request.model.as_deref(),
        request.model_version.as_deref(),
    )
    .map_err(refused)?;
    let manifest = &live.model.manifest;
    let refused = |error: ApiError| refused(error).for_model(&live.model.label);
    let max_rows = manifest.limits.max_rows as usize;
    if request.rows.is_empty() || request.rows.len() > max_rows {
        let message = format!("{} rows; 1 to {max_rows} are taken", request.rows.len());
        return Err(refused(ApiError::bad_field("input.rows", "rows", message)));
    }
    let name = |row: usize| format!("rows[{row}].features");
    let features: Vec<_> = request.rows.iter().map(|row| &row.features).collect();
    let inputs = to_tensors(manifest, &features, name).map_err(refused)?;
    let inference = InferenceRequest {
        id_given: info.given || request.request_id.is_some(),
        id: id.clone(),
        pinned: request.model_version.is_some(),
        place,
        principal: caller.0.id,
        explain: request.explain.unwrap_or(false),
        symbols: request.rows.into_iter().map(|row| row.symbol).collect(),
        inputs,
        arrived: info.arrived,
    };
    let answered = predict
        .answer(&serving, live, inference)
        .await
        .map_err(|error| rename_field(error, manifest, name))?;
    let rows = answered.answers.iter().enumerate();
    let body = BatchResponse {
        about: About::of(&answered),
        predictions: rows
            .map(|(row, answer)| Prediction::of(&answered, row, answer))
            .collect(),
    };
    Ok(routes::mark(
        routes::json(StatusCode::OK, &body)?,
        &answered,
    ))
}
