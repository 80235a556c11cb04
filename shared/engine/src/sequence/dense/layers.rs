//! The packed layers of a stretch, and rows going through them.

#![expect(
    clippy::inline_always,
    reason = "code uses the processor's registers only where it is inlined into what was chosen for them"
)]

use std::borrow::Cow;

use pulp::{Arch, Simd, WithSimd};
use tract_onnx::tract_hir::internal::{TractResult, ensure};

use super::super::lane::exp;
use super::super::packed::{Aligned, First, Packed, whole_panels};
use super::narrow::Narrow;
use super::{Function, Plan};

/// Rows that go through all layers together.
const MAX_ROWS: usize = 128;
/// Numbers between two layers: they stay in the cache beside the weights.
const MAX_BETWEEN: usize = 1 << 16;
/// Columns that are turned at once.
const TURNED: usize = 16;

/// Most columns that are taken one by one, and the least rows: a short sum is taken in the order of its terms, as
/// onnxruntime takes it.
const NARROW_COLUMNS: usize = 16;
const NARROW_ROWS: usize = 64;

fn is_narrow(inputs: usize, outputs: usize) -> bool {
    outputs <= NARROW_COLUMNS && inputs >= NARROW_ROWS
}

/// Numbers that the packed weights of a layer take; none for more than can be counted.
pub(super) fn packed_len(inputs: usize, outputs: usize) -> Option<usize> {
    let columns = if is_narrow(inputs, outputs) {
        outputs
    } else {
        outputs.checked_next_multiple_of(whole_panels(1))?
    };
    inputs.checked_mul(columns)
}

/// Layers, one after the other.
#[derive(Debug)]
pub(super) struct Layers {
    first: Layer,
    /// Each takes what the one before makes.
    rest: Vec<Layer>,
    /// Columns of the widest layer, as they are stored.
    widest: usize,
}

/// One layer.
#[derive(Debug)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weights: Weights,
    bias: Aligned<f32>,
    function: Option<Function>,
}

#[derive(Debug)]
enum Weights {
    Panels(Packed<f32>),
    Narrow(Narrow),
}

/// A layer as the graph has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) shape: [usize; 2],
    pub(super) weights: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    /// What each column of the weights is multiplied with.
    pub(super) factor: Option<&'a [f32]>,
    pub(super) plan: Plan,
}

impl Layers {
    pub(super) fn pack(raws: &[Raw<'_>]) -> TractResult<Self> {
        let mut layers = Vec::with_capacity(raws.len());
        for raw in raws {
            layers.push(Layer::pack(raw)?);
        }
        for pair in layers.windows(2) {
            ensure!(
                pair[0].outputs == pair[1].inputs,
                "a layer of {} inputs after one of {} outputs",
                pair[1].inputs,
                pair[0].outputs
            );
        }
        let widest = layers.iter().map(Layer::stride).max().unwrap_or(0);
        ensure!(!layers.is_empty(), "it has no layer");
        let rest = layers.split_off(1);
        ensure!(layers.len() == 1, "it has no layer");
        Ok(Self {
            first: layers.remove(0),
            rest,
            widest,
        })
    }

    /// Numbers of a row that the first layer takes and the last one makes.
    pub(super) fn widths(&self) -> (usize, usize) {
        let last = self.rest.last().unwrap_or(&self.first);
        (self.first.inputs, last.outputs)
    }

    /// Takes whole rows through all layers, and writes as many rows of what the last one makes.
    pub(super) fn run(&self, values: &[f32], made: &mut [f32]) {
        let arch = Arch::new();
        let (inputs, outputs) = self.widths();
        let rows = values.len() / inputs;
        let most = (MAX_BETWEEN / self.widest).clamp(1, MAX_ROWS).min(rows);
        let mut here = Aligned::zeros(most * self.widest);
        let mut there = Aligned::zeros(if self.rest.is_empty() {
            0
        } else {
            most * self.widest
        });
        let most = most.max(1);
        let blocks = made.chunks_mut(most * outputs);
        for (block, made) in values.chunks(most * inputs).zip(blocks) {
            let count = block.len() / inputs;
            self.first.run(arch, count, (block, inputs), &mut here);
            let mut stride = self.first.stride();
            for layer in &self.rest {
                std::mem::swap(&mut here, &mut there);
                layer.run(arch, count, (there.slice(), stride), &mut here);
                stride = layer.stride();
            }
            let rows = here.slice().chunks_exact(stride);
            for (row, made) in rows.zip(made.chunks_exact_mut(outputs)) {
                made.copy_from_slice(&row[..outputs]);
            }
        }
    }
}

impl Layer {
    fn pack(raw: &Raw<'_>) -> TractResult<Self> {
        let [rows, columns] = raw.shape;
        let (inputs, outputs) = if raw.plan.is_turned {
            (columns, rows)
        } else {
            (rows, columns)
        };
        ensure!(
            inputs > 0 && outputs > 0 && raw.weights.len() == inputs * outputs,
            "weights of the shape {:?}",
            raw.shape
        );
        let is_whole = |list: Option<&[f32]>| list.is_none_or(|list| list.len() == outputs);
        ensure!(
            is_whole(raw.bias) && is_whole(raw.factor),
            "biases or factors that are not of {outputs} columns"
        );
        let turned = turn(raw, inputs, outputs);
        let column = |at: usize| &turned[at * inputs..(at + 1) * inputs];
        let (weights, stride) = if is_narrow(inputs, outputs) {
            let narrow = Narrow::new(inputs, turned.to_vec());
            (Weights::Narrow(narrow), outputs)
        } else {
            let packed = Packed::new(inputs, outputs, |at| Some(column(at)));
            (Weights::Panels(packed), whole_panels(outputs))
        };
        let mut bias = Aligned::zeros(stride);
        if let Some(given) = raw.bias {
            bias.slice_mut()[..outputs].copy_from_slice(given);
        }
        Ok(Self {
            inputs,
            outputs,
            weights,
            bias,
            function: raw.plan.function,
        })
    }

    /// From one row of what it makes to the next.
    fn stride(&self) -> usize {
        match &self.weights {
            Weights::Panels(packed) => packed.columns(),
            Weights::Narrow(_) => self.outputs,
        }
    }

    fn run(
        &self,
        arch: Arch,
        rows: usize,
        (left, left_stride): (&[f32], usize),
        out: &mut Aligned<f32>,
    ) {
        let (stride, out) = (self.stride(), out.slice_mut());
        match &self.weights {
            Weights::Panels(packed) => packed.multiply(
                arch,
                First::Last(self.bias.slice()),
                rows,
                (left, left_stride),
                (out, stride),
            ),
            Weights::Narrow(narrow) => narrow.multiply(
                arch,
                &self.bias.slice()[..self.outputs],
                rows,
                (left, left_stride),
                out,
            ),
        }
        if let Some(function) = self.function {
            let values = &mut out[..rows * stride];
            arch.dispatch(Finish {
                function,
                values,
                width: self.outputs,
                stride,
            });
        }
    }
}

/// The weights column by column, each times its factor.
fn turn<'a>(raw: &Raw<'a>, inputs: usize, outputs: usize) -> Cow<'a, [f32]> {
    let mut turned = if raw.plan.is_turned {
        Cow::Borrowed(raw.weights)
    } else {
        let mut turned = vec![0.0; raw.weights.len()];
        for first in (0..outputs).step_by(TURNED) {
            for (at, row) in raw.weights.chunks_exact(outputs).enumerate() {
                for (column, value) in row.iter().enumerate().skip(first).take(TURNED) {
                    turned[column * inputs + at] = *value;
                }
            }
        }
        Cow::Owned(turned)
    };
    if let Some(factor) = raw.factor {
        let columns = turned.to_mut().chunks_exact_mut(inputs);
        for (column, factor) in columns.zip(factor) {
            for value in column {
                *value *= factor;
            }
        }
    }
    turned
}

/// Applies a function to rows of `width` numbers that stand `stride` apart; what stands between them may change.
pub(super) fn apply(function: Function, values: &mut [f32], width: usize, stride: usize) {
    Arch::new().dispatch(Finish {
        function,
        values,
        width,
        stride,
    });
}

/// A function under way.
struct Finish<'a> {
    function: Function,
    values: &'a mut [f32],
    width: usize,
    stride: usize,
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.function {
            Function::Each(activation) => activation.apply(self.values),
            Function::Softmax => {
                for row in self.values.chunks_exact_mut(self.stride.max(1)) {
                    softmax(simd, &mut row[..self.width]);
                }
            }
        }
    }
}

/// `exp(x) / sum(exp(x))`, without overflow; NaN goes to all of the row.
#[inline(always)]
fn softmax<S: Simd>(simd: S, row: &mut [f32]) {
    let (heads, tail) = S::as_simd_f32s(row);
    let mut most = simd.splat_f32s(f32::NEG_INFINITY);
    for head in heads {
        most = simd.max_f32s(*head, most);
    }
    let mut most = simd.reduce_max_f32s(most);
    for x in tail {
        most = if *x > most { *x } else { most };
    }
    for x in row.iter_mut() {
        let less = *x - most;
        // What is smaller than any normal number is 0.
        *x = if less < -87.0 { 0.0 } else { exp(less) };
    }
    let sum = sum(simd, row);
    for x in row {
        *x /= sum;
    }
}

/// The sum of a row, always in the same order.
#[inline(always)]
pub(crate) fn sum<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (heads, tail) = S::as_simd_f32s(row);
    let mut sums = simd.partial_load_f32s(tail);
    for head in heads {
        sums = simd.add_f32s(sums, *head);
    }
    simd.reduce_sum_f32s(sums)
}

/// The sum of a row's squares, always in the same order.
#[inline(always)]
pub(crate) fn sum_squares<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (heads, tail) = S::as_simd_f32s(row);
    let tail = simd.partial_load_f32s(tail);
    let mut sums = simd.mul_f32s(tail, tail);
    for head in heads {
        sums = simd.mul_add_e_f32s(*head, *head, sums);
    }
    simd.reduce_sum_f32s(sums)
}
