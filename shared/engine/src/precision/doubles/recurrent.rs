//! `LSTM`, `GRU` and `RNN` in float64.

use std::ops::Range;

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{
    TVec, TractErrorContext as _, TractResult, TypedFact, ensure, tvec,
};

use crate::precision::kernel::{Kernel, elements, maybe, need, shape};
use crate::precision::recurrent::{Cell, Given, Products, Recurrent};

/// A recurrent node on float64 values.
#[derive(Debug)]
pub(crate) struct DoubleRecurrent {
    recurrent: Recurrent,
}

impl DoubleRecurrent {
    pub(crate) fn parse(node: &NodeProto, cell: Cell) -> TractResult<Self> {
        Ok(Self {
            recurrent: Recurrent::parse(node, cell)?,
        })
    }

    /// Where the initial cell states and the peepholes of an LSTM stand, the other cells have nothing.
    fn has_cell_state(&self) -> bool {
        self.recurrent.cell() == Cell::Lstm
    }
}

/// Weights, one row of each gate's units after the other.
struct Weights<'a> {
    /// `[directions, gates * hidden, inputs]`.
    inputs: &'a [f64],
    /// `[directions, gates * hidden, hidden]`.
    states: &'a [f64],
    width: usize,
    hidden: usize,
}

/// `values` `[.., inner]` times the transpose of `weights` `[.., inner]`.
fn multiply(values: &[f64], weights: &[f64], inner: usize) -> Vec<f64> {
    values
        .chunks_exact(inner)
        .flat_map(|row| {
            weights.chunks_exact(inner).map(|own| {
                row.iter()
                    .zip(own)
                    .map(|(value, weight)| value * weight)
                    .sum::<f64>()
            })
        })
        .collect()
}

impl Products for Weights<'_> {
    fn of_inputs(&self, direction: usize, values: &[f64], count: usize) -> Vec<f64> {
        let inner = values.len() / count.max(1);
        if inner == 0 {
            return vec![0.0; count * self.width];
        }
        let size = self.width * inner;
        multiply(values, &self.inputs[direction * size..][..size], inner)
    }

    fn of_states(
        &self,
        direction: usize,
        states: &[f64],
        _: usize,
        gates: Range<usize>,
    ) -> Vec<f64> {
        let first = (direction * self.width + gates.start * self.hidden) * self.hidden;
        let size = gates.len() * self.hidden * self.hidden;
        multiply(states, &self.states[first..first + size], self.hidden)
    }
}

fn three(shape: &[usize]) -> TractResult<[usize; 3]> {
    shape
        .try_into()
        .ok()
        .context("an input has not three dimensions")
}

impl Kernel for DoubleRecurrent {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let x = three(shape(need(inputs, 0)?)?)?;
        let (all, last) = self.recurrent.shapes(x);
        let mut facts = tvec![f64::fact(all), f64::fact(&last)];
        if self.has_cell_state() {
            facts.push(f64::fact(&last));
        }
        Ok(facts)
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let dims = three(x.shape())?;
        let (w, r) = (need(inputs, 1)?, need(inputs, 2)?);
        let hidden = self.recurrent.hidden;
        let width = self.recurrent.cell().gates() * hidden;
        let directions = self.recurrent.directions();
        ensure!(
            w.shape() == [directions, width, dims[2]] && r.shape() == [directions, width, hidden],
            "weights of {:?} and {:?} for {} inputs and {hidden} states in {directions} directions",
            w.shape(),
            r.shape(),
            dims[2]
        );
        let weights = Weights {
            inputs: elements(w)?,
            states: elements(r)?,
            width,
            hidden,
        };
        let read = |at: usize| -> TractResult<Vec<f64>> {
            Ok(match maybe(inputs, at) {
                Some(tensor) => elements::<f64>(tensor)?.to_vec(),
                None => Vec::new(),
            })
        };
        let given = Given {
            values: read(0)?,
            shape: dims,
            bias: read(3)?,
            lengths: match maybe(inputs, 4) {
                Some(lengths) => elements::<i32>(lengths)?.to_vec(),
                None => Vec::new(),
            },
            hidden: read(5)?,
            cell: read(6)?,
            peepholes: read(7)?,
        };
        let made = self.recurrent.walk(&given, &weights)?;
        let (all, last) = self.recurrent.shapes(dims);
        let mut tensors = tvec![
            TractTensor::from_shape(&all, &made.all)?,
            TractTensor::from_shape(&last, &made.hidden)?
        ];
        if self.has_cell_state() {
            tensors.push(TractTensor::from_shape(&last, &made.cell)?);
        }
        Ok(tensors)
    }
}
