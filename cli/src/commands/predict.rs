//! `sealcast predict`: ask a running server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::{ModelName, ModelVersion, Symbol};
use clap::{ArgGroup, Args};
use domain::RequestId;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ask::{self, Answer};
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Report, Text};

/// Longest body that the server takes, in bytes.
const MAX_BODY: u64 = 6 << 20;

/// Ask a running server and print its answer with the receipt.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("question").required(true).args(["features", "body", "row"]))]
#[command(group = ArgGroup::new("proof").required(true).args(["token_file", "sigv4"]))]
pub(crate) struct PredictArguments {
    /// Where the server is, or the API of a deployed stack; a path before the routes is kept.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = ask::parse_address)]
    addr: String,
    /// The file with the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Sign the request with the IAM credentials and region of the `AWS_*` variables, for a deployed stack.
    #[arg(long)]
    sigv4: bool,
    /// The model, where the release has several.
    #[arg(long, value_parser = ModelName::parse)]
    model: Option<ModelName>,
    /// The model's version, where only one will do.
    #[arg(long, value_name = "VERSION", value_parser = ModelVersion::parse)]
    model_version: Option<ModelVersion>,
    /// The market symbol.
    #[arg(long, value_parser = Symbol::parse, conflicts_with = "body")]
    symbol: Option<Symbol>,
    /// The features as JSON: {"name": number or null, …}, or a list in the manifest's order.
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// A whole body, sent as it is: of /v1/predict, of /v1/predict/batch where it has `rows`, or of the Open
    /// Inference Protocol where it has `inputs` (then with --model).
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The features one by one; `null` is a missing value.
    #[arg(long, value_name = "NAME=VALUE", num_args = 1.., value_parser = parse_feature)]
    row: Option<Vec<(String, String)>>,
    /// The request's id; the same id with the same question gets the same, recorded answer.
    #[arg(long, value_name = "ID", value_parser = parse_request_id, conflicts_with = "body")]
    request_id: Option<RequestId>,
    /// Ask what each feature contributed to the answer.
    #[arg(long, conflicts_with = "body")]
    explain: bool,
    /// How long to wait for the answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

fn parse_feature(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "expected NAME=VALUE, for example rsi_14=48.5".to_owned())?;
    match serde_json::from_str(value) {
        Ok(Value::Number(_) | Value::Null) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!(
            "{name}: expected a number or null, found {value:?}"
        )),
    }
}

fn parse_request_id(text: &str) -> Result<RequestId, String> {
    RequestId::parse(text).map_err(|error| error.to_string())
}

/// The body of `POST /v1/predict`.
#[derive(Debug, Serialize)]
struct PredictRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a Symbol>,
    features: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a ModelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a ModelVersion>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    explain: bool,
}

/// Sends the question and prints the answer.
pub(crate) fn run(arguments: &PredictArguments) -> Result<Report, Failure> {
    let (route, body) = match &arguments.body {
        Some(path) => {
            let body = files::read(path, MAX_BODY)?;
            (choose_route(arguments, path, &body)?, body)
        }
        None => ("/v1/predict".to_owned(), write_body(arguments)?),
    };
    let url = format!("{}{route}", arguments.addr);
    let headers = match &arguments.token_file {
        Some(path) => ask::present_token(path)?,
        None => ask::sign(&url, &body)?,
    };
    let timeout = Duration::from_millis(arguments.timeout_ms);
    report(&ask::ask(&url, &headers, &body, timeout)?)
}

/// Which route takes a body that is sent as it is.
fn choose_route(arguments: &PredictArguments, path: &Path, body: &[u8]) -> Result<String, Failure> {
    let document: Value = serde_json::from_slice(body).map_err(|error| not_json(path, &error))?;
    let has = |name: &str| document.get(name).is_some();
    let addressed = arguments.model.is_some() || arguments.model_version.is_some();
    match &arguments.model {
        Some(model) if has("inputs") => Ok(match &arguments.model_version {
            Some(version) => format!("/v2/models/{model}/versions/{version}/infer"),
            None => format!("/v2/models/{model}/infer"),
        }),
        None if has("inputs") => {
            let message = format!(
                "{}: a body of the Open Inference Protocol needs --model",
                path.display()
            );
            Err(Failure::usage("--model", message))
        }
        _ if addressed => {
            let message = format!(
                "{}: a body that is sent as it is names its model itself",
                path.display()
            );
            Err(Failure::usage("--model", message))
        }
        _ if has("rows") => Ok("/v1/predict/batch".to_owned()),
        _ => Ok("/v1/predict".to_owned()),
    }
}

fn write_body(arguments: &PredictArguments) -> Result<Vec<u8>, Failure> {
    let features = match (&arguments.features, &arguments.row) {
        (Some(path), _) => read_features(path)?,
        (None, row) => {
            let text = write_row(row.as_deref().unwrap_or_default())?;
            RawValue::from_string(text).map_err(|error| Failure::internal(error.to_string()))?
        }
    };
    let request = PredictRequest {
        symbol: arguments.symbol.as_ref(),
        features,
        request_id: arguments.request_id.as_ref(),
        model: arguments.model.as_ref(),
        model_version: arguments.model_version.as_ref(),
        explain: arguments.explain,
    };
    Ok(output::to_json(&request)?.into_bytes())
}

/// The features of a file, character by character as they stand there.
fn read_features(path: &Path) -> Result<Box<RawValue>, Failure> {
    let text = files::read_text(path, MAX_BODY)?;
    let raw: Box<RawValue> = serde_json::from_str(&text).map_err(|error| not_json(path, &error))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| not_json(path, &error))?;
    match value {
        Value::Object(fields) if fields.contains_key("features") || fields.contains_key("rows") => {
            let message = format!(
                "{}: holds a whole body: give it with --body",
                path.display()
            );
            Err(Failure::usage("--features", message))
        }
        Value::Object(_) | Value::Array(_) => Ok(raw),
        _ => {
            let message = format!(
                "{}: expected an object of names and numbers, or a list of numbers",
                path.display()
            );
            Err(Failure::refused("request.field_type", message).at("--features"))
        }
    }
}

fn write_row(row: &[(String, String)]) -> Result<String, Failure> {
    let mut features: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in row {
        let value = RawValue::from_string(value.clone())
            .map_err(|error| Failure::internal(error.to_string()))?;
        if features.insert(name, value).is_some() {
            return Err(Failure::usage(
                "--row",
                format!("feature {name:?} is given twice"),
            ));
        }
    }
    output::to_json(&features)
}

fn not_json(path: &Path, error: &serde_json::Error) -> Failure {
    let place = path.display().to_string();
    Failure::refused(
        "request.malformed_json",
        format!("{place}: expected JSON: {error}"),
    )
    .at(place)
}

fn report(answer: &Answer) -> Result<Report, Failure> {
    let body = answer.body.get();
    let json = match body.strip_suffix('}') {
        Some(open) if answer.replayed => format!("{open},\"replayed\":true}}"),
        _ => body.to_owned(),
    };
    let value: Value =
        serde_json::from_str(body).map_err(|error| Failure::internal(error.to_string()))?;
    let mut text = Text::new();
    // The Open Inference Protocol keeps what is not its own in `parameters`.
    let find = |name: &str| {
        value
            .get(name)
            .or_else(|| value.get("parameters")?.get(name))
    };
    let plain = |name: &str| find(name).map(show);
    for (name, field) in [
        ("label", "label"),
        ("value", "value"),
        ("symbol", "symbol"),
        ("answered by", "answered_by"),
        ("release", "release"),
        ("request id", "request_id"),
        ("request id", "id"),
    ] {
        text = text.optional(name, plain(field));
    }
    if let Some(Value::Object(classes)) = value.get("probabilities") {
        let rows: Vec<Vec<String>> = classes
            .iter()
            .map(|(label, probability)| vec![label.clone(), show(probability)])
            .collect();
        text = text.table("probabilities", &rows);
    }
    for field in ["predictions", "outputs", "changes"] {
        if let Some(Value::Array(items)) = value.get(field) {
            let rows: Vec<Vec<String>> = items.iter().map(|item| vec![item.to_string()]).collect();
            text = text.table(field, &rows);
        }
    }
    if let Some(explanation) = value.get("explanation") {
        text = write_explanation(text, explanation);
    }
    if find("degraded") == Some(&Value::Bool(true)) {
        let level = plain("fallback_level").unwrap_or_default();
        let reason = plain("reason").unwrap_or_default();
        text = text.field("degraded", format!("level {level}: {reason}"));
    }
    if answer.replayed {
        text = text.field("replayed", "the recorded answer to the same request id");
    }
    let text = text.optional("receipt", answer.receipt.as_ref());
    Ok(Report::document(json, text.into_string()))
}

/// What each feature contributed, the largest first, by score.
fn write_explanation(mut text: Text, explanation: &Value) -> Text {
    let part = |name: &str| explanation.get(name);
    if let Some(reason) = part("unavailable").and_then(|why| why.get("reason")) {
        return text.field("explanation", format!("not available: {}", show(reason)));
    }
    text = text.optional("explained by", part("method").map(show));
    for output in part("outputs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let number = |name: &str| output.get(name).map(show).unwrap_or_default();
        let (score, expectation) = (number("score"), number("expectation"));
        let class = output
            .get("class")
            .map(|class| format!(" of {}", show(class)));
        let title = format!(
            "score{} {score}, on average {expectation}",
            class.unwrap_or_default()
        );
        let size = |value: &Value| value.as_f64().unwrap_or(0.0).abs();
        let mut features: Vec<(&String, &Value)> = match output.get("contributions") {
            Some(Value::Object(features)) => features.iter().collect(),
            _ => Vec::new(),
        };
        features.sort_by(|a, b| size(b.1).total_cmp(&size(a.1)));
        let rows: Vec<Vec<String>> = features
            .into_iter()
            .map(|(name, value)| vec![name.clone(), show(value)])
            .collect();
        text = text.table(&title, &rows);
    }
    text
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
