//! What is known of a graph's values without running it: constants and ranks.

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, TensorProto};

use crate::attributes::elements;
use crate::tensor::TensorData;

/// Constants and ranks by value name.
#[derive(Debug, Default)]
pub(crate) struct Constants<'a> {
    tensors: HashMap<&'a str, &'a TensorProto>,
    ranks: HashMap<&'a str, usize>,
    /// What is the whole shape of some value, and that value's rank where it is known.
    shapes: HashMap<&'a str, Option<usize>>,
}

/// Elements that are read of a constant at most: shapes, axes and steps are short.
const MAX_READ: usize = 4096;

impl<'a> Constants<'a> {
    /// Collects initialisers, `Constant` nodes and the ranks of inputs.
    pub(crate) fn collect(graph: &'a GraphProto) -> Self {
        let mut constants = Self::default();
        for input in &graph.input {
            if let Some(Value::TensorType(tensor)) =
                input.r#type.as_ref().and_then(|form| form.value.as_ref())
                && let Some(shape) = &tensor.shape
            {
                constants.ranks.insert(&input.name, shape.dim.len());
            }
        }
        for tensor in &graph.initializer {
            constants.tensors.insert(&tensor.name, tensor);
            constants.ranks.insert(&tensor.name, tensor.dims.len());
        }
        for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
            let value = node
                .attribute
                .iter()
                .find(|attribute| attribute.name == "value");
            if let (Some(tensor), Some(output)) = (
                value.and_then(|attribute| attribute.t.as_ref()),
                node.output.first(),
            ) {
                constants.tensors.insert(output, tensor);
                constants.ranks.insert(output, tensor.dims.len());
            }
        }
        for node in graph.node.iter().filter(|node| node.op_type == "Shape") {
            if let ([input], [output], []) = (&*node.input, &*node.output, &*node.attribute) {
                let rank = constants.ranks.get(input.as_str()).copied();
                constants.shapes.insert(output, rank);
            }
        }
        constants
    }

    /// The length of a value that is another's whole shape: that one's rank, or `most` where it is not known.
    pub(crate) fn length_of_shape(&self, name: &str, most: usize) -> Option<usize> {
        self.shapes.get(name).map(|rank| rank.unwrap_or(most))
    }

    /// The rank of a value, where it is known.
    pub(crate) fn rank(&self, name: &str) -> Option<usize> {
        self.ranks.get(name).copied()
    }

    /// The shape of a constant.
    pub(crate) fn dims(&self, name: &str) -> Option<&'a [i64]> {
        self.tensors.get(name).map(|tensor| tensor.dims.as_slice())
    }

    /// The elements of a constant of integers.
    pub(crate) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.tensors.get(name)?;
        let wide = match ElementType::try_from(tensor.data_type).ok()? {
            ElementType::Int64 => true,
            ElementType::Int32 => false,
            _ => return None,
        };
        let raw = &tensor.raw_data;
        if raw.len() > MAX_READ * 8
            || tensor.int64_data.len() > MAX_READ
            || tensor.int32_data.len() > MAX_READ
        {
            return None;
        }
        Some(match (raw.is_empty(), wide) {
            (true, true) => tensor.int64_data.clone(),
            (true, false) => tensor
                .int32_data
                .iter()
                .map(|value| i64::from(*value))
                .collect(),
            (false, true) => raw
                .as_chunks::<8>()
                .0
                .iter()
                .map(|bytes| i64::from_le_bytes(*bytes))
                .collect(),
            (false, false) => raw
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| i64::from(i32::from_le_bytes(*bytes)))
                .collect(),
        })
    }

    /// The elements of a constant of truth values.
    pub(crate) fn flags(&self, name: &str) -> Option<Vec<bool>> {
        let tensor = self.tensors.get(name)?;
        if tensor.raw_data.len() > MAX_READ || tensor.int32_data.len() > MAX_READ {
            return None;
        }
        match elements(tensor)? {
            TensorData::Bool(flags) => Some(flags),
            _ => None,
        }
    }

    /// The elements of a constant of numbers.
    pub(crate) fn numbers(&self, name: &str) -> Option<Vec<f64>> {
        if let Some(values) = self.integers(name) {
            return Some(values.into_iter().map(|value| value as f64).collect());
        }
        let tensor = self.tensors.get(name)?;
        let raw = &tensor.raw_data;
        if raw.len() > MAX_READ * 8 {
            return None;
        }
        match ElementType::try_from(tensor.data_type).ok()? {
            ElementType::Float if raw.is_empty() => {
                Some(tensor.float_data.iter().map(|v| f64::from(*v)).collect())
            }
            ElementType::Float => Some(
                raw.as_chunks::<4>()
                    .0
                    .iter()
                    .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
                    .collect(),
            ),
            ElementType::Double if raw.is_empty() => Some(tensor.double_data.clone()),
            ElementType::Double => Some(
                raw.as_chunks::<8>()
                    .0
                    .iter()
                    .map(|bytes| f64::from_le_bytes(*bytes))
                    .collect(),
            ),
            _ => None,
        }
    }
}
