//! The rows of a batch, one by one.

use super::TensorSpec;
use crate::error::RunError;
use crate::ml::pick;
use crate::tensor::{Tensor, TensorData};

/// The rows of a batch; none where the graph takes another number of rows for an input, or a fixed one.
pub(super) fn count(specs: &[TensorSpec], inputs: &[&Tensor]) -> Option<usize> {
    if !specs.iter().all(may_have_rows) {
        return None;
    }
    let count = *inputs.first()?.shape.first()?;
    inputs
        .iter()
        .all(|tensor| tensor.shape.first() == Some(&count))
        .then_some(count)
}

/// True where an input's first dimension is open, or its rank.
pub(super) fn may_have_rows(spec: &TensorSpec) -> bool {
    spec.shape.first().is_none_or(|dim| *dim == -1)
}

/// Runs each of two or more rows by itself and puts the answers together.
pub(super) fn each(
    count: usize,
    inputs: &[&Tensor],
    run: impl Fn(&[&Tensor]) -> Result<Vec<Tensor>, RunError>,
) -> Result<Vec<Tensor>, RunError> {
    let mut whole: Vec<Tensor> = Vec::new();
    for row in 0..count {
        let parts: Vec<Tensor> = inputs
            .iter()
            .map(|tensor| take(tensor, row, count))
            .collect();
        let parts: Vec<&Tensor> = parts.iter().collect();
        let made = run(&parts)?;
        if let Some(tensor) = made.iter().find(|tensor| tensor.shape.first() != Some(&1)) {
            return Err(RunError::Failed {
                reason: format!(
                    "output `{}` has the shape {:?} for one row: its first dimension is not the row's",
                    tensor.name, tensor.shape
                ),
            });
        }
        if row == 0 {
            whole = made;
            continue;
        }
        for (tensor, part) in whole.iter_mut().zip(made) {
            if tensor.shape[1..] != part.shape[1..] || !append(&mut tensor.data, part.data) {
                return Err(RunError::Failed {
                    reason: format!("output `{}` differs in form from row to row", tensor.name),
                });
            }
            tensor.shape[0] += 1;
        }
    }
    Ok(whole)
}

/// One row of a tensor.
fn take(tensor: &Tensor, row: usize, count: usize) -> Tensor {
    let width = tensor.data.len() / count;
    let mut shape = tensor.shape.clone();
    shape[0] = 1;
    Tensor {
        name: tensor.name.clone(),
        shape,
        data: pick(&tensor.data, row * width..(row + 1) * width),
    }
}

/// Appends elements of the same type; false for another.
fn append(whole: &mut TensorData, part: TensorData) -> bool {
    match (whole, part) {
        (TensorData::Bool(whole), TensorData::Bool(part)) => whole.extend(part),
        (TensorData::Uint8(whole), TensorData::Uint8(part)) => whole.extend(part),
        (TensorData::Uint16(whole), TensorData::Uint16(part)) => whole.extend(part),
        (TensorData::Uint32(whole), TensorData::Uint32(part)) => whole.extend(part),
        (TensorData::Uint64(whole), TensorData::Uint64(part)) => whole.extend(part),
        (TensorData::Int8(whole), TensorData::Int8(part)) => whole.extend(part),
        (TensorData::Int16(whole), TensorData::Int16(part)) => whole.extend(part),
        (TensorData::Int32(whole), TensorData::Int32(part)) => whole.extend(part),
        (TensorData::Int64(whole), TensorData::Int64(part)) => whole.extend(part),
        (TensorData::Fp16(whole), TensorData::Fp16(part)) => whole.extend(part),
        (TensorData::Fp32(whole), TensorData::Fp32(part)) => whole.extend(part),
        (TensorData::Fp64(whole), TensorData::Fp64(part)) => whole.extend(part),
        (TensorData::Bytes(whole), TensorData::Bytes(part)) => whole.extend(part),
        _ => return false,
    }
    true
}
