//! float32: what the graph engine takes in many steps, as kernels of this crate.

#![expect(
    clippy::inline_always,
    reason = "code uses the processor's registers only where it is inlined into what was chosen for them"
)]

use std::collections::HashMap;

use pulp::{Arch, Simd, WithSimd};
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, ensure, tvec};

use super::doubles::Normal;
use super::draft::int_attribute;
use super::kernel::{Kernel, change, need, shape};
use super::types::Types;
use crate::attributes::{find, int};
use crate::sequence::{Function, gather};

/// Renames the nodes on float32 values that this crate runs.
pub(super) fn lower(graph: &mut GraphProto, opset: i64) {
    let is_own = |node: &NodeProto| {
        matches!(&*node.op_type, "Softmax" | "LayerNormalization")
            && matches!(&*node.domain, "" | "ai.onnx")
    };
    if !graph.node.iter().any(is_own) {
        return;
    }
    let types = Types::infer(graph);
    let constants: HashMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    // A list of more than one number fits rows of as many numbers only.
    let list =
        |node: &NodeProto, at: usize| match constants.get(node.input.get(at)?.as_str())?.dims[..] {
            [count] if count > 1 => Some(count),
            _ => None,
        };
    for node in &mut graph.node {
        if !is_own(node) || types.of_input(node, 0) != Some(ElementType::Float) {
            continue;
        }
        if node.op_type == "Softmax" {
            let is_flat = opset < 13;
            if find(node, "axis").is_none() {
                node.attribute
                    .push(int_attribute("axis", if is_flat { 1 } else { -1 }));
            }
            node.attribute
                .push(int_attribute("is_flat", is_flat.into()));
        } else {
            let scales = list(node, 1);
            let has_bias = node.input.get(2).is_some_and(|name| !name.is_empty());
            let fits = scales.is_some()
                && (!has_bias || list(node, 2) == scales)
                && int(node, "axis").unwrap_or(-1) == -1
                && int(node, "stash_type").unwrap_or(1) == 1
                && node.output.iter().skip(1).all(String::is_empty);
            if !fits {
                continue;
            }
        }
        node.op_type = format!("float32.{}", node.op_type);
        node.domain.clear();
    }
}

/// `Softmax`: along an axis, or along all dimensions from one on.
#[derive(Debug)]
pub(super) struct SoftMaximum {
    axis: i64,
    is_flat: bool,
}

impl SoftMaximum {
    pub(super) fn parse(node: &NodeProto) -> Self {
        Self {
            axis: int(node, "axis").unwrap_or(-1),
            is_flat: int(node, "is_flat").unwrap_or(0) != 0,
        }
    }

    /// How many numbers one softmax is of, and how far they stand apart.
    fn stride(&self, shape: &[usize]) -> TractResult<(usize, usize)> {
        let rank = shape.len() as i64;
        let axis = if self.axis < 0 {
            self.axis + rank
        } else {
            self.axis
        };
        ensure!(
            (0..rank).contains(&axis) || (self.is_flat && axis == rank),
            "axis {} is outside the {rank} dimensions",
            self.axis
        );
        let (_, inner) = shape.split_at(axis as usize);
        Ok(match inner {
            [own, rest @ ..] if !self.is_flat => (*own, rest.iter().product()),
            all => (all.iter().product(), 1),
        })
    }
}

impl Kernel for SoftMaximum {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let shape = shape(need(inputs, 0)?)?;
        self.stride(shape)?;
        Ok(tvec![f32::fact(shape)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let (width, stride) = self.stride(x.shape())?;
        change(x, |values| {
            if stride == 1 {
                Function::Softmax.apply(values, width);
            } else if width > 0 && stride > 0 {
                apply_apart(values, width, stride);
            }
        })
    }
}

/// Takes softmaxes of numbers that stand apart: those of each together, and back.
fn apply_apart(values: &mut [f32], width: usize, stride: usize) {
    let mut lines = Vec::with_capacity(values.len());
    for block in values.chunks_exact(width * stride) {
        for first in 0..stride {
            lines.extend(block[first..].iter().step_by(stride));
        }
    }
    Function::Softmax.apply(&mut lines, width);
    let blocks = values.chunks_exact_mut(width * stride);
    for (block, lines) in blocks.zip(lines.chunks_exact(width * stride)) {
        for (first, line) in lines.chunks_exact(width).enumerate() {
            for (place, value) in block[first..].iter_mut().step_by(stride).zip(line) {
                *place = *value;
            }
        }
    }
}

/// Rows on their way to be normalised.
struct Rows<'a> {
    values: &'a mut [f32],
    scale: &'a [f32],
    bias: Option<&'a [f32]>,
    epsilon: f32,
}

impl Normal for f32 {
    fn normalise(values: &mut [Self], scale: &[Self], bias: Option<&[Self]>, epsilon: f64) {
        Arch::new().dispatch(Rows {
            values,
            scale,
            bias,
            epsilon: epsilon as f32,
        });
    }
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.scale.len();
        let add = |sum, value| sum + value;
        for row in self.values.chunks_exact_mut(width) {
            let mean = gather(row, 0.0, |value| value, add) / width as f32;
            for value in row.iter_mut() {
                *value -= mean;
            }
            let squares = gather(row, 0.0, |value| value * value, add);
            let variance = squares / width as f32;
            let factor = 1.0 / (variance + self.epsilon).sqrt();
            for (value, scale) in row.iter_mut().zip(self.scale) {
                *value *= factor * scale;
            }
            if let Some(bias) = self.bias {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        }
    }
}
