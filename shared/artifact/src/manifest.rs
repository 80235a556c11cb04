//! The manifest: what a model is, takes, promises and may be used for.
//!
//! A manifest is written by people, completed by `seal` (which fills in
//! [`Manifest::model`]) and then signed together with the container, so
//! nothing in it can change afterwards. Every unknown field is an error: a
//! misspelt limit must not silently be no limit.

mod explain;
mod parse;
mod validate;

pub use explain::{Background, Explain, ExplainWhen, Summary};
pub use parse::{MAX_MANIFEST_SIZE, ManifestError};
pub use validate::{
    MAX_LATENCY_BUDGET_MS, MAX_MODEL_SIZE, MAX_ROW_ELEMENTS, MAX_ROWS, ManifestFault,
};

use serde::{Deserialize, Serialize};

use crate::ids::{ModelName, ModelVersion, Sha256Digest, Symbol};

/// The version tag of the manifest's own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestFormat {
    /// The only version so far.
    #[serde(rename = "sealcast.manifest/v1")]
    V1,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form; an unknown one is an error.
    pub format: ManifestFormat,
    /// The model's name, for example `spx-direction`.
    pub name: ModelName,
    /// The model's version; `name@version` is immutable once pushed.
    pub version: ModelVersion,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for the model: a team or a mailbox.
    pub owner: String,
    /// The algorithm's id in the firm's register (EU RTS 22 art. 8, RTS 24).
    pub algo_id: String,
    /// Digest and size of the plain ONNX file. `seal` fills it in; a manifest without it is not sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFile>,
    /// Version, digest and length of the model's packed form, where it has one. `seal` fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<PackedFile>,
    /// The tensors that the model takes, by name.
    pub inputs: Vec<InputTensor>,
    /// What the model promises to answer.
    pub output: OutputContract,
    /// Longest time that scoring one request may take, in milliseconds (1 to 60,000).
    pub latency_budget_ms: u32,
    /// What the model may be used for.
    pub limits: Limits,
    /// What is answered when this model and the release's fallback model both fail.
    #[serde(default, skip_serializing_if = "Fallback::is_empty")]
    pub fallback: Fallback,
    /// When predictions are explained, and against which background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explain>,
    /// Names of columns that hold personal data; their values never stand in an audit event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personal_data: Vec<String>,
}

/// The plain ONNX file that the container holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// SHA-256 of the plain bytes.
    pub sha256: Sha256Digest,
    /// Length of the plain bytes.
    pub size: u64,
}

/// The plain packed form that the second container holds: the same model, in the form in which an engine loads it
/// fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedFile {
    /// The version of the form, which is the engine's: one that does not know it loads the ONNX file.
    pub format: u32,
    /// SHA-256 of the plain bytes.
    pub sha256: Sha256Digest,
    /// Length of the plain bytes.
    pub size: u64,
}

/// Element types, named as in the Open Inference Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum DataType {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

impl DataType {
    /// The protocol's name, for example `FP32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// True for FP16, FP32 and FP64: the types in which a value can be missing (NaN).
    pub fn is_float(self) -> bool {
        matches!(self, Self::Fp16 | Self::Fp32 | Self::Fp64)
    }
}

/// One input tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputTensor {
    /// The graph's name of the input.
    pub name: String,
    /// The element type.
    pub datatype: DataType,
    /// The shape; the first dimension is the batch and is -1, all others are positive.
    pub shape: Vec<i64>,
    /// Whether elements of another numeric type are taken.
    #[serde(default, skip_serializing_if = "TypeConversion::is_strict")]
    pub convert: TypeConversion,
    /// The columns of the last dimension, in order: as many as it is long, or none (then nothing is checked
    /// but finiteness). A tensor of shape `[-1]` has one column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
}

/// Whether a request may send another numeric type than the manifest's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeConversion {
    /// Another type is an error.
    #[default]
    Strict,
    /// Any numeric type is taken whose value fits (a float may lose precision, an integer must be exact);
    /// the conversion is reported.
    Numeric,
}

impl TypeConversion {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde calls"
    )]
    fn is_strict(&self) -> bool {
        *self == Self::Strict
    }
}

/// One feature: what values it may have, and what is done with the others.
///
/// Applied in this order: missing, hard range, outlier, scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The feature's name, unique in the model.
    pub name: String,
    /// Smallest value that is physically possible; below it the request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest value that is physically possible; above it the request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What is done with a missing value (JSON `null`, or NaN in a binary tensor).
    #[serde(default)]
    pub missing: Missing,
    /// What is done with an outlier; without it, none is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier: Option<Outlier>,
    /// A linear map that is applied last, for models trained on normalised ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// What the training data looked like; needed by z-score and IQR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Statistics>,
}

/// Policy for a missing value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Missing {
    /// The request is refused.
    #[default]
    Reject,
    /// The value is put in its place, and reported.
    Impute {
        /// The value, in the column's own unit.
        value: f64,
    },
    /// NaN reaches the model, which was trained to take it.
    Pass,
}

/// Policy for an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlier {
    /// How an outlier is told.
    pub detect: Detect,
    /// What is done with it.
    pub action: OutlierAction,
}

/// How an outlier is told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Detect {
    /// Further than `threshold` standard deviations from the training mean.
    ZScore {
        /// In standard deviations, above 0.
        threshold: f64,
    },
    /// Further than `factor` interquartile ranges below the first or above the third quartile (Tukey's fences).
    Iqr {
        /// In interquartile ranges, above 0; Tukey's own is 1.5.
        factor: f64,
    },
    /// Outside `[min, max]`.
    Bounds {
        /// Smallest ordinary value.
        min: f64,
        /// Largest ordinary value.
        max: f64,
    },
}

/// What is done with an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutlierAction {
    /// The request is refused.
    Reject,
    /// The value is moved to the nearest ordinary one, and reported.
    Clip,
    /// The value stays, and is reported.
    Flag,
}

/// The linear map that takes `from[0]` to `to[0]` and `from[1]` to `to[1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Range in the request's unit.
    pub from: [f64; 2],
    /// Range that the model was trained on.
    pub to: [f64; 2],
}

/// Training statistics of one column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the usual ones")]
pub struct Statistics {
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    pub min: f64,
    pub max: f64,
    /// First quartile (linear interpolation, as `numpy.quantile`'s default).
    pub q1: f64,
    pub median: f64,
    pub q3: f64,
}

/// What the model promises to answer. A non-finite value breaks every contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OutputContract {
    /// One label a row, with a probability for each label.
    Classification {
        /// Labels in the order of the probability columns.
        labels: Vec<String>,
        /// Name of the label output (class index or string, one a row); without it the most probable label is the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// Name of the probability output, `[rows, labels]`.
        probabilities: String,
        /// How far a row's probabilities may sum from 1.
        #[serde(default = "default_sum_tolerance")]
        sum_tolerance: f64,
    },
    /// One number a row.
    Regression {
        /// Name of the output, `[rows]` or `[rows, 1]`.
        value: String,
        /// Smallest value that is an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// Largest value that is an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
}

fn default_sum_tolerance() -> f64 {
    1e-3
}

/// What the model may be used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Symbols that may be asked for; a request for any other is refused (RTS 6 art. 8).
    /// Without the field every symbol may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<Vec<Symbol>>,
    /// Most rows in one request (1 to 65,536).
    #[serde(default = "default_max_rows")]
    pub max_rows: u32,
}

fn default_max_rows() -> u32 {
    1024
}

/// The last steps of the degradation ladder, below the release's fallback model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The last good answer for the same symbol is given if it is at most this old, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_max_age_s: Option<u32>,
    /// The answer that does no harm, for example `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neutral: Option<Neutral>,
}

impl Fallback {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The answer that does no harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected {label, probabilities} or {value}"
)]
pub enum Neutral {
    /// For a classification.
    Label {
        /// One of the contract's labels.
        label: String,
        /// One probability a label, summing to 1.
        probabilities: Vec<f64>,
    },
    /// For a regression.
    Value {
        /// A value inside the contract's range.
        value: f64,
    },
}

#[cfg(test)]
mod tests;
