//! Stretches of dense layers: `Gemm`, or `MatMul` and `Add`, with weights that never change, and the functions between
//! them. A stretch is one operator, whose rows go through all layers block by block.

mod find;
mod layers;
mod narrow;
#[cfg(test)]
mod tests;
mod write;

use std::sync::{Arc, OnceLock};

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum as _, DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, anyhow, bail, ensure, tvec};

use super::activation::Activation;
use crate::attributes::{float, int, ints, strings};
use crate::precision::{Kernel, elements, fill, maybe, need, shape};

pub(crate) use find::{find, lower};
use layers::{Layers, Raw};
pub(crate) use layers::{sum, sum_squares};

/// The operator's name, within the graph engine and in pipelines.
pub(crate) const DENSE: &str = "float32.Dense";

/// Inputs of the operator that belong to one layer: weights, biases, and a factor for each column.
const LAYER_INPUTS: usize = 3;

/// What is done with the sums of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    /// With each by itself.
    Each(Activation),
    /// Of each row.
    Softmax,
}

impl Function {
    /// The function of an operator's name; none for one that is not run here.
    pub(crate) fn read(operator: &str, alpha: Option<f32>, beta: Option<f32>) -> Option<Self> {
        if operator == "Softmax" {
            return Some(Self::Softmax);
        }
        Activation::of_operator(operator, alpha, beta).map(Self::Each)
    }

    /// Applies it to rows of a width that lie one after the other.
    pub(crate) fn apply(self, values: &mut [f32], width: usize) {
        layers::apply(self, values, width, width);
    }
}

/// A stretch at a node.
#[derive(Debug)]
pub(crate) struct Dense {
    /// True where only a matrix is taken.
    is_matrix: bool,
    /// The least number of dimensions of what is made: a bias may have one more than the input.
    least_rank: usize,
    plans: Vec<Plan>,
    /// Packed once for all plans of the graph engine: weights are constants.
    layers: OnceLock<Layers>,
}

/// What is known of a layer without its weights.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// True where the weights stand as `[outputs, inputs]`.
    is_turned: bool,
    function: Option<Function>,
}

impl Dense {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        let turned = ints(node, "turned");
        let plans = turned
            .iter()
            .zip(strings(node, "functions"))
            .enumerate()
            .map(|(at, (is_turned, function))| {
                let name = std::str::from_utf8(function)?;
                let parameter = |kind: &str| float(node, &format!("{kind}.{at}"));
                let function = match name {
                    "" => None,
                    name => Some(
                        Function::read(name, parameter("alpha"), parameter("beta"))
                            .ok_or_else(|| anyhow!("the function `{name}` is not run"))?,
                    ),
                };
                Ok(Plan {
                    is_turned: *is_turned != 0,
                    function,
                })
            })
            .collect::<TractResult<Vec<_>>>()?;
        ensure!(!plans.is_empty(), "it has no layer");
        Ok(Self {
            is_matrix: int(node, "is_matrix").unwrap_or(0) != 0,
            least_rank: int(node, "least_rank").unwrap_or(0) as usize,
            plans,
            layers: OnceLock::new(),
        })
    }

    /// Packs the weights; `constant` gives the shape and the elements of the node's input of that number.
    pub(crate) fn pack<'a>(
        &self,
        constant: impl Fn(usize) -> TractResult<Option<(&'a [usize], &'a [f32])>>,
    ) -> TractResult<()> {
        if self.layers.get().is_some() {
            return Ok(());
        }
        let mut layers = Vec::with_capacity(self.plans.len());
        for (at, plan) in self.plans.iter().enumerate() {
            let first = 1 + at * LAYER_INPUTS;
            let Some((&[rows, columns], weights)) = constant(first)? else {
                bail!("the weights of layer {at} are no matrix")
            };
            let list = |input: usize| -> TractResult<Option<&'a [f32]>> {
                Ok(constant(input)?.map(|(_, values)| values))
            };
            layers.push(Raw {
                shape: [rows, columns],
                weights,
                bias: list(first + 1)?,
                factor: list(first + 2)?,
                plan: *plan,
            });
        }
        let packed = Layers::pack(&layers)?;
        // Another thread may have packed the same meanwhile.
        let _ = self.layers.set(packed);
        Ok(())
    }

    fn layers(&self) -> TractResult<&Layers> {
        let layers = self.layers.get();
        layers.ok_or_else(|| anyhow!("its weights are no constants"))
    }

    /// The shape of what is made of an input of a shape.
    pub(crate) fn shape(&self, input: &[usize]) -> TractResult<TVec<usize>> {
        self.shape_of(input, self.layers()?.widths())
    }

    /// The same, for layers that take and make so many numbers a row.
    fn shape_of(
        &self,
        input: &[usize],
        (inputs, outputs): (usize, usize),
    ) -> TractResult<TVec<usize>> {
        ensure!(
            input.last() == Some(&inputs),
            "an input of the shape {input:?} where rows of {inputs} numbers are taken"
        );
        ensure!(
            !self.is_matrix || input.len() == 2,
            "an input of {} dimensions where 2 are taken",
            input.len()
        );
        let mut made: TVec<usize> = tvec![1; self.least_rank.saturating_sub(input.len())];
        made.extend(input[..input.len() - 1].iter().copied());
        made.push(outputs);
        Ok(made)
    }

    /// Writes what is made of an input, which has as many elements as its shape says.
    pub(crate) fn write(&self, values: &[f32], made: &mut [f32]) -> TractResult<()> {
        self.layers()?.run(values, made);
        Ok(())
    }
}

impl Kernel for Dense {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let x = need(inputs, 0)?;
        ensure!(
            x.datum_type == f32::datum_type(),
            "{:?} where F32 is taken",
            x.datum_type
        );
        // Before the weights are packed, their shapes say it.
        let widths = |at: usize| {
            let [rows, columns] = *shape(need(inputs, 1 + at * LAYER_INPUTS)?)? else {
                bail!("the weights of layer {at} are no matrix")
            };
            let is_turned = self.plans[at].is_turned;
            Ok(if is_turned {
                (columns, rows)
            } else {
                (rows, columns)
            })
        };
        let (taken, made) = (widths(0)?.0, widths(self.plans.len() - 1)?.1);
        Ok(tvec![f32::fact(self.shape_of(shape(x)?, (taken, made))?)])
    }

    /// Packs the weights in place: all plans have the same.
    fn bind(&self, constants: &[Option<&TractTensor>]) -> TractResult<Option<Arc<dyn Kernel>>> {
        self.pack(|at| {
            let tensor = maybe(constants, at);
            tensor
                .map(|tensor| Ok((tensor.shape(), elements::<f32>(tensor)?)))
                .transpose()
        })?;
        Ok(None)
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let shape = self.shape(x.shape())?;
        fill(&shape, |made| self.write(elements::<f32>(x)?, made))
    }
}
