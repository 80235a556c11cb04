//! Tensors that the file holds: type, size, place.

use tract_onnx::pb::tensor_proto::{DataLocation, DataType as ElementType};
use tract_onnx::pb::{GraphProto, TensorProto};

use crate::attributes::element_name;
use crate::error::LoadError;
use crate::limits::LoadLimits;

/// Checks all initialisers.
pub(super) fn check_initializers(graph: &GraphProto, limits: &LoadLimits) -> Result<(), LoadError> {
    if !graph.sparse_initializer.is_empty() {
        return Err(LoadError::graph(
            "sparse initialisers are not read: export them dense",
        ));
    }
    for tensor in &graph.initializer {
        check(tensor, limits)
            .map_err(|fault| fault.at(&format!("initialiser `{}`", tensor.name)))?;
    }
    Ok(())
}

/// What is wrong with a tensor.
pub(super) enum TensorFault {
    TooLarge { actual: usize, limit: usize },
    Invalid(String),
}

impl TensorFault {
    /// The error for a tensor that stands at `place`.
    pub(super) fn at(self, place: &str) -> LoadError {
        match self {
            Self::TooLarge { actual, limit } => LoadError::TooLarge {
                what: format!("the number of elements of {place}"),
                actual,
                limit,
            },
            Self::Invalid(reason) => LoadError::graph(format!("{place}: {reason}")),
        }
    }
}

/// The number of elements of a shape, within the limit.
pub(super) fn count_elements(dims: &[i64], limits: &LoadLimits) -> Result<usize, TensorFault> {
    let mut count = 1_usize;
    for &dim in dims {
        let dim = usize::try_from(dim)
            .map_err(|_| TensorFault::Invalid(format!("negative dimension {dim}")))?;
        // Dimensions beside a zero count too: engines multiply them in their own order.
        count = count.saturating_mul(dim.max(1));
    }
    if count > limits.max_elements {
        return Err(TensorFault::TooLarge {
            actual: count,
            limit: limits.max_elements,
        });
    }
    Ok(if dims.contains(&0) { 0 } else { count })
}

/// Checks one tensor.
pub(super) fn check(tensor: &TensorProto, limits: &LoadLimits) -> Result<(), TensorFault> {
    let invalid = |reason: String| Err(TensorFault::Invalid(reason));
    if tensor.data_location == Some(DataLocation::External as i32)
        || !tensor.external_data.is_empty()
    {
        return invalid("its data lie outside the file: export the model as one file".to_owned());
    }
    if tensor.segment.is_some() {
        return invalid("it is stored in segments".to_owned());
    }
    let count = count_elements(&tensor.dims, limits)?;
    let Some((size, stored)) = ElementType::try_from(tensor.data_type)
        .ok()
        .and_then(|kind| form(kind, tensor))
    else {
        return invalid(format!(
            "elements of type {} are not read",
            element_name(tensor.data_type)
        ));
    };
    let found = if tensor.raw_data.is_empty() {
        stored
    } else if size == 0 {
        return invalid("strings cannot be stored raw".to_owned());
    } else if tensor.raw_data.len().is_multiple_of(size) {
        tensor.raw_data.len() / size
    } else {
        return invalid(format!(
            "{} raw bytes are no whole number of elements of {size}",
            tensor.raw_data.len()
        ));
    };
    if found != count {
        return invalid(format!(
            "shape {:?} wants {count} elements, the file holds {found}",
            tensor.dims
        ));
    }
    Ok(())
}

/// The size of a raw element in bytes, 0 for strings, and how many elements the typed list holds.
fn form(kind: ElementType, tensor: &TensorProto) -> Option<(usize, usize)> {
    Some(match kind {
        ElementType::Bool | ElementType::Uint8 | ElementType::Int8 => (1, tensor.int32_data.len()),
        ElementType::Uint16 | ElementType::Int16 | ElementType::Float16 => {
            (2, tensor.int32_data.len())
        }
        ElementType::Int32 => (4, tensor.int32_data.len()),
        ElementType::Int64 => (8, tensor.int64_data.len()),
        ElementType::Float => (4, tensor.float_data.len()),
        ElementType::Double => (8, tensor.double_data.len()),
        ElementType::String => (0, tensor.string_data.len()),
        // Lists of unsigned integers: the graph engine looks for them in other fields than the specification says.
        ElementType::Uint32 if !tensor.raw_data.is_empty() => (4, 0),
        ElementType::Uint64 if !tensor.raw_data.is_empty() => (8, 0),
        _ => return None,
    })
}
