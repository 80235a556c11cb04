//! `Normalizer`: divides a row by its norm.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View, check_number, matrix};
use crate::attributes::text;
use crate::check::invalid;
use crate::error::LoadError;
use crate::tensor::TensorData;

/// The norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Normalizer {
    /// The largest value (not the largest magnitude), as the specification and onnxruntime have it.
    Max,
    L1,
    L2,
}

impl Normalizer {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        match text(node, "norm").unwrap_or(b"MAX") {
            b"MAX" => Ok(Self::Max),
            b"L1" => Ok(Self::L1),
            b"L2" => Ok(Self::L2),
            other => Err(invalid(
                node,
                format!("`{}` is no norm", String::from_utf8_lossy(other)),
            )),
        }
    }

    pub(crate) fn form(input: &Form) -> Result<Form, String> {
        check_number(input.datatype)?;
        matrix(&input.shape)?;
        Ok(Form::new(DataType::Fp32, input.shape.clone()))
    }

    pub(crate) fn run(self, input: View<'_>) -> Result<Array, String> {
        let (_, columns) = matrix(input.shape)?;
        let values = match input.data {
            TensorData::Fp32(values) => self.apply(values, columns, |x| x),
            TensorData::Fp64(values) => self.apply(values, columns, |x| x as f32),
            TensorData::Int32(values) => self.apply(values, columns, |x| x as f32),
            TensorData::Int64(values) => self.apply(values, columns, |x| x as f32),
            other => {
                check_number(other.datatype())?;
                Vec::new()
            }
        };
        Ok(Array::floats(input.shape.to_vec(), values))
    }

    fn apply<T: Copy>(self, values: &[T], columns: usize, read: impl Fn(T) -> f32) -> Vec<f32> {
        let mut out: Vec<f32> = values.iter().map(|x| read(*x)).collect();
        if columns == 0 {
            return out;
        }
        for row in out.chunks_exact_mut(columns) {
            match self {
                Self::Max => {
                    let most = row.iter().copied().fold(
                        f32::MIN,
                        |most, x| {
                            if most < x { x } else { most }
                        },
                    );
                    divide(row, most);
                }
                Self::L1 => {
                    let sum = row.iter().map(|x| x.abs()).sum();
                    divide(row, sum);
                }
                Self::L2 => {
                    let sum: f32 = row.iter().map(|x| x * x).sum();
                    if sum != 0.0 {
                        for x in row {
                            let size = (*x * *x / sum).sqrt();
                            *x = if *x < 0.0 { -size } else { size };
                        }
                    }
                }
            }
        }
        out
    }
}

/// A row whose norm is 0 stays as it is.
fn divide(row: &mut [f32], norm: f32) {
    if norm != 0.0 {
        for x in row {
            *x /= norm;
        }
    }
}
