//! The recorded answer, as it is kept for requests that are sent again.

use artifact::manifest::DataType;
use audit::Receipt;
use domain::{Durability, ModelName, ModelVersion, ReleaseId, RequestId, Symbol};
use engine::{Answer, Change, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::answer::Answered;
use crate::explain::Explanation;
use crate::tensor_json::{self, Flat};

/// The version tag of the stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "sealcast.answer/v1")]
    V1,
}

#[derive(Serialize)]
struct Stored<'a> {
    format: Format,
    request_id: &'a RequestId,
    release: ReleaseId,
    model: &'a ModelName,
    version: &'a ModelVersion,
    answered_by: &'a str,
    level: u8,
    reason: Option<&'a str>,
    symbols: &'a [Symbol],
    changes: &'a [Change],
    outputs: Vec<StoredTensor<'a>>,
    answers: &'a [Answer],
    labels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a Explanation>,
    receipt: Receipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'a str>,
}

#[derive(Serialize)]
struct StoredTensor<'a> {
    name: &'a str,
    datatype: DataType,
    shape: &'a [usize],
    data: Flat<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    #[expect(dead_code, reason = "an unknown format must not parse")]
    format: Format,
    request_id: RequestId,
    release: ReleaseId,
    model: ModelName,
    version: ModelVersion,
    answered_by: String,
    level: u8,
    reason: Option<String>,
    symbols: Vec<Symbol>,
    changes: Vec<Change>,
    #[serde(borrow)]
    outputs: Vec<ReadTensor<'a>>,
    answers: Vec<Answer>,
    labels: Vec<String>,
    #[serde(default)]
    explanation: Option<Explanation>,
    receipt: Receipt,
    #[serde(default)]
    durability: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadTensor<'a> {
    name: String,
    datatype: DataType,
    shape: Vec<usize>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The answer's stored bytes.
///
/// # Errors
/// Where an output is not finite, which the output contract rules out.
pub(crate) fn write(answered: &Answered) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Stored {
        format: Format::V1,
        request_id: &answered.request_id,
        release: answered.release,
        model: &answered.model,
        version: &answered.version,
        answered_by: &answered.answered_by,
        level: answered.level,
        reason: answered.reason.as_deref(),
        symbols: &answered.symbols,
        changes: &answered.changes,
        outputs: answered
            .outputs
            .iter()
            .map(|t| StoredTensor {
                name: &t.name,
                datatype: t.data.datatype(),
                shape: &t.shape,
                data: Flat(&t.data),
            })
            .collect(),
        answers: &answered.answers,
        labels: &answered.labels,
        explanation: answered.explanation.as_ref(),
        receipt: answered.receipt,
        durability: answered.durability.mark(),
    })
}

/// Reads stored bytes; `None` where they are not what [`write`] gives.
pub(crate) fn read(bytes: &[u8]) -> Option<Answered> {
    let read: Read<'_> = serde_json::from_slice(bytes).ok()?;
    let outputs = read
        .outputs
        .into_iter()
        .map(|t| {
            let data = tensor_json::parse(t.data.get(), t.datatype, &t.shape, "outputs").ok()?;
            Some(Tensor {
                name: t.name,
                shape: t.shape,
                data,
            })
        })
        .collect::<Option<_>>()?;
    Some(Answered {
        request_id: read.request_id,
        release: read.release,
        model: read.model,
        version: read.version,
        answered_by: read.answered_by,
        level: read.level,
        reason: read.reason,
        symbols: read.symbols,
        changes: read.changes,
        outputs,
        answers: read.answers,
        labels: read.labels,
        explanation: read.explanation,
        receipt: read.receipt,
        durability: Durability::from_mark(read.durability)?,
        replay_durability: Durability::default(),
        replayed: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Found;
    use audit::{LeafHash, StreamId};
    use engine::{ChangeKind, Explanations, Method, TensorData};

    fn answered() -> Answered {
        Answered {
            request_id: RequestId::parse("id-1").unwrap(),
            release: ReleaseId::from_number(1).unwrap(),
            model: ModelName::parse("m").unwrap(),
            version: ModelVersion::parse("1.0.0").unwrap(),
            answered_by: "m@1.0.0".to_owned(),
            level: 0,
            reason: None,
            symbols: vec![Symbol::parse("SPX").unwrap()],
            changes: vec![Change {
                row: 0,
                input: "features".to_owned(),
                column: Some("vol".to_owned()),
                kind: ChangeKind::Clipped,
                from: Some(9.0),
                to: Some(3.0),
            }],
            outputs: vec![
                Tensor {
                    name: "p".to_owned(),
                    shape: vec![1, 2],
                    data: TensorData::Fp32(vec![0.1, 0.9]),
                },
                Tensor {
                    name: "l".to_owned(),
                    shape: vec![1],
                    data: TensorData::Int64(vec![i64::MAX]),
                },
                Tensor {
                    name: "s".to_owned(),
                    shape: vec![1],
                    data: TensorData::Bytes(vec![b"buy".to_vec()]),
                },
            ],
            answers: vec![Answer::Class {
                label: "buy".to_owned(),
                probabilities: vec![0.1, 0.9],
            }],
            labels: vec!["sell".to_owned(), "buy".to_owned()],
            explanation: Some(Explanation::Found(Box::new(Found {
                features: vec!["vol".to_owned()],
                classes: vec!["buy".to_owned()],
                numbers: Explanations {
                    method: Method::Linear,
                    features: 1,
                    expectation: vec![0.1 + 0.2],
                    scores: vec![1.0 / 3.0],
                    contributions: vec![1.0 / 3.0 - 0.1 - 0.2],
                },
            }))),
            receipt: Receipt {
                stream: StreamId([1; 16]),
                seq: 7,
                leaf_hash: LeafHash([2; 32]),
            },
            durability: Durability::Spilled,
            replay_durability: Durability::default(),
            replayed: false,
        }
    }

    #[test]
    fn a_stored_answer_reads_back_as_it_was_given() {
        let bytes = write(&answered()).unwrap();
        assert_eq!(
            read(&bytes),
            Some(Answered {
                replayed: true,
                ..answered()
            })
        );
    }

    #[test]
    fn an_answer_without_an_explanation_is_stored_as_before() {
        let plain = Answered {
            explanation: None,
            durability: Durability::Recorded,
            ..answered()
        };
        let bytes = write(&plain).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("explanation") && !text.contains("durability"));
        assert_eq!(read(&bytes).unwrap().explanation, None);
    }

    #[test]
    fn an_unknown_format_is_not_read() {
        let text = String::from_utf8(write(&answered()).unwrap()).unwrap();
        assert_eq!(
            read(text.replace("answer/v1", "answer/v2").as_bytes()),
            None
        );
    }
}
