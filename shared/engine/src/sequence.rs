//! Recurrent operators of `ai.onnx` (`LSTM`, `GRU`, `RNN`) as the specification has them, `Conv` over one dimension, and
//! dense layers, on kernels of this crate.
//!
//! The weights are packed once; the inputs of many steps are multiplied at once, and a step multiplies only the state.
//! Code for AVX2, AVX-512 or NEON is chosen at run time (by `pulp`), so sums may differ in their last bit between
//! processors; on one processor a row's answer does not depend on the batch that it stands in.
//!
//! Where the specification leaves a choice, onnxruntime's is taken: `clip` bounds what goes into the gates and not what
//! goes into the last activation of an LSTM; a row of length 0 has the final state 0. NaN goes through every cell
//! (onnxruntime's LSTM and GRU swallow it).

mod activation;
mod cell;
mod convolution;
mod definition;
mod dense;
mod graph_node;
mod lane;
mod packed;
mod plan_node;
mod walk;
mod weights;

use tract_onnx::pb::NodeProto;

use crate::error::LoadError;

pub(crate) use activation::Activation;
pub(crate) use convolution::{CONVOLVE, Convolve, lower};
pub(crate) use definition::{Cell, Definition, Forget, Layout, Order, read_lengths};
pub(crate) use dense::{
    DENSE, Dense, Function, find as find_dense, lower as lower_dense, sum, sum_squares,
};
pub(crate) use graph_node::register;
pub(crate) use plan_node::packed_size;

/// The operators that are run here; sorted.
pub(crate) const OPERATORS: &[&str] = &["GRU", "LSTM", "RNN"];

/// Inputs of a quantised LSTM at most: those of `LSTM`, and scales and zero points of its weights.
pub(crate) const QUANTISED_INPUTS: usize = 12;

/// What the weights of a file's nodes may take once they are packed, in bytes: as many numbers as the file has bytes,
/// which int8 weights come to, and 16 MiB. Padding makes up to 32 numbers of one where a layer has few units, and
/// several nodes may share a weight of the file and pack it each for itself.
pub(crate) fn packed_limit(file_bytes: usize) -> usize {
    const ALWAYS: usize = 16 << 20;
    file_bytes
        .saturating_mul(size_of::<f32>())
        .saturating_add(ALWAYS)
}

/// Checks the attributes of a quantised LSTM, and the number of its inputs and outputs.
pub(crate) fn check_quantised(node: &NodeProto) -> Result<(), LoadError> {
    Definition::parse_lstm(node, QUANTISED_INPUTS).map(|_| ())
}

/// Checks a node's attributes and the number of its inputs and outputs.
pub(crate) fn check(node: &NodeProto) -> Result<(), LoadError> {
    Definition::parse(node).map(|_| ())
}
