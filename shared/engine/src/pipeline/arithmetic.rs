//! Arithmetic, element by element.

use artifact::manifest::DataType;

use crate::ml::{Array, Form, View, broadcast, combine, logistic, logistic_wide};
use crate::tensor::TensorData;

/// Of two tensors, one of which may be broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

/// Of one tensor of floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Abs,
    Neg,
    Exp,
    Log,
    Sqrt,
    Sigmoid,
}

impl Binary {
    pub(super) fn read(operator: &str) -> Option<Self> {
        Some(match operator {
            "Add" => Self::Add,
            "Sub" => Self::Sub,
            "Mul" => Self::Mul,
            "Div" => Self::Div,
            _ => return None,
        })
    }
}

impl Unary {
    pub(super) fn read(operator: &str) -> Option<Self> {
        Some(match operator {
            "Abs" => Self::Abs,
            "Neg" => Self::Neg,
            "Exp" => Self::Exp,
            "Log" => Self::Log,
            "Sqrt" => Self::Sqrt,
            "Sigmoid" => Self::Sigmoid,
            _ => return None,
        })
    }

    pub(super) fn run(self, data: &TensorData) -> Result<TensorData, String> {
        match data {
            TensorData::Fp32(values) => {
                let step = match self {
                    Self::Abs => f32::abs,
                    Self::Neg => |x: f32| -x,
                    Self::Exp => f32::exp,
                    Self::Log => f32::ln,
                    Self::Sqrt => f32::sqrt,
                    Self::Sigmoid => logistic,
                };
                Ok(TensorData::Fp32(values.iter().map(|x| step(*x)).collect()))
            }
            TensorData::Fp64(values) => {
                let step = match self {
                    Self::Abs => f64::abs,
                    Self::Neg => |x: f64| -x,
                    Self::Exp => f64::exp,
                    Self::Log => f64::ln,
                    Self::Sqrt => f64::sqrt,
                    Self::Sigmoid => logistic_wide,
                };
                Ok(TensorData::Fp64(values.iter().map(|x| step(*x)).collect()))
            }
            other => Err(format!("{} is not taken", other.datatype().name())),
        }
    }
}

/// The form of a result.
pub(super) fn form(inputs: &[Form]) -> Result<Form, String> {
    let [left, right] = inputs else {
        return Err(format!("{} inputs where 2 are taken", inputs.len()));
    };
    let datatype = left.datatype;
    if datatype != right.datatype
        || !matches!(datatype, DataType::Fp32 | DataType::Fp64 | DataType::Int64)
    {
        return Err(format!(
            "{} with {}; FP32, FP64 or INT64 is taken, the same on both sides",
            datatype.name(),
            right.datatype.name()
        ));
    }
    Ok(Form::new(datatype, broadcast(&left.shape, &right.shape)?))
}

pub(super) fn run(operator: Binary, inputs: &[View<'_>]) -> Result<Array, String> {
    let [left, right] = *inputs else {
        return Err(format!("{} inputs where 2 are taken", inputs.len()));
    };
    let shape = broadcast(left.shape, right.shape)?;
    let data = match (left.data, right.data) {
        (TensorData::Fp32(a), TensorData::Fp32(b)) => {
            let step = match operator {
                Binary::Add => |a: f32, b: f32| a + b,
                Binary::Sub => |a, b| a - b,
                Binary::Mul => |a, b| a * b,
                Binary::Div => |a, b| a / b,
            };
            TensorData::Fp32(combine(a, left.shape, b, right.shape, &shape, step))
        }
        (TensorData::Fp64(a), TensorData::Fp64(b)) => {
            let step = match operator {
                Binary::Add => |a: f64, b: f64| a + b,
                Binary::Sub => |a, b| a - b,
                Binary::Mul => |a, b| a * b,
                Binary::Div => |a, b| a / b,
            };
            TensorData::Fp64(combine(a, left.shape, b, right.shape, &shape, step))
        }
        (TensorData::Int64(a), TensorData::Int64(b)) => {
            if operator == Binary::Div && b.contains(&0) {
                return Err("a division by 0".to_owned());
            }
            let step = match operator {
                Binary::Add => i64::wrapping_add,
                Binary::Sub => i64::wrapping_sub,
                Binary::Mul => i64::wrapping_mul,
                Binary::Div => i64::wrapping_div,
            };
            TensorData::Int64(combine(a, left.shape, b, right.shape, &shape, step))
        }
        (a, b) => {
            return Err(format!(
                "{} with {}",
                a.datatype().name(),
                b.datatype().name()
            ));
        }
    };
    Ok(Array { shape, data })
}
