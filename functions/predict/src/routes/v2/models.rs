//! `/v2/models` and `/v2/repository`: what serves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use artifact::manifest::DataType;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use domain::{ModelName, ModelVersion};
use engine::TensorSpec;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use web::{ApiError, Caller, RequestInfo, error};

use crate::function::Predict;
use crate::oip::dto::ModelMetadata;
use crate::routes;
use crate::serving::{LiveModel, Serving};

/// The model that a path names.
#[derive(Debug, Deserialize)]
pub(in crate::routes) struct ModelPath {
    model: String,
    version: Option<String>,
}

impl ModelPath {
    /// Finds the model among those that serve.
    pub(in crate::routes) fn find<'a>(
        &self,
        serving: &'a Serving,
    ) -> Result<&'a Arc<LiveModel>, ApiError> {
        find(serving, &self.model, self.version.as_deref())
    }

    /// True where the path names a version.
    pub(in crate::routes) fn is_pinned(&self) -> bool {
        self.version.is_some()
    }

    /// Holds what a body repeats of the path against it.
    pub(in crate::routes) fn agree(
        &self,
        serving: &Serving,
        name: Option<&str>,
        version: Option<&str>,
    ) -> Result<(), ApiError> {
        if name.is_some_and(|name| name != self.model) {
            return Err(ApiError::bad_field(
                "request.model_mismatch",
                "model_name",
                format!("expected the path's model, {}", self.model),
            ));
        }
        find(serving, &self.model, version).map(|_| ())
    }
}

/// Finds the live model of this name, and version where one is named.
pub(in crate::routes) fn find<'a>(
    serving: &'a Serving,
    name: &str,
    version: Option<&str>,
) -> Result<&'a Arc<LiveModel>, ApiError> {
    let live = ModelName::parse(name)
        .ok()
        .and_then(|name| serving.find(&name))
        .ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "model.unknown",
                "no model of this name serves",
            )
            .at("model")
            .for_model(name)
        })?;
    let Some(version) = version else {
        return Ok(live);
    };
    match ModelVersion::parse(version) {
        Ok(version) if version == *live.version() => Ok(live),
        _ => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "model.version_unknown",
            format!("this version does not serve; {} does", live.version()),
        )
        .at("model_version")
        .for_model(&format!("{name}@{version}"))),
    }
}

/// `GET /v2/models`
pub(in crate::routes) async fn list(
    _: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
) -> Result<Response, ApiError> {
    let serving = predict.must_serve(info.deadline).await?;
    let names: Vec<_> = serving
        .all()
        .iter()
        .map(|live| live.name().to_string())
        .collect();
    routes::json(StatusCode::OK, &json!({"models": names}))
}

/// `GET /v2/models/{model}`
pub(in crate::routes) async fn metadata(
    _: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    let serving = predict.must_serve(info.deadline).await?;
    let live = path.find(&serving)?;
    let model = live.model.scorer.model();
    let body = ModelMetadata {
        name: live.name().as_str(),
        versions: [live.version().to_string()],
        platform: "onnx_onnxv1",
        inputs: model.inputs(),
        outputs: model.outputs(),
    };
    routes::json(StatusCode::OK, &body)
}

/// `GET /v2/models/{model}/ready`: 503 where nothing serves, without a record: probes ask often.
pub(in crate::routes) async fn ready(
    _: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    predict.load_pinned(info.deadline).await;
    let Some(serving) = predict.serving() else {
        let body = json!({"name": path.model, "ready": false});
        return Ok(error::unrecorded(routes::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &body,
        )?));
    };
    let live = path.find(&serving)?;
    routes::json(StatusCode::OK, &json!({"name": live.name(), "ready": true}))
}

/// `POST /v2/repository/index`
pub(in crate::routes) async fn index(
    _: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
) -> Result<Response, ApiError> {
    let serving = predict.must_serve(info.deadline).await?;
    let index: Vec<Value> = serving
        .all()
        .iter()
        .map(|l| json!({"name": l.name(), "version": l.version(), "state": "READY", "reason": ""}))
        .collect();
    routes::json(StatusCode::OK, &index)
}

/// `GET /v2/models/{model}/config`: Triton's model configuration, as far as it applies.
pub(in crate::routes) async fn config(
    _: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    let serving = predict.must_serve(info.deadline).await?;
    let live = path.find(&serving)?;
    let model = live.model.scorer.model();
    let body = json!({
        "name": live.name(),
        "platform": "onnx_onnxv1",
        "backend": "sealcast",
        "max_batch_size": live.model.manifest.limits.max_rows,
        "input": model.inputs().iter().map(config_tensor).collect::<Vec<_>>(),
        "output": model.outputs().iter().map(config_tensor).collect::<Vec<_>>(),
        "parameters": {"labels": {"string_value": live.labels().join(",")}},
    });
    routes::json(StatusCode::OK, &body)
}

/// A tensor in Triton's configuration, whose dimensions leave the batch out.
fn config_tensor(spec: &TensorSpec) -> Value {
    let data_type = match spec.datatype {
        DataType::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{}", other.name()),
    };
    let dims: Vec<i64> = spec.shape.iter().skip(1).copied().collect();
    json!({"name": spec.name, "data_type": data_type, "dims": dims})
}

/// `GET /v2/models/{model}/stats`: counted since the model was loaded.
pub(in crate::routes) async fn stats(
    _: Caller,
    State(predict): State<Arc<Predict>>,
    Extension(info): Extension<RequestInfo>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    let serving = predict.must_serve(info.deadline).await?;
    let live = path.find(&serving)?;
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (stats, answered) = (&live.stats, read(&live.stats.answered));
    let body = json!({"model_stats": [{
        "name": live.name(),
        "version": live.version(),
        "last_inference": read(&stats.last_ms),
        "inference_count": read(&stats.rows),
        "execution_count": answered,
        "inference_stats": {
            "success": {"count": answered, "ns": read(&stats.answered_ns)},
            "fail": {"count": read(&stats.failed), "ns": 0},
        },
    }]});
    routes::json(StatusCode::OK, &body)
}
