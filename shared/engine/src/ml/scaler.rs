//! `Scaler`: `(x - offset) × scale`, by column.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View, check_number};
use crate::attributes::{finite, floats};
use crate::check::invalid;
use crate::error::LoadError;
use crate::tensor::TensorData;

/// Offsets and scales: one for all columns, or one a column.
#[derive(Debug, Clone)]
pub(crate) struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Scaler {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let offset = finite(node, "offset", floats(node, "offset"))?;
        let scale = finite(node, "scale", floats(node, "scale"))?;
        if offset.is_empty() || offset.len() != scale.len() {
            return Err(invalid(
                node,
                format!(
                    "{} offsets and {} scales; as many of both are needed, 1 or more",
                    offset.len(),
                    scale.len()
                ),
            ));
        }
        Ok(Self {
            offset: offset.to_vec(),
            scale: scale.to_vec(),
        })
    }

    /// The number of columns, where each has its own offset.
    pub(crate) fn features(&self) -> Option<usize> {
        (self.offset.len() > 1).then_some(self.offset.len())
    }

    pub(crate) fn form(&self, input: &Form) -> Result<Form, String> {
        check_number(input.datatype)?;
        self.columns(&input.shape)?;
        Ok(Form::new(DataType::Fp32, input.shape.clone()))
    }

    /// The length of the dimension that has offsets and scales: the second, or the only one.
    fn columns(&self, shape: &[usize]) -> Result<usize, String> {
        let columns = match shape {
            [columns] | [_, columns] => *columns,
            _ => return Err(format!("shape {shape:?} where [rows, columns] is taken")),
        };
        if self.offset.len() == 1 || self.offset.len() == columns {
            Ok(columns)
        } else {
            Err(format!(
                "{columns} features where there are {} offsets",
                self.offset.len()
            ))
        }
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Array, String> {
        let columns = self.columns(input.shape)?;
        let values = match input.data {
            TensorData::Fp32(values) => {
                self.scale(values, columns, |x, offset, scale| (x - offset) * scale)
            }
            TensorData::Fp64(values) => self.scale(values, columns, |x, offset, scale| {
                ((x - f64::from(offset)) * f64::from(scale)) as f32
            }),
            TensorData::Int32(values) => self.scale(values, columns, |x, offset, scale| {
                (x as f32 - offset) * scale
            }),
            TensorData::Int64(values) => self.scale(values, columns, |x, offset, scale| {
                (x as f32 - offset) * scale
            }),
            other => {
                check_number(other.datatype())?;
                Vec::new()
            }
        };
        Ok(Array::floats(input.shape.to_vec(), values))
    }

    fn scale<T: Copy>(
        &self,
        values: &[T],
        columns: usize,
        step: impl Fn(T, f32, f32) -> f32,
    ) -> Vec<f32> {
        if let ([offset], [scale]) = (&*self.offset, &*self.scale) {
            return values.iter().map(|x| step(*x, *offset, *scale)).collect();
        }
        let mut out = Vec::with_capacity(values.len());
        for row in values.chunks_exact(columns) {
            let pairs = self.offset.iter().zip(&self.scale);
            out.extend(
                row.iter()
                    .zip(pairs)
                    .map(|(x, (offset, scale))| step(*x, *offset, *scale)),
            );
        }
        out
    }
}
