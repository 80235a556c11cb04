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
use crate::sequence::{Function, sum, sum_squares};

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
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.scale.len();
        for row in self.values.chunks_exact_mut(width) {
            let mean = sum(simd, row) / width as f32;
            for value in row.iter_mut() {
                *value -= mean;
            }
            let variance = sum_squares(simd, row) / width as f32;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::precision::doubles::LayerNormalise;
    use crate::precision::elements;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let number = |at: u32| (at.wrapping_mul(seed | 1).wrapping_mul(2_654_435_761) >> 16) as f32;
        (1..=count as u32)
            .map(|at| number(at) / 4096.0 - 8.0)
            .collect()
    }

    fn tensor(shape: &[usize], values: &[f32]) -> TractTensor {
        TractTensor::from_shape(shape, values).unwrap()
    }

    fn with(attributes: &[(&str, i64)]) -> NodeProto {
        NodeProto {
            attribute: attributes
                .iter()
                .map(|(name, value)| int_attribute(name, *value))
                .collect(),
            ..NodeProto::default()
        }
    }

    proptest! {
        #[test]
        fn softmax_is_its_definition_along_any_axis(
            shape in prop::array::uniform3(1..10_usize),
            axis in 0..3_usize,
            (is_flat, is_from_behind) in (any::<bool>(), any::<bool>()),
            seed in any::<u32>(),
        ) {
            let values = numbers(shape.iter().product(), seed);
            let stated = if is_from_behind { axis as i64 - 3 } else { axis as i64 };
            let kernel = SoftMaximum::parse(&with(&[("axis", stated), ("is_flat", is_flat.into())]));
            let x = tensor(&shape, &values);
            let found = kernel.run(&[Some(&x)]).unwrap();
            prop_assert_eq!(found[0].shape(), &shape);
            let found = elements::<f32>(&found[0]).unwrap();
            let inner: usize = if is_flat { 1 } else { shape[axis + 1..].iter().product() };
            let width: usize = shape[axis..].iter().product::<usize>() / inner;
            for (at, value) in found.iter().enumerate() {
                let first = at / (width * inner) * width * inner + at % inner;
                let line = (0..width).map(|step| f64::from(values[first + step * inner]));
                let most = line.clone().fold(f64::MIN, f64::max);
                let sum: f64 = line.map(|x| (x - most).exp()).sum();
                let expected = (f64::from(values[at]) - most).exp() / sum;
                prop_assert!((f64::from(*value) - expected).abs() <= 2e-6 * expected, "{} {}", value, expected);
            }
        }

        #[test]
        fn rows_are_normalised_by_their_definition(
            (rows, width) in (0..5_usize, 2..70_usize),
            has_bias in any::<bool>(),
            seed in any::<u32>(),
        ) {
            let (values, scale) = (numbers(rows * width, seed), numbers(width, !seed));
            let bias = numbers(width, seed ^ 0x4d);
            let kernel = LayerNormalise::<f32>::parse(&with(&[])).unwrap();
            let list = |values: &[f32]| tensor(&[width], values);
            let (x, scales, biases) = (tensor(&[rows, width], &values), list(&scale), list(&bias));
            let found = kernel
                .run(&[Some(&x), Some(&scales), has_bias.then_some(&biases)])
                .unwrap();
            let found = elements::<f32>(&found[0]).unwrap();
            for (row, found) in values.chunks_exact(width).zip(found.chunks_exact(width)) {
                let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
                let mean = row.iter().sum::<f64>() / width as f64;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                for (at, found) in found.iter().enumerate() {
                    let normal = (row[at] - mean) / (variance + 1e-5).sqrt();
                    let own = if has_bias { f64::from(bias[at]) } else { 0.0 };
                    let expected = normal * f64::from(scale[at]) + own;
                    prop_assert!((f64::from(*found) - expected).abs() <= 1e-4, "{} {}", found, expected);
                }
            }
        }
    }

    #[test]
    fn axes_outside_the_dimensions_are_refused_and_empty_shapes_are_kept() {
        let x = tensor(&[2, 0, 3], &[]);
        for (axis, is_taken) in [(0, true), (2, true), (-3, true), (3, false), (-4, false)] {
            let kernel = SoftMaximum::parse(&with(&[("axis", axis)]));
            let made = kernel.run(&[Some(&x)]);
            assert_eq!(made.is_ok(), is_taken, "{axis}");
            assert!(made.is_ok_and(|made| made[0].shape() == [2, 0, 3]) == is_taken);
        }
    }

    #[test]
    fn a_softmax_of_masked_places_is_zero_there() {
        let x = tensor(&[1, 3], &[1.0, f32::NEG_INFINITY, 1.0]);
        let kernel = SoftMaximum::parse(&with(&[("axis", -1)]));
        let made = kernel.run(&[Some(&x)]).unwrap();
        assert_eq!(elements::<f32>(&made[0]).unwrap(), [0.5, 0.0, 0.5]);
        let x = tensor(&[2, 2], &[f32::NAN, 1.0, 0.0, 0.0]);
        let made = kernel.run(&[Some(&x)]).unwrap();
        let made = elements::<f32>(&made[0]).unwrap();
        assert!(made[0].is_nan() && made[1].is_nan());
        assert_eq!(made[2..], [0.5, 0.5]);
    }

    #[test]
    fn only_what_the_file_settles_is_renamed() {
        let lowered = |scales: i64, operator: &str, element: ElementType| {
            let mut node = with(&[]);
            operator.clone_into(&mut node.op_type);
            node.input = vec!["x".to_owned(), "s".to_owned()];
            node.output = vec!["y".to_owned()];
            let constant = |name: &str, dims: Vec<i64>, element: ElementType| TensorProto {
                name: name.to_owned(),
                data_type: element as i32,
                dims,
                ..TensorProto::default()
            };
            let mut graph = GraphProto {
                node: vec![node],
                initializer: vec![
                    constant("x", vec![1, 4], element),
                    constant("s", vec![scales], element),
                ],
                ..GraphProto::default()
            };
            lower(&mut graph, 17);
            graph.node[0].op_type.clone()
        };
        let float = ElementType::Float;
        assert_eq!(
            lowered(4, "LayerNormalization", float),
            "float32.LayerNormalization"
        );
        assert_eq!(lowered(4, "Softmax", float), "float32.Softmax");
        // One scale for all may stand before a row of any width.
        assert_eq!(
            lowered(1, "LayerNormalization", float),
            "LayerNormalization"
        );
        let double = ElementType::Double;
        assert_eq!(lowered(4, "Softmax", double), "Softmax");
    }
}
