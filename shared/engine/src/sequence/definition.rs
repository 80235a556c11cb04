//! What a recurrent node's attributes say.

use tract_onnx::pb::NodeProto;

use super::activation::{Activation, parse_activations};
use crate::attributes::{find, float, int, strings, text};
use crate::check::invalid;
use crate::error::LoadError;

/// A recurrent node without its weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) cell: Cell,
    pub(crate) directions: Vec<Direction>,
    /// The attribute `hidden_size`, where it is there.
    pub(crate) hidden_size: Option<usize>,
    pub(crate) layout: Layout,
    /// Bounds the sum that goes into a gate.
    pub(crate) clip: Option<f32>,
}

/// The equations of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Lstm(Forget),
    Gru(Reset),
    Rnn,
}

/// The forget gate of an LSTM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forget {
    /// A gate of its own.
    Own,
    /// 1 less the input gate.
    Coupled,
}

/// Where the reset gate of a GRU acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    /// On the state, before it is multiplied with the weights.
    State,
    /// On the product of the state and the weights.
    Product,
}

/// A walk along the steps, with the functions of its gates in the specification's order (f, g, h).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Direction {
    pub(crate) order: Order,
    pub(crate) activations: Vec<Activation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    FirstToLast,
    LastToFirst,
}

/// The order of the dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `X [steps, rows, inputs]`, `Y [steps, directions, rows, hidden]`, states `[directions, rows, hidden]`.
    StepsFirst,
    /// `X [rows, steps, inputs]`, `Y [rows, steps, directions, hidden]`, states `[rows, directions, hidden]`.
    RowsFirst,
}

impl Cell {
    /// Gates, each with its rows of the weights.
    pub(crate) fn gates(self) -> usize {
        match self {
            Self::Lstm(_) => 4,
            Self::Gru(_) => 3,
            Self::Rnn => 1,
        }
    }

    fn default_activations(self) -> &'static [&'static [u8]] {
        match self {
            Self::Lstm(_) => &[b"Sigmoid", b"Tanh", b"Tanh"],
            Self::Gru(_) => &[b"Sigmoid", b"Tanh"],
            Self::Rnn => &[b"Tanh"],
        }
    }
}

impl Definition {
    /// Reads and checks a node of `ai.onnx`.
    pub(super) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let cell = match node.op_type.as_str() {
            "LSTM" => return Self::parse_lstm(node, 8),
            "GRU" => Cell::Gru(if read_switch(node, "linear_before_reset")? {
                Reset::Product
            } else {
                Reset::State
            }),
            _ => Cell::Rnn,
        };
        check_arity(node, 6, 2)?;
        Self::read(node, cell)
    }

    /// Reads and checks a node of an operator that has the attributes of `LSTM`, and as many inputs at most.
    pub(crate) fn parse_lstm(node: &NodeProto, max_inputs: usize) -> Result<Self, LoadError> {
        let forget = if read_switch(node, "input_forget")? {
            Forget::Coupled
        } else {
            Forget::Own
        };
        check_arity(node, max_inputs, 3)?;
        Self::read(node, Cell::Lstm(forget))
    }

    fn read(node: &NodeProto, cell: Cell) -> Result<Self, LoadError> {
        let layout = if read_switch(node, "layout")? {
            Layout::RowsFirst
        } else {
            Layout::StepsFirst
        };
        let hidden_size = match int(node, "hidden_size") {
            None => None,
            Some(size) => match usize::try_from(size) {
                Ok(size) if size > 0 => Some(size),
                _ => return Err(invalid(node, format!("hidden_size is {size}"))),
            },
        };
        let clip = match float(node, "clip") {
            Some(clip) if clip > 0.0 => Some(clip),
            Some(clip) => {
                return Err(invalid(node, format!("clip is {clip}, not above 0")));
            }
            None => None,
        };
        Ok(Self {
            cell,
            directions: parse_directions(node, cell)?,
            hidden_size,
            layout,
            clip,
        })
    }
}

fn check_arity(node: &NodeProto, inputs: usize, outputs: usize) -> Result<(), LoadError> {
    for (what, found, most) in [
        ("inputs", node.input.len(), inputs),
        ("outputs", node.output.len(), outputs),
    ] {
        if found > most {
            return Err(invalid(
                node,
                format!("{found} {what} where there are {most}"),
            ));
        }
    }
    Ok(())
}

/// Holds the lengths of rows to the steps that there are.
pub(crate) fn read_lengths(lengths: &[i32], steps: usize) -> Result<Vec<usize>, String> {
    let read = |(row, length): (usize, &i32)| {
        usize::try_from(*length)
            .ok()
            .filter(|length| *length <= steps)
            .ok_or_else(|| format!("sequence_lens[{row}] is {length}; 0 to {steps} are allowed"))
    };
    lengths.iter().enumerate().map(read).collect()
}

fn parse_directions(node: &NodeProto, cell: Cell) -> Result<Vec<Direction>, LoadError> {
    let orders: &[Order] = match text(node, "direction") {
        None | Some(b"forward") => &[Order::FirstToLast],
        Some(b"reverse") => &[Order::LastToFirst],
        Some(b"bidirectional") => &[Order::FirstToLast, Order::LastToFirst],
        Some(other) => {
            let reason = format!(
                "direction is `{}`; forward, reverse and bidirectional are defined",
                String::from_utf8_lossy(other)
            );
            return Err(invalid(node, reason));
        }
    };
    let defaults = cell.default_activations();
    let wanted = defaults.len() * orders.len();
    let given: Vec<&[u8]> = strings(node, "activations")
        .iter()
        .map(Vec::as_slice)
        .collect();
    let names = if find(node, "activations").is_none() {
        defaults.repeat(orders.len())
    } else if given.len() == wanted {
        given
    } else {
        let reason = format!(
            "activations has {} entries where {wanted} are needed",
            given.len()
        );
        return Err(invalid(node, reason));
    };
    let activations = parse_activations(node, &names)?;
    Ok(orders
        .iter()
        .zip(activations.chunks(defaults.len()))
        .map(|(order, activations)| Direction {
            order: *order,
            activations: activations.to_vec(),
        })
        .collect())
}

/// An integer that is 0 or 1, and 0 where it is left out.
fn read_switch(node: &NodeProto, name: &str) -> Result<bool, LoadError> {
    match int(node, name) {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(other) => Err(invalid(
            node,
            format!("{name} is {other}; 0 and 1 are defined"),
        )),
    }
}
