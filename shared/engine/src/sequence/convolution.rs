//! `Conv` over one dimension in float32, with weights that never change: causal and dilated ones too.
//!
//! A row of the input is laid out step by step, padding included. Then a window without gaps is a run of numbers, and
//! the whole convolution is one matrix product with the packed weights; a dilated one is a product for each tap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pulp::Arch;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{
    TVec, TractErrorContext as _, TractResult, TypedFact, ensure, tvec,
};

use super::packed::{Aligned, First, Packed, whole_panels};
use crate::attributes::int;
use crate::precision::{Kernel, Window, elements, fill, maybe, need, shape};

/// The operator's name within the graph engine.
pub(crate) const CONVOLVE: &str = "float32.Convolve";

/// Renames the nodes that are run here: those whose weights are constants of three dimensions, in one group, as long
/// as their packed weights take no more than `limit` bytes together. The graph engine runs the others.
pub(crate) fn lower(graph: &mut GraphProto, limit: usize) {
    let constants: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let weights: HashMap<&str, usize> = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.data_type == ElementType::Float as i32)
        .filter_map(|tensor| Some((tensor.name.as_str(), packed_size(&tensor.dims)?)))
        .collect();
    let mut left = limit;
    for node in &mut graph.node {
        let is_constant = |name: &String| name.is_empty() || constants.contains(name.as_str());
        let size = node
            .input
            .get(1)
            .and_then(|name| weights.get(name.as_str()));
        if node.op_type == "Conv"
            && matches!(&*node.domain, "" | "ai.onnx")
            && node.input.get(2).is_none_or(is_constant)
            && int(node, "group").unwrap_or(1) == 1
            && let Some(rest) = size.and_then(|size| left.checked_sub(*size))
        {
            left = rest;
            CONVOLVE.clone_into(&mut node.op_type);
            node.domain.clear();
        }
    }
}

/// The size of packed weights of a shape, in bytes; none for other than three dimensions.
fn packed_size(dims: &[i64]) -> Option<usize> {
    let [filters, channels, taps] = dims else {
        return None;
    };
    let dim = |dim: &i64| usize::try_from(*dim).ok();
    whole_panels(dim(filters)?)
        .checked_mul(dim(channels)?)?
        .checked_mul(dim(taps)?)?
        .checked_mul(size_of::<f32>())
}

/// A convolution at a node.
#[derive(Debug)]
pub(crate) struct Convolve {
    window: Arc<Window>,
    weights: Option<Weights>,
}

/// Weights and biases, packed.
#[derive(Debug)]
struct Weights {
    /// `[filters, channels, taps]`.
    shape: [usize; 3],
    /// All taps together, or one after the other where steps lie between them.
    taps: Vec<Packed<f32>>,
    bias: Aligned<f32>,
}

impl Convolve {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        Ok(Self {
            window: Arc::new(Window::parse(node)?),
            weights: None,
        })
    }
}

impl Weights {
    fn pack(
        values: &TractTensor,
        bias: Option<&TractTensor>,
        dilation: usize,
    ) -> TractResult<Self> {
        let shape: [usize; 3] = values
            .shape()
            .try_into()
            .ok()
            .context("the weights have not three dimensions")?;
        let [filters, channels, taps] = shape;
        let depth = channels * taps;
        // Each filter tap by tap, as the input's steps stand.
        let mut turned = Vec::with_capacity(filters * depth);
        for filter in elements::<f32>(values)?.chunks_exact(depth.max(1)) {
            for tap in 0..taps {
                turned.extend((0..channels).map(|channel| filter[channel * taps + tap]));
            }
        }
        let part = |first: usize, depth_of_part: usize| {
            Packed::new(depth_of_part, filters, |filter| {
                Some(&turned[filter * depth + first..][..depth_of_part])
            })
        };
        let taps = if dilation == 1 || taps == 1 {
            vec![part(0, depth)]
        } else {
            (0..taps)
                .map(|tap| part(tap * channels, channels))
                .collect()
        };
        let mut packed = Aligned::zeros(whole_panels(filters));
        if let Some(bias) = bias {
            let bias = elements::<f32>(bias)?;
            ensure!(
                bias.len() == filters,
                "{} biases for {filters} filters",
                bias.len()
            );
            packed.slice_mut()[..filters].copy_from_slice(bias);
        }
        Ok(Self {
            shape,
            taps,
            bias: packed,
        })
    }
}

impl Kernel for Convolve {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let made = self
            .window
            .place(shape(need(inputs, 0)?)?, shape(need(inputs, 1)?)?)?;
        Ok(tvec![f32::fact(made.shape())])
    }

    fn bind(&self, constants: &[Option<&TractTensor>]) -> TractResult<Option<Arc<dyn Kernel>>> {
        let Some(values) = maybe(constants, 1) else {
            return Ok(None);
        };
        let weights = Weights::pack(values, maybe(constants, 2), self.window.dilation(0))?;
        Ok(Some(Arc::new(Self {
            window: Arc::clone(&self.window),
            weights: Some(weights),
        })))
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let fresh;
        let weights = if let Some(weights) = &self.weights {
            weights
        } else {
            let dilation = self.window.dilation(0);
            fresh = Weights::pack(need(inputs, 1)?, maybe(inputs, 2), dilation)?;
            &fresh
        };
        let placed = self.window.place(x.shape(), &weights.shape)?;
        let side = placed
            .only_side()
            .context("the input has not three dimensions")?;
        let [filters, channels, _] = weights.shape;
        let (steps, columns) = (side.made, whole_panels(filters));
        let mut laid_out = vec![0.0_f32; side.padded() * channels];
        let mut sums = Aligned::zeros(steps * columns);
        let arch = Arch::new();
        let values = elements::<f32>(x)?;
        fill(&placed.shape(), |made| {
            let rows = values.chunks_exact((channels * side.length).max(1));
            for (row, made) in rows.zip(made.chunks_exact_mut((filters * steps).max(1))) {
                let target = &mut laid_out[side.before * channels..];
                turn(row, side.length, channels, (target, channels));
                for (tap, part) in weights.taps.iter().enumerate() {
                    let first = if tap == 0 {
                        First::Bias(weights.bias.slice())
                    } else {
                        First::Kept
                    };
                    let left = &laid_out[tap * side.dilation * channels..];
                    part.multiply(
                        arch,
                        first,
                        steps,
                        (left, side.stride * channels),
                        (sums.slice_mut(), columns),
                    );
                }
                turn(sums.slice(), columns, steps, (made, steps));
            }
            Ok(())
        })
    }
}

/// Numbers of a side of a square that is turned at once.
const SQUARE: usize = 8;

/// Makes columns of `count` rows that lie one after the other: as many columns as `target` has rows, of `stride`.
fn turn(rows: &[f32], width: usize, count: usize, (target, stride): (&mut [f32], usize)) {
    let columns = width.min(target.len().div_ceil(stride.max(1)));
    for first_row in (0..count).step_by(SQUARE) {
        let tall = SQUARE.min(count - first_row);
        for first_column in (0..columns).step_by(SQUARE) {
            let wide = SQUARE.min(columns - first_column);
            let source = &rows[first_row * width + first_column..];
            let places = &mut target[first_column * stride + first_row..];
            if tall < SQUARE || wide < SQUARE {
                for row in 0..tall {
                    for column in 0..wide {
                        places[column * stride + row] = source[row * width + column];
                    }
                }
                continue;
            }
            let mut square = [[0.0; SQUARE]; SQUARE];
            for (row, numbers) in square.iter_mut().enumerate() {
                numbers.copy_from_slice(&source[row * width..][..SQUARE]);
            }
            for column in 0..SQUARE {
                let place = &mut places[column * stride..][..SQUARE];
                for row in 0..SQUARE {
                    place[row] = square[row][column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tract_onnx::pb::AttributeProto;

    use super::*;

    fn with_ints(node: &mut NodeProto, name: &str, ints: &[usize]) {
        node.attribute.push(AttributeProto {
            name: name.to_owned(),
            r#type: 7,
            ints: ints.iter().map(|value| *value as i64).collect(),
            ..AttributeProto::default()
        });
    }

    proptest! {
        #[test]
        fn a_convolution_is_its_definition(
            (rows, channels, length) in (1..4_usize, 1..40_usize, 1..40_usize),
            (filters, taps) in (1..70_usize, 1..6_usize),
            (stride, dilation) in (1..4_usize, 1..5_usize),
            pads in prop::array::uniform2(0..9_usize),
            (has_bias, seed) in (any::<bool>(), any::<u32>()),
        ) {
            prop_assume!(length + pads[0] + pads[1] > dilation * (taps - 1));
            let mut node = NodeProto::default();
            with_ints(&mut node, "strides", &[stride]);
            with_ints(&mut node, "dilations", &[dilation]);
            with_ints(&mut node, "pads", &pads);
            let numbers = |count: usize, by: u32| -> Vec<f32> {
                let number = |at: u32| (at.wrapping_mul(seed | 1).wrapping_mul(by) >> 16) as f32;
                (0..count as u32).map(|at| number(at) / 32_768.0 - 1.0).collect()
            };
            let x = numbers(rows * channels * length, 2_654_435_761);
            let w = numbers(filters * channels * taps, 40_503);
            let bias = numbers(filters, 97);
            let tensor = |shape: &[usize], values: &[f32]| {
                TractTensor::from_shape(shape, values).unwrap()
            };
            let x_tensor = tensor(&[rows, channels, length], &x);
            let w_tensor = tensor(&[filters, channels, taps], &w);
            let bias_tensor = tensor(&[filters], &bias);
            let given = [
                Some(&x_tensor),
                Some(&w_tensor),
                has_bias.then_some(&bias_tensor),
            ];
            let kernel = Convolve::parse(&node).unwrap();
            let constants = [None, given[1], given[2]];
            let bound = kernel.bind(&constants).unwrap().unwrap();
            let found = bound.run(&given).unwrap();
            let found = elements::<f32>(&found[0]).unwrap();

            let placed = Window::parse(&node).unwrap();
            let placed = placed.place(x_tensor.shape(), w_tensor.shape()).unwrap();
            let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let expected = placed.convolve(&wide(&x), &wide(&w), |sum: f64, value, weight| {
                sum + value * weight
            });
            prop_assert_eq!(found.len(), expected.len());
            let steps = expected.len() / (rows * filters);
            let bound = 1e-6 * (channels * taps) as f64;
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let own = if has_bias { f64::from(bias[at / steps % filters]) } else { 0.0 };
                prop_assert!((f64::from(*found) - expected - own).abs() <= bound, "{}", at);
            }
        }
    }
}
