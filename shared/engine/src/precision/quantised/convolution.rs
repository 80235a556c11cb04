//! Convolutions of small integers over any number of dimensions, summed in 32 bits: `ConvInteger`.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, ensure, tvec};

use super::{integers, zero_points};
use crate::precision::kernel::{Kernel, maybe, need, shape};
use crate::precision::window::Window;

/// `(x - x_zero_point) * (w - w_zero_point)`: `x` is `[rows, channels, ..]`, `w` `[filters, channels / group, ..]`,
/// with one zero point for `x` and one, or one a filter, for `w`. Padding is `x_zero_point`.
#[derive(Debug)]
pub(crate) struct Convolve {
    window: Window,
}

impl Convolve {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        Ok(Self {
            window: Window::parse(node)?,
        })
    }
}

impl Kernel for Convolve {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let made = self
            .window
            .place(shape(need(inputs, 0)?)?, shape(need(inputs, 1)?)?)?;
        Ok(tvec![i32::fact(made.shape())])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let (x, w) = (need(inputs, 0)?, need(inputs, 1)?);
        let placed = self.window.place(x.shape(), w.shape())?;
        let (mut values, mut weights) = (integers(x)?, integers(w)?);
        let zero_x = zero_points(maybe(inputs, 2), 1)?;
        ensure!(zero_x.len() == 1, "one zero point of the input is run");
        for value in &mut values {
            *value -= zero_x[0];
        }
        let filters = w.shape()[0];
        let zero_w = zero_points(maybe(inputs, 3), filters)?;
        let each = weights.len() / filters.max(1);
        if each > 0 {
            for (filter, zero) in weights.chunks_exact_mut(each).zip(&zero_w) {
                for weight in filter {
                    *weight -= zero;
                }
            }
        }
        let made = placed.convolve(&values, &weights, |sum: i32, value, weight| {
            sum.wrapping_add(value.wrapping_mul(weight))
        });
        Ok(tvec![TractTensor::from_shape(&placed.shape(), &made)?])
    }
}
