//! Sums of products back to small integers: the end of `QLinearMatMul`, `QLinearConv` and `QGemm`.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{DatumTypeExt, TVec, TractResult, TypedFact, ensure, tvec};

use super::{around, integers, range, round_into, scales, spread, tensor_of};
use crate::attributes::{float, int};
use crate::precision::kernel::{Kernel, elements, maybe, need, shape};

/// `round((sum + bias) * (alpha * a_scale * b_scale / y_scale)) + y_zero_point`.
///
/// Inputs: the sums (int32), the scales of both sides, the result's scale and zero point, and a bias (int32) that is
/// left out where there is none. `b_scale` and the bias may have one entry for each place along `axis`. Without a
/// scale of the result the answer is float32.
#[derive(Debug)]
pub(crate) struct Requantise {
    axis: i64,
    alpha: f32,
}

impl Requantise {
    pub(crate) fn parse(node: &NodeProto) -> Self {
        Self {
            axis: int(node, "axis").unwrap_or(-1),
            alpha: float(node, "alpha").unwrap_or(1.0),
        }
    }
}

impl Kernel for Requantise {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let shape = shape(need(inputs, 0)?)?;
        let kind = match (maybe(inputs, 3), maybe(inputs, 4)) {
            (None, _) => f32::datum_type(),
            (Some(_), Some(zero_point)) => zero_point.datum_type,
            (Some(_), None) => u8::datum_type(),
        };
        Ok(tvec![kind.fact(shape)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let sums = need(inputs, 0)?;
        let shape = sums.shape();
        let (before, count, after) = if shape.is_empty() {
            (1, 1, 1)
        } else {
            around(shape, self.axis)?
        };
        let left = elements::<f32>(need(inputs, 1)?)?;
        ensure!(
            left.len() == 1,
            "{} scales of the left side; one is run",
            left.len()
        );
        let right = scales(need(inputs, 2)?, count)?;
        let bias = match maybe(inputs, 5) {
            Some(bias) => spread(integers(bias)?, count, "biases")?,
            None => vec![0; count],
        };
        let sums = elements::<i32>(sums)?;
        let by_entry = |of_entry: &mut dyn FnMut(usize, i32)| {
            let mut rest = sums;
            for _ in 0..before {
                for (entry, bias) in bias.iter().enumerate() {
                    let (block, others) = rest.split_at(after);
                    for sum in block {
                        of_entry(entry, sum.wrapping_add(*bias));
                    }
                    rest = others;
                }
            }
        };
        let Some(scale) = maybe(inputs, 3) else {
            let mut made = Vec::with_capacity(sums.len());
            by_entry(&mut |entry, sum| {
                made.push(sum as f32 * (self.alpha * left[0] * right[entry]));
            });
            return Ok(tvec![TractTensor::from_shape(shape, &made)?]);
        };
        let scale = elements::<f32>(scale)?;
        let zero_point = maybe(inputs, 4);
        let kind = zero_point.map_or(u8::datum_type(), TractTensor::datum_type);
        let zero_point = zero_point
            .map(integers)
            .transpose()?
            .unwrap_or_else(|| vec![0]);
        ensure!(
            scale.len() == 1 && zero_point.len() == 1,
            "the result has {} scales and {} zero points; one is run",
            scale.len(),
            zero_point.len()
        );
        let bounds = range(kind)?;
        let factors: Vec<f32> = right
            .iter()
            .map(|right| self.alpha * left[0] * right / scale[0])
            .collect();
        let mut made = Vec::with_capacity(sums.len());
        by_entry(&mut |entry, sum| {
            made.push(round_into(
                sum as f32 * factors[entry],
                zero_point[0],
                bounds,
            ));
        });
        Ok(tvec![tensor_of(kind, shape, &made)?])
    }
}
