//! Scores ONNX models: validates and loads an untrusted file, holds a request to the manifest's input
//! schema, runs the graph and holds the output to the manifest's contract.
//!
//! ```text
//! bytes ──validate──▶ Model ─┐
//!               Manifest ────┴──▶ Scorer ──sanitize(request)──▶ Sanitized ──score──▶ Scored
//! ```
//!
//! Three things run graphs. One of preprocessing, trees and linear models only (`pipeline`) runs step by step on this
//! crate's operators of `ai.onnx.ml` (`ml`, `tree`), which follow onnxruntime's arithmetic. Any other is planned by
//! tract, with these operators, recurrent and convolving nets (`sequence`) and float64, float16 and int8 (`precision`)
//! on kernels of this crate in their places. Scores of trees and linear models are explained (`explain`). A file is
//! read on a thread of its own, under a deadline (`guarded`); everything else is synchronous, and all is free of I/O.

mod attributes;
mod check;
mod error;
mod explain;
mod guarded;
mod inspect;
mod limits;
mod ml;
mod model;
mod packed;
mod pipeline;
mod precision;
mod sanitize;
mod score;
mod sequence;
mod tensor;
mod tree;
mod wire;

pub use error::{InputError, LoadError, RunError, ScoreError};
pub use explain::{ExplainError, Explainer, Explanations, Form, Method};
pub use inspect::{
    Cost, Inspection, OperatorCount, Opset, Refusal, TreeSummary, Unsupported, inspect,
};
pub use limits::LoadLimits;
pub use model::{Model, TensorSpec, pack};
pub use packed::PACKED_FORMAT;
pub use sanitize::{Change, ChangeKind, Sanitized};
pub use score::{Answer, Scored, Scorer};
pub use tensor::{Tensor, TensorData};
