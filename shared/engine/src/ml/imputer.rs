//! `Imputer`: puts a value in the place of a missing one, by column.

use std::cmp::Ordering;

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View, matrix};
use crate::attributes::{float, floats, int, ints};
use crate::check::invalid;
use crate::error::LoadError;
use crate::tensor::TensorData;

/// The values, one for all columns or one a column, and what they stand in for.
#[derive(Debug, Clone)]
pub(crate) enum Imputer {
    Floats { values: Vec<f32>, replaced: f32 },
    Integers { values: Vec<i64>, replaced: i64 },
}

impl Imputer {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        match (
            floats(node, "imputed_value_floats"),
            ints(node, "imputed_value_int64s"),
        ) {
            ([], []) => Err(invalid(
                node,
                "neither imputed_value_floats nor imputed_value_int64s is given",
            )),
            (values, []) => Ok(Self::Floats {
                values: values.to_vec(),
                replaced: float(node, "replaced_value_float").unwrap_or(0.0),
            }),
            ([], values) => Ok(Self::Integers {
                values: values.to_vec(),
                replaced: int(node, "replaced_value_int64").unwrap_or(0),
            }),
            _ => Err(invalid(
                node,
                "both imputed_value_floats and imputed_value_int64s are given",
            )),
        }
    }

    /// The number of columns, where each has its own value.
    pub(crate) fn features(&self) -> Option<usize> {
        let count = match self {
            Self::Floats { values, .. } => values.len(),
            Self::Integers { values, .. } => values.len(),
        };
        (count > 1).then_some(count)
    }

    pub(crate) fn form(&self, input: &Form) -> Result<Form, String> {
        let (own, count) = match self {
            Self::Floats { values, .. } => (DataType::Fp32, values.len()),
            Self::Integers { values, .. } => (DataType::Int64, values.len()),
        };
        if input.datatype != own {
            return Err(format!(
                "{} where {} is taken",
                input.datatype.name(),
                own.name()
            ));
        }
        check_count(count, &input.shape)?;
        Ok(input.clone())
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Array, String> {
        self.form(&input.form())?;
        let data = match (self, input.data) {
            (Self::Floats { values, replaced }, TensorData::Fp32(data)) => {
                let is_missing = |x: &f32| {
                    x.partial_cmp(replaced) == Some(Ordering::Equal)
                        || (x.is_nan() && replaced.is_nan())
                };
                TensorData::Fp32(impute(data, values, is_missing))
            }
            (Self::Integers { values, replaced }, TensorData::Int64(data)) => {
                TensorData::Int64(impute(data, values, |x| x == replaced))
            }
            (_, other) => return Err(format!("{} is not taken", other.datatype().name())),
        };
        Ok(Array {
            shape: input.shape.to_vec(),
            data,
        })
    }
}

fn check_count(count: usize, shape: &[usize]) -> Result<(), String> {
    let (_, columns) = matrix(shape)?;
    if count == 1 || count == columns {
        Ok(())
    } else {
        Err(format!(
            "{columns} features where there are {count} imputed values"
        ))
    }
}

fn impute<T: Copy>(data: &[T], values: &[T], is_missing: impl Fn(&T) -> bool) -> Vec<T> {
    data.iter()
        .zip(values.iter().cycle())
        .map(|(x, value)| if is_missing(x) { *value } else { *x })
        .collect()
}
