//! Operators of this crate's own within the graph engine's plan, and how they are put there.

use std::fmt::Debug;
use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{
    DatumType, DatumTypeExt, EvalContext, EvalOp, Expansion, InferenceOp, InferenceResult,
    IntoTValue, Op, OutletId, Solver, SpecialOps, StaticName, TDim, TValue, TVec, TensorProxy,
    TractErrorContext as _, TractResult, TypedFact, TypedModel, TypedOp, check_input_arity,
    check_output_arity, ensure, expand, tvec,
};

use super::{KERNELS, parse_kernel};

/// An operator: a pure function of its inputs.
pub(crate) trait Kernel: Debug + Send + Sync {
    /// The types and shapes of all outputs. An input that the node leaves out is none.
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>>;

    /// The kernel for inputs of which some never change; none where it can prepare nothing.
    fn bind(&self, _constants: &[Option<&TractTensor>]) -> TractResult<Option<Arc<dyn Kernel>>> {
        Ok(None)
    }

    /// The outputs, of the types and shapes that [`Self::facts`] says.
    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>>;
}

/// Tells the graph engine about the kernels.
pub(super) fn register(onnx: &mut Onnx) {
    for operator in KERNELS {
        onnx.op_register.insert(operator, parse);
    }
}

fn parse(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((put(parse_kernel(node)?, node), vec![]))
}

/// Puts a kernel in the place of a node.
pub(crate) fn put(kernel: Arc<dyn Kernel>, node: &NodeProto) -> Box<dyn InferenceOp> {
    expand(Placed {
        name: node.op_type.clone(),
        kernel,
        inputs: node.input.iter().map(|name| !name.is_empty()).collect(),
        outputs: node.output.iter().map(|name| !name.is_empty()).collect(),
    })
}

/// The elements of a tensor.
pub(crate) fn elements<T: Datum>(tensor: &TractTensor) -> TractResult<&[T]> {
    tensor.try_as_plain_ram()?.as_slice::<T>()
}

/// The one output of a kernel, of a shape, where `write` writes its elements.
pub(crate) fn fill<T: Datum + Copy>(
    shape: &[usize],
    write: impl FnOnce(&mut [T]) -> TractResult<()>,
) -> TractResult<TVec<TractTensor>> {
    // The graph engine fills its own tensors more slowly than these are copied.
    let mut made = vec![T::default(); shape.iter().product()];
    write(&mut made)?;
    Ok(tvec![TractTensor::from_shape(shape, &made)?])
}

/// The one output of a kernel that changes its input's elements.
pub(super) fn change<T: Datum>(
    x: &TractTensor,
    change: impl FnOnce(&mut [T]),
) -> TractResult<TVec<TractTensor>> {
    let mut made = x.clone();
    change(made.try_as_plain_ram_mut()?.as_slice_mut::<T>()?);
    Ok(tvec![made])
}

/// The shape of a value.
pub(crate) fn shape(fact: &TypedFact) -> TractResult<&[usize]> {
    fact.shape
        .as_concrete()
        .context("its inputs have no settled shape")
}

/// Refuses a value of another type.
pub(super) fn check_type(fact: &TypedFact, kind: DatumType) -> TractResult<()> {
    ensure!(
        fact.datum_type == kind,
        "{:?} where {kind:?} is taken",
        fact.datum_type
    );
    Ok(())
}

/// An input that the operator cannot do without.
pub(crate) fn need<T: Copy>(inputs: &[Option<T>], at: usize) -> TractResult<T> {
    inputs
        .get(at)
        .copied()
        .flatten()
        .with_context(|| format!("input {at} is left out, and is needed"))
}

/// An input that may be left out.
pub(crate) fn maybe<T: Copy>(inputs: &[Option<T>], at: usize) -> Option<T> {
    inputs.get(at).copied().flatten()
}

/// A kernel at a node.
#[derive(Debug, Clone)]
struct Placed {
    name: String,
    kernel: Arc<dyn Kernel>,
    /// Which of the operator's inputs the node gives; the graph engine leaves out the others.
    inputs: Vec<bool>,
    /// Which of its outputs the graph uses.
    outputs: Vec<bool>,
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
            && self.inputs == other.inputs
            && self.outputs == other.outputs
    }
}

impl Eq for Placed {}

impl Placed {
    /// Puts the given inputs at their places.
    fn spread<'a, T>(&self, given: impl IntoIterator<Item = &'a T>) -> TVec<Option<&'a T>> {
        let mut given = given.into_iter();
        self.inputs
            .iter()
            .map(|is_given| if *is_given { given.next() } else { None })
            .collect()
    }

    /// Leaves out the outputs that the graph does not use.
    fn keep_used<T>(&self, made: TVec<T>) -> impl Iterator<Item = T> {
        made.into_iter()
            .zip(&self.outputs)
            .filter_map(|(one, used)| used.then_some(one))
    }

    fn used_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let given = self.spread(inputs.iter().copied());
        let made = self.kernel.facts(&given);
        let made = made.with_context(|| self.name.clone())?;
        ensure!(
            made.len() >= self.outputs.len(),
            "{}: {} outputs where there are {}",
            self.name,
            self.outputs.len(),
            made.len()
        );
        Ok(self.keep_used(made).collect())
    }
}

impl Expansion for Placed {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs.iter().filter(|used| **used).count())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs.iter().filter(|given| **given).count())?;
        check_output_arity(outputs, self.nboutputs()?)?;
        let types = inputs.iter().map(|input| &input.datum_type);
        solver.given_all(types, move |solver, types: Vec<DatumType>| {
            let shapes = inputs.iter().map(|input| &input.shape);
            solver.given_all(shapes, move |solver, shapes: Vec<TVec<TDim>>| {
                let facts: Vec<TypedFact> = types
                    .iter()
                    .zip(&shapes)
                    .map(|(datum_type, shape)| datum_type.fact(shape))
                    .collect();
                if facts.iter().any(|fact| fact.shape.as_concrete().is_none()) {
                    return Ok(());
                }
                let given: Vec<&TypedFact> = facts.iter().collect();
                for (fact, output) in self.used_facts(&given)?.into_iter().zip(outputs) {
                    solver.equals(&output.datum_type, fact.datum_type)?;
                    solver.equals(&output.shape, fact.shape.to_tvec())?;
                }
                Ok(())
            })
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let constants = inputs
            .iter()
            .map(|input| Ok(model.outlet_fact(*input)?.konst.clone()))
            .collect::<TractResult<Vec<Option<Arc<TractTensor>>>>>()?;
        let given: TVec<Option<&TractTensor>> = self
            .spread(&constants)
            .into_iter()
            .map(|constant| constant.and_then(Option::as_deref))
            .collect();
        let mut bound = self.clone();
        if let Some(kernel) = self
            .kernel
            .bind(&given)
            .with_context(|| self.name.clone())?
        {
            bound.kernel = kernel;
        }
        model.wire_node(prefix, bound, inputs)
    }
}

impl Op for Placed {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for Placed {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let given = self.spread(inputs.iter().map(|value| &**value));
        let made = self.kernel.run(&given).with_context(|| self.name.clone())?;
        Ok(self.keep_used(made).map(IntoTValue::into_tvalue).collect())
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(Some(self.eval(&EvalContext::out_of_plan(), inputs)?))
    }
}

impl TypedOp for Placed {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.used_facts(inputs)
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }
}
