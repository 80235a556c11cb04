//! `POST /v1/predict`

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use web::{ApiError, Caller, RequestInfo};

use super::dto::{About, PredictRequest, PredictResponse, Prediction};
use super::features::{rename_field, to_tensors};
use crate::answer::InferenceRequest;
use crate::function::Predict;
use crate::oip::request::describe_json;
use crate::routes::{self, v2::models};
use crate::serving::{LiveModel, Serving};

/// Answers for one symbol.
pub(in crate::routes) async fn predict(
    caller: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (place, body) = routes::admit(&caller, &predict, &headers, body).await?;
    let request = read::<PredictRequest>(&body)?;
    let id = request.request_id.as_ref().unwrap_or(&info.id).clone();
    let refused = |error: ApiError| error.for_request(&id);
    let serving = predict.must_serve(info.deadline).await.map_err(refused)?;
    let live = choose(
        &serving,
        request.model.as_deref(),
        request.model_version.as_deref(),
    )
    .map_err(refused)?;
    let name = |_: usize| "features".to_owned();
    let inputs = to_tensors(&live.model.manifest, &[&request.features], name)
        .map_err(|error| refused(error).for_model(&live.model.label))?;
    let request = InferenceRequest {
        id_given: info.given || request.request_id.is_some(),
        id: id.clone(),
        pinned: request.model_version.is_some(),
        place,
        principal: caller.0.id,
        explain: request.explain.unwrap_or(false),
        symbols: vec![request.symbol],
        inputs,
        arrived: info.arrived,
    };
    let answered = predict
        .answer(&serving, live, request)
        .await
        .map_err(|error| rename_field(error, &live.model.manifest, name))?;
    let Some(answer) = answered.answers.first() else {
        return Err(ApiError::internal());
    };
    let prediction = Prediction::of(&answered, 0, answer);
    let body = PredictResponse {
        about: About::of(&answered),
        prediction,
    };
    Ok(routes::mark(
        routes::json(StatusCode::OK, &body)?,
        &answered,
    ))
}

/// Reads a `/v1` body.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| describe_json::<T>(body, &error))
}

/// The model that a `/v1` request means: the named one, or the only one.
pub(super) fn choose<'a>(
    serving: &'a Serving,
    model: Option<&str>,
    version: Option<&str>,
) -> Result<&'a Arc<LiveModel>, ApiError> {
    match (model, serving.only()) {
        (Some(name), _) => models::find(serving, name, version),
        (None, Some(only)) => models::find(serving, only.name().as_str(), version),
        (None, None) => Err(ApiError::bad_field(
            "request.field_missing",
            "model",
            "expected a model's name: more than one serves",
        )),
    }
}
