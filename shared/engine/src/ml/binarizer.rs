//! `Binarizer`: 1 above a threshold, else 0.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View};
use crate::attributes::float;
use crate::check::invalid;
use crate::error::LoadError;
use crate::tensor::TensorData;

/// The threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Binarizer {
    threshold: f32,
}

impl Binarizer {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let threshold = float(node, "threshold").unwrap_or(0.0);
        if threshold.is_nan() {
            return Err(invalid(node, "threshold is NaN"));
        }
        Ok(Self { threshold })
    }

    pub(crate) fn form(input: &Form) -> Result<Form, String> {
        match input.datatype {
            DataType::Fp32 => Ok(input.clone()),
            other => Err(format!("{} where FP32 is taken", other.name())),
        }
    }

    pub(crate) fn run(self, input: View<'_>) -> Result<Array, String> {
        Self::form(&input.form())?;
        let TensorData::Fp32(values) = input.data else {
            return Err("FP32 is taken".to_owned());
        };
        // Neither 0 nor 1 stands for a missing value.
        if let Some(at) = values.iter().position(|x| x.is_nan()) {
            return Err(format!("element {at} is NaN"));
        }
        let values = values
            .iter()
            .map(|x| f32::from(u8::from(*x > self.threshold)))
            .collect();
        Ok(Array::floats(input.shape.to_vec(), values))
    }
}
