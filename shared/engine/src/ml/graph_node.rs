//! This crate's operators within a larger graph, in the place of the graph engine's own.

use std::sync::{Arc, OnceLock};

use artifact::manifest::DataType;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    DatumType, DatumTypeExt, EvalContext, EvalOp, Expansion, InferenceOp, InferenceResult, Op,
    OutletId, Solver, SpecialOps, StaticName, TDim, TValue, TVec, TensorProxy, ToDim, TractResult,
    TypedFact, TypedModel, TypedOp, anyhow, bail, check_input_arity, check_output_arity, expand,
};

use super::{Array, Form, OPERATORS, OTHERS, Operator, View};
use crate::limits::LoadLimits;
use crate::model::{from_tract, read_datatype, to_tract};

/// Puts this crate's operators in the place of the graph engine's own.
pub(crate) fn register(onnx: &mut Onnx) {
    let others = OTHERS.iter().map(|(_, operator)| operator);
    for operator in OPERATORS.iter().chain(others) {
        onnx.op_register.insert(operator, parse);
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the form that the graph engine calls"
)]
fn parse(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let outputs = node.output.iter().map(|name| !name.is_empty()).collect();
    let parsed = Parsed {
        source: Arc::new(Source {
            node: node.clone(),
            built: OnceLock::new(),
        }),
        outputs,
    };
    Ok((expand(parsed), vec![]))
}

/// A node, and the operator that is made of it once the type of its input is known.
#[derive(Debug)]
struct Source {
    node: NodeProto,
    built: OnceLock<Result<Arc<Operator>, String>>,
}

impl Source {
    /// The operator. The type of a graph's value never changes, so the first one is the one.
    fn operator(&self, input: Option<DataType>) -> TractResult<Arc<Operator>> {
        self.built
            .get_or_init(|| {
                // The limits were checked when the model was validated.
                let limits = LoadLimits {
                    max_tree_nodes: usize::MAX,
                    max_tree_depth: usize::MAX,
                    ..LoadLimits::default()
                };
                Operator::parse(&self.node, input, &limits)
                    .map(Arc::new)
                    .map_err(|error| error.to_string())
            })
            .clone()
            .map_err(|reason| anyhow!("{reason}"))
    }

    fn place(&self, reason: &str) -> String {
        format!(
            "node `{}` ({}): {reason}",
            crate::check::node_name(&self.node),
            crate::check::qualified_name(&self.node)
        )
    }
}

/// A node before types are settled.
#[derive(Debug, Clone)]
struct Parsed {
    source: Arc<Source>,
    /// Which of the operator's outputs the graph uses.
    outputs: Vec<bool>,
}

impl Parsed {
    fn used(&self) -> usize {
        self.outputs.iter().filter(|used| **used).count()
    }
}

impl Expansion for Parsed {
    fn name(&self) -> StaticName {
        self.source.node.op_type.clone().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.used())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.source.node.input.len())?;
        check_output_arity(outputs, self.used())?;
        let types = inputs.iter().map(|input| &input.datum_type);
        solver.given_all(types, move |solver, types: Vec<DatumType>| {
            let shapes = inputs.iter().map(|input| &input.shape);
            solver.given_all(shapes, move |solver, shapes: Vec<TVec<TDim>>| {
                let Some(forms) = read_forms(types.iter().copied().zip(&shapes)) else {
                    return Ok(());
                };
                let operator = self
                    .source
                    .operator(forms.first().map(|form| form.datatype))?;
                let made = operator
                    .forms(&forms)
                    .map_err(|reason| anyhow!("{}", self.source.place(&reason)))?;
                let used = made
                    .into_iter()
                    .zip(&self.outputs)
                    .filter_map(|(form, used)| used.then_some(form));
                for (form, output) in used.zip(outputs) {
                    let shape: TVec<TDim> = form.shape.iter().map(ToDim::to_dim).collect();
                    solver.equals(&output.datum_type, to_datum_type(form.datatype))?;
                    solver.equals(&output.shape, shape)?;
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
        let datatype = match inputs.first() {
            Some(input) => read_datatype(model.outlet_fact(*input)?.datum_type),
            None => None,
        };
        let node = MlNode {
            operator: self.source.operator(datatype)?,
            source: Arc::clone(&self.source),
            outputs: self.outputs.clone(),
        };
        model.wire_node(prefix, node, inputs)
    }
}

/// A node in the plan.
#[derive(Debug, Clone)]
struct MlNode {
    operator: Arc<Operator>,
    source: Arc<Source>,
    outputs: Vec<bool>,
}

impl PartialEq for MlNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.operator, &other.operator) && self.outputs == other.outputs
    }
}

impl Eq for MlNode {}

impl MlNode {
    fn keep_used<T>(&self, made: Vec<T>) -> impl Iterator<Item = T> {
        made.into_iter()
            .zip(&self.outputs)
            .filter_map(|(one, used)| used.then_some(one))
    }
}

impl Op for MlNode {
    fn name(&self) -> StaticName {
        self.source.node.op_type.clone().into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for MlNode {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let arrays = inputs
            .iter()
            .map(|input| {
                from_tract("", input).map(|tensor| Array {
                    shape: tensor.shape,
                    data: tensor.data,
                })
            })
            .collect::<TractResult<Vec<_>>>()?;
        let views: TVec<View<'_>> = arrays.iter().map(Array::view).collect();
        let made = self
            .operator
            .run(&views)
            .map_err(|reason| anyhow!("{}", self.source.place(&reason)))?;
        self.keep_used(made)
            .map(|array| to_tract(&array.shape, &array.data))
            .collect()
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(Some(self.eval(&EvalContext::out_of_plan(), inputs)?))
    }
}

impl TypedOp for MlNode {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let given = inputs
            .iter()
            .map(|input| (input.datum_type, input.shape.dims()));
        let Some(forms) = read_forms(given) else {
            bail!("{}", self.source.place("its inputs have no settled form"))
        };
        let made = self
            .operator
            .forms(&forms)
            .map_err(|reason| anyhow!("{}", self.source.place(&reason)))?;
        Ok(self
            .keep_used(made)
            .map(|form| to_datum_type(form.datatype).fact(form.shape))
            .collect())
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }
}

/// Reads types and shapes; none where a dimension is open or a type is not one of a request.
fn read_forms<'a, S: AsRef<[TDim]> + ?Sized + 'a>(
    given: impl Iterator<Item = (DatumType, &'a S)>,
) -> Option<Vec<Form>> {
    given
        .map(|(datum_type, dims)| {
            let shape = dims
                .as_ref()
                .iter()
                .map(|dim| dim.to_i64().ok().and_then(|dim| usize::try_from(dim).ok()))
                .collect::<Option<_>>()?;
            Some(Form::new(read_datatype(datum_type)?, shape))
        })
        .collect()
}

fn to_datum_type(datatype: DataType) -> DatumType {
    match datatype {
        DataType::Bool => DatumType::Bool,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Fp16 => DatumType::F16,
        DataType::Fp32 => DatumType::F32,
        DataType::Fp64 => DatumType::F64,
        DataType::Bytes => DatumType::String,
    }
}
