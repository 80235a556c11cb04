//! Scores ONNX models: validates and loads an untrusted file, holds a request to the manifest's input
//! schema, runs the graph and holds the output to the manifest's contract.
//!
//! ```text
//! bytes ──validate──▶ Model ─┐
//!               Manifest ────┴──▶ Scorer ──sanitize(request)──▶ Sanitized ──score──▶ Scored
//! ```
//!
//! Neural nets and linear graphs run on tract; tree ensembles run on this crate's own kernel ([`tree`]),
//! which follows onnxruntime's arithmetic. Everything is synchronous and free of I/O.

mod attributes;
mod check;
mod error;
mod explain;
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
pub use explain::{ExplainError, Explainer, Explanations, Method, ModelFile};
pub use inspect::{
    Cost, Inspection, OperatorCount, Opset, Refusal, TreeSummary, Unsupported, inspect,
};
pub use limits::LoadLimits;
pub use model::{Model, TensorSpec, pack};
pub use packed::PACKED_FORMAT;
pub use sanitize::{Change, ChangeKind, Sanitized};
pub use score::{Answer, Scored, Scorer};
pub use tensor::{Tensor, TensorData};
