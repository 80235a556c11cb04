//! Elements of tensors from text, JSON and numbers, each held to the tensor's type.

use artifact::manifest::DataType;
use engine::TensorData;
use half::f16;
use serde_json::Value;

use crate::table::is_missing;

/// One element, before it has a tensor's type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Element<'a> {
    /// No value: NaN in a float tensor, refused in others.
    Missing,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any number; narrowed to single or half precision where the tensor is.
    Float(f64),
    /// Text, of a cell or a JSON string.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A tensor of this type without elements.
pub(crate) fn empty(datatype: DataType) -> TensorData {
    match datatype {
        DataType::Bool => TensorData::Bool(Vec::new()),
        DataType::Uint8 => TensorData::Uint8(Vec::new()),
        DataType::Uint16 => TensorData::Uint16(Vec::new()),
        DataType::Uint32 => TensorData::Uint32(Vec::new()),
        DataType::Uint64 => TensorData::Uint64(Vec::new()),
        DataType::Int8 => TensorData::Int8(Vec::new()),
        DataType::Int16 => TensorData::Int16(Vec::new()),
        DataType::Int32 => TensorData::Int32(Vec::new()),
        DataType::Int64 => TensorData::Int64(Vec::new()),
        DataType::Fp16 => TensorData::Fp16(Vec::new()),
        DataType::Fp32 => TensorData::Fp32(Vec::new()),
        DataType::Fp64 => TensorData::Fp64(Vec::new()),
        DataType::Bytes => TensorData::Bytes(Vec::new()),
    }
}

/// Adds all elements of another tensor of the same type.
pub(crate) fn append(data: &mut TensorData, more: &TensorData) {
    match (data, more) {
        (TensorData::Bool(v), TensorData::Bool(more)) => v.extend(more),
        (TensorData::Uint8(v), TensorData::Uint8(more)) => v.extend(more),
        (TensorData::Uint16(v), TensorData::Uint16(more)) => v.extend(more),
        (TensorData::Uint32(v), TensorData::Uint32(more)) => v.extend(more),
        (TensorData::Uint64(v), TensorData::Uint64(more)) => v.extend(more),
        (TensorData::Int8(v), TensorData::Int8(more)) => v.extend(more),
        (TensorData::Int16(v), TensorData::Int16(more)) => v.extend(more),
        (TensorData::Int32(v), TensorData::Int32(more)) => v.extend(more),
        (TensorData::Int64(v), TensorData::Int64(more)) => v.extend(more),
        (TensorData::Fp16(v), TensorData::Fp16(more)) => v.extend(more),
        (TensorData::Fp32(v), TensorData::Fp32(more)) => v.extend(more),
        (TensorData::Fp64(v), TensorData::Fp64(more)) => v.extend(more),
        (TensorData::Bytes(v), TensorData::Bytes(more)) => v.extend(more.iter().cloned()),
        _ => {}
    }
}

/// Adds an element; an error says what was expected. Integers must be exact, floats may be rounded but not
/// to infinity.
pub(crate) fn push(data: &mut TensorData, element: Element<'_>) -> Result<(), String> {
    let pushed = match data {
        TensorData::Bool(v) => boolean(element).map(|value| v.push(value)),
        TensorData::Uint8(v) => whole(element).map(|value| v.push(value)),
        TensorData::Uint16(v) => whole(element).map(|value| v.push(value)),
        TensorData::Uint32(v) => whole(element).map(|value| v.push(value)),
        TensorData::Uint64(v) => whole(element).map(|value| v.push(value)),
        TensorData::Int8(v) => whole(element).map(|value| v.push(value)),
        TensorData::Int16(v) => whole(element).map(|value| v.push(value)),
        TensorData::Int32(v) => whole(element).map(|value| v.push(value)),
        TensorData::Int64(v) => whole(element).map(|value| v.push(value)),
        TensorData::Fp16(v) => double(element)
            .map(f16::from_f64)
            .filter(|value| !value.is_infinite())
            .map(|value| v.push(value)),
        TensorData::Fp32(v) => single(element).map(|value| v.push(value)),
        TensorData::Fp64(v) => double(element).map(|value| v.push(value)),
        TensorData::Bytes(v) => bytes(element).map(|value| v.push(value)),
    };
    pushed.ok_or_else(|| {
        let found = match element {
            Element::Missing => "no value".to_owned(),
            Element::Bool(value) => value.to_string(),
            Element::Integer(value) => value.to_string(),
            Element::Float(value) => value.to_string(),
            Element::Text(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
            Element::Bytes(_) => "bytes".to_owned(),
        };
        format!("expected {}, found {found}", data.datatype().name())
    })
}

fn boolean(element: Element<'_>) -> Option<bool> {
    match element {
        Element::Bool(value) => Some(value),
        Element::Integer(0) | Element::Text("0" | "false" | "False") => Some(false),
        Element::Integer(1) | Element::Text("1" | "true" | "True") => Some(true),
        _ => None,
    }
}

fn whole<T: TryFrom<i128>>(element: Element<'_>) -> Option<T> {
    // Doubles above this stand for several whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value = match element {
        Element::Integer(value) => value,
        Element::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT => value as i128,
        Element::Text(text) => match text.parse::<i128>() {
            Ok(value) => value,
            Err(_) => return whole(Element::Float(text.parse().ok()?)),
        },
        _ => return None,
    };
    T::try_from(value).ok()
}

fn single(element: Element<'_>) -> Option<f32> {
    let value = match element {
        // Read as single precision at once: by way of a double it might be rounded twice.
        Element::Text(text) if !is_missing(text) => text.parse().ok()?,
        other => double(other)? as f32,
    };
    (!value.is_infinite()).then_some(value)
}

fn double(element: Element<'_>) -> Option<f64> {
    let value = match element {
        Element::Missing => f64::NAN,
        Element::Integer(value) => value as f64,
        Element::Float(value) => value,
        Element::Text(text) if is_missing(text) => f64::NAN,
        Element::Text(text) => text.parse().ok()?,
        Element::Bool(_) | Element::Bytes(_) => return None,
    };
    (!value.is_infinite()).then_some(value)
}

fn bytes(element: Element<'_>) -> Option<Vec<u8>> {
    match element {
        Element::Text(text) => Some(text.as_bytes().to_vec()),
        Element::Bytes(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// The element that a JSON value is; `None` for lists and objects, and for text where a number is wanted.
pub(crate) fn of_json(value: &Value, datatype: DataType) -> Option<Element<'_>> {
    match value {
        Value::Null => Some(Element::Missing),
        Value::Bool(value) => Some(Element::Bool(*value)),
        Value::Number(number) => Some(number.as_i128().map_or_else(
            || Element::Float(number.as_f64().unwrap_or(f64::NAN)),
            Element::Integer,
        )),
        Value::String(text) if datatype == DataType::Bytes => Some(Element::Text(text)),
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(datatype: DataType, element: Element<'_>) -> Result<TensorData, String> {
        let mut data = empty(datatype);
        push(&mut data, element).map(|()| data)
    }

    #[test]
    fn a_decimal_becomes_the_nearest_single() {
        let data = pushed(DataType::Fp32, Element::Text("0.1")).unwrap();
        assert_eq!(data, TensorData::Fp32(vec![0.1]));
        // Between two singles, a hair above the middle: by way of a double it would go to the even one.
        let text = "1.00000005960464477540";
        let data = pushed(DataType::Fp32, Element::Text(text)).unwrap();
        assert_eq!(data, TensorData::Fp32(vec![1.000_000_1]));
    }

    #[test]
    fn a_missing_value_is_nan_in_a_float_and_refused_elsewhere() {
        for element in [Element::Missing, Element::Text(""), Element::Text("NaN")] {
            let Ok(TensorData::Fp64(values)) = pushed(DataType::Fp64, element) else {
                panic!("{element:?}")
            };
            assert!(values[0].is_nan());
            assert!(pushed(DataType::Int64, element).is_err());
        }
    }

    #[test]
    fn integers_are_exact_or_refused() {
        let largest = pushed(DataType::Uint64, Element::Text("18446744073709551615")).unwrap();
        assert_eq!(largest, TensorData::Uint64(vec![u64::MAX]));
        assert_eq!(
            pushed(DataType::Int8, Element::Float(-3.0)).unwrap(),
            TensorData::Int8(vec![-3])
        );
        for element in [
            Element::Integer(128),
            Element::Float(0.5),
            Element::Text("x"),
        ] {
            assert!(pushed(DataType::Int8, element).is_err(), "{element:?}");
        }
    }

    #[test]
    fn infinities_are_refused_also_those_that_narrowing_makes() {
        assert!(pushed(DataType::Fp32, Element::Float(1e39)).is_err());
        assert!(pushed(DataType::Fp32, Element::Text("inf")).is_err());
        assert!(pushed(DataType::Fp16, Element::Float(70_000.0)).is_err());
        assert!(pushed(DataType::Fp16, Element::Float(65_504.0)).is_ok());
    }
}
