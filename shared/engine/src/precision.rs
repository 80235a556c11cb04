//! Element types that the graph engine runs badly or not at all: float16, float64, int8.
//!
//! A graph that uses them is written anew before the graph engine reads it: operators become kernels of this crate
//! (`float64.Sigmoid`, `int8.Multiply`, …) or simpler operators.

mod activation;
mod doubles;
mod draft;
mod half_floats;
mod kernel;
mod quantised;
mod recurrent;
mod singles;
mod types;
mod window;

use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::tract_hir::internal::TractResult;

use crate::check::unsupported;
use crate::error::LoadError;
use crate::sequence;
use activation::Activation;
use doubles::{BatchNormalise, DoubleConvolve, LayerNormalise, MeanOfPlanes};
use quantised::{
    Convolve, Dequantise, Multiply, Quantise, QuantiseByRange, QuantisedLstm, Requantise,
};
use singles::SoftMaximum;

pub(crate) use kernel::{Kernel, elements, fill, maybe, need, put, shape};
pub(crate) use quantised::{MICROSOFT_OPERATORS, hint};
pub(crate) use window::Window;

/// The domain of onnxruntime's own operators, of which the quantiser's are run.
pub(crate) const MICROSOFT_DOMAIN: &str = "com.microsoft";

/// How the rows of a batch are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batching {
    /// All in one run.
    Together,
    /// Each in a run of its own: where numbers are rounded to a few bits, the last bit of a sum, which depends on the
    /// size of the batch, moves an answer; and a scale that is made of a batch depends on all its rows.
    OneByOne,
}

/// Names of the kernels, as operators.
const KERNELS: &[&str] = &[
    sequence::CONVOLVE,
    sequence::DENSE,
    "float32.LayerNormalization",
    "float32.Softmax",
    "float64.BatchNormalization",
    "float64.Celu",
    "float64.Clip",
    "float64.Conv",
    "float64.Elu",
    "float64.Erf",
    "float64.Gelu",
    "float64.GlobalAveragePool",
    "float64.HardSigmoid",
    "float64.HardSwish",
    "float64.LayerNormalization",
    "float64.LeakyRelu",
    "float64.Mish",
    "float64.Relu",
    "float64.Selu",
    "float64.Shrink",
    "float64.Sigmoid",
    "float64.Softplus",
    "float64.Softsign",
    "float64.Swish",
    "float64.ThresholdedRelu",
    "int8.Convolve",
    "int8.Dequantise",
    "int8.Lstm",
    "int8.Multiply",
    "int8.Quantise",
    "int8.QuantiseByRange",
    "int8.Requantise",
];

/// Tells the graph engine about the kernels.
pub(crate) fn register(onnx: &mut Onnx) {
    kernel::register(onnx);
}

/// Writes a graph for the graph engine, and says how its rows are to be run. What is packed at load may take
/// `packed_limit` bytes.
///
/// # Errors
/// A [`LoadError`] that names the node: an operator that nothing runs in its type, or attributes of one that are not
/// run.
pub(crate) fn lower(
    graph: &mut GraphProto,
    opset: i64,
    packed_limit: usize,
) -> Result<Batching, LoadError> {
    half_floats::widen(graph);
    let is_quantised = quantised::lower(graph, opset)?;
    doubles::lower(graph)?;
    sequence::lower(graph, packed_limit);
    sequence::lower_dense(graph, opset);
    singles::lower(graph, opset);
    Ok(if is_quantised {
        Batching::OneByOne
    } else {
        Batching::Together
    })
}

/// Makes a node one of a kernel, which must be able to run it.
fn place(mut node: NodeProto, kernel: &str) -> Result<NodeProto, LoadError> {
    let own = (node.op_type.clone(), node.domain.clone());
    kernel.clone_into(&mut node.op_type);
    node.domain.clear();
    match parse_kernel(&node) {
        Ok(_) => Ok(node),
        Err(error) => {
            (node.op_type, node.domain) = own;
            Err(unsupported(&node, format!("{error:#}"), ""))
        }
    }
}

/// Reads the attributes of a kernel's node.
fn parse_kernel(node: &NodeProto) -> TractResult<Arc<dyn Kernel>> {
    Ok(match node.op_type.as_str() {
        sequence::CONVOLVE => Arc::new(sequence::Convolve::parse(node)?),
        sequence::DENSE => Arc::new(sequence::Dense::parse(node)?),
        "float64.BatchNormalization" => Arc::new(BatchNormalise::parse(node)?),
        "float64.Conv" => Arc::new(DoubleConvolve::parse(node)?),
        "float64.GlobalAveragePool" => Arc::new(MeanOfPlanes),
        "float32.LayerNormalization" => Arc::new(LayerNormalise::<f32>::parse(node)?),
        "float32.Softmax" => Arc::new(SoftMaximum::parse(node)),
        "float64.LayerNormalization" => Arc::new(LayerNormalise::<f64>::parse(node)?),
        "int8.Convolve" => Arc::new(Convolve::parse(node)?),
        "int8.Dequantise" => Arc::new(Dequantise::parse(node)?),
        "int8.Lstm" => Arc::new(QuantisedLstm::parse(node)?),
        "int8.Multiply" => Arc::new(Multiply::default()),
        "int8.Quantise" => Arc::new(Quantise::parse(node)?),
        "int8.QuantiseByRange" => Arc::new(QuantiseByRange),
        "int8.Requantise" => Arc::new(Requantise::parse(node)),
        name => {
            let operator = name.strip_prefix("float64.").unwrap_or(name);
            Arc::new(Activation::parse(node, operator)?)
        }
    })
}
