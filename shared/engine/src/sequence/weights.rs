//! The weights of a recurrent node, packed for its kernels.

use super::definition::{Cell, Definition, Reset};
use super::lane::Lane;
use super::packed::{PANEL, Packed, whole_panels};

/// Hidden units are padded to a whole number of registers on every processor.
const UNITS: usize = 16;

/// The weights of all directions.
#[derive(Debug)]
pub(super) struct Weights<R> {
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    /// Hidden units with the padding.
    pub(super) width: usize,
    pub(super) directions: Vec<DirectionWeights<R>>,
}

/// The weights of one direction. Gate `g` has the columns `g * width..(g + 1) * width`.
#[derive(Debug)]
pub(super) struct DirectionWeights<R> {
    /// `[inputs, gates * width]`.
    pub(super) input: Packed<R>,
    /// With what the gates' sums start, `[gates * width]` in whole panels.
    pub(super) bias: Vec<R>,
    /// `[hidden, gates * width]`; of a GRU, the gates z and r.
    pub(super) state: Packed<R>,
    /// Of a GRU.
    pub(super) fresh: Option<Fresh<R>>,
    /// Of i, o, f, `width` each.
    pub(super) peepholes: Option<Vec<R>>,
}

/// What makes a GRU's new state of the old one.
#[derive(Debug)]
pub(super) struct Fresh<R> {
    /// `[hidden, width]`.
    pub(super) state: Packed<R>,
    /// With what the product starts, `[width]` in whole panels: 0 where the reset gate acts on the state.
    pub(super) bias: Vec<R>,
}

/// The tensors of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a, R> {
    /// `[directions, gates * hidden, inputs]`.
    pub(super) input: &'a [R],
    /// `[directions, gates * hidden, hidden]`.
    pub(super) state: &'a [R],
    /// `[directions, 2 * gates * hidden]`.
    pub(super) bias: Option<&'a [R]>,
    /// `[directions, 3 * hidden]`.
    pub(super) peepholes: Option<&'a [R]>,
}

/// Numbers that the packed weights of a node hold; saturates.
pub(super) fn packed_len(definition: &Definition, inputs: usize, hidden: usize) -> usize {
    let width = hidden.saturating_add(UNITS - 1) / UNITS * UNITS;
    let matrix = |depth: usize, gates: usize| {
        let columns = gates.saturating_mul(width).saturating_add(PANEL - 1) / PANEL * PANEL;
        depth.saturating_add(1).saturating_mul(columns)
    };
    let gates = definition.cell.gates();
    let state = match definition.cell {
        Cell::Gru(_) => matrix(hidden, 2).saturating_add(matrix(hidden, 1)),
        Cell::Lstm(_) | Cell::Rnn => matrix(hidden, gates),
    };
    matrix(inputs, gates)
        .saturating_add(state)
        .saturating_mul(definition.directions.len())
}

impl<R: Lane> Weights<R> {
    /// Packs tensors whose shapes were checked.
    pub(super) fn pack(
        definition: &Definition,
        inputs: usize,
        hidden: usize,
        raw: Raw<'_, R>,
    ) -> Self {
        let width = hidden.next_multiple_of(UNITS);
        let directions = (0..definition.directions.len())
            .map(|at| pack_direction(definition.cell, at, inputs, hidden, raw))
            .collect();
        Self {
            inputs,
            hidden,
            width,
            directions,
        }
    }
}

fn pack_direction<R: Lane>(
    cell: Cell,
    at: usize,
    inputs: usize,
    hidden: usize,
    raw: Raw<'_, R>,
) -> DirectionWeights<R> {
    let gates = cell.gates();
    let width = hidden.next_multiple_of(UNITS);
    // A column of the padded gates, from a gate on: the row of the weights that fills it.
    let pack = |source: &[R], depth: usize, first: usize, gates_taken: usize| {
        Packed::new(depth, gates_taken * width, |column| {
            let (gate, unit) = (first + column / width, column % width);
            let row = (at * gates + gate) * hidden + unit;
            (unit < hidden).then(|| &source[row * depth..(row + 1) * depth])
        })
    };
    // A vector of a gate, padded.
    let spread = |source: &[R], gate: usize, out: &mut [R]| {
        for (place, value) in out
            .iter_mut()
            .zip(&source[gate * hidden..(gate + 1) * hidden])
        {
            *place = *place + *value;
        }
    };
    let is_on_product = cell == Cell::Gru(Reset::Product);
    let mut bias = vec![R::ZERO; whole_panels(gates * width)];
    let mut fresh_bias = vec![R::ZERO; whole_panels(width)];
    if let Some(both) = raw.bias {
        let size = gates * hidden;
        let own = &both[at * 2 * size..];
        for gate in 0..gates {
            let place = &mut bias[gate * width..][..width];
            spread(own, gate, place);
            let is_apart = is_on_product && gate == 2;
            spread(
                &own[size..],
                gate,
                if is_apart { &mut fresh_bias } else { place },
            );
        }
    }
    let peepholes = raw.peepholes.map(|all| {
        let mut padded = vec![R::ZERO; 3 * width];
        for (part, place) in padded.chunks_exact_mut(width).enumerate() {
            spread(&all[at * 3 * hidden..], part, place);
        }
        padded
    });
    let is_gru = matches!(cell, Cell::Gru(_));
    DirectionWeights {
        input: pack(raw.input, inputs, 0, gates),
        bias,
        state: pack(raw.state, hidden, 0, if is_gru { 2 } else { gates }),
        fresh: is_gru.then(|| Fresh {
            state: pack(raw.state, hidden, 2, 1),
            bias: fresh_bias,
        }),
        peepholes,
    }
}
