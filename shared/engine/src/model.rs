//! A loaded model: validated, planned, ready to run.

mod formulas;
mod load;
mod plan;
mod rewrite;
mod rows;
mod top_k;
mod tract_tensor;

use std::panic::{AssertUnwindSafe, catch_unwind};

use artifact::manifest::DataType;
use serde::Serialize;

use crate::error::{LoadError, RunError, describe_panic};
use crate::limits::LoadLimits;
use crate::pipeline::Pipeline;
use crate::tensor::Tensor;
use plan::Plans;

pub(crate) use tract_tensor::{from_tract, read_datatype, to_tract};

/// The form of one input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorSpec {
    /// The graph's name for it.
    pub name: String,
    /// The element type.
    pub datatype: DataType,
    /// The shape; -1 stands for a variable dimension. Empty for a scalar, and where the graph leaves it open.
    pub shape: Vec<i64>,
}

/// A model that can be run, from any number of threads at once.
#[derive(Debug)]
pub struct Model {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    runner: Runner,
}

/// Makes the packed form of an ONNX file, version [`PACKED_FORMAT`](crate::PACKED_FORMAT): the same bytes for the
/// same file on every machine. None for a net, whose packed form would load no faster.
///
/// # Errors
/// What [`Model::load`] refuses.
pub fn pack(onnx: &[u8], limits: &LoadLimits) -> Result<Option<Vec<u8>>, LoadError> {
    load::pack(onnx, limits)
}

/// What runs the graph.
#[derive(Debug)]
enum Runner {
    /// A graph of preprocessing, trees, linear models and dense layers.
    Pipeline(Pipeline),
    /// The graph engine, with a plan for each shape that it has met.
    Graph(Plans),
}

impl Model {
    /// Validates a file, optimises its graph and plans a batch of one row.
    ///
    /// # Errors
    /// A [`LoadError`] that names the node and the reason. No file makes this panic or run longer than
    /// `limits.deadline`.
    pub fn load(onnx: &[u8], limits: &LoadLimits) -> Result<Self, LoadError> {
        load::load(onnx, limits)
    }

    /// Loads a model from the packed form that [`pack`] made of its ONNX file: many times faster, and it answers to
    /// the bit as the ONNX file does.
    ///
    /// # Errors
    /// A [`LoadError`]: [`LoadError::PackedFormat`] for another version of the form, and what [`Model::load`] refuses.
    /// No bytes make this panic or run longer than `limits.deadline`.
    pub fn load_packed(
        packed: impl AsRef<[u8]> + Send + 'static,
        limits: &LoadLimits,
    ) -> Result<Self, LoadError> {
        load::load_packed(packed, limits)
    }

    /// The inputs, in the graph's order (initialisers that stand among them left out).
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// The outputs, in the graph's order. A map output of `ZipMap` is the tensor that it was made from.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// Runs the graph on tensors that are named as its inputs, in any order.
    ///
    /// The first run of a new batch size plans it, which costs milliseconds; 16 sizes are kept.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let order = self.order(inputs)?;
        guard(|| match &self.runner {
            Runner::Pipeline(pipeline) => pipeline.run(&order),
            Runner::Graph(plans) => plans.run(&order),
        })
    }

    /// False for nets: those that the graph engine runs, and those of dense layers.
    fn has_packed_form(&self) -> bool {
        matches!(&self.runner, Runner::Pipeline(pipeline) if !pipeline.has_layers())
    }

    /// Puts the tensors in the graph's order and checks their types and shapes.
    fn order<'a>(&self, inputs: &'a [Tensor]) -> Result<Vec<&'a Tensor>, RunError> {
        if let Some(tensor) = inputs
            .iter()
            .find(|tensor| !self.inputs.iter().any(|spec| spec.name == tensor.name))
        {
            let names: Vec<&str> = self.inputs.iter().map(|spec| spec.name.as_str()).collect();
            let reason = format!("the graph has no such input; it takes {}", names.join(", "));
            return Err(RunError::Input {
                input: tensor.name.clone(),
                reason,
            });
        }
        self.inputs
            .iter()
            .map(|spec| {
                let fault = |reason: String| RunError::Input {
                    input: spec.name.clone(),
                    reason,
                };
                let mut named = inputs.iter().filter(|tensor| tensor.name == spec.name);
                let tensor = named.next().ok_or_else(|| fault("missing".to_owned()))?;
                if named.next().is_some() {
                    return Err(fault("given more than once".to_owned()));
                }
                spec.check(tensor).map_err(fault)?;
                Ok(tensor)
            })
            .collect()
    }
}

impl TensorSpec {
    /// Says how a tensor differs from this form.
    fn check(&self, tensor: &Tensor) -> Result<(), String> {
        let datatype = tensor.data.datatype();
        if datatype != self.datatype {
            return Err(format!(
                "{} where {} is taken",
                datatype.name(),
                self.datatype.name()
            ));
        }
        let fits = self.shape.is_empty()
            || (self.shape.len() == tensor.shape.len()
                && self
                    .shape
                    .iter()
                    .zip(&tensor.shape)
                    .all(|(own, dim)| *own == -1 || *own == *dim as i64));
        if !fits {
            return Err(format!(
                "shape {:?} where {:?} is taken",
                tensor.shape, self.shape
            ));
        }
        let count = tensor
            .shape
            .iter()
            .try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        if count != Some(tensor.data.len()) {
            return Err(format!(
                "{} elements do not fill shape {:?}",
                tensor.data.len(),
                tensor.shape
            ));
        }
        Ok(())
    }
}

/// Runs a model; a panic is a failure of that model, not of the process.
fn guard<T>(run: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        Err(RunError::Panicked {
            message: describe_panic(payload.as_ref()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{RunError, guard};
    use crate::error::ScoreError;

    #[test]
    fn panic_of_a_model_is_an_error_with_its_message() {
        let error = guard::<()>(|| panic!("boom {}", 7)).unwrap_err();
        assert_eq!(
            error,
            RunError::Panicked {
                message: "boom 7".to_owned()
            }
        );
        assert_eq!(ScoreError::from(error).code(), "model.panicked");
        assert_eq!(guard(|| Ok(7)), Ok(7));
    }
}
