//! An LSTM over a sequence whose products somebody else makes, of int8 weights. The gates are float64.
//!
//! The equations, the order of the gates and the layouts are those of ONNX's `LSTM`.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{TractErrorContext as _, TractResult, bail, ensure};

use super::activation::Activation;
use crate::attributes::{float, floats, int, strings, text};

/// Input, output, forget and cell.
const GATES: usize = 4;
/// The functions of a direction: of the gates, of the cell's input, of its output.
const FUNCTIONS: [&str; 3] = ["Sigmoid", "Tanh", "Tanh"];

/// A recurrent node's attributes.
#[derive(Debug)]
pub(super) struct Recurrent {
    pub(super) hidden: usize,
    /// True for each direction that starts at the sequence's end.
    directions: Vec<bool>,
    /// Three a direction.
    activations: Vec<Activation>,
    clip: Option<f64>,
    couples_gates: bool,
    rows_first: bool,
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
    /// Steps of each row.
    pub(super) lengths: Vec<i32>,
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
        let hidden = int(node, "hidden_size").unwrap_or(0);
        ensure!(hidden > 0, "hidden_size is {hidden}");
        let directions = match text(node, "direction").unwrap_or(b"forward") {
            b"forward" => vec![false],
            b"reverse" => vec![true],
            b"bidirectional" => vec![false, true],
            other => bail!(
                "direction `{}` is not known",
                String::from_utf8_lossy(other)
            ),
        };
        let stated: Vec<&str> = strings(node, "activations")
            .iter()
            .map(|name| std::str::from_utf8(name).context("an activation is not UTF-8"))
            .collect::<TractResult<_>>()?;
        let names = if stated.is_empty() {
            FUNCTIONS.repeat(directions.len())
        } else {
            stated
        };
        ensure!(
            names.len() == FUNCTIONS.len() * directions.len(),
            "{} activations where {} are needed",
            names.len(),
            FUNCTIONS.len() * directions.len()
        );
        let (alphas, betas) = (
            floats(node, "activation_alpha"),
            floats(node, "activation_beta"),
        );
        ensure!(
            [alphas, betas]
                .iter()
                .all(|list| list.is_empty() || list.len() == names.len()),
            "parameters for some of the activations only are not run"
        );
        let activations = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                Activation::of_gate(name, alphas.get(at).copied(), betas.get(at).copied())
            })
            .collect::<TractResult<_>>()?;
        Ok(Self {
            hidden: hidden as usize,
            directions,
            activations,
            clip: float(node, "clip")
                .filter(|clip| *clip > 0.0)
                .map(f64::from),
            couples_gates: int(node, "input_forget").unwrap_or(0) != 0,
            rows_first: int(node, "layout").unwrap_or(0) != 0,
        })
    }

    pub(super) fn directions(&self) -> usize {
        self.directions.len()
    }

    /// Steps and rows of an input of this shape.
    fn steps_and_rows(&self, shape: [usize; 3]) -> (usize, usize) {
        if self.rows_first {
            (shape[1], shape[0])
        } else {
            (shape[0], shape[1])
        }
    }

    /// The shape of all states, and of the last ones.
    pub(super) fn shapes(&self, shape: [usize; 3]) -> (Vec<usize>, Vec<usize>) {
        let (steps, rows) = self.steps_and_rows(shape);
        let (directions, hidden) = (self.directions(), self.hidden);
        if self.rows_first {
            (
                vec![rows, steps, directions, hidden],
                vec![rows, directions, hidden],
            )
        } else {
            (
                vec![steps, directions, rows, hidden],
                vec![directions, rows, hidden],
            )
        }
    }

    /// The place of a row's state among the last states.
    fn state_at(&self, direction: usize, row: usize, rows: usize) -> usize {
        self.hidden
            * if self.rows_first {
                row * self.directions() + direction
            } else {
                direction * rows + row
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
        let place = |step: usize, row: usize| {
            if self.rows_first {
                row * steps + step
            } else {
                step * rows + row
            }
        };
        let length = |row: usize| {
            given
                .lengths
                .get(row)
                .map_or(steps, |length| (*length).max(0) as usize)
                .min(steps)
        };
        let mut from_inputs = vec![0.0; rows * width];
        for at in 0..steps {
            let steps_of: Vec<Option<usize>> = (0..rows)
                .map(|row| {
                    let length = length(row);
                    (at < length).then(|| {
                        if self.directions[direction] {
                            length - 1 - at
                        } else {
                            at
                        }
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
                let to = if self.rows_first {
                    (row * steps + step) * self.directions() + direction
                } else {
                    (step * self.directions() + direction) * rows + row
                } * hidden;
                made.all[to..to + hidden].copy_from_slice(&h[own]);
            }
        }
        for row in 0..rows {
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
        let functions = FUNCTIONS.len();
        let function = |at: usize, value: f64| {
            let bounded = self.clip.map_or(value, |clip| value.clamp(-clip, clip));
            self.activations[direction * functions + at].apply(bounded)
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
            let forget = if self.couples_gates {
                1.0 - input
            } else {
                function(0, sum(2) + peephole(2, unit) * c[at])
            };
            new_c[at] = forget * c[at] + input * function(1, sum(3));
            let output = function(0, sum(1) + peephole(1, unit) * new_c[at]);
            // The last function is not clipped.
            let shown = self.activations[direction * functions + 2].apply(new_c[at]);
            new_h[at] = output * shown;
        }
        (new_h, new_c)
    }
}
