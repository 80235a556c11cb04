//! `com.microsoft.DynamicQuantizeLSTM`: an LSTM whose weights are int8 and whose inputs are quantised as they come.

use std::ops::Range;

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{
    TVec, TractErrorContext as _, TractResult, TypedFact, ensure, tvec,
};

use super::linear::{choose_scale, quantise};
use super::product::multiply;
use super::{integers, scales, zero_points};
use crate::precision::kernel::{Kernel, elements, maybe, need, shape};
use crate::precision::recurrent::{Cell, Given, Products, Recurrent};

/// The whole sequence is quantised at once, the hidden state at every step; sums are whole, gates are not.
///
/// Inputs: `x` `[steps, rows, inputs]`, `w` `[directions, inputs, 4 * hidden]`, `r` `[directions, hidden, 4 * hidden]`
/// (both the other way round than `LSTM` has them), biases, lengths, initial states and peepholes as `LSTM`, then scale
/// and zero point of `w` and of `r`: one a direction, or one a column of each.
#[derive(Debug)]
pub(crate) struct QuantisedLstm {
    recurrent: Recurrent,
}

impl QuantisedLstm {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        Ok(Self {
            recurrent: Recurrent::parse(node, Cell::Lstm)?,
        })
    }
}

/// The weights of one kind, all directions.
struct Weights {
    /// Less their zero points.
    values: Vec<i32>,
    scales: Vec<f32>,
    inner: usize,
    columns: usize,
}

impl Weights {
    fn read(
        values: &TractTensor,
        scale: &TractTensor,
        zero_point: Option<&TractTensor>,
        directions: usize,
        columns: usize,
    ) -> TractResult<Self> {
        ensure!(
            values.rank() == 3 && values.shape()[0] == directions && values.shape()[2] == columns,
            "weights of shape {:?} where [{directions}, .., {columns}] is taken",
            values.shape()
        );
        let inner = values.shape()[1];
        let spread = |len: usize| len == directions && directions > 1;
        let by_column = |list: Vec<f32>| -> Vec<f32> {
            if spread(list.len()) {
                list.iter().flat_map(|one| vec![*one; columns]).collect()
            } else {
                list
            }
        };
        let scales = scales_of(scale, &by_column, directions * columns)?;
        let zeros = match zero_point {
            Some(zero) if spread(zero.len()) => integers(zero)?
                .iter()
                .flat_map(|one| vec![*one; columns])
                .collect(),
            zero => zero_points(zero, directions * columns)?,
        };
        let mut values = integers(values)?;
        for (at, value) in values.iter_mut().enumerate() {
            *value -= zeros[at / (inner * columns) * columns + at % columns];
        }
        Ok(Self {
            values,
            scales,
            inner,
            columns,
        })
    }

    /// `[rows, inner]` times some columns of the weights of a direction.
    fn multiply(
        &self,
        direction: usize,
        values: &[f64],
        rows: usize,
        columns: Range<usize>,
    ) -> Vec<f64> {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        let (scale, zero_point) = choose_scale(&values);
        let whole: Vec<i32> = quantise(&values, scale, zero_point)
            .into_iter()
            .map(|value| value - zero_point)
            .collect();
        let size = self.inner * self.columns;
        let own = &self.values[direction * size..(direction + 1) * size];
        let mut sums = vec![0; rows * self.columns];
        multiply(&whole, own, &mut sums, self.inner, self.columns);
        let own_scales = &self.scales[direction * self.columns..][..self.columns];
        sums.chunks_exact(self.columns)
            .flat_map(|sums| {
                sums.iter()
                    .zip(own_scales)
                    .map(|(sum, own)| f64::from(*sum as f32 * (scale * own)))
                    .enumerate()
                    .filter(|(at, _)| columns.contains(at))
                    .map(|(_, value)| value)
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

fn scales_of(
    scale: &TractTensor,
    by_column: &dyn Fn(Vec<f32>) -> Vec<f32>,
    count: usize,
) -> TractResult<Vec<f32>> {
    let found = by_column(elements::<f32>(scale)?.to_vec());
    if found.len() == count {
        Ok(found)
    } else {
        scales(scale, count)
    }
}

/// Both kinds of weights.
struct Both {
    inputs: Weights,
    states: Weights,
    hidden: usize,
}

impl Products for Both {
    fn of_inputs(&self, direction: usize, values: &[f64], count: usize) -> Vec<f64> {
        self.inputs
            .multiply(direction, values, count, 0..4 * self.hidden)
    }

    fn of_states(
        &self,
        direction: usize,
        states: &[f64],
        rows: usize,
        gates: Range<usize>,
    ) -> Vec<f64> {
        let columns = gates.start * self.hidden..gates.end * self.hidden;
        self.states.multiply(direction, states, rows, columns)
    }
}

impl Kernel for QuantisedLstm {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let x: [usize; 3] = shape(need(inputs, 0)?)?
            .try_into()
            .ok()
            .context("the input has not three dimensions")?;
        let (all, last) = self.recurrent.shapes(x);
        Ok(tvec![f32::fact(all), f32::fact(&last), f32::fact(&last)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let dims: [usize; 3] = x
            .shape()
            .try_into()
            .ok()
            .context("the input has not three dimensions")?;
        let directions = self.recurrent.directions();
        let columns = 4 * self.recurrent.hidden;
        let read = |at: usize, scale: usize, zero: usize| {
            let (values, scale) = (need(inputs, at)?, need(inputs, scale)?);
            Weights::read(values, scale, maybe(inputs, zero), directions, columns)
        };
        let both = Both {
            inputs: read(1, 8, 9)?,
            states: read(2, 10, 11)?,
            hidden: self.recurrent.hidden,
        };
        ensure!(
            both.inputs.inner == dims[2] && both.states.inner == self.recurrent.hidden,
            "weights of {} inputs and {} states for {} inputs and {} states",
            both.inputs.inner,
            both.states.inner,
            dims[2],
            self.recurrent.hidden
        );
        let wide = |at: usize| -> TractResult<Vec<f64>> {
            let Some(tensor) = maybe(inputs, at) else {
                return Ok(Vec::new());
            };
            let values = elements::<f32>(tensor)?;
            Ok(values.iter().map(|value| f64::from(*value)).collect())
        };
        let given = Given {
            values: wide(0)?,
            shape: dims,
            bias: wide(3)?,
            lengths: maybe(inputs, 4)
                .map(integers)
                .transpose()?
                .unwrap_or_default(),
            hidden: wide(5)?,
            cell: wide(6)?,
            peepholes: wide(7)?,
        };
        let made = self.recurrent.walk(&given, &both)?;
        let (all, last) = self.recurrent.shapes(dims);
        let narrow = |shape: &[usize], values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            TractTensor::from_shape(shape, &values)
        };
        Ok(tvec![
            narrow(&all, &made.all)?,
            narrow(&last, &made.hidden)?,
            narrow(&last, &made.cell)?
        ])
    }
}
