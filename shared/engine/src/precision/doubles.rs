//! float64: what the graph engine runs in float32 only, or not at all, as kernels of this crate.

mod normalise;

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, ensure, tvec};

use super::draft::{Draft, ints_attribute};
use super::kernel::{Kernel, elements, maybe, need, shape};
use super::types::Types;
use super::window::Window;
use super::{KERNELS, place};
use crate::attributes::{float, int};
use crate::check::{ML_DOMAIN, unsupported};
use crate::error::LoadError;

pub(super) use normalise::{BatchNormalise, LayerNormalise, MeanOfPlanes, Normal};

/// Operators that the graph engine computes in float32 whatever they are given.
const IN_SINGLE: &[&str] = &[
    "AveragePool",
    "ConvTranspose",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "LpNormalization",
    "MeanVarianceNormalization",
    "RMSNormalization",
    "Resize",
];

/// Renames the nodes on float64 values that this crate runs, and refuses those that nothing runs in float64.
pub(super) fn lower(graph: &mut GraphProto) -> Result<(), LoadError> {
    let types = Types::infer(graph);
    let is_double = |node: &NodeProto| {
        node.domain != ML_DOMAIN && types.of_input(node, 0) == Some(ElementType::Double)
    };
    if !graph.node.iter().any(is_double) {
        return Ok(());
    }
    let (mut draft, nodes) = Draft::open(graph);
    for node in nodes {
        if !is_double(&node) {
            draft.nodes.push(node);
            continue;
        }
        let operator = node.op_type.as_str();
        if IN_SINGLE.contains(&operator) {
            return Err(unsupported(
                &node,
                "this operator is not run in float64",
                "export the model in float32",
            ));
        }
        let kernel = format!("float64.{operator}");
        // Bounds that are inputs are of the values' own type.
        let is_own = operator != "Clip" || node.input.len() == 1;
        if operator == "Gemm" {
            lower_gemm(&node, &mut draft);
        } else if is_own && KERNELS.contains(&kernel.as_str()) {
            draft.nodes.push(place(node, &kernel)?);
        } else {
            draft.nodes.push(node);
        }
    }
    draft.close(graph);
    Ok(())
}

/// `alpha * A * B + beta * C`: the graph engine multiplies with float32 constants.
fn lower_gemm(node: &NodeProto, draft: &mut Draft) {
    let ([a, b, rest @ ..], [output]) = (&*node.input, &*node.output) else {
        draft.nodes.push(node.clone());
        return;
    };
    let mut sides = [a.clone(), b.clone()];
    for (side, flag) in sides.iter_mut().zip(["transA", "transB"]) {
        if int(node, flag).unwrap_or(0) != 0 {
            let perm = vec![ints_attribute("perm", vec![1, 0])];
            *side = draft.add("Transpose", &[side], side, perm);
        }
    }
    let scaled = |draft: &mut Draft, value: String, name: &str| {
        let factor = f64::from(float(node, name).unwrap_or(1.0));
        if factor.to_bits() == 1.0_f64.to_bits() {
            return value;
        }
        let constant = TensorProto {
            data_type: ElementType::Double as i32,
            double_data: vec![factor],
            ..TensorProto::default()
        };
        let factor = draft.constant(output, name, constant);
        draft.add("Mul", &[&value, &factor], output, vec![])
    };
    let product = draft.add("MatMul", &[&sides[0], &sides[1]], output, vec![]);
    let product = scaled(draft, product, "alpha");
    let bias = rest.first().filter(|name| !name.is_empty());
    if let Some(bias) = bias {
        let bias = scaled(draft, bias.clone(), "beta");
        draft.make("Add", &[&product, &bias], output, vec![]);
    } else {
        draft.make("Identity", &[&product], output, vec![]);
    }
}

/// `Conv`.
#[derive(Debug)]
pub(super) struct DoubleConvolve {
    window: Window,
}

impl DoubleConvolve {
    pub(super) fn parse(node: &NodeProto) -> TractResult<Self> {
        Ok(Self {
            window: Window::parse(node)?,
        })
    }
}

impl Kernel for DoubleConvolve {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let made = self
            .window
            .place(shape(need(inputs, 0)?)?, shape(need(inputs, 1)?)?)?;
        Ok(tvec![f64::fact(made.shape())])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let (x, w) = (need(inputs, 0)?, need(inputs, 1)?);
        let placed = self.window.place(x.shape(), w.shape())?;
        let values = elements::<f64>(x)?;
        let weights = elements::<f64>(w)?;
        let mut made = placed.convolve(values, weights, |sum: f64, value, weight| {
            value.mul_add(weight, sum)
        });
        let shape = placed.shape();
        if let Some(bias) = maybe(inputs, 2) {
            let bias = elements::<f64>(bias)?;
            let plane: usize = shape[2..].iter().product();
            ensure!(
                bias.len() == shape[1],
                "{} biases for {} filters",
                bias.len(),
                shape[1]
            );
            if plane > 0 {
                for (plane, bias) in made.chunks_exact_mut(plane).zip(bias.iter().cycle()) {
                    for value in plane {
                        *value += bias;
                    }
                }
            }
        }
        Ok(tvec![TractTensor::from_shape(&shape, &made)?])
    }
}
