//! Between floats and small integers: `QuantizeLinear`, `DequantizeLinear`, `DynamicQuantizeLinear`.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, DatumExt as _, DatumType, Tensor as TractTensor, tensor0};
use tract_onnx::tract_hir::internal::{
    DatumTypeExt, TVec, TractResult, TypedFact, bail, ensure, tvec,
};

use super::{around, integers, range, round_into, scales, tensor_of, zero_points};
use crate::attributes::int;
use crate::precision::kernel::{Kernel, check_type, elements, maybe, need, shape};

/// `round(x / scale) + zero_point`, within the range of the zero point's type.
#[derive(Debug)]
pub(crate) struct Quantise {
    axis: i64,
    without_zero_point: DatumType,
}

/// `(x - zero_point) * scale`.
#[derive(Debug)]
pub(crate) struct Dequantise {
    axis: i64,
}

/// Quantises to eight bits without a sign, the scale from the least and the largest value and 0.
#[derive(Debug)]
pub(crate) struct QuantiseByRange;

impl Quantise {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        let without_zero_point = match int(node, "output_dtype").unwrap_or(0) {
            0 | 2 => DatumType::U8,
            3 => DatumType::I8,
            4 => DatumType::U16,
            5 => DatumType::I16,
            other => bail!("quantising to elements of type {other} is not run"),
        };
        Ok(Self {
            axis: axis(node)?,
            without_zero_point,
        })
    }
}

impl Dequantise {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        ensure!(
            matches!(int(node, "output_dtype").unwrap_or(0), 0 | 1),
            "dequantising to another type than float32 is not run"
        );
        Ok(Self { axis: axis(node)? })
    }
}

fn axis(node: &NodeProto) -> TractResult<i64> {
    ensure!(
        int(node, "block_size").unwrap_or(0) == 0,
        "quantisation by blocks is not run: quantise by tensor or by channel"
    );
    Ok(int(node, "axis").unwrap_or(1))
}

/// Blocks of elements that share a scale: `(before, entries, after)`.
fn blocks(shape: &[usize], axis: i64, scale: &TractTensor) -> TractResult<(usize, usize, usize)> {
    if scale.len() == 1 {
        Ok((1, 1, shape.iter().product()))
    } else {
        around(shape, axis)
    }
}

impl Kernel for Quantise {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let x = need(inputs, 0)?;
        check_type(x, f32::datum_type())?;
        let kind = maybe(inputs, 2).map_or(self.without_zero_point, |fact| fact.datum_type);
        range(kind)?;
        Ok(tvec![kind.fact(shape(x)?)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let (x, scale) = (need(inputs, 0)?, need(inputs, 1)?);
        let zero_point = maybe(inputs, 2);
        let kind = zero_point.map_or(self.without_zero_point, TractTensor::datum_type);
        let bounds = range(kind)?;
        let (before, count, after) = blocks(x.shape(), self.axis, scale)?;
        let scale = scales(scale, count)?;
        let zero_point = zero_points(zero_point, count)?;
        let values = elements::<f32>(x)?;
        let mut made = Vec::with_capacity(values.len());
        let mut rest = values;
        for _ in 0..before {
            for (scale, zero_point) in scale.iter().zip(&zero_point) {
                let (block, others) = rest.split_at(after);
                made.extend(
                    block
                        .iter()
                        .map(|value| round_into(value / scale, *zero_point, bounds)),
                );
                rest = others;
            }
        }
        Ok(tvec![tensor_of(kind, x.shape(), &made)?])
    }
}

impl Kernel for Dequantise {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let scale = need(inputs, 1)?;
        check_type(scale, f32::datum_type())?;
        Ok(tvec![f32::fact(shape(need(inputs, 0)?)?)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let (x, scale) = (need(inputs, 0)?, need(inputs, 1)?);
        let (before, count, after) = blocks(x.shape(), self.axis, scale)?;
        let scale = scales(scale, count)?;
        let zero_point = zero_points(maybe(inputs, 2), count)?;
        let values = integers(x)?;
        let mut made = Vec::with_capacity(values.len());
        let mut rest = values.as_slice();
        for _ in 0..before {
            for (scale, zero_point) in scale.iter().zip(&zero_point) {
                let (block, others) = rest.split_at(after);
                made.extend(
                    block
                        .iter()
                        .map(|value| value.wrapping_sub(*zero_point) as f32 * scale),
                );
                rest = others;
            }
        }
        Ok(tvec![TractTensor::from_shape(x.shape(), &made)?])
    }
}

/// The scale and the zero point for values between two bounds and 0, as onnxruntime chooses them.
pub(super) fn choose_scale(values: &[f32]) -> (f32, i32) {
    let low = values.iter().copied().fold(0.0, f32::min);
    let high = values.iter().copied().fold(0.0, f32::max);
    let scale = if high > low {
        (high - low) / 255.0
    } else {
        1.0
    };
    let zero_point = (0.0 - low / scale).clamp(0.0, 255.0).round_ties_even();
    (scale, zero_point as i32)
}

/// Quantises to eight bits without a sign.
pub(super) fn quantise(values: &[f32], scale: f32, zero_point: i32) -> Vec<i32> {
    values
        .iter()
        .map(|value| round_into(value / scale, zero_point, (0, 255)))
        .collect()
}

impl Kernel for QuantiseByRange {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let x = need(inputs, 0)?;
        check_type(x, f32::datum_type())?;
        let scalar: [usize; 0] = [];
        Ok(tvec![
            u8::fact(shape(x)?),
            f32::fact(scalar),
            u8::fact(scalar)
        ])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let values = elements::<f32>(x)?;
        let (scale, zero_point) = choose_scale(values);
        let made = quantise(values, scale, zero_point);
        Ok(tvec![
            tensor_of(DatumType::U8, x.shape(), &made)?,
            tensor0(scale),
            tensor0(zero_point as u8)
        ])
    }
}
