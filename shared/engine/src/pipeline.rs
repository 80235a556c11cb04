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
    /// Shapes of the inputs of which the steps make no more elements than the limit; so do smaller ones.
    fitting: Vec<Vec<usize>>,
    /// Most elements of the tensors that the steps make, all together.
    max_elements: usize,
}

/// What a pipeline makes of inputs of some types and shapes.
struct Made {
    outputs: Vec<Form>,
    /// Elements of all tensors that the steps make; saturates.
    elements: usize,
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
        self.check_size(inputs)?;
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

    /// Refuses inputs of which the steps would make more elements than the limit, before any is made.
    fn check_size(&self, inputs: &[&Tensor]) -> Result<(), RunError> {
        let is_smaller = |(tensor, known): (&&Tensor, &Vec<usize>)| {
            tensor.shape.len() == known.len()
                && tensor
                    .shape
                    .iter()
                    .zip(known)
                    .all(|(own, known)| own <= known)
        };
        if self.fitting.len() == inputs.len() && inputs.iter().zip(&self.fitting).all(is_smaller) {
            return Ok(());
        }
        let forms: Vec<Form> = inputs
            .iter()
            .map(|tensor| Form::new(tensor.data.datatype(), tensor.shape.clone()))
            .collect();
        // What does not fit a step, the step says.
        match (self.forms(&forms), inputs.first()) {
            (Ok(made), Some(input)) if made.elements > self.max_elements => Err(RunError::Input {
                input: input.name.clone(),
                reason: format!(
                    "of the shape {:?}, {} elements would be made; {} are allowed at once: send fewer rows",
                    input.shape, made.elements, self.max_elements
                ),
            }),
            _ => Ok(()),
        }
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
        let mut all = 0_usize;
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
                all = all.saturating_add(elements);
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
        Ok(Made {
            outputs,
            elements: all,
        })
    }
}
