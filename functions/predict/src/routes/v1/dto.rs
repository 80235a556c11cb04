//! Wire types of `/v1`.

use std::collections::BTreeMap;

use audit::Receipt;
use domain::{Durability, ModelName, ModelVersion, ReleaseId, RequestId, Symbol};
use engine::{Answer, Change};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::explanation::RowExplanation;
use super::features::Features;
use crate::answer::Answered;

/// `POST /v1/predict`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "docs/predict.md describes the fields")]
pub struct PredictRequest {
    pub symbol: Symbol,
    pub features: Features,
    #[serde(default)]
    pub request_id: Option<RequestId>,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub model_version: Option<String>,
    #[serde(default)]
    pub explain: Option<bool>,
}

/// `POST /v1/predict/batch`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "docs/predict.md describes the fields")]
pub struct BatchRequest {
    pub rows: Vec<Row>,
    #[serde(default)]
    pub request_id: Option<RequestId>,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub model_version: Option<String>,
    #[serde(default)]
    pub explain: Option<bool>,
}

/// One row of a batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "docs/predict.md describes the fields")]
pub struct Row {
    pub symbol: Symbol,
    pub features: Features,
}

/// `POST /v1/outcomes`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "docs/predict.md describes the fields")]
pub struct OutcomeRequest {
    #[serde(default)]
    pub request_id: Option<RequestId>,
    #[serde(default)]
    pub receipt: Option<Receipt>,
    pub outcome: Value,
    #[serde(default)]
    pub pnl: Option<f64>,
    #[serde(default)]
    pub observed_at: Option<String>,
}

#[derive(Serialize)]
pub(super) struct OutcomeResponse<'a> {
    pub(super) request_id: &'a RequestId,
    pub(super) receipt: Receipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audit: Option<AuditMark>,
}

/// Says of a record that it is not in the audit log yet.
#[derive(Serialize)]
pub(super) struct AuditMark {
    durability: &'static str,
}

impl AuditMark {
    /// `None` where the record is in the audit log.
    pub(super) fn of(durability: Durability) -> Option<Self> {
        let durability = durability.mark()?;
        Some(Self { durability })
    }
}

/// What is the same in the answers to one row and to a batch.
#[derive(Serialize)]
pub(super) struct About<'a> {
    request_id: &'a RequestId,
    release: ReleaseId,
    model: &'a ModelName,
    model_version: &'a ModelVersion,
    answered_by: &'a str,
    degraded: bool,
    fallback_level: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    changes: &'a [Change],
    receipt: Receipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<AuditMark>,
}

/// The answer for one row.
#[derive(Serialize)]
pub(super) struct Prediction<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a Symbol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<BTreeMap<&'a str, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<RowExplanation<'a>>,
}

#[derive(Serialize)]
pub(super) struct PredictResponse<'a> {
    #[serde(flatten)]
    pub(super) about: About<'a>,
    #[serde(flatten)]
    pub(super) prediction: Prediction<'a>,
}

#[derive(Serialize)]
pub(super) struct BatchResponse<'a> {
    #[serde(flatten)]
    pub(super) about: About<'a>,
    pub(super) predictions: Vec<Prediction<'a>>,
}

impl<'a> About<'a> {
    pub(super) fn of(answered: &'a Answered) -> Self {
        Self {
            request_id: &answered.request_id,
            release: answered.release,
            model: &answered.model,
            model_version: &answered.version,
            answered_by: &answered.answered_by,
            degraded: answered.level > 0,
            fallback_level: answered.level,
            reason: answered.reason.as_deref(),
            changes: &answered.changes,
            receipt: answered.receipt,
            audit: AuditMark::of(answered.durability),
        }
    }
}

impl<'a> Prediction<'a> {
    /// The answer for a row of a request with no symbol, one, or one a row.
    pub(super) fn of(answered: &'a Answered, row: usize, answer: &'a Answer) -> Self {
        let symbols = &answered.symbols;
        let blank = Self {
            symbol: symbols.get(row).or(symbols.first()),
            label: None,
            probabilities: None,
            value: None,
            explanation: RowExplanation::of(answered.explanation.as_ref(), row),
        };
        match answer {
            Answer::Class {
                label,
                probabilities,
            } => Self {
                label: Some(label),
                probabilities: Some(
                    answered
                        .labels
                        .iter()
                        .map(String::as_str)
                        .zip(probabilities.iter().copied())
                        .collect(),
                ),
                ..blank
            },
            Answer::Value { value } => Self {
                value: Some(*value),
                ..blank
            },
        }
    }
}
