//! Graphs of preprocessing, trees, linear models and dense layers, run step by step without the graph engine.
//!
//! Nothing is planned: any batch size costs the same from its first request on. A graph with an operator
//! that is no step here goes to the graph engine, whole.

mod arithmetic;
mod build;
mod shape;
mod step;

use crate::error::RunError;
use crate::ml::{Array, Form, Operator, View};
use crate::tensor::Tensor;
use crate::tree::TreeOperator;
use step::Step;

pub(crate) use build::build;
pub(crate) use step::ColumnStep;

/// A graph as a list of steps.
#[derive(Debug)]
pub(crate) struct Pipeline {
    nodes: Vec<Node>,
    constants: Vec<Array>,
    /// Values that steps make.
    slots: usize,
    /// The graph's outputs: name, and the value it is.
    outputs: Vec<(String, Source)>,
    /// Rows of which no step makes more elements than the limit.
    max_rows: usize,
}

/// What a pipeline makes of inputs of some types and shapes.
struct Made {
    outputs: Vec<Form>,
    /// Elements of the largest tensor on the way.
    most: usize,
}

/// One step with its place in the graph.
#[derive(Debug)]
struct Node {
    /// For messages: the node's name and operator.
    label: String,
    step: Step,
    inputs: Vec<Source>,
    /// The slots of the outputs; none for one that nobody uses.
    outputs: Vec<Option<usize>>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Input(usize),
    Constant(usize),
    Slot(usize),
}

impl Pipeline {
    /// Runs the steps on tensors in the graph's order.
    pub(crate) fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
        if let Some(tensor) = inputs.iter().find(|tensor| {
            tensor
                .shape
                .first()
                .is_some_and(|rows| *rows > self.max_rows)
        }) {
            return Err(RunError::Input {
                input: tensor.name.clone(),
                reason: format!(
                    "{} rows; {} are taken at once",
                    tensor.shape[0], self.max_rows
                ),
            });
        }
        let mut slots: Vec<Option<Array>> = vec![None; self.slots];
        for node in &self.nodes {
            let made = {
                let views: Vec<View<'_>> = node
                    .inputs
                    .iter()
                    .filter_map(|source| self.find(*source, inputs, &slots))
                    .collect();
                node.step.run(&views).map_err(|reason| RunError::Failed {
                    reason: format!("{}: {reason}", node.label),
                })?
            };
            for (array, slot) in made.into_iter().zip(&node.outputs) {
                if let Some(slot) = slot {
                    slots[*slot] = Some(array);
                }
            }
        }
        let mut tensors = Vec::with_capacity(self.outputs.len());
        for (at, (name, source)) in self.outputs.iter().enumerate() {
            let is_last = self.outputs[at + 1..]
                .iter()
                .all(|(_, later)| later != source);
            let array = match source {
                Source::Slot(slot) if is_last => slots[*slot].take(),
                _ => self.find(*source, inputs, &slots).map(|view| Array {
                    shape: view.shape.to_vec(),
                    data: view.data.clone(),
                }),
            };
            let Some(array) = array else {
                let reason = format!("output `{name}` was not made");
                return Err(RunError::Failed { reason });
            };
            tensors.push(Tensor {
                name: name.clone(),
                shape: array.shape,
                data: array.data,
            });
        }
        Ok(tensors)
    }

    /// True where there are dense layers: their weights stand in the file as they are packed, but for their order.
    pub(crate) fn has_layers(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| matches!(node.step, Step::Dense(_)))
    }

    /// The tree operators, in the graph's order.
    pub(crate) fn trees(&self) -> Vec<&TreeOperator> {
        let operators = self.nodes.iter().filter_map(|node| match &node.step {
            Step::Ml(operator) => match &**operator {
                Operator::Trees(trees) => Some(&**trees),
                _ => None,
            },
            _ => None,
        });
        operators.collect()
    }

    fn find<'a>(
        &'a self,
        source: Source,
        inputs: &[&'a Tensor],
        slots: &'a [Option<Array>],
    ) -> Option<View<'a>> {
        match source {
            Source::Input(at) => inputs.get(at).map(|tensor| View {
                shape: &tensor.shape,
                data: &tensor.data,
            }),
            Source::Constant(at) => self.constants.get(at).map(Array::view),
            Source::Slot(at) => slots[at].as_ref().map(Array::view),
        }
    }

    /// The outputs' types and shapes for inputs of these.
    fn forms(&self, inputs: &[Form]) -> Result<Made, (usize, String)> {
        let mut most = 0;
        let mut slots: Vec<Option<Form>> = vec![None; self.slots];
        let find = |source: Source, slots: &[Option<Form>]| match source {
            Source::Input(at) => inputs.get(at).cloned(),
            Source::Constant(at) => self.constants.get(at).map(|array| array.view().form()),
            Source::Slot(at) => slots[at].clone(),
        };
        for (at, node) in self.nodes.iter().enumerate() {
            let given: Vec<Form> = node
                .inputs
                .iter()
                .filter_map(|source| find(*source, &slots))
                .collect();
            let made = node.step.forms(&given).map_err(|reason| (at, reason))?;
            for (form, slot) in made.into_iter().zip(&node.outputs) {
                let elements = form
                    .shape
                    .iter()
                    .fold(1, |n: usize, dim| n.saturating_mul(*dim));
                most = most.max(elements);
                if let Some(slot) = slot {
                    slots[*slot] = Some(form);
                }
            }
        }
        let last = self.nodes.len();
        let outputs = self
            .outputs
            .iter()
            .map(|(name, source)| {
                find(*source, &slots).ok_or_else(|| (last, format!("output `{name}` is not made")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Made { outputs, most })
    }
}
