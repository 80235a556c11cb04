//! `com.microsoft.DynamicQuantizeLSTM`: an LSTM whose weights are int8 and whose inputs are quantised as they come.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{
    TVec, TractErrorContext as _, TractResult, TypedFact, anyhow, ensure, tvec,
};

use super::linear::{choose_scale, quantise};
use super::product::Packed;
use super::{integers, spread};
use crate::precision::kernel::{Kernel, elements, maybe, need, shape};
use crate::precision::recurrent::{Given, Products, Recurrent};
use crate::sequence::read_lengths;

/// The whole sequence is quantised at once, the hidden state at every step; sums are whole, gates are not.
///
/// Inputs: `x` `[steps, rows, inputs]`, `w` `[directions, inputs, 4 * hidden]`, `r` `[directions, hidden, 4 * hidden]`
/// (both the other way round than `LSTM` has them), biases, lengths, initial states and peepholes as `LSTM`, then scale
/// and zero point of `w` and of `r`: one a direction, or one a column of each.
#[derive(Debug)]
pub(crate) struct QuantisedLstm {
    recurrent: Arc<Recurrent>,
    /// The weights, where they never change.
    weights: Option<Both>,
}

impl QuantisedLstm {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        Ok(Self {
            recurrent: Arc::new(Recurrent::parse(node)?),
            weights: None,
        })
    }

    fn read_weights(&self, inputs: &[Option<&TractTensor>]) -> TractResult<Both> {
        let (directions, columns) = (self.recurrent.directions(), 4 * self.recurrent.hidden);
        let read = |at: usize, scale: usize, zero: usize| {
            let (values, scale) = (need(inputs, at)?, need(inputs, scale)?);
            Weights::read(values, scale, maybe(inputs, zero), directions, columns)
        };
        Ok(Both {
            inputs: read(1, 8, 9)?,
            states: read(2, 10, 11)?,
        })
    }
}

/// The weights of one kind.
#[derive(Debug)]
struct Weights {
    /// One matrix a direction.
    matrices: Vec<Packed>,
    /// `[directions, columns]`.
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
        ensure!(inner > 0, "weights of no inputs");
        let (scale, zeros) = (
            elements::<f32>(scale)?,
            zero_point.map(integers).transpose()?,
        );
        let scales = by_column(scale, directions, columns)?;
        let zeros = by_column(zeros.as_deref().unwrap_or(&[0]), directions, columns)?;
        let matrices = integers(values)?
            .chunks_exact((inner * columns).max(1))
            .zip(zeros.chunks_exact(columns))
            .map(|(matrix, zeros)| Packed::pack(matrix, zeros, inner))
            .collect();
        Ok(Self {
            matrices,
            scales,
            inner,
            columns,
        })
    }

    /// `[rows, inner]` times the weights of a direction.
    fn multiply(&self, direction: usize, values: &[f64], rows: usize) -> Vec<f64> {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        let (scale, zero_point) = choose_scale(&values);
        let whole: Vec<i16> = quantise(&values, scale, zero_point)
            .into_iter()
            .map(|value| (value - zero_point) as i16)
            .collect();
        let mut sums = Vec::with_capacity(rows * self.columns);
        self.matrices[direction].multiply(&whole, &mut sums);
        let own_scales = &self.scales[direction * self.columns..][..self.columns];
        sums.chunks_exact(self.columns)
            .flat_map(|sums| sums.iter().zip(own_scales))
            .map(|(sum, own)| f64::from(*sum as f32 * (scale * own)))
            .collect()
    }
}

/// One number for each column of each direction, where there may be one a direction, or one for all.
fn by_column<T: Copy>(found: &[T], directions: usize, columns: usize) -> TractResult<Vec<T>> {
    let repeats = if found.len() == directions {
        columns
    } else {
        1
    };
    let each = found.iter().flat_map(|one| vec![*one; repeats]).collect();
    spread(each, directions * columns, "scales or zero points")
}

/// Both kinds of weights.
#[derive(Debug)]
struct Both {
    inputs: Weights,
    states: Weights,
}

impl Products for Both {
    fn of_inputs(&self, direction: usize, values: &[f64], count: usize) -> Vec<f64> {
        self.inputs.multiply(direction, values, count)
    }

    fn of_states(&self, direction: usize, states: &[f64], rows: usize) -> Vec<f64> {
        self.states.multiply(direction, states, rows)
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

    fn bind(&self, constants: &[Option<&TractTensor>]) -> TractResult<Option<Arc<dyn Kernel>>> {
        let is_constant = [1, 2, 8, 9, 10, 11]
            .iter()
            .all(|at| maybe(constants, *at).is_some());
        if !is_constant {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            recurrent: Arc::clone(&self.recurrent),
            weights: Some(self.read_weights(constants)?),
        })))
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let dims: [usize; 3] = x
            .shape()
            .try_into()
            .ok()
            .context("the input has not three dimensions")?;
        let fresh;
        let both = if let Some(weights) = &self.weights {
            weights
        } else {
            fresh = self.read_weights(inputs)?;
            &fresh
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
        let (steps, _) = self.recurrent.steps_and_rows(dims);
        let lengths = maybe(inputs, 4).map(elements::<i32>).transpose()?;
        let lengths = lengths
            .map(|lengths| read_lengths(lengths, steps))
            .transpose();
        let given = Given {
            values: wide(0)?,
            shape: dims,
            bias: wide(3)?,
            lengths: lengths
                .map_err(|reason| anyhow!(reason))?
                .unwrap_or_default(),
            hidden: wide(5)?,
            cell: wide(6)?,
            peepholes: wide(7)?,
        };
        let made = self.recurrent.walk(&given, both)?;
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
