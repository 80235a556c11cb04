//! The steps of a pipeline: the operators of `ai.onnx.ml`, and the few of `ai.onnx` that join them.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::arithmetic::{self, Binary, Unary};
use super::shape::{self, Reduced};
use crate::attributes::read_datatype;
use crate::attributes::{float, int, ints};
use crate::check::ML_DOMAIN;
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::ml::{Array, Form, Operator, View};
use crate::sequence::{Dense, Function};
use crate::tensor::TensorData;

/// One operator.
#[derive(Debug)]
pub(super) enum Step {
    Ml(Box<Operator>),
    Identity,
    Cast(DataType),
    Concat(i64),
    /// The dimensions as `Reshape` takes them: 0 keeps, -1 is what is left.
    Reshape(Vec<i64>),
    Flatten(i64),
    /// The axes; all of length 1 where there are none.
    Squeeze(Vec<i64>),
    Unsqueeze(Vec<i64>),
    Binary(Binary),
    Unary(Unary),
    ArgMax {
        axis: i64,
        reduced: Reduced,
    },
    /// Layers with the functions between them.
    Dense(Box<Dense>),
    /// Of float32, with the attribute `axis`.
    Function(Function, Option<i64>),
}

/// A step that makes each column of its output of the same column of its input.
#[derive(Debug)]
pub(crate) struct ColumnStep(Step);

impl ColumnStep {
    /// Reads a node; none for one that mixes columns, or is no step.
    pub(crate) fn read(node: &NodeProto, limits: &LoadLimits) -> Result<Option<Self>, LoadError> {
        if node.domain == ML_DOMAIN {
            let is_own = matches!(node.op_type.as_str(), "Scaler" | "Imputer" | "Binarizer");
            return Ok(if is_own {
                let operator = Operator::parse(node, None, limits)?;
                Some(Self(Step::Ml(Box::new(operator))))
            } else {
                None
            });
        }
        Ok(match node.op_type.as_str() {
            "Identity" | "Cast" => Step::read(node, |_| None).map(Self),
            _ => None,
        })
    }

    /// The type that the step gives where it is given `from`.
    pub(crate) fn gives(&self, from: DataType) -> DataType {
        match &self.0 {
            Step::Cast(to) => *to,
            Step::Ml(operator) if matches!(**operator, Operator::Scaler(_)) => DataType::Fp32,
            _ => from,
        }
    }

    /// Runs the step.
    pub(crate) fn run(&self, input: View<'_>) -> Result<Array, String> {
        let mut made = self.0.run(&[input])?;
        made.pop().ok_or_else(|| "the step made nothing".to_owned())
    }
}

impl Step {
    /// Reads a node of `ai.onnx`; `constant` gives the integers of a constant input. None for an operator, or a
    /// form of one, that is no step.
    pub(super) fn read(
        node: &NodeProto,
        constant: impl Fn(usize) -> Option<Vec<i64>>,
    ) -> Option<Self> {
        let axis = int(node, "axis");
        Some(match node.op_type.as_str() {
            "Identity" => Self::Identity,
            "Cast" => Self::Cast(read_datatype(i32::try_from(int(node, "to")?).ok()?)?),
            "Concat" => Self::Concat(axis?),
            "Reshape" if int(node, "allowzero").unwrap_or(0) == 0 => Self::Reshape(constant(1)?),
            "Flatten" => Self::Flatten(axis.unwrap_or(1)),
            "Squeeze" => Self::Squeeze(match node.input.get(1) {
                Some(_) => constant(1)?,
                None => ints(node, "axes").to_vec(),
            }),
            "Unsqueeze" => Self::Unsqueeze(match node.input.get(1) {
                Some(_) => constant(1)?,
                None => ints(node, "axes").to_vec(),
            }),
            "ArgMax" if int(node, "select_last_index").unwrap_or(0) == 0 => Self::ArgMax {
                axis: axis.unwrap_or(0),
                reduced: match int(node, "keepdims") {
                    Some(0) => Reduced::Dropped,
                    _ => Reduced::Kept,
                },
            },
            other => match (Binary::read(other), Unary::read(other)) {
                (Some(binary), _) if node.input.len() == 2 => Self::Binary(binary),
                (_, Some(unary)) => Self::Unary(unary),
                _ if node.input.len() == 1 => {
                    let (alpha, beta) = (float(node, "alpha"), float(node, "beta"));
                    Self::Function(Function::read(other, alpha, beta)?, axis)
                }
                _ => return None,
            },
        })
    }

    /// Reads a stretch of dense layers; `constant` gives the shape and elements of a constant input.
    pub(super) fn read_dense<'a>(
        node: &NodeProto,
        constant: impl Fn(usize) -> Option<(&'a [usize], &'a [f32])>,
    ) -> Result<Self, String> {
        let fault = |error| format!("{error:#}");
        let dense = Dense::parse(node).map_err(fault)?;
        dense.pack(|at| Ok(constant(at))).map_err(fault)?;
        Ok(Self::Dense(Box::new(dense)))
    }

    /// The number of inputs that are tensors at run time; the constant ones after them are read at load.
    pub(super) fn input_count(&self, given: usize) -> usize {
        match self {
            Self::Ml(_) | Self::Concat(_) => given,
            Self::Binary(_) => 2,
            _ => 1,
        }
    }

    pub(super) fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>, String> {
        if let Self::Ml(operator) = self {
            return operator.forms(inputs);
        }
        let [first, ..] = inputs else {
            return Err("it has no input".to_owned());
        };
        let of = |shape: Vec<usize>| Form::new(first.datatype, shape);
        Ok(vec![match self {
            Self::Ml(_) | Self::Identity => first.clone(),
            Self::Cast(to) => {
                if can_cast(first.datatype, *to) {
                    Form::new(*to, first.shape.clone())
                } else {
                    return Err(format!(
                        "{} is not cast to {}",
                        first.datatype.name(),
                        to.name()
                    ));
                }
            }
            Self::Concat(axis) => {
                if inputs.iter().any(|input| input.datatype != first.datatype) {
                    return Err("the inputs have different types".to_owned());
                }
                let shapes: Vec<&[usize]> = inputs.iter().map(|input| &*input.shape).collect();
                of(shape::concat(&shapes, *axis)?.0)
            }
            Self::Reshape(dims) => of(shape::reshape(&first.shape, dims)?),
            Self::Flatten(axis) => of(shape::flatten(&first.shape, *axis)?),
            Self::Squeeze(axes) => of(shape::squeeze(&first.shape, axes)?),
            Self::Unsqueeze(axes) => of(shape::unsqueeze(&first.shape, axes)?),
            Self::Binary(_) => arithmetic::form(inputs)?,
            Self::Unary(_) => match first.datatype {
                DataType::Fp32 | DataType::Fp64 => first.clone(),
                other => return Err(format!("{} where FP32 or FP64 is taken", other.name())),
            },
            Self::Dense(dense) => match first.datatype {
                DataType::Fp32 => of(dense
                    .shape(&first.shape)
                    .map_err(|error| format!("{error:#}"))?
                    .to_vec()),
                other => return Err(format!("{} where FP32 is taken", other.name())),
            },
            Self::Function(function, axis) => {
                // Of what an operator's versions have in common: one without the attribute is of the second axis or
                // of the last.
                let last = first.shape.len() as i64 - 1;
                let is_last = axis.map_or(last == 1, |axis| axis == -1 || axis == last);
                let is_own = *function != Function::Softmax || (last >= 0 && is_last);
                match first.datatype {
                    DataType::Fp32 if is_own => first.clone(),
                    DataType::Fp32 => return Err("a softmax over another axis".to_owned()),
                    other => return Err(format!("{} where FP32 is taken", other.name())),
                }
            }
            Self::ArgMax { axis, reduced } => {
                if !matches!(first.datatype, DataType::Fp32 | DataType::Fp64) {
                    return Err(format!("{} is not taken", first.datatype.name()));
                }
                let shape = shape::reduce(&first.shape, *axis, *reduced)?.0;
                Form::new(DataType::Int64, shape)
            }
        }])
    }

    pub(super) fn run(&self, inputs: &[View<'_>]) -> Result<Vec<Array>, String> {
        if let Self::Ml(operator) = self {
            return operator.run(inputs);
        }
        let [first, ..] = inputs else {
            return Err("it has no input".to_owned());
        };
        let of = |shape: Vec<usize>| Array {
            shape,
            data: first.data.clone(),
        };
        Ok(vec![match self {
            Self::Ml(_) | Self::Identity => of(first.shape.to_vec()),
            Self::Cast(to) => Array {
                shape: first.shape.to_vec(),
                data: cast(first.data, *to)?,
            },
            Self::Concat(axis) => shape::join(inputs, *axis)?,
            Self::Reshape(dims) => of(shape::reshape(first.shape, dims)?),
            Self::Flatten(axis) => of(shape::flatten(first.shape, *axis)?),
            Self::Squeeze(axes) => of(shape::squeeze(first.shape, axes)?),
            Self::Unsqueeze(axes) => of(shape::unsqueeze(first.shape, axes)?),
            Self::Binary(operator) => arithmetic::run(*operator, inputs)?,
            Self::Unary(operator) => Array {
                shape: first.shape.to_vec(),
                data: operator.run(first.data)?,
            },
            Self::ArgMax { axis, reduced } => arg_max(*first, *axis, *reduced)?,
            Self::Dense(dense) => {
                let fault = |error| format!("{error:#}");
                let shape = dense.shape(first.shape).map_err(fault)?;
                let mut made = vec![0.0; shape.iter().product()];
                dense.write(floats(first)?, &mut made).map_err(fault)?;
                Array {
                    shape: shape.to_vec(),
                    data: TensorData::Fp32(made),
                }
            }
            Self::Function(function, _) => {
                let mut values = floats(first)?.to_vec();
                function.apply(&mut values, first.shape.last().copied().unwrap_or(1));
                Array {
                    shape: first.shape.to_vec(),
                    data: TensorData::Fp32(values),
                }
            }
        }])
    }
}

fn floats<'a>(input: &View<'a>) -> Result<&'a [f32], String> {
    match input.data {
        TensorData::Fp32(values) => Ok(values),
        other => Err(format!("{} where FP32 is taken", other.datatype().name())),
    }
}

fn is_simple(datatype: DataType) -> bool {
    matches!(
        datatype,
        DataType::Bool | DataType::Int32 | DataType::Int64 | DataType::Fp32 | DataType::Fp64
    )
}

fn can_cast(from: DataType, to: DataType) -> bool {
    from == to || (is_simple(from) && is_simple(to))
}

/// A number on its way to another type.
#[derive(Clone, Copy)]
enum Number {
    Integer(i64),
    Float(f64),
}

fn cast(data: &TensorData, to: DataType) -> Result<TensorData, String> {
    if data.datatype() == to {
        return Ok(data.clone());
    }
    match data {
        TensorData::Bool(v) => cast_numbers(v.iter().map(|x| Number::Integer(i64::from(*x))), to),
        TensorData::Int32(v) => cast_numbers(v.iter().map(|x| Number::Integer(i64::from(*x))), to),
        TensorData::Int64(v) => cast_numbers(v.iter().map(|x| Number::Integer(*x)), to),
        TensorData::Fp32(v) => cast_numbers(v.iter().map(|x| Number::Float(f64::from(*x))), to),
        TensorData::Fp64(v) => cast_numbers(v.iter().map(|x| Number::Float(*x)), to),
        other => Err(format!(
            "{} is not cast to {}",
            other.datatype().name(),
            to.name()
        )),
    }
}

fn cast_numbers(values: impl Iterator<Item = Number>, to: DataType) -> Result<TensorData, String> {
    // What does not fit has no defined value.
    let whole = |number: Number, low: f64, high: f64| match number {
        Number::Integer(x) => Some(x),
        Number::Float(x) => (x.trunc() >= low && x.trunc() < high).then_some(x as i64),
    };
    let unfit = || format!("a number does not fit {}", to.name());
    let bound = (1_u64 << 63) as f64;
    Ok(match to {
        DataType::Bool => TensorData::Bool(
            values
                .map(|x| match x {
                    Number::Integer(x) => x != 0,
                    Number::Float(x) => x != 0.0,
                })
                .collect(),
        ),
        DataType::Fp32 => TensorData::Fp32(
            values
                .map(|x| match x {
                    Number::Integer(x) => x as f32,
                    Number::Float(x) => x as f32,
                })
                .collect(),
        ),
        DataType::Fp64 => TensorData::Fp64(
            values
                .map(|x| match x {
                    Number::Integer(x) => x as f64,
                    Number::Float(x) => x,
                })
                .collect(),
        ),
        DataType::Int64 => TensorData::Int64(
            values
                .map(|x| whole(x, -bound, bound).ok_or_else(unfit))
                .collect::<Result<_, _>>()?,
        ),
        DataType::Int32 => TensorData::Int32(
            values
                .map(|x| {
                    whole(x, -bound, bound)
                        .and_then(|x| i32::try_from(x).ok())
                        .ok_or_else(unfit)
                })
                .collect::<Result<_, _>>()?,
        ),
        other => return Err(format!("a number is not cast to {}", other.name())),
    })
}

fn arg_max(input: View<'_>, axis: i64, reduced: Reduced) -> Result<Array, String> {
    let (shape, axis) = shape::reduce(input.shape, axis, reduced)?;
    let data = match input.data {
        TensorData::Fp32(values) => find_largest(values, input.shape, axis),
        TensorData::Fp64(values) => find_largest(values, input.shape, axis),
        other => return Err(format!("{} is not taken", other.datatype().name())),
    };
    Ok(Array {
        shape,
        data: TensorData::Int64(data?),
    })
}

/// The place of the first largest number along an axis. NaN has no place in an order.
fn find_largest<T: Copy + PartialOrd>(
    values: &[T],
    shape: &[usize],
    axis: usize,
) -> Result<Vec<i64>, String> {
    let len = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    if len == 0 {
        return Err("there is nothing to choose from".to_owned());
    }
    let mut out = Vec::with_capacity(values.len() / len);
    for outer in values.chunks_exact((len * inner).max(1)) {
        for at in 0..inner {
            let mut winner = 0;
            for step in 0..len {
                let value = outer[step * inner + at];
                if value.partial_cmp(&value).is_none() {
                    return Err("a value is NaN".to_owned());
                }
                if value > outer[winner * inner + at] {
                    winner = step;
                }
            }
            out.push(winner as i64);
        }
    }
    Ok(out)
}
