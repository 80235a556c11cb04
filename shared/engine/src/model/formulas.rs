//! Activations that the graph engine gets wrong, put together from parts that it gets right: its `Celu` and its
//! `Swish` leave out a factor, its `Softplus` and `LogSoftmax` are infinite for numbers of a hundred and more, its
//! `MeanVarianceNormalization` loses all digits where the mean is far from 0.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::logic::{Iff, comp_lt};
use tract_onnx::tract_core::ops::math::{abs, add, div, exp, ln, max, mul, neg, sqrt, sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind, sigmoid};
use tract_onnx::tract_hir::internal::{
    Expansion, InferenceOp, InferenceResult, OutletId, Solver, SpecialOps, StaticName, TVec,
    TensorProxy, TractResult, TypedModel, TypedOp, anyhow, bail, check_input_arity,
    check_output_arity, expand,
};
use tract_onnx::tract_hir::ops::activations::broadcast_scalar;

use crate::attributes::{float, int, ints};

/// Puts the formulas in the place of the graph engine's own.
pub(super) fn register(onnx: &mut Onnx) {
    for operator in [
        "Celu",
        "LogSoftmax",
        "Softplus",
        "Swish",
        "MeanVarianceNormalization",
    ] {
        onnx.op_register.insert(operator, parse);
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the form that the graph engine calls"
)]
fn parse(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let formula = match node.op_type.as_str() {
        "Celu" => Formula::Celu {
            alpha: float(node, "alpha").unwrap_or(1.0),
        },
        "Softplus" => Formula::Softplus,
        "MeanVarianceNormalization" => Formula::Standard {
            axes: match ints(node, "axes") {
                [] => vec![0, 2, 3],
                axes => axes.to_vec(),
            },
        },
        "Swish" => Formula::Swish {
            alpha: float(node, "alpha").unwrap_or(1.0),
        },
        _ if context.onnx_operator_set_version < 13 => Formula::FlatLogSoftmax {
            axis: int(node, "axis").unwrap_or(1),
        },
        _ => Formula::LogSoftmax {
            axis: int(node, "axis").unwrap_or(-1),
        },
    };
    Ok((expand(formula), vec![]))
}

/// One operator of one input.
#[derive(Debug, Clone)]
enum Formula {
    /// `x`, and below 0 `alpha * (exp(x / alpha) - 1)`.
    Celu { alpha: f32 },
    /// Over one axis, as since operator set 13.
    LogSoftmax { axis: i64 },
    /// Over an axis and all behind it, as before.
    FlatLogSoftmax { axis: i64 },
    /// `max(x, 0) + log(1 + exp(-|x|))`.
    Softplus,
    /// Less the mean over some axes, by the deviation over these.
    Standard { axes: Vec<i64> },
    /// `x * sigmoid(alpha * x)`.
    Swish { alpha: f32 },
}

impl Expansion for Formula {
    fn name(&self) -> StaticName {
        match self {
            Self::Celu { .. } => "Celu".into(),
            Self::LogSoftmax { .. } | Self::FlatLogSoftmax { .. } => "LogSoftmax".into(),
            Self::Softplus => "Softplus".into(),
            Self::Standard { .. } => "MeanVarianceNormalization".into(),
            Self::Swish { .. } => "Swish".into(),
        }
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let mut wiring = Wiring {
            prefix,
            model,
            input: inputs[0],
        };
        let x = wiring.input;
        match self {
            Self::Celu { alpha } => {
                let alpha = wiring.constant("alpha", *alpha)?;
                let one = wiring.constant("one", 1.0)?;
                let zero = wiring.constant("zero", 0.0)?;
                let ratio = wiring.wire("ratio", div(), &[x, alpha])?;
                let power = wiring.wire("power", exp(), &[ratio])?;
                let less = wiring.wire("less", sub(), &[power, one])?;
                let below = wiring.wire("below", mul(), &[less, alpha])?;
                let is_below = wiring.wire("is_below", TypedBinOp(comp_lt(), None), &[x, zero])?;
                model.wire_node(prefix, Iff, &[is_below, below, x])
            }
            Self::LogSoftmax { axis } => {
                let axes = TVec::from_elem(wiring.settle(*axis)?, 1);
                model.wire_node(prefix, log_softmax(axes), &[x])
            }
            Self::FlatLogSoftmax { axis } => {
                let rank = wiring.rank()?;
                let axes = (wiring.settle(*axis)?..rank).collect();
                model.wire_node(prefix, log_softmax(axes), &[x])
            }
            Self::Softplus => {
                let zero = wiring.constant("zero", 0.0)?;
                let one = wiring.constant("one", 1.0)?;
                let size = wiring.wire("size", abs(), &[x])?;
                let minus = wiring.wire("minus", neg(), &[size])?;
                let power = wiring.wire("power", exp(), &[minus])?;
                let more = wiring.wire("more", add(), &[power, one])?;
                let rest = wiring.wire("rest", ln(), &[more])?;
                let above = wiring.wire("above", max(), &[x, zero])?;
                model.wire_node(prefix, add(), &[above, rest])
            }
            Self::Standard { axes } => {
                let axes = axes.iter().map(|axis| wiring.settle(*axis));
                let axes: TVec<usize> = axes.collect::<TractResult<_>>()?;
                let mean = wiring.mean("mean", x, &axes)?;
                let rest = wiring.wire("rest", sub(), &[x, mean])?;
                let square = wiring.wire("square", mul(), &[rest, rest])?;
                let variance = wiring.mean("variance", square, &axes)?;
                let deviation = wiring.wire("deviation", sqrt(), &[variance])?;
                let least = wiring.constant("least", 1e-9)?;
                let divisor = wiring.wire("divisor", add(), &[deviation, least])?;
                model.wire_node(prefix, div(), &[rest, divisor])
            }
            Self::Swish { alpha } => {
                let alpha = wiring.constant("alpha", *alpha)?;
                let scaled = wiring.wire("scaled", mul(), &[x, alpha])?;
                let share = wiring.wire("share", sigmoid(), &[scaled])?;
                model.wire_node(prefix, mul(), &[x, share])
            }
        }
    }
}

fn log_softmax(axes: TVec<usize>) -> Softmax {
    Softmax {
        axes,
        kind: SoftmaxKind::LogSoftmax,
        ..Softmax::default()
    }
}

/// Where the parts of a formula go.
struct Wiring<'a> {
    prefix: &'a str,
    model: &'a mut TypedModel,
    input: OutletId,
}

impl Wiring<'_> {
    fn wire(
        &mut self,
        part: &str,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        let name = format!("{}.{part}", self.prefix);
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    /// A number of the input's type and rank.
    fn constant(&mut self, part: &str, value: f32) -> TractResult<OutletId> {
        let tensor = broadcast_scalar(value, self.model, &[self.input])?;
        self.model
            .add_const(format!("{}.{part}", self.prefix), tensor)
    }

    /// The mean over some axes, which stay with a length of 1.
    fn mean(&mut self, part: &str, of: OutletId, axes: &TVec<usize>) -> TractResult<OutletId> {
        let shape = self.model.outlet_fact(of)?.shape.clone();
        let Some(dims) = shape.as_concrete() else {
            bail!("the shape {shape:?} is open")
        };
        let count: usize = axes.iter().map(|axis| dims[*axis]).product();
        let reduce = Reduce {
            axes: axes.clone(),
            reducer: Reducer::Sum,
        };
        let sum = self.wire(&format!("{part}.sum"), reduce, &[of])?;
        let count = self.constant(&format!("{part}.count"), count as f32)?;
        self.wire(part, div(), &[sum, count])
    }

    fn rank(&self) -> TractResult<usize> {
        Ok(self.model.outlet_fact(self.input)?.rank())
    }

    /// An axis counted from the front.
    fn settle(&self, axis: i64) -> TractResult<usize> {
        let rank = self.rank()?;
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(from_front)
            .ok()
            .filter(|axis| *axis < rank.max(1))
            .ok_or_else(|| anyhow!("axis {axis} is outside the {rank} dimensions"))
    }
}
