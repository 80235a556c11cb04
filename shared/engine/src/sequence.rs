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

pub(crate) use convolution::{CONVOLVE, Convolve, lower};
pub(crate) use dense::{
    DENSE, Dense, Function, find as find_dense, lower as lower_dense, sum, sum_squares,
};
pub(crate) use graph_node::register;

/// The operators that are run here; sorted.
pub(crate) const OPERATORS: &[&str] = &["GRU", "LSTM", "RNN"];

/// Checks a node's attributes and the number of its inputs and outputs.
pub(crate) fn check(node: &NodeProto) -> Result<(), LoadError> {
    definition::Definition::parse(node).map(|_| ())
}
