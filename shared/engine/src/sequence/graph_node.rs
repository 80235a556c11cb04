//! Recurrent nodes within a graph of the graph engine, in the place of its own.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, DimLike, Expansion, InferenceOp, InferenceResult, OutletId, Solver,
    SpecialOps, StaticName, TDim, TVec, Tensor, TensorProxy, ToDim, TractResult, TypedModel,
    anyhow, bail, check_input_arity, check_output_arity, ensure, expand,
};

use super::OPERATORS;
use super::definition::{Definition, Layout};
use super::lane::Lane;
use super::plan_node::Recurrent;
use super::weights::{Raw, Weights};
use crate::check::{node_name, qualified_name};

/// Puts these operators in the place of the graph engine's own.
pub(crate) fn register(onnx: &mut Onnx) {
    for operator in OPERATORS {
        onnx.op_register.insert(operator, parse);
    }
}

fn parse(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let is_used = |name: &String| !name.is_empty();
    let parsed = Parsed {
        source: Arc::new(Source {
            definition: Definition::parse(node).map_err(|error| anyhow!("{error}"))?,
            operator: node.op_type.clone(),
            place: format!("node `{}` ({})", node_name(node), qualified_name(node)),
            packed: Mutex::new(None),
        }),
        inputs: (0..8)
            .filter(|at| node.input.get(*at).is_some_and(is_used))
            .collect(),
        outputs: (0..3)
            .filter(|at| node.output.get(*at).is_some_and(is_used))
            .collect(),
    };
    Ok((expand(parsed), vec![]))
}

/// The operators' inputs, by their place in the specification.
pub(super) const X: usize = 0;
pub(super) const W: usize = 1;
pub(super) const R: usize = 2;
pub(super) const B: usize = 3;
pub(super) const SEQUENCE_LENS: usize = 4;
pub(super) const INITIAL_H: usize = 5;
pub(super) const INITIAL_C: usize = 6;
pub(super) const P: usize = 7;
/// Those that are packed.
pub(super) const WEIGHTS: [usize; 4] = [W, R, B, P];
/// The operators' outputs.
pub(super) const Y: usize = 0;
pub(super) const Y_C: usize = 2;

/// What a node has in common in all plans.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) definition: Definition,
    pub(super) operator: String,
    pub(super) place: String,
    /// The constants that were packed last: each plan has the same.
    packed: Mutex<Option<Packing>>,
}

/// Constants, and what was made of them.
type Packing = (Vec<Arc<Tensor>>, Arc<AnyWeights>);

/// Packed weights of either width.
#[derive(Debug)]
pub(super) enum AnyWeights {
    Single(Weights<f32>),
    Double(Weights<f64>),
}

/// A node before types are settled.
#[derive(Debug, Clone)]
struct Parsed {
    source: Arc<Source>,
    /// Which inputs the node has, in order.
    inputs: Vec<usize>,
    /// Which outputs the graph uses, in order.
    outputs: Vec<usize>,
}

/// The sizes that the inputs settle; any of them may be a symbol.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sizes {
    pub(super) steps: TDim,
    pub(super) rows: TDim,
    pub(super) inputs: TDim,
    pub(super) hidden: TDim,
}

impl Source {
    /// Reads the sizes from the shapes of X and R.
    pub(super) fn sizes(&self, x: &[TDim], r: &[TDim]) -> TractResult<Sizes> {
        let ([first, second, inputs], [_, _, hidden]) = (x, r) else {
            bail!("{}: X and R must have 3 dimensions", self.place)
        };
        let (steps, rows) = match self.definition.layout {
            Layout::StepsFirst => (first, second),
            Layout::RowsFirst => (second, first),
        };
        Ok(Sizes {
            steps: steps.clone(),
            rows: rows.clone(),
            inputs: inputs.clone(),
            hidden: hidden.clone(),
        })
    }

    /// The shape of an input or of what it must be.
    fn input_shape(&self, input: usize, sizes: &Sizes) -> TVec<TDim> {
        let directions = self.definition.directions.len().to_dim();
        let gates = self.definition.cell.gates().to_dim();
        let Sizes {
            rows,
            inputs,
            hidden,
            ..
        } = sizes;
        let shape = match input {
            W => vec![directions, gates * hidden, inputs.clone()],
            R => vec![directions, gates * hidden, hidden.clone()],
            B => vec![directions, gates * hidden * 2],
            P => vec![directions, hidden.clone() * 3],
            SEQUENCE_LENS => vec![rows.clone()],
            _ => return self.state_shape(sizes),
        };
        shape.into()
    }

    fn state_shape(&self, sizes: &Sizes) -> TVec<TDim> {
        let directions = self.definition.directions.len().to_dim();
        let (rows, hidden) = (sizes.rows.clone(), sizes.hidden.clone());
        match self.definition.layout {
            Layout::StepsFirst => vec![directions, rows, hidden],
            Layout::RowsFirst => vec![rows, directions, hidden],
        }
        .into()
    }

    pub(super) fn output_shape(&self, output: usize, sizes: &Sizes) -> TVec<TDim> {
        if output != Y {
            return self.state_shape(sizes);
        }
        let directions = self.definition.directions.len().to_dim();
        let Sizes {
            steps,
            rows,
            hidden,
            ..
        } = sizes.clone();
        match self.definition.layout {
            Layout::StepsFirst => vec![steps, directions, rows, hidden],
            Layout::RowsFirst => vec![rows, steps, directions, hidden],
        }
        .into()
    }

    /// Refuses inputs of other types or shapes than the specification's; `facts` are as `inputs` names them.
    pub(super) fn check(
        &self,
        inputs: &[usize],
        facts: &[(DatumType, &[TDim])],
    ) -> TractResult<(DatumType, Sizes)> {
        let find = |wanted: usize| {
            let at = inputs.iter().position(|input| *input == wanted);
            at.and_then(|at| facts.get(at))
                .ok_or_else(|| anyhow!("{}: input {wanted} is left out", self.place))
        };
        let (datum_type, x) = *find(X)?;
        let sizes = self.sizes(x, find(R)?.1)?;
        // float16 was widened before the graph came here.
        if ![f32::datum_type(), f64::datum_type()].contains(&datum_type) {
            bail!("{}: X is {datum_type:?}, not a float", self.place);
        }
        if sizes.hidden == 0.to_dim() {
            bail!("{}: R has no hidden units", self.place);
        }
        if let (Some(stated), Ok(found)) = (self.definition.hidden_size, sizes.hidden.to_usize())
            && stated != found
        {
            bail!(
                "{}: hidden_size is {stated} where R has {found}",
                self.place
            );
        }
        for (input, (found, shape)) in inputs.iter().zip(facts).skip(1) {
            let wanted = if *input == SEQUENCE_LENS {
                i32::datum_type()
            } else {
                datum_type
            };
            ensure!(
                *found == wanted,
                "{}: input {input} is {found:?} where {wanted:?} is taken",
                self.place
            );
            let wanted = self.input_shape(*input, &sizes);
            // Symbols are compared once they are numbers.
            let is_open = shape.iter().chain(&wanted).any(|dim| dim.to_i64().is_err());
            ensure!(
                *shape == &*wanted || (is_open && shape.len() == wanted.len()),
                "{}: input {input} has the shape {shape:?} where {wanted:?} is taken",
                self.place
            );
        }
        Ok((datum_type, sizes))
    }

    /// Packs weights, or takes those that were packed of equal tensors.
    pub(super) fn pack(
        &self,
        datum_type: DatumType,
        sizes: (usize, usize),
        tensors: &[Option<&Arc<Tensor>>; 4],
    ) -> TractResult<Arc<AnyWeights>> {
        let given: Vec<Arc<Tensor>> = tensors.iter().flatten().copied().cloned().collect();
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((tensors, weights)) = &*packed
            && *tensors == given
        {
            return Ok(Arc::clone(weights));
        }
        let tensors = tensors.map(|tensor| tensor.map(|tensor| &**tensor));
        let weights = Arc::new(self.pack_now(datum_type, sizes, &tensors)?);
        *packed = Some((given, Arc::clone(&weights)));
        Ok(weights)
    }

    pub(super) fn pack_now(
        &self,
        datum_type: DatumType,
        sizes: (usize, usize),
        tensors: &[Option<&Tensor>; 4],
    ) -> TractResult<AnyWeights> {
        Ok(if datum_type == f64::datum_type() {
            AnyWeights::Double(self.pack_as(sizes, tensors)?)
        } else {
            AnyWeights::Single(self.pack_as(sizes, tensors)?)
        })
    }

    fn pack_as<T: Lane + Datum>(
        &self,
        (inputs, hidden): (usize, usize),
        tensors: &[Option<&Tensor>; 4],
    ) -> TractResult<Weights<T>> {
        let slices = tensors
            .iter()
            .map(|tensor| tensor.map(elements).transpose())
            .collect::<TractResult<Vec<_>>>()?;
        let [Some(input), Some(state), bias, peepholes] = slices[..] else {
            bail!("{}: W and R are needed", self.place)
        };
        let raw = Raw {
            input,
            state,
            bias,
            peepholes,
        };
        Ok(Weights::pack(&self.definition, inputs, hidden, raw))
    }
}

pub(super) fn elements<T: Datum>(tensor: &Tensor) -> TractResult<&[T]> {
    tensor.try_as_plain_ram()?.as_slice::<T>()
}

impl Expansion for Parsed {
    fn name(&self) -> StaticName {
        self.source.operator.clone().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs.len())?;
        check_output_arity(outputs, self.outputs.len())?;
        for output in outputs {
            solver.equals(&output.datum_type, &inputs[X].datum_type)?;
        }
        // X, W and R cannot be left out: their places are those of the specification.
        solver.given_2(&inputs[X].shape, &inputs[R].shape, move |solver, x, r| {
            let sizes = self.source.sizes(&x, &r)?;
            for (output, proxy) in self.outputs.iter().zip(outputs) {
                solver.equals(&proxy.shape, self.source.output_shape(*output, &sizes))?;
            }
            Ok(())
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let node = Recurrent {
            source: Arc::clone(&self.source),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            weights: None,
        };
        model.wire_node(prefix, node, inputs)
    }
}
