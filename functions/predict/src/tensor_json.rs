//! Tensors as JSON: `data` flat or nested, row-major, read straight into typed elements.

use std::fmt;

use artifact::manifest::DataType;
use engine::TensorData;
use half::f16;
use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserializer, Serialize};
use web::ApiError;

/// Reads `data` as elements of `datatype`; nested lists must be nested as `shape` says.
///
/// # Errors
/// 400, with the position of the element that is wrong.
pub(crate) fn parse(
    json: &str,
    datatype: DataType,
    shape: &[usize],
    field: &str,
) -> Result<TensorData, ApiError> {
    let count = element_count(shape, field)?;
    match datatype {
        DataType::Bool => elements(json, shape, count, field).map(TensorData::Bool),
        DataType::Uint8 => elements(json, shape, count, field).map(TensorData::Uint8),
        DataType::Uint16 => elements(json, shape, count, field).map(TensorData::Uint16),
        DataType::Uint32 => elements(json, shape, count, field).map(TensorData::Uint32),
        DataType::Uint64 => elements(json, shape, count, field).map(TensorData::Uint64),
        DataType::Int8 => elements(json, shape, count, field).map(TensorData::Int8),
        DataType::Int16 => elements(json, shape, count, field).map(TensorData::Int16),
        DataType::Int32 => elements(json, shape, count, field).map(TensorData::Int32),
        DataType::Int64 => elements(json, shape, count, field).map(TensorData::Int64),
        DataType::Fp16 => elements(json, shape, count, field).map(TensorData::Fp16),
        DataType::Fp32 => elements(json, shape, count, field).map(TensorData::Fp32),
        DataType::Fp64 => elements(json, shape, count, field).map(TensorData::Fp64),
        DataType::Bytes => elements(json, shape, count, field).map(TensorData::Bytes),
    }
}

/// The number of elements of a shape.
///
/// # Errors
/// 400 where it is beyond what any request can hold.
pub(crate) fn element_count(shape: &[usize], field: &str) -> Result<usize, ApiError> {
    shape
        .iter()
        .try_fold(1_usize, |product, dim| product.checked_mul(*dim))
        .filter(|count| *count <= web::body::MAX_BODY_BYTES)
        .ok_or_else(|| {
            ApiError::bad_field(
                "input.shape",
                format!("{field}.shape"),
                format!("shape {shape:?} has more elements than a request can hold"),
            )
        })
}

fn elements<T: Element>(
    json: &str,
    shape: &[usize],
    count: usize,
    field: &str,
) -> Result<Vec<T>, ApiError> {
    let mut out = Vec::with_capacity(count.min(json.len() / 2 + 1));
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let mut leaf_depth = None;
    let list = List {
        out: &mut out,
        fault: &mut fault,
        leaf_depth: &mut leaf_depth,
        shape,
        count,
        depth: 0,
    };
    if let Err(error) = list.deserialize(&mut deserializer) {
        return Err(describe(error, fault, out.len(), field));
    }
    if out.len() != count {
        return Err(ApiError::bad_field(
            "input.count",
            format!("{field}.data"),
            format!("{} elements do not fill shape {shape:?}", out.len()),
        ));
    }
    Ok(out)
}

fn describe(error: serde_json::Error, fault: Option<Fault>, at: usize, field: &str) -> ApiError {
    let element = format!("{field}.data[{at}]");
    match fault {
        Some(Fault::Count(message)) => {
            ApiError::bad_field("input.count", format!("{field}.data"), message)
        }
        Some(Fault::TooLarge(message)) => {
            ApiError::bad_field("request.number_too_large", element, message)
        }
        Some(Fault::Type(message)) => ApiError::bad_field("request.field_type", element, message),
        None if error.to_string().contains("number out of range") => ApiError::bad_field(
            "request.number_too_large",
            element,
            "expected a number that a double can hold",
        ),
        None => ApiError::bad_field(
            "request.field_type",
            element,
            "expected a list of elements of the declared datatype",
        ),
    }
}

/// What is wrong with an element.
pub(crate) enum Fault {
    Count(String),
    TooLarge(String),
    Type(String),
}

/// An element type that JSON values are read into.
pub(crate) trait Element: Sized {
    /// What a value must be, for errors.
    const EXPECTED: &'static str;

    fn from_float(_: f64) -> Result<Self, Fault> {
        Err(wrong::<Self>())
    }
    fn from_integer(_: i128) -> Result<Self, Fault> {
        Err(wrong::<Self>())
    }
    fn from_bool(_: bool) -> Result<Self, Fault> {
        Err(wrong::<Self>())
    }
    fn from_text(_: &str) -> Result<Self, Fault> {
        Err(wrong::<Self>())
    }
    fn missing() -> Result<Self, Fault> {
        Err(wrong::<Self>())
    }
}

fn wrong<T: Element>() -> Fault {
    Fault::Type(format!("expected {}", T::EXPECTED))
}

fn too_large<T: Element>() -> Fault {
    Fault::TooLarge(format!("expected {}", T::EXPECTED))
}

macro_rules! integer_element {
    ($($type:ty => $expected:literal),*) => {$(
        impl Element for $type {
            const EXPECTED: &'static str = $expected;
            fn from_integer(value: i128) -> Result<Self, Fault> {
                value.try_into().map_err(|_| too_large::<Self>())
            }
        }
    )*};
}
integer_element!(
    u8 => "an integer from 0 to 255", u16 => "an integer from 0 to 65535",
    u32 => "an integer from 0 to 2^32 - 1", u64 => "an integer from 0 to 2^64 - 1",
    i8 => "an integer from -128 to 127", i16 => "an integer from -32768 to 32767",
    i32 => "an integer from -2^31 to 2^31 - 1", i64 => "an integer from -2^63 to 2^63 - 1"
);

macro_rules! float_element {
    ($($type:ty, $from:expr, $expected:literal);*) => {$(
        impl Element for $type {
            const EXPECTED: &'static str = $expected;
            fn from_float(value: f64) -> Result<Self, Fault> {
                let from: fn(f64) -> $type = $from;
                let element = from(value);
                if element.is_finite() { Ok(element) } else { Err(too_large::<Self>()) }
            }
            fn from_integer(value: i128) -> Result<Self, Fault> {
                Self::from_float(value as f64)
            }
            fn missing() -> Result<Self, Fault> {
                Ok(<$type>::NAN)
            }
        }
    )*};
}
float_element!(
    f16, f16::from_f64, "a number of at most 65504, or null where it is missing";
    f32, |value| value as f32, "a number of at most 3.4e38, or null where it is missing";
    f64, |value| value, "a number, or null where it is missing"
);

impl Element for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_bool(value: bool) -> Result<Self, Fault> {
        Ok(value)
    }
}

impl Element for Vec<u8> {
    const EXPECTED: &'static str = "a string";
    fn from_text(value: &str) -> Result<Self, Fault> {
        Ok(value.as_bytes().to_vec())
    }
}

/// A list, at `depth` in the tensor; collects the elements below it.
struct List<'a, T> {
    out: &'a mut Vec<T>,
    fault: &'a mut Option<Fault>,
    shape: &'a [usize],
    count: usize,
    depth: usize,
    /// How deep the elements lie: 1 in a flat list, the shape's length in a nested one; unknown before the first.
    leaf_depth: &'a mut Option<usize>,
}

impl<T: Element> List<'_, T> {
    fn refuse<E: de::Error>(&mut self, fault: Fault) -> E {
        *self.fault = Some(fault);
        E::custom("refused")
    }

    fn push<E: de::Error>(&mut self, value: Result<T, Fault>) -> Result<(), E> {
        let allowed = self.depth == 1 || self.depth == self.shape.len();
        if self.depth == 0 || !allowed || *self.leaf_depth.get_or_insert(self.depth) != self.depth {
            let message = format!(
                "expected lists nested as shape {:?} says, or one flat list",
                self.shape
            );
            return Err(self.refuse(Fault::Type(message)));
        }
        if self.out.len() >= self.count {
            let message = format!("more elements than shape {:?} holds", self.shape);
            return Err(self.refuse(Fault::Count(message)));
        }
        match value {
            Ok(value) => {
                self.out.push(value);
                Ok(())
            }
            Err(fault) => Err(self.refuse(fault)),
        }
    }
}

impl<'de, T: Element> DeserializeSeed<'de> for List<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Element> Visitor<'de> for List<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if self.depth >= self.shape.len().max(1) {
            let message = format!("lists are nested deeper than shape {:?}", self.shape);
            return Err(self.refuse(Fault::Type(message)));
        }
        let before = self.out.len();
        let mut length = 0_usize;
        loop {
            let item = List {
                out: &mut *self.out,
                fault: &mut *self.fault,
                shape: self.shape,
                count: self.count,
                depth: self.depth + 1,
                leaf_depth: &mut *self.leaf_depth,
            };
            if seq.next_element_seed(item)?.is_none() {
                break;
            }
            length += 1;
        }
        // In a nested tensor every list is one dimension, and as long as that.
        let elements_below = self.shape[(self.depth + 1).min(self.shape.len())..]
            .iter()
            .product::<usize>();
        let flat = self.depth == 0 && *self.leaf_depth == Some(1);
        let fits = length == self.shape.get(self.depth).copied().unwrap_or(1)
            && self.out.len() - before == length * elements_below;
        if !flat && !fits {
            let message = format!(
                "a list of {length} where shape {:?} has another length",
                self.shape
            );
            return Err(self.refuse(Fault::Count(message)));
        }
        Ok(())
    }

    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<(), E> {
        self.push(T::from_float(value))
    }
    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<(), E> {
        self.push(T::from_integer(value.into()))
    }
    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<(), E> {
        self.push(T::from_integer(value.into()))
    }
    fn visit_bool<E: de::Error>(mut self, value: bool) -> Result<(), E> {
        self.push(T::from_bool(value))
    }
    fn visit_str<E: de::Error>(mut self, value: &str) -> Result<(), E> {
        self.push(T::from_text(value))
    }
    fn visit_unit<E: de::Error>(mut self) -> Result<(), E> {
        self.push(T::missing())
    }
    fn visit_map<A: de::MapAccess<'de>>(mut self, _: A) -> Result<(), A::Error> {
        Err(self.refuse(wrong::<T>()))
    }
}

/// Elements as a flat JSON list. A missing float is `null`; an element of BYTES is text.
pub(crate) struct Flat<'a>(pub(crate) &'a TensorData);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            TensorData::Bool(v) => serializer.collect_seq(v),
            TensorData::Uint8(v) => serializer.collect_seq(v),
            TensorData::Uint16(v) => serializer.collect_seq(v),
            TensorData::Uint32(v) => serializer.collect_seq(v),
            TensorData::Uint64(v) => serializer.collect_seq(v),
            TensorData::Int8(v) => serializer.collect_seq(v),
            TensorData::Int16(v) => serializer.collect_seq(v),
            TensorData::Int32(v) => serializer.collect_seq(v),
            TensorData::Int64(v) => serializer.collect_seq(v),
            TensorData::Fp16(v) => serializer.collect_seq(v.iter().map(|x| x.to_f32())),
            TensorData::Fp32(v) => serializer.collect_seq(v),
            TensorData::Fp64(v) => serializer.collect_seq(v),
            TensorData::Bytes(v) => {
                let mut seq = serializer.serialize_seq(Some(v.len()))?;
                for bytes in v {
                    seq.serialize_element(&String::from_utf8_lossy(bytes))?;
                }
                seq.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fp32(json: &str, shape: &[usize]) -> Result<Vec<f32>, ApiError> {
        match parse(json, DataType::Fp32, shape, "inputs.x")? {
            TensorData::Fp32(values) => Ok(values),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flat_and_nested_lists_are_the_same_tensor() {
        let flat = fp32("[1, 2.5, 3, 4, 5, 6e-1]", &[2, 3]).unwrap();
        assert_eq!(flat, [1.0, 2.5, 3.0, 4.0, 5.0, 0.6]);
        assert_eq!(fp32("[[1,2.5,3],[4,5,0.6]]", &[2, 3]).unwrap(), flat);
        assert_eq!(fp32("[[[1,2.5,3]],[[4,5,0.6]]]", &[2, 1, 3]).unwrap(), flat);
        assert_eq!(fp32("[[1],[2]]", &[2, 1]).unwrap(), [1.0, 2.0]);
        assert_eq!(fp32("[]", &[0, 3]).unwrap(), [] as [f32; 0]);
    }

    #[test]
    fn a_missing_number_is_null() {
        assert!(fp32("[null]", &[1]).unwrap()[0].is_nan());
        assert!(parse("[null]", DataType::Int64, &[1], "x").is_err());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (json, shape, code, field) in [
            ("[1,2,3]", &[2, 2][..], "input.count", "inputs.x.data"),
            ("[1,2,3,4,5]", &[2, 2], "input.count", "inputs.x.data"),
            ("[[1,2],[3]]", &[2, 2], "input.count", "inputs.x.data"),
            ("[[1,2,3],[4]]", &[2, 2], "input.count", "inputs.x.data"),
            (
                "[[1,2],3,4]",
                &[2, 2],
                "request.field_type",
                "inputs.x.data[2]",
            ),
            (
                "[[[1,2]],[[3,4]]]",
                &[2, 2],
                "request.field_type",
                "inputs.x.data[0]",
            ),
            (
                "[1,\"2\",3,4]",
                &[2, 2],
                "request.field_type",
                "inputs.x.data[1]",
            ),
            (
                "[1,{},3,4]",
                &[2, 2],
                "request.field_type",
                "inputs.x.data[1]",
            ),
            (
                "[1,1e39,3,4]",
                &[2, 2],
                "request.number_too_large",
                "inputs.x.data[1]",
            ),
            (
                "[1,1e999,3,4]",
                &[2, 2],
                "request.number_too_large",
                "inputs.x.data[1]",
            ),
            ("7", &[1], "request.field_type", "inputs.x.data[0]"),
        ] {
            let error = fp32(json, shape).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (code, Some(field)),
                "{json}: {}",
                error.message
            );
        }
    }

    #[test]
    fn integers_must_be_whole_and_fit() {
        assert_eq!(
            parse("[9223372036854775807,-1]", DataType::Int64, &[2], "x").unwrap(),
            TensorData::Int64(vec![i64::MAX, -1])
        );
        assert_eq!(
            parse("[256]", DataType::Uint8, &[1], "x").unwrap_err().code,
            "request.number_too_large"
        );
        assert_eq!(
            parse("[1.5]", DataType::Uint8, &[1], "x").unwrap_err().code,
            "request.field_type"
        );
        assert_eq!(
            parse("[1]", DataType::Bool, &[1], "x").unwrap_err().code,
            "request.field_type"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(json in "[\\[\\]0-9,.eE\\-nul\" ]{0,60}", a in 0_usize..4, b in 0_usize..4) {
            if let Ok(values) = fp32(&json, &[a, b]) {
                prop_assert_eq!(values.len(), a * b);
            }
        }

        #[test]
        fn what_is_written_reads_back(values in prop::collection::vec(-1e30_f32..1e30, 0..20)) {
            let data = TensorData::Fp32(values.clone());
            let json = serde_json::to_string(&Flat(&data)).unwrap();
            prop_assert_eq!(fp32(&json, &[values.len()]).unwrap(), values);
        }
    }
}
