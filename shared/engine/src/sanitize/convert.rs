//! Conversion between numeric element types: a float may lose precision, an integer must be exact.

use artifact::manifest::DataType;
use half::f16;

use crate::tensor::TensorData;

/// Why a tensor is not converted.
pub(super) enum ConvertError {
    /// BOOL and BYTES are no numbers.
    NotNumeric,
    /// This value does not fit.
    Value {
        /// Its place.
        at: usize,
        /// The value as text.
        value: String,
    },
}

/// A number that loses nothing of any element type.
#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

/// Converts numbers to another numeric type.
pub(super) fn convert(data: &TensorData, to: DataType) -> Result<TensorData, ConvertError> {
    match data {
        TensorData::Bool(_) | TensorData::Bytes(_) => Err(ConvertError::NotNumeric),
        TensorData::Uint8(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Uint16(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Uint32(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Uint64(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Int8(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Int16(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Int32(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Int64(values) => collect(values, |v| Number::Integer(v.into()), to),
        TensorData::Fp16(values) => collect(values, |v| Number::Float(v.into()), to),
        TensorData::Fp32(values) => collect(values, |v| Number::Float(v.into()), to),
        TensorData::Fp64(values) => collect(values, Number::Float, to),
    }
}

/// Makes a tensor of f64 values, rounded to the type: for values that this crate chose itself.
pub(super) fn from_f64(datatype: DataType, values: &[f64]) -> TensorData {
    let all = values.iter();
    match datatype {
        DataType::Bool => TensorData::Bool(all.map(|v| *v != 0.0).collect()),
        DataType::Bytes => TensorData::Bytes(all.map(|_| Vec::new()).collect()),
        DataType::Uint8 => TensorData::Uint8(all.map(|v| v.round() as u8).collect()),
        DataType::Uint16 => TensorData::Uint16(all.map(|v| v.round() as u16).collect()),
        DataType::Uint32 => TensorData::Uint32(all.map(|v| v.round() as u32).collect()),
        DataType::Uint64 => TensorData::Uint64(all.map(|v| v.round() as u64).collect()),
        DataType::Int8 => TensorData::Int8(all.map(|v| v.round() as i8).collect()),
        DataType::Int16 => TensorData::Int16(all.map(|v| v.round() as i16).collect()),
        DataType::Int32 => TensorData::Int32(all.map(|v| v.round() as i32).collect()),
        DataType::Int64 => TensorData::Int64(all.map(|v| v.round() as i64).collect()),
        DataType::Fp16 => TensorData::Fp16(all.map(|v| f16::from_f64(*v)).collect()),
        DataType::Fp32 => TensorData::Fp32(all.map(|v| *v as f32).collect()),
        DataType::Fp64 => TensorData::Fp64(values.to_vec()),
    }
}

fn collect<T: Copy>(
    values: &[T],
    read: impl Fn(T) -> Number,
    to: DataType,
) -> Result<TensorData, ConvertError> {
    let numbers = values.iter().map(|value| read(*value));
    match to {
        DataType::Bool | DataType::Bytes => Err(ConvertError::NotNumeric),
        DataType::Uint8 => each(numbers, Number::to_integer).map(TensorData::Uint8),
        DataType::Uint16 => each(numbers, Number::to_integer).map(TensorData::Uint16),
        DataType::Uint32 => each(numbers, Number::to_integer).map(TensorData::Uint32),
        DataType::Uint64 => each(numbers, Number::to_integer).map(TensorData::Uint64),
        DataType::Int8 => each(numbers, Number::to_integer).map(TensorData::Int8),
        DataType::Int16 => each(numbers, Number::to_integer).map(TensorData::Int16),
        DataType::Int32 => each(numbers, Number::to_integer).map(TensorData::Int32),
        DataType::Int64 => each(numbers, Number::to_integer).map(TensorData::Int64),
        DataType::Fp16 => each(numbers, |n| {
            n.to_float(|v| f16::from_f64(v).into()).map(f16::from_f64)
        })
        .map(TensorData::Fp16),
        DataType::Fp32 => each(numbers, |n| {
            n.to_float(|v| f64::from(v as f32)).map(|v| v as f32)
        })
        .map(TensorData::Fp32),
        DataType::Fp64 => each(numbers, |n| n.to_float(|v| v)).map(TensorData::Fp64),
    }
}

fn each<T>(
    numbers: impl Iterator<Item = Number>,
    narrow: impl Fn(Number) -> Option<T>,
) -> Result<Vec<T>, ConvertError> {
    numbers
        .enumerate()
        .map(|(at, number)| {
            narrow(number).ok_or_else(|| ConvertError::Value {
                at,
                value: match number {
                    Number::Integer(value) => value.to_string(),
                    Number::Float(value) => value.to_string(),
                },
            })
        })
        .collect()
}

impl Number {
    fn to_integer<T: TryFrom<i128>>(self) -> Option<T> {
        let integer = match self {
            Self::Integer(value) => value,
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 1e20 => value as i128,
            Self::Float(_) => return None,
        };
        T::try_from(integer).ok()
    }

    /// The value as a float that `round` does not make infinite; an integer must survive `round`.
    fn to_float(self, round: impl Fn(f64) -> f64) -> Option<f64> {
        match self {
            Self::Integer(value) => {
                let float = value as f64;
                let rounded = round(float);
                (rounded.is_finite() && rounded as i128 == value).then_some(float)
            }
            Self::Float(value) => (!value.is_finite() || round(value).is_finite()).then_some(value),
        }
    }
}
