//! An LSTM over a sequence whose products somebody else makes, of int8 weights. The gates are float64.
//!
//! The equations, the order of the gates and the layouts are those of ONNX's `LSTM`.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{TractErrorContext as _, TractResult, anyhow, bail, ensure};

use crate::sequence::{Activation, Cell, Definition, Forget, Layout, Order, QUANTISED_INPUTS};

/// Input, output, forget and cell.
const GATES: usize = 4;

/// A recurrent node's attributes.
#[derive(Debug)]
pub(super) struct Recurrent {
    pub(super) hidden: usize,
    directions: Vec<Walker>,
    clip: Option<f64>,
    forget: Forget,
    layout: Layout,
}

/// A walk along the steps, with its functions: of the gates, of the cell's input, of its output.
#[derive(Debug)]
struct Walker {
    order: Order,
    functions: [Activation; 3],
}

/// The products of a cell's weights, by direction.
pub(super) trait Products {
    /// `[count, inputs]` times the input weights: `[count, gates * hidden]`.
    fn of_inputs(&self, direction: usize, values: &[f64], count: usize) -> Vec<f64>;

    /// `[rows, hidden]` times the recurrent weights: `[rows, gates * hidden]`.
    fn of_states(&self, direction: usize, states: &[f64], rows: usize) -> Vec<f64>;
}

/// What a recurrent node is given beside its weights. Absent lists are empty.
#[derive(Debug)]
pub(super) struct Given {
    /// `[steps, rows, inputs]`, or rows first.
    pub(super) values: Vec<f64>,
    pub(super) shape: [usize; 3],
    /// `[directions, 2 * gates * hidden]`.
    pub(super) bias: Vec<f64>,
    /// Steps of each row, no more than there are.
    pub(super) lengths: Vec<usize>,
    /// `[directions, rows, hidden]`, or rows first.
    pub(super) hidden: Vec<f64>,
    pub(super) cell: Vec<f64>,
    /// `[directions, 3 * hidden]`.
    pub(super) peepholes: Vec<f64>,
}

/// What a recurrent node makes.
#[derive(Debug)]
pub(super) struct Made {
    /// `[steps, directions, rows, hidden]`, or `[rows, steps, directions, hidden]`.
    pub(super) all: Vec<f64>,
    /// `[directions, rows, hidden]`, or rows first.
    pub(super) hidden: Vec<f64>,
    pub(super) cell: Vec<f64>,
}

impl Recurrent {
    pub(super) fn parse(node: &NodeProto) -> TractResult<Self> {
        let definition =
            Definition::parse_lstm(node, QUANTISED_INPUTS).map_err(|error| anyhow!("{error}"))?;
        let Cell::Lstm(forget) = definition.cell else {
            bail!("it is no LSTM")
        };
        let directions = definition.directions.into_iter().map(|direction| {
            Ok(Walker {
                order: direction.order,
                functions: direction
                    .activations
                    .try_into()
                    .map_err(|_| anyhow!("three functions are needed"))?,
            })
        });
        Ok(Self {
            hidden: definition
                .hidden_size
                .context("hidden_size is left out, and is needed")?,
            directions: directions.collect::<TractResult<_>>()?,
            clip: definition.clip.map(f64::from),
            forget,
            layout: definition.layout,
        })
    }

    pub(super) fn directions(&self) -> usize {
        self.directions.len()
    }

    /// Steps and rows of an input of this shape.
    pub(super) fn steps_and_rows(&self, shape: [usize; 3]) -> (usize, usize) {
        match self.layout {
            Layout::StepsFirst => (shape[0], shape[1]),
            Layout::RowsFirst => (shape[1], shape[0]),
        }
    }

    /// The shape of all states, and of the last ones.
    pub(super) fn shapes(&self, shape: [usize; 3]) -> (Vec<usize>, Vec<usize>) {
        let (steps, rows) = self.steps_and_rows(shape);
        let (directions, hidden) = (self.directions(), self.hidden);
        match self.layout {
            Layout::StepsFirst => (
                vec![steps, directions, rows, hidden],
                vec![directions, rows, hidden],
            ),
            Layout::RowsFirst => (
                vec![rows, steps, directions, hidden],
                vec![rows, directions, hidden],
            ),
        }
    }

    /// The place of a row's state among the last states.
    fn state_at(&self, direction: usize, row: usize, rows: usize) -> usize {
        self.hidden
            * match self.layout {
                Layout::StepsFirst => direction * rows + row,
                Layout::RowsFirst => row * self.directions() + direction,
            }
    }

    /// Walks the sequence in every direction.
    pub(super) fn walk(&self, given: &Given, products: &dyn Products) -> TractResult<Made> {
        let (steps, rows) = self.steps_and_rows(given.shape);
        let (hidden, directions) = (self.hidden, self.directions());
        let states = directions * rows * hidden;
        for (name, list, count) in [
            ("initial hidden states", &given.hidden, states),
            ("initial cell states", &given.cell, states),
            ("biases", &given.bias, directions * 2 * GATES * hidden),
            ("peepholes", &given.peepholes, directions * 3 * hidden),
        ] {
            ensure!(
                list.is_empty() || list.len() == count,
                "{} {name} where {count} are taken",
                list.len()
            );
        }
        ensure!(
            given.lengths.is_empty() || given.lengths.len() == rows,
            "{} lengths for {rows} rows",
            given.lengths.len()
        );
        let mut made = Made {
            all: vec![0.0; steps * states],
            hidden: vec![0.0; states],
            cell: vec![0.0; states],
        };
        for direction in 0..directions {
            self.walk_one(direction, given, products, (steps, rows), &mut made);
        }
        Ok(made)
    }

    fn walk_one(
        &self,
        direction: usize,
        given: &Given,
        products: &dyn Products,
        (steps, rows): (usize, usize),
        made: &mut Made,
    ) {
        let hidden = self.hidden;
        let width = GATES * hidden;
        let start = |list: &[f64]| -> Vec<f64> {
            let mut states = vec![0.0; rows * hidden];
            if !list.is_empty() {
                for (row, state) in states.chunks_exact_mut(hidden).enumerate() {
                    let at = self.state_at(direction, row, rows);
                    state.copy_from_slice(&list[at..at + hidden]);
                }
            }
            states
        };
        let mut h = start(&given.hidden);
        let mut c = start(&given.cell);
        let projected = products.of_inputs(direction, &given.values, steps * rows);
        let place = |step: usize, row: usize| match self.layout {
            Layout::StepsFirst => step * rows + row,
            Layout::RowsFirst => row * steps + step,
        };
        let length = |row: usize| given.lengths.get(row).copied().unwrap_or(steps);
        let mut from_inputs = vec![0.0; rows * width];
        for at in 0..steps {
            let steps_of: Vec<Option<usize>> = (0..rows)
                .map(|row| {
                    let length = length(row);
                    (at < length).then(|| match self.directions[direction].order {
                        Order::FirstToLast => at,
                        Order::LastToFirst => length - 1 - at,
                    })
                })
                .collect();
            for (row, step) in steps_of.iter().enumerate() {
                if let Some(step) = step {
                    let from = place(*step, row) * width;
                    from_inputs[row * width..][..width]
                        .copy_from_slice(&projected[from..from + width]);
                }
            }
            let (new_h, new_c) = self.step(direction, given, products, &from_inputs, (&h, &c));
            for (row, step) in steps_of.iter().enumerate() {
                let Some(step) = step else { continue };
                let own = row * hidden..(row + 1) * hidden;
                h[own.clone()].copy_from_slice(&new_h[own.clone()]);
                c[own.clone()].copy_from_slice(&new_c[own.clone()]);
                let to = match self.layout {
                    Layout::StepsFirst => (step * self.directions() + direction) * rows + row,
                    Layout::RowsFirst => (row * steps + step) * self.directions() + direction,
                } * hidden;
                made.all[to..to + hidden].copy_from_slice(&h[own]);
            }
        }
        // A row without steps has no last state.
        for row in (0..rows).filter(|row| length(*row) > 0) {
            let at = self.state_at(direction, row, rows);
            let own = row * hidden..(row + 1) * hidden;
            made.hidden[at..at + hidden].copy_from_slice(&h[own.clone()]);
            made.cell[at..at + hidden].copy_from_slice(&c[own]);
        }
    }

    /// One step of all rows: the new hidden and cell states.
    fn step(
        &self,
        direction: usize,
        given: &Given,
        products: &dyn Products,
        from_inputs: &[f64],
        (h, c): (&[f64], &[f64]),
    ) -> (Vec<f64>, Vec<f64>) {
        let hidden = self.hidden;
        let rows = h.len() / hidden;
        let width = GATES * hidden;
        let functions = self.directions[direction].functions;
        let function = |at: usize, value: f64| {
            let bounded = self.clip.map_or(value, |clip| value.clamp(-clip, clip));
            functions[at].value(bounded)
        };
        // The bias of the input weights, then of the recurrent ones.
        let bias = |gate: usize, unit: usize| {
            given
                .bias
                .get(direction * 2 * width + gate * hidden + unit)
                .copied()
                .unwrap_or(0.0)
        };
        let peephole = |gate: usize, unit: usize| {
            given
                .peepholes
                .get((direction * 3 + gate) * hidden + unit)
                .copied()
                .unwrap_or(0.0)
        };
        let mut new_h = h.to_vec();
        let mut new_c = c.to_vec();
        let from_states = products.of_states(direction, h, rows);
        for (row, unit) in (0..rows).flat_map(|row| (0..hidden).map(move |unit| (row, unit))) {
            let at = row * hidden + unit;
            let sum = |gate: usize| {
                let at = row * width + gate * hidden + unit;
                let ahead = from_inputs[at] + bias(gate, unit);
                ahead + (from_states[at] + bias(GATES + gate, unit))
            };
            let input = function(0, sum(0) + peephole(0, unit) * c[at]);
            let forget = match self.forget {
                Forget::Coupled => 1.0 - input,
                Forget::Own => function(0, sum(2) + peephole(2, unit) * c[at]),
            };
            new_c[at] = forget * c[at] + input * function(1, sum(3));
            let output = function(0, sum(1) + peephole(1, unit) * new_c[at]);
            // The last function is not clipped.
            let shown = functions[2].value(new_c[at]);
            new_h[at] = output * shown;
        }
        (new_h, new_c)
    }
}
