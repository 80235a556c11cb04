//! `TreeEnsembleClassifier` and `TreeEnsembleRegressor` within a larger graph.

use std::sync::Arc;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::tract_hir::internal::{
    DatumType, DatumTypeExt, DimLike, EvalContext, EvalOp, Expansion, InferenceOp, InferenceResult,
    IntoTValue, Op, OutletId, Solver, SpecialOps, StaticName, TValue, TVec, Tensor, TensorProxy,
    ToDim, TractResult, TypedFact, TypedModel, TypedOp, anyhow, bail, check_input_arity,
    check_output_arity, expand, tvec,
};

use crate::limits::LoadLimits;
use crate::tensor::TensorData;
use crate::tree::{Labels, TreeOperator};

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("TreeEnsembleClassifier", parse);
    operators.insert("TreeEnsembleRegressor", parse);
}

fn parse(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    // The limits were checked when the model was validated.
    let limits = LoadLimits {
        max_tree_nodes: usize::MAX,
        max_tree_depth: usize::MAX,
        ..LoadLimits::default()
    };
    let operator = TreeOperator::parse(node, None, &limits).map_err(|error| anyhow!("{error}"))?;
    let has = |at: usize| node.output.get(at).is_some_and(|name| !name.is_empty());
    let outputs = if operator.labels().is_some() {
        (has(0), has(1))
    } else {
        (false, true)
    };
    Ok((
        expand(Trees {
            operator: Arc::new(operator),
            labels: outputs.0,
            scores: outputs.1,
        }),
        vec![],
    ))
}

/// The operator, with which of its outputs the graph uses.
#[derive(Debug, Clone)]
struct Trees {
    operator: Arc<TreeOperator>,
    labels: bool,
    scores: bool,
}

impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.operator, &other.operator)
            && self.labels == other.labels
            && self.scores == other.scores
    }
}

impl Eq for Trees {}

impl Trees {
    fn label_type(&self) -> DatumType {
        if self.operator.labels().is_some_and(Labels::are_strings) {
            DatumType::String
        } else {
            DatumType::I64
        }
    }

    fn output_count(&self) -> usize {
        usize::from(self.labels) + usize::from(self.scores)
    }
}

impl Expansion for Trees {
    fn name(&self) -> StaticName {
        "TreeEnsemble".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, self.output_count())?;
        solver.equals(&inputs[0].rank, 2)?;
        let mut next = 0;
        if self.labels {
            solver.equals(&outputs[next].datum_type, self.label_type())?;
            solver.equals(&outputs[next].rank, 1)?;
            solver.equals(&outputs[next].shape[0], &inputs[0].shape[0])?;
            next += 1;
        }
        if self.scores {
            solver.equals(&outputs[next].datum_type, DatumType::F32)?;
            solver.equals(&outputs[next].rank, 2)?;
            solver.equals(&outputs[next].shape[0], &inputs[0].shape[0])?;
            solver.equals(&outputs[next].shape[1], self.operator.width().to_dim())?;
        }
        Ok(())
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.output_count())
    }
}

impl Op for Trees {
    fn name(&self) -> StaticName {
        "TreeEnsemble".into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for Trees {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [input] = &*inputs else {
            bail!("{} inputs where 1 is taken", inputs.len())
        };
        let &[rows, columns] = input.shape() else {
            bail!("shape {:?} where [rows, columns] is taken", input.shape())
        };
        let plain = input.try_as_plain_ram()?;
        let data = match input.datum_type() {
            DatumType::F32 => TensorData::Fp32(plain.as_slice::<f32>()?.to_vec()),
            DatumType::F64 => TensorData::Fp64(plain.as_slice::<f64>()?.to_vec()),
            DatumType::I32 => TensorData::Int32(plain.as_slice::<i32>()?.to_vec()),
            DatumType::I64 => TensorData::Int64(plain.as_slice::<i64>()?.to_vec()),
            other => bail!("trees do not take {other:?}"),
        };
        let output = self
            .operator
            .run(&data, columns)
            .map_err(|reason| anyhow!("{reason}"))?;
        let mut values: TVec<TValue> = tvec!();
        if self.labels {
            let labels: Tensor = match output.labels {
                Some(TensorData::Int64(labels)) => {
                    ArrayD::from_shape_vec(&[rows][..], labels)?.into()
                }
                Some(TensorData::Bytes(labels)) => {
                    let labels = labels
                        .into_iter()
                        .map(String::from_utf8)
                        .collect::<Result<Vec<_>, _>>()?;
                    ArrayD::from_shape_vec(&[rows][..], labels)?.into()
                }
                _ => bail!("the operator has no labels"),
            };
            values.push(labels.into_tvalue());
        }
        if self.scores {
            let scores: Tensor =
                ArrayD::from_shape_vec(&[rows, output.width][..], output.scores)?.into();
            values.push(scores.into_tvalue());
        }
        Ok(values)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(Some(self.eval(&EvalContext::out_of_plan(), inputs)?))
    }
}

impl TypedOp for Trees {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [input] = inputs else {
            bail!("{} inputs where 1 is taken", inputs.len())
        };
        let [rows, columns] = &*input.shape else {
            bail!("shape {:?} where [rows, columns] is taken", input.shape)
        };
        if columns
            .to_usize()
            .is_ok_and(|columns| columns < self.operator.min_features())
        {
            bail!(
                "a row has {columns} features where the trees use {}",
                self.operator.min_features()
            );
        }
        let mut facts: TVec<TypedFact> = tvec!();
        if self.labels {
            facts.push(self.label_type().fact([rows.clone()]));
        }
        if self.scores {
            facts.push(DatumType::F32.fact([rows.clone(), self.operator.width().to_dim()]));
        }
        Ok(facts)
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }
}
