//! Runs a recurrent node along its steps.

use pulp::Arch;

use super::cell::{Gates, GruReset, GruStep, LstmStep, RnnStep, Rows};
use super::definition::{Cell, Definition, Direction, Layout, Order, Reset};
use super::lane::Lane;
use super::packed::{Aligned, First, Packed};
use super::weights::{DirectionWeights, Weights};

/// Rows that walk together: their gates and states stay in the cache beside the weights.
const MAX_ROWS: usize = 32;
/// Sums of gates, or inputs, of the steps that are made ahead at most.
const MAX_SUMS: usize = 1 << 16;

/// What a node is given beside its weights; shapes were checked.
#[derive(Debug, Clone)]
pub(super) struct Given<'a, R> {
    pub(super) sequence: &'a [R],
    pub(super) steps: usize,
    pub(super) rows: usize,
    /// Steps of each row, no more than `steps`; empty where all rows have all of them.
    pub(super) lengths: Vec<usize>,
    pub(super) hidden: Option<&'a [R]>,
    pub(super) cell: Option<&'a [R]>,
}

/// Where the outputs that the graph uses go; filled with zeros.
#[derive(Debug)]
pub(super) struct Wanted<'a, R> {
    /// All steps' hidden states.
    pub(super) steps: Option<&'a mut [R]>,
    /// The last hidden states.
    pub(super) hidden: Option<&'a mut [R]>,
    /// The last cell states.
    pub(super) cell: Option<&'a mut [R]>,
}

/// Buffers of a walk.
struct Buffers<R> {
    /// Inputs of the steps ahead, `[steps, rows, inputs]`.
    inputs: Vec<R>,
    /// Sums of the gates of the steps ahead, `[steps, rows, gate stride]`.
    gates: Aligned<R>,
    /// `[rows, width]`.
    hidden: Aligned<R>,
    /// `[rows, width]`: cell states of an LSTM, or what a GRU keeps of the state.
    cells: Aligned<R>,
    /// `[rows, whole panels]`, of a GRU whose reset gate acts on the product.
    product: Aligned<R>,
    alive: Vec<bool>,
}

/// One direction of a run.
struct Walk<'a, R> {
    arch: Arch,
    definition: &'a Definition,
    given: &'a Given<'a, R>,
    weights: &'a DirectionWeights<R>,
    inputs: usize,
    hidden: usize,
    width: usize,
    /// Which of the directions.
    at: usize,
    order: Order,
    gates: Gates<R>,
}

/// Runs all directions.
pub(super) fn run<R: Lane>(
    definition: &Definition,
    weights: &Weights<R>,
    given: &Given<'_, R>,
    wanted: &mut Wanted<'_, R>,
) {
    let arch = Arch::new();
    let most_rows = given.rows.min(MAX_ROWS);
    let Some(first) = weights.directions.first() else {
        return;
    };
    let stride = first.input.columns();
    let widest = stride.max(weights.inputs);
    let ahead = (MAX_SUMS / (most_rows.max(1) * widest)).clamp(1, given.steps.max(1));
    let states = most_rows * weights.width;
    let mut buffers = Buffers {
        inputs: vec![R::ZERO; ahead * most_rows * weights.inputs],
        gates: Aligned::zeros(ahead * most_rows * stride),
        hidden: Aligned::zeros(states),
        cells: Aligned::zeros(states),
        product: Aligned::zeros(match (&first.fresh, definition.cell) {
            (Some(fresh), Cell::Gru(Reset::Product)) => most_rows * fresh.state.columns(),
            _ => 0,
        }),
        alive: vec![false; most_rows],
    };
    for (at, (direction, own)) in definition
        .directions
        .iter()
        .zip(&weights.directions)
        .enumerate()
    {
        let walk = Walk {
            arch,
            definition,
            given,
            weights: own,
            inputs: weights.inputs,
            hidden: weights.hidden,
            width: weights.width,
            at,
            order: direction.order,
            gates: direction.gates(definition.clip),
        };
        for first in (0..given.rows).step_by(MAX_ROWS) {
            let rows = first..given.rows.min(first + MAX_ROWS);
            walk.take_rows(rows, ahead, &mut buffers, wanted);
        }
    }
}

impl Direction {
    fn gates<R: Lane>(&self, clip: Option<f32>) -> Gates<R> {
        let last = self.activations.len() - 1;
        Gates {
            functions: std::array::from_fn(|at| self.activations[at.min(last)]),
            clip: clip.map(R::from_f32),
        }
    }
}

impl<R: Lane> Walk<'_, R> {
    /// Takes a block of rows along all their steps, `ahead` steps' inputs at a time.
    fn take_rows(
        &self,
        rows: std::ops::Range<usize>,
        ahead: usize,
        buffers: &mut Buffers<R>,
        wanted: &mut Wanted<'_, R>,
    ) {
        let (count, stride) = (rows.len(), self.weights.input.columns());
        self.load_states(&rows, self.given.hidden, buffers.hidden.slice_mut());
        self.load_states(&rows, self.given.cell, buffers.cells.slice_mut());
        let steps = rows.clone().map(|row| self.length(row)).max().unwrap_or(0);
        for first in (0..steps).step_by(ahead) {
            let ahead = ahead.min(steps - first);
            self.gather(&rows, first..first + ahead, &mut buffers.inputs);
            let gates = &mut buffers.gates.slice_mut()[..ahead * count * stride];
            self.weights.input.multiply(
                self.arch,
                First::Bias(&self.weights.bias),
                ahead * count,
                (&buffers.inputs, self.inputs),
                (gates, stride),
            );
            for at in 0..ahead {
                let step = first + at;
                for (alive, row) in buffers.alive.iter_mut().zip(rows.clone()) {
                    *alive = step < self.length(row);
                }
                self.take_step(count, at, buffers);
                if let Some(out) = wanted.steps.as_deref_mut() {
                    self.store_step(&rows, step, buffers, out);
                }
            }
        }
        if let Some(out) = wanted.hidden.as_deref_mut() {
            self.store_states(&rows, buffers.hidden.slice(), out);
        }
        if let Some(out) = wanted.cell.as_deref_mut() {
            self.store_states(&rows, buffers.cells.slice(), out);
        }
    }

    /// Takes one step, whose gates' sums stand at `at`.
    fn take_step(&self, count: usize, at: usize, buffers: &mut Buffers<R>) {
        let (width, stride) = (self.width, self.weights.input.columns());
        let gates = &mut buffers.gates.slice_mut()[at * count * stride..][..count * stride];
        let hidden = buffers.hidden.slice_mut();
        let multiply =
            |weights: &Packed<R>, first: First<'_, R>, left: &[R], out: &mut [R], stride| {
                weights.multiply(self.arch, first, count, (left, width), (out, stride));
            };
        multiply(&self.weights.state, First::Kept, hidden, gates, stride);
        let alive = &buffers.alive[..count];
        let rows = Rows {
            alive,
            width,
            gates: &mut *gates,
            gate_stride: stride,
            hidden: &mut *hidden,
        };
        match (self.definition.cell, &self.weights.fresh) {
            (Cell::Lstm(forget), _) => self.arch.dispatch(LstmStep {
                gates: self.gates,
                rows,
                cells: buffers.cells.slice_mut(),
                peepholes: self.weights.peepholes.as_deref(),
                forget,
            }),
            (Cell::Gru(Reset::Product), Some(fresh)) => {
                let size = fresh.state.columns();
                let product = &mut buffers.product.slice_mut()[..count * size];
                let bias = First::Bias(&fresh.bias);
                multiply(&fresh.state, bias, rows.hidden, product, size);
                self.arch.dispatch(GruStep {
                    gates: self.gates,
                    rows,
                    product: Some((product, size)),
                });
            }
            (Cell::Gru(Reset::State), Some(fresh)) => {
                let kept = buffers.cells.slice_mut();
                self.arch.dispatch(GruReset {
                    gates: self.gates,
                    rows,
                    kept,
                });
                multiply(
                    &fresh.state,
                    First::Kept,
                    kept,
                    &mut gates[2 * width..],
                    stride,
                );
                let rows = Rows {
                    alive,
                    width,
                    gates,
                    gate_stride: stride,
                    hidden,
                };
                self.arch.dispatch(GruStep {
                    gates: self.gates,
                    rows,
                    product: None,
                });
            }
            (Cell::Rnn | Cell::Gru(_), _) => self.arch.dispatch(RnnStep {
                gates: self.gates,
                rows,
            }),
        }
    }

    fn length(&self, row: usize) -> usize {
        self.given
            .lengths
            .get(row)
            .copied()
            .unwrap_or(self.given.steps)
    }

    /// The place in the sequence of a row's step, which is within its length.
    fn place(&self, row: usize, step: usize) -> usize {
        match self.order {
            Order::FirstToLast => step,
            Order::LastToFirst => self.length(row) - 1 - step,
        }
    }

    /// Copies the inputs of some steps, in the order of the walk; rows that have ended keep what was there.
    fn gather(&self, rows: &std::ops::Range<usize>, steps: std::ops::Range<usize>, out: &mut [R]) {
        let size = self.inputs;
        if size == 0 {
            return;
        }
        let places = steps.flat_map(|step| rows.clone().map(move |row| (step, row)));
        for ((step, row), out) in places.zip(out.chunks_exact_mut(size)) {
            if step >= self.length(row) {
                continue;
            }
            let place = self.place(row, step);
            let at = match self.definition.layout {
                Layout::StepsFirst => place * self.given.rows + row,
                Layout::RowsFirst => row * self.given.steps + place,
            };
            out.copy_from_slice(&self.given.sequence[at * size..(at + 1) * size]);
        }
    }

    /// Where a row's state stands in a tensor of states.
    fn state_at(&self, row: usize) -> std::ops::Range<usize> {
        let at = match self.definition.layout {
            Layout::StepsFirst => self.at * self.given.rows + row,
            Layout::RowsFirst => row * self.definition.directions.len() + self.at,
        };
        at * self.hidden..(at + 1) * self.hidden
    }

    fn load_states(&self, rows: &std::ops::Range<usize>, source: Option<&[R]>, states: &mut [R]) {
        states.fill(R::ZERO);
        let Some(source) = source else { return };
        for (row, state) in rows.clone().zip(states.chunks_exact_mut(self.width)) {
            state[..self.hidden].copy_from_slice(&source[self.state_at(row)]);
        }
    }

    /// Copies the last states; a row without steps has none.
    fn store_states(&self, rows: &std::ops::Range<usize>, states: &[R], out: &mut [R]) {
        for (row, state) in rows.clone().zip(states.chunks_exact(self.width)) {
            if self.length(row) > 0 {
                out[self.state_at(row)].copy_from_slice(&state[..self.hidden]);
            }
        }
    }

    /// Copies the hidden states of a step to their places.
    fn store_step(
        &self,
        rows: &std::ops::Range<usize>,
        step: usize,
        buffers: &Buffers<R>,
        out: &mut [R],
    ) {
        let directions = self.definition.directions.len();
        let states = buffers.hidden.slice().chunks_exact(self.width);
        for ((row, alive), state) in rows.clone().zip(&buffers.alive).zip(states) {
            if !alive {
                continue;
            }
            let place = self.place(row, step);
            let at = match self.definition.layout {
                Layout::StepsFirst => (place * directions + self.at) * self.given.rows + row,
                Layout::RowsFirst => (row * self.given.steps + place) * directions + self.at,
            };
            out[at * self.hidden..(at + 1) * self.hidden].copy_from_slice(&state[..self.hidden]);
        }
    }
}
