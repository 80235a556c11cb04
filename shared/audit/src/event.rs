//! What is recorded. Field names are the wire form: adding an optional field is
//! compatible, anything else is a new format tag. Fields are declared in the order
//! of their names, which makes their serialisation canonical as it is written.

use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stream::{LeafHash, Receipt, StreamId};

/// The version tag of an event's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventFormat {
    /// The only version so far.
    #[serde(rename = "sealcast.event/v1")]
    V1,
}

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// Version of this form.
    pub format: EventFormat,
    /// The stream that the event belongs to.
    pub stream: StreamId,
    /// Position in the stream, from 0, without gaps.
    pub seq: u64,
    /// Leaf hash of the event before; for the first event that of the registration.
    pub prev: LeafHash,
    /// The process's clock, RFC 3339 in UTC with microseconds.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// Members in the order of their names: see [`to_canonical_json_sorted`](crate::canonical::to_canonical_json_sorted).
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut event = serializer.serialize_struct("Event", 7)?;
        match &self.body {
            EventBody::ProcessStarted(data) => event.serialize_field("data", data)?,
            EventBody::ProcessStopped(data) => event.serialize_field("data", data)?,
            EventBody::Prediction(data) => event.serialize_field("data", data)?,
            EventBody::Replay(data) => event.serialize_field("data", data)?,
            EventBody::Refusal(data) => event.serialize_field("data", data)?,
            EventBody::Outcome(data) => event.serialize_field("data", data)?,
            EventBody::ModelAccess(data) => event.serialize_field("data", data)?,
            EventBody::Release(data) => event.serialize_field("data", data)?,
            EventBody::Security(data) => event.serialize_field("data", data)?,
            EventBody::Query(data) => event.serialize_field("data", data)?,
        }
        event.serialize_field("format", &self.format)?;
        event.serialize_field("kind", self.body.kind())?;
        event.serialize_field("prev", &self.prev)?;
        event.serialize_field("seq", &self.seq)?;
        event.serialize_field("stream", &self.stream)?;
        event.serialize_field("time", &self.time)?;
        event.end()
    }
}

/// What happened: `kind` and `data` of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum EventBody {
    /// The process started to record.
    ProcessStarted(ProcessStarted),
    /// The process stops; no event follows in this stream.
    ProcessStopped(ProcessStopped),
    /// A model was answered with.
    Prediction(Box<Prediction>),
    /// The recorded answer was given again for the same request id.
    Replay(Replay),
    /// A request was turned away, or failed.
    Refusal(Refusal),
    /// What came of a prediction, as the caller reports it.
    Outcome(Outcome),
    /// An artifact was read, verified, decrypted and loaded, or was not.
    ModelAccess(ModelAccess),
    /// A release is created, or what serves is changed to one.
    Release(ReleaseChange),
    /// Something that only a fault or an attack explains.
    Security(Security),
    /// Somebody questioned the audit log.
    Query(Query),
}

impl EventBody {
    /// Every name that can stand in `kind`.
    pub const KINDS: [&str; 10] = [
        "process_started",
        "process_stopped",
        "prediction",
        "replay",
        "refusal",
        "outcome",
        "model_access",
        "release",
        "security",
        "query",
    ];

    /// The name that stands in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ProcessStarted(_) => "process_started",
            Self::ProcessStopped(_) => "process_stopped",
            Self::Prediction(_) => "prediction",
            Self::Replay(_) => "replay",
            Self::Refusal(_) => "refusal",
            Self::Outcome(_) => "outcome",
            Self::ModelAccess(_) => "model_access",
            Self::Release(_) => "release",
            Self::Security(_) => "security",
            Self::Query(_) => "query",
        }
    }
}

/// Configuration of the process, as far as it decides what is answered. No secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ProcessStarted {
    /// Name and value of every setting.
    pub settings: std::collections::BTreeMap<String, String>,
    pub software: String,
}

/// Why the process stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessStopped {
    /// One sentence.
    pub reason: String,
}

/// Which model, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// The algorithm's id in the firm's register.
    pub algo_id: String,
    /// The model's name.
    pub name: String,
    /// SHA-256 of the plain ONNX file, in hexadecimal.
    pub sha256: String,
    /// The model's version.
    pub version: String,
}

/// One tensor, or a run of its elements, exactly as it reached the model or left it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedTensor {
    /// Row-major elements. A missing value is `null`; so is a redacted one. FP32 is written as the shortest
    /// decimal that names the number; BYTES is text, or `base64:…` where it is not UTF-8.
    pub data: Vec<Value>,
    /// Element type, as in the Open Inference Protocol.
    pub datatype: String,
    /// The tensor's name.
    pub name: String,
    /// Position of the first recorded element in the whole tensor.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: usize,
    /// Columns whose values are left out because the manifest marks them as personal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// The shape of the whole tensor.
    pub shape: Vec<usize>,
}

/// A list, or a run of its values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedList {
    /// Position of the first recorded value in the whole list.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: usize,
    /// The values.
    pub values: Vec<Value>,
}

impl RecordedList {
    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_zero(offset: &usize) -> bool {
    *offset == 0
}

/// Why a model answered as it did, or why that is not said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedExplanation {
    /// How contributions were found: `tree_shap_path_dependent` or `linear`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// `classes` (labels, by score; none for a regression), `expectation` `[scores]`, `score` `[rows, scores]` and
    /// `contributions` `[rows, features, scores]`, with the features in the manifest's order: of those that are
    /// personal the contributions are left out. Over the features contributions sum to score minus expectation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<RecordedTensor>,
    /// Why there is no explanation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Unavailable>,
}

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// Stable code, for example `explain.not_available`.
    pub code: String,
    /// One sentence.
    pub reason: String,
}

/// A model was answered with.
///
/// A request that is too large for one entry takes several events in a row, which differ in `part`, in
/// `time` and in the runs of elements that they hold; only after the last one was the answer given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// What answered: `name@version` of the live or the fallback model, `last_good` or `neutral`.
    pub answered_by: String,
    /// The answer: a value for each row.
    #[serde(default, skip_serializing_if = "RecordedList::is_empty")]
    pub answers: RecordedList,
    /// What the sanitizer changed or flagged.
    #[serde(default, skip_serializing_if = "RecordedList::is_empty")]
    pub changes: RecordedList,
    /// Time from the request's head to this record, in microseconds.
    pub duration_us: u64,
    /// Why the answers are as they are, where the request or the manifest asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<RecordedExplanation>,
    /// Why each higher step of the ladder did not answer, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// 0 live model, 1 fallback model, 2 last good answer, 3 neutral answer.
    pub fallback_level: u8,
    /// The model that answered, where it is not the requested one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<ModelRef>,
    /// Inputs after sanitizing, as they reached the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<RecordedTensor>,
    /// The outputs of the model's graph; none where no model answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RecordedTensor>,
    /// Which event of the request this is, from 1.
    pub part: usize,
    /// How many events the request takes.
    pub parts: usize,
    /// Who asked.
    pub principal: String,
    /// The release that served.
    pub release: String,
    /// The request's id: the caller's, or ours where the caller gave none.
    pub request_id: String,
    /// The model that the request asked for.
    pub requested: ModelRef,
    /// Rows in the request.
    pub rows: usize,
    /// Market symbols: none, one for the whole request, or one a row.
    #[serde(default, skip_serializing_if = "RecordedList::is_empty")]
    pub symbols: RecordedList,
}

/// The recorded answer was given again for the same request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Who asked.
    pub principal: String,
    /// The record of the answer.
    pub receipt: Receipt,
    /// The request's id.
    pub request_id: String,
}

/// What came of a prediction, as the caller reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// When the outcome was observed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<String>,
    /// The record of the prediction, where it is named by its receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_receipt: Option<Receipt>,
    /// The request id of the prediction, where it is named by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_request: Option<String>,
    /// The realised label or value.
    pub outcome: Value,
    /// Profit and loss, in the firm's own currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pnl: Option<f64>,
    /// Who reports.
    pub principal: String,
    /// The id of the request that reports.
    pub request_id: String,
}

/// Why one step of the ladder did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// `name@version` of a model, `last_good` or `neutral`.
    pub step: String,
}

/// A request was turned away, or failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable code, for example `input.shape`.
    pub code: String,
    /// What was wrong, in one sentence, as the caller was told.
    pub error: String,
    /// Why each step of the ladder did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// The field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Who asked; none where the caller could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The request's id.
    pub request_id: String,
    /// The model that was asked for, as the caller wrote it (at most 200 characters).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
    /// Method and path pattern, for example `POST /v1/predict`.
    pub route: String,
    /// HTTP status.
    pub status: u16,
    /// The symbol that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
}

/// An artifact was read, verified, decrypted and loaded, or was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAccess {
    /// Stable code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Time that the load took, in microseconds.
    pub duration_us: u64,
    /// One sentence about the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `name@version`.
    pub model: String,
    /// `loaded`, `failed` or `unloaded`.
    pub outcome: String,
    /// The release that names it.
    pub release: String,
    /// SHA-256 of the plain file, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A release is created, or what serves is changed to one.
///
/// It takes two events of one stream: one with the outcome `intended` before anything is changed, and one that says
/// what came of it. Where the second is missing, the process ended in between: the releases themselves tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseChange {
    /// `create` or `activate`.
    pub action: String,
    /// Stable code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence about the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its models; those of an activation once the release is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ReleasedModel>,
    /// `intended`, `done`, `failed`, or `unknown`: the store did not say whether it was done.
    pub outcome: String,
    /// Who does it, as they say themselves.
    pub principal: String,
    /// The release; of a creation once it has its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The alias's revision that the activation made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// A model of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedModel {
    /// The digest of the artifact's signed files that the release pins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The model that it stands in for when that one fails; none of a live model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_for: Option<String>,
    /// `name@version`.
    pub model: String,
}

/// Something that only a fault or an attack explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Stable code, for example `artifact.signature_invalid`.
    pub code: String,
    /// One sentence.
    pub detail: String,
    /// What it is about, for example a model or a principal.
    pub subject: String,
}

/// Somebody questioned the audit log; what was asked for was given once this was durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// What was asked for, by the names of the parameters; defaults are written out.
    pub filters: std::collections::BTreeMap<String, String>,
    /// Who asked.
    pub principal: String,
    /// The request's id.
    pub request_id: String,
    /// How many entries were given.
    pub returned: u64,
    /// Method and path pattern, for example `GET /v1/audit/events`.
    pub route: String,
    /// Leaves of the tree that the answer is as of.
    pub tree_size: u64,
}
