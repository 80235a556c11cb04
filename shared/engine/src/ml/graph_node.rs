//! This crate's operators within a larger graph, in the place of the graph engine's own.

use std::sync::{Arc, OnceLock};

use artifact::manifest::DataType;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor as TractTensor;
use tract_onnx::tract_hir::internal::{
    DatumType, DatumTypeExt, InferenceOp, TVec, TractResult, TypedFact, anyhow, bail,
};

use super::{Array, Form, OPERATORS, OTHERS, Operator, View};
use crate::limits::LoadLimits;
use crate::model::{from_tract, read_datatype, to_tract};
use crate::precision::{Kernel, put, shape};

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
    let source = Source {
        node: node.clone(),
        built: OnceLock::new(),
    };
    Ok((put(Arc::new(source), node), vec![]))
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

impl Kernel for Source {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let forms = inputs
            .iter()
            .flatten()
            .map(|fact| {
                let Some(datatype) = read_datatype(fact.datum_type) else {
                    bail!("{}", self.place("its inputs are of no type that is read"))
                };
                Ok(Form::new(datatype, shape(fact)?.to_vec()))
            })
            .collect::<TractResult<Vec<Form>>>()?;
        let operator = self.operator(forms.first().map(|form| form.datatype))?;
        let made = operator
            .forms(&forms)
            .map_err(|reason| anyhow!("{}", self.place(&reason)))?;
        let facts = made.into_iter();
        Ok(facts
            .map(|form| to_datum_type(form.datatype).fact(form.shape))
            .collect())
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let arrays = inputs
            .iter()
            .flatten()
            .map(|input| {
                from_tract("", input).map(|tensor| Array {
                    shape: tensor.shape,
                    data: tensor.data,
                })
            })
            .collect::<TractResult<Vec<_>>>()?;
        let views: TVec<View<'_>> = arrays.iter().map(Array::view).collect();
        let operator = self.operator(arrays.first().map(|array| array.data.datatype()))?;
        let made = operator
            .run(&views)
            .map_err(|reason| anyhow!("{}", self.place(&reason)))?;
        made.iter()
            .map(|array| to_tract(&array.shape, &array.data))
            .collect()
    }
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
