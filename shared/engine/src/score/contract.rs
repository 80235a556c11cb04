//! The output contract: an output that breaks it is no answer.

use artifact::manifest::OutputContract;

use super::Answer;
use crate::error::{LoadError, ScoreError};
use crate::model::TensorSpec;
use crate::tensor::{Tensor, TensorData};

/// How far a probability may stray out of `0..=1`: rounding of f32 sums.
const PROBABILITY_TOLERANCE: f64 = 1e-6;

/// A manifest's output contract, bound to the places of a graph's outputs.
#[derive(Debug)]
pub(super) enum Contract {
    Classification {
        labels: Vec<String>,
        label: Option<usize>,
        probabilities: usize,
        sum_tolerance: f64,
    },
    Regression {
        value: usize,
        min: f64,
        max: f64,
    },
}

impl Contract {
    /// Finds the contract's outputs among the graph's.
    pub(super) fn bind(
        contract: &OutputContract,
        outputs: &[TensorSpec],
    ) -> Result<Self, LoadError> {
        match contract {
            OutputContract::Classification {
                labels,
                label,
                probabilities,
                sum_tolerance,
            } => {
                if labels.is_empty() {
                    return Err(mismatch(
                        "output.labels",
                        "there must be a label".to_owned(),
                    ));
                }
                if !(sum_tolerance.is_finite() && *sum_tolerance >= 0.0) {
                    return Err(mismatch(
                        "output.sum_tolerance",
                        format!("{sum_tolerance} is no tolerance"),
                    ));
                }
                let at = find_float(outputs, probabilities, "output.probabilities")?;
                let width = outputs[at].shape.get(1).copied().unwrap_or(-1);
                if width != -1 && width != labels.len() as i64 {
                    let reason = format!(
                        "{} labels where `{probabilities}` has {width} columns",
                        labels.len()
                    );
                    return Err(mismatch("output.labels", reason));
                }
                let label = label
                    .as_ref()
                    .map(|name| find(outputs, name, "output.label"))
                    .transpose()?;
                Ok(Self::Classification {
                    labels: labels.clone(),
                    label,
                    probabilities: at,
                    sum_tolerance: *sum_tolerance,
                })
            }
            OutputContract::Regression { value, min, max } => Ok(Self::Regression {
                value: find_float(outputs, value, "output.value")?,
                min: min.unwrap_or(f64::NEG_INFINITY),
                max: max.unwrap_or(f64::INFINITY),
            }),
        }
    }

    /// Checks shapes and types, not values.
    pub(super) fn check_form(&self, outputs: &[Tensor], rows: usize) -> Result<(), ScoreError> {
        match self {
            Self::Classification {
                labels,
                label,
                probabilities,
                ..
            } => {
                let tensor = &outputs[*probabilities];
                if tensor.shape != [rows, labels.len()] || !tensor.data.datatype().is_float() {
                    return Err(wrong_form(
                        tensor,
                        &format!("floats [{rows}, {}]", labels.len()),
                    ));
                }
                if let Some(tensor) = label.map(|at| &outputs[at]) {
                    let is_label = matches!(
                        tensor.data,
                        TensorData::Int64(_) | TensorData::Int32(_) | TensorData::Bytes(_)
                    );
                    if !is_column(tensor, rows) || !is_label {
                        return Err(wrong_form(
                            tensor,
                            &format!("class indices or strings [{rows}]"),
                        ));
                    }
                }
            }
            Self::Regression { value, .. } => {
                let tensor = &outputs[*value];
                if !is_column(tensor, rows) || !tensor.data.datatype().is_float() {
                    return Err(wrong_form(
                        tensor,
                        &format!("floats [{rows}] or [{rows}, 1]"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks everything and reads the answers.
    pub(super) fn check(&self, outputs: &[Tensor], rows: usize) -> Result<Vec<Answer>, ScoreError> {
        self.check_form(outputs, rows)?;
        for tensor in outputs {
            if let Some(at) = find_non_finite(&tensor.data) {
                let row = at / (tensor.data.len() / rows).max(1);
                return Err(ScoreError::NotFinite {
                    output: tensor.name.clone(),
                    row,
                });
            }
        }
        match self {
            Self::Classification {
                labels,
                label,
                probabilities,
                sum_tolerance,
            } => {
                let source = &outputs[*probabilities];
                let label = label.map(|at| &outputs[at]);
                (0..rows)
                    .map(|row| {
                        let probabilities = read_row(&source.data, row, labels.len());
                        check_distribution(source, row, &probabilities, *sum_tolerance)?;
                        let index = match label {
                            Some(tensor) => read_label(tensor, row, labels)?,
                            None => find_largest(&probabilities),
                        };
                        Ok(Answer::Class {
                            label: labels[index].clone(),
                            probabilities,
                        })
                    })
                    .collect()
            }
            Self::Regression { value, min, max } => {
                let source = &outputs[*value];
                (0..rows)
                    .map(|row| {
                        let value = read_at(&source.data, row);
                        if value < *min || value > *max {
                            let reason = format!("{value} is outside [{min}, {max}]");
                            return Err(broken(source, row, reason));
                        }
                        Ok(Answer::Value { value })
                    })
                    .collect()
            }
        }
    }
}

fn mismatch(field: &str, reason: String) -> LoadError {
    LoadError::ManifestMismatch {
        field: field.to_owned(),
        reason,
    }
}

fn find(outputs: &[TensorSpec], name: &str, field: &str) -> Result<usize, LoadError> {
    outputs
        .iter()
        .position(|spec| spec.name == name)
        .ok_or_else(|| {
            let names: Vec<&str> = outputs.iter().map(|spec| spec.name.as_str()).collect();
            mismatch(
                field,
                format!(
                    "the graph has no output `{name}`; it gives {}",
                    names.join(", ")
                ),
            )
        })
}

fn find_float(outputs: &[TensorSpec], name: &str, field: &str) -> Result<usize, LoadError> {
    let at = find(outputs, name, field)?;
    let datatype = outputs[at].datatype;
    if datatype.is_float() {
        Ok(at)
    } else {
        Err(mismatch(
            field,
            format!("`{name}` is {} in the graph, not a float", datatype.name()),
        ))
    }
}

fn broken(tensor: &Tensor, row: usize, reason: String) -> ScoreError {
    ScoreError::OutOfContract {
        output: tensor.name.clone(),
        row,
        reason,
    }
}

fn wrong_form(tensor: &Tensor, expected: &str) -> ScoreError {
    let reason = format!(
        "{} {:?} where {expected} is promised",
        tensor.data.datatype().name(),
        tensor.shape
    );
    broken(tensor, 0, reason)
}

/// True for `[rows]` and `[rows, 1]`.
fn is_column(tensor: &Tensor, rows: usize) -> bool {
    tensor.shape == [rows] || tensor.shape == [rows, 1]
}

fn find_non_finite(data: &TensorData) -> Option<usize> {
    match data {
        TensorData::Fp16(values) => values.iter().position(|v| !v.is_finite()),
        TensorData::Fp32(values) => values.iter().position(|v| !v.is_finite()),
        TensorData::Fp64(values) => values.iter().position(|v| !v.is_finite()),
        _ => None,
    }
}

/// A float tensor's element; NaN in any other, which the form rules out.
fn read_at(data: &TensorData, at: usize) -> f64 {
    match data {
        TensorData::Fp16(values) => values[at].into(),
        TensorData::Fp32(values) => values[at].into(),
        TensorData::Fp64(values) => values[at],
        _ => f64::NAN,
    }
}

fn read_row(data: &TensorData, row: usize, width: usize) -> Vec<f64> {
    (row * width..(row + 1) * width)
        .map(|at| read_at(data, at))
        .collect()
}

fn check_distribution(
    source: &Tensor,
    row: usize,
    probabilities: &[f64],
    sum_tolerance: f64,
) -> Result<(), ScoreError> {
    let allowed = -PROBABILITY_TOLERANCE..=1.0 + PROBABILITY_TOLERANCE;
    if let Some(value) = probabilities.iter().find(|value| !allowed.contains(*value)) {
        return Err(broken(source, row, format!("{value} is not a probability")));
    }
    let sum: f64 = probabilities.iter().sum();
    if (sum - 1.0).abs() > sum_tolerance {
        let reason = format!("the probabilities sum to {sum}, not to 1 within {sum_tolerance}");
        return Err(broken(source, row, reason));
    }
    Ok(())
}

fn read_label(tensor: &Tensor, row: usize, labels: &[String]) -> Result<usize, ScoreError> {
    let index = match &tensor.data {
        TensorData::Int64(values) => usize::try_from(values[row]).ok(),
        TensorData::Int32(values) => usize::try_from(values[row]).ok(),
        TensorData::Bytes(values) => labels
            .iter()
            .position(|label| label.as_bytes() == values[row]),
        _ => None,
    };
    index.filter(|index| *index < labels.len()).ok_or_else(|| {
        let found = match &tensor.data {
            TensorData::Int64(values) => values[row].to_string(),
            TensorData::Int32(values) => values[row].to_string(),
            TensorData::Bytes(values) => String::from_utf8_lossy(&values[row]).into_owned(),
            _ => String::new(),
        };
        broken(
            tensor,
            row,
            format!("`{found}` is none of the {} labels", labels.len()),
        )
    })
}

/// The place of the largest value, the first of equals.
fn find_largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}
