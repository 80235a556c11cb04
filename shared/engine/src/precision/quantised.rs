//! int8: the operators that onnxruntime's quantiser writes, with its arithmetic.
//!
//! Products are summed in whole numbers, so their order does not matter. What is rounded is rounded to the nearest,
//! ties to even.

mod convolution;
mod linear;
mod lower;
mod lstm;
mod product;
mod requantise;

use tract_onnx::prelude::{DatumType, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TractResult, bail};

use super::kernel::elements;

pub(super) use convolution::Convolve;
pub(super) use linear::{Dequantise, Quantise, QuantiseByRange};
pub(super) use lower::lower;
pub(crate) use lower::{MICROSOFT_OPERATORS, hint};
pub(super) use lstm::QuantisedLstm;
pub(super) use product::Multiply;
pub(super) use requantise::Requantise;

/// The elements of a tensor of small integers.
fn integers(tensor: &TractTensor) -> TractResult<Vec<i32>> {
    Ok(match tensor.datum_type() {
        DatumType::U8 => elements::<u8>(tensor)?
            .iter()
            .map(|v| i32::from(*v))
            .collect(),
        DatumType::I8 => elements::<i8>(tensor)?
            .iter()
            .map(|v| i32::from(*v))
            .collect(),
        DatumType::U16 => elements::<u16>(tensor)?
            .iter()
            .map(|v| i32::from(*v))
            .collect(),
        DatumType::I16 => elements::<i16>(tensor)?
            .iter()
            .map(|v| i32::from(*v))
            .collect(),
        DatumType::I32 => elements::<i32>(tensor)?.to_vec(),
        other => bail!("{other:?} where whole numbers of up to 32 bits are taken"),
    })
}

/// One number for each of `count` entries, of which one stands for all.
fn spread<T: Copy>(found: Vec<T>, count: usize, name: &str) -> TractResult<Vec<T>> {
    match found.len() {
        1 => Ok(vec![found[0]; count]),
        len if len == count => Ok(found),
        len => bail!("{len} {name} for {count} entries"),
    }
}

/// Zero points; none is 0.
fn zero_points(tensor: Option<&TractTensor>, count: usize) -> TractResult<Vec<i32>> {
    match tensor {
        Some(tensor) => spread(integers(tensor)?, count, "zero points"),
        None => Ok(vec![0; count]),
    }
}

/// Scales.
fn scales(tensor: &TractTensor, count: usize) -> TractResult<Vec<f32>> {
    spread(elements::<f32>(tensor)?.to_vec(), count, "scales")
}

/// The least and the largest number of a type.
fn range(kind: DatumType) -> TractResult<(i32, i32)> {
    Ok(match kind {
        DatumType::U8 => (0, 255),
        DatumType::I8 => (-128, 127),
        DatumType::U16 => (0, 65_535),
        DatumType::I16 => (-32_768, 32_767),
        other => bail!("{other:?} is no type that is quantised to"),
    })
}

/// A tensor of small integers that lie within the type's range.
fn tensor_of(kind: DatumType, shape: &[usize], values: &[i32]) -> TractResult<TractTensor> {
    match kind {
        DatumType::U8 => {
            let values: Vec<u8> = values.iter().map(|v| *v as u8).collect();
            TractTensor::from_shape(shape, &values)
        }
        DatumType::I8 => {
            let values: Vec<i8> = values.iter().map(|v| *v as i8).collect();
            TractTensor::from_shape(shape, &values)
        }
        DatumType::U16 => {
            let values: Vec<u16> = values.iter().map(|v| *v as u16).collect();
            TractTensor::from_shape(shape, &values)
        }
        DatumType::I16 => {
            let values: Vec<i16> = values.iter().map(|v| *v as i16).collect();
            TractTensor::from_shape(shape, &values)
        }
        other => bail!("{other:?} is no type that is quantised to"),
    }
}

/// Rounds to the nearest whole number around a zero point, within a range; NaN becomes the least.
///
/// The bounds are applied before the rounding, as onnxruntime does, so that no number overflows.
fn round_into(value: f32, zero_point: i32, (low, high): (i32, i32)) -> i32 {
    let bounded = value
        .max((low - zero_point) as f32)
        .min((high - zero_point) as f32);
    bounded.round_ties_even() as i32 + zero_point
}

/// The numbers of elements before, along and after an axis.
fn around(shape: &[usize], axis: i64) -> TractResult<(usize, usize, usize)> {
    let rank = shape.len() as i64;
    let at = if axis < 0 { axis + rank } else { axis };
    if !(0..rank).contains(&at) {
        bail!("axis {axis} is outside the {rank} dimensions");
    }
    let at = at as usize;
    Ok((
        shape[..at].iter().product(),
        shape[at],
        shape[at + 1..].iter().product(),
    ))
}
