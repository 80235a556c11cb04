//! A recurrent node in a plan of the graph engine.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::{
    Datum, DatumType, DatumTypeExt, DimLike, EvalContext, EvalOp, IntoTValue, Op, OutletId,
    StaticName, TDim, TValue, TVec, Tensor, ToDim, TractResult, TypedFact, TypedModel,
    TypedModelPatch, TypedNode, TypedOp, anyhow, bail, ensure,
};

use super::definition::{Layout, read_lengths};
use super::graph_node::{
    AnyWeights, INITIAL_C, INITIAL_H, R, SEQUENCE_LENS, Sizes, Source, WEIGHTS, X, Y, Y_C, elements,
};
use super::lane::Lane;
use super::walk::{Given, Wanted, run};
use super::weights::{Weights, packed_len};

/// A node in the plan.
#[derive(Debug, Clone)]
pub(super) struct Recurrent {
    pub(super) source: Arc<Source>,
    pub(super) inputs: Vec<usize>,
    pub(super) outputs: Vec<usize>,
    /// The packed weights, where they are constants: W, R, B and P are no inputs then.
    pub(super) weights: Option<Arc<AnyWeights>>,
}

impl PartialEq for Recurrent {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
            && self.inputs == other.inputs
            && self.outputs == other.outputs
            && match (&self.weights, &other.weights) {
                (Some(own), Some(other)) => Arc::ptr_eq(own, other),
                (None, None) => true,
                _ => false,
            }
    }
}

impl Eq for Recurrent {}

impl Recurrent {
    fn find<'a, V>(&self, values: &'a [V], input: usize) -> Option<&'a V> {
        let at = self.inputs.iter().position(|own| *own == input)?;
        values.get(at)
    }

    /// The sizes of X's shape and of packed weights.
    fn packed_sizes(&self, weights: &AnyWeights, x: &[TDim]) -> TractResult<Sizes> {
        let (inputs, hidden) = match weights {
            AnyWeights::Single(weights) => (weights.inputs, weights.hidden),
            AnyWeights::Double(weights) => (weights.inputs, weights.hidden),
        };
        let sizes = self
            .source
            .sizes(x, &[0.to_dim(), 0.to_dim(), hidden.to_dim()])?;
        ensure!(
            sizes.inputs == inputs.to_dim(),
            "{}: X has other inputs",
            self.source.place
        );
        Ok(sizes)
    }

    fn run<T: Lane + Datum>(
        &self,
        weights: &Weights<T>,
        inputs: &[TValue],
    ) -> TractResult<TVec<Tensor>> {
        let source = &*self.source;
        let state = |input: usize| {
            self.find(inputs, input)
                .map(|value| elements(value))
                .transpose()
        };
        let Some(x) = self.find(inputs, X) else {
            bail!("{}: X is left out", source.place)
        };
        let (steps, rows) = match (source.definition.layout, x.shape()) {
            (Layout::StepsFirst, [steps, rows, _]) | (Layout::RowsFirst, [rows, steps, _]) => {
                (*steps, *rows)
            }
            (_, shape) => bail!("{}: X has the shape {shape:?}", source.place),
        };
        let lengths = match self.find(inputs, SEQUENCE_LENS) {
            None => vec![],
            Some(lengths) => read_lengths(elements::<i32>(lengths)?, steps)
                .map_err(|reason| anyhow!("{}: {reason}", source.place))?,
        };
        let given = Given {
            sequence: elements(x)?,
            steps,
            rows,
            lengths,
            hidden: state(INITIAL_H)?,
            cell: state(INITIAL_C)?,
        };
        let sizes = Sizes {
            steps: steps.to_dim(),
            rows: rows.to_dim(),
            inputs: weights.inputs.to_dim(),
            hidden: weights.hidden.to_dim(),
        };
        let mut made = self
            .outputs
            .iter()
            .map(|output| {
                let shape = source.output_shape(*output, &sizes);
                let shape = shape
                    .iter()
                    .map(DimLike::to_usize)
                    .collect::<Result<TVec<_>, _>>()?;
                Tensor::zero_dt(T::datum_type(), &shape)
            })
            .collect::<TractResult<TVec<_>>>()?;
        let mut wanted = Wanted {
            steps: None,
            hidden: None,
            cell: None,
        };
        let mut views = made
            .iter_mut()
            .map(Tensor::try_as_plain_ram_mut)
            .collect::<TractResult<Vec<_>>>()?;
        for (output, view) in self.outputs.iter().zip(&mut views) {
            let place = Some(view.as_slice_mut::<T>()?);
            match *output {
                Y => wanted.steps = place,
                Y_C => wanted.cell = place,
                _ => wanted.hidden = place,
            }
        }
        run(&source.definition, weights, &given, &mut wanted);
        drop(views);
        Ok(made)
    }
}

/// The size of the packed weights of all recurrent nodes of a graph whose shapes are settled, in bytes; saturates.
pub(crate) fn packed_size(graph: &TypedModel) -> usize {
    let sizes = graph.nodes().iter().filter_map(|node| {
        let op = node.op_as::<Recurrent>()?;
        let facts = graph.node_input_facts(node.id).ok()?;
        let x = op.find(&facts, X)?;
        let sizes = op
            .source
            .sizes(x.shape.dims(), op.find(&facts, R)?.shape.dims())
            .ok()?;
        let (inputs, hidden) = (sizes.inputs.to_usize().ok()?, sizes.hidden.to_usize().ok()?);
        let len = packed_len(&op.source.definition, inputs, hidden);
        Some(len.saturating_mul(x.datum_type.size_of()))
    });
    sizes.fold(0, usize::saturating_add)
}

impl Op for Recurrent {
    fn name(&self) -> StaticName {
        self.source.operator.clone().into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for Recurrent {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(x) = self.find(&inputs, X) else {
            bail!("{}: X is left out", self.source.place)
        };
        let datum_type = x.datum_type();
        let weights = if let Some(weights) = &self.weights {
            Arc::clone(weights)
        } else {
            // Weights that the graph computes are packed for each run.
            let tensors = WEIGHTS.map(|input| self.find(&inputs, input).map(|value| &**value));
            let [Some(w), Some(_), ..] = tensors else {
                bail!("{}: W and R are needed", self.source.place)
            };
            let gates = self.source.definition.cell.gates();
            let [_, gate_rows, width] = w.shape() else {
                bail!("{}: W must have 3 dimensions", self.source.place)
            };
            let sizes = (*width, gate_rows / gates);
            Arc::new(self.source.pack_now(datum_type, sizes, &tensors)?)
        };
        let made = match &*weights {
            AnyWeights::Single(weights) => self.run(weights, &inputs)?,
            AnyWeights::Double(weights) => self.run(weights, &inputs)?,
        };
        Ok(made.into_iter().map(IntoTValue::into_tvalue).collect())
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(Some(self.eval(&EvalContext::out_of_plan(), inputs)?))
    }
}

impl TypedOp for Recurrent {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let facts: Vec<(DatumType, &[TDim])> = inputs
            .iter()
            .map(|fact| (fact.datum_type, fact.shape.dims()))
            .collect();
        let (datum_type, sizes) = match (&self.weights, self.find(&facts, X)) {
            (Some(weights), Some((datum_type, x))) => (*datum_type, self.packed_sizes(weights, x)?),
            _ => self.source.check(&self.inputs, &facts)?,
        };
        Ok(self
            .outputs
            .iter()
            .map(|output| datum_type.fact(self.source.output_shape(*output, &sizes)))
            .collect())
    }

    /// Packs the weights once they are constants, and takes them off the inputs.
    fn declutter(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        if self.weights.is_some() {
            return Ok(None);
        }
        let facts = model.node_input_facts(node.id)?;
        let given = facts
            .iter()
            .map(|fact| (fact.datum_type, fact.shape.dims()));
        let (datum_type, sizes) = self
            .source
            .check(&self.inputs, &given.collect::<Vec<_>>())?;
        let constants =
            WEIGHTS.map(|input| self.find(&facts, input).map(|fact| fact.konst.as_ref()));
        // A weight that is there and no constant.
        if constants
            .iter()
            .any(|constant| matches!(constant, Some(None)))
        {
            return Ok(None);
        }
        let (Ok(inputs), Ok(hidden)) = (sizes.inputs.to_usize(), sizes.hidden.to_usize()) else {
            return Ok(None);
        };
        let weights = self.source.pack(
            datum_type,
            (inputs, hidden),
            &constants.map(Option::flatten),
        )?;
        let kept = self.inputs.iter().zip(&node.inputs);
        let (inputs, outlets): (Vec<usize>, Vec<OutletId>) =
            kept.filter(|(input, _)| !WEIGHTS.contains(input)).unzip();
        let packed = Self {
            inputs,
            weights: Some(weights),
            ..self.clone()
        };
        TypedModelPatch::replace_single_op(model, node, &outlets, packed).map(Some)
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }
}
