//! This crate's operators of `ai.onnx.ml`, as the graph engine calls them: one file each.

mod tree_ensemble;

use tract_onnx::Onnx;

/// Puts this crate's operators in the place of the graph engine's own.
pub(crate) fn register(onnx: &mut Onnx) {
    tree_ensemble::register(&mut onnx.op_register);
}
