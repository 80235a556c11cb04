//! `LabelEncoder` and `CategoryMapper`: each element is looked up in a table.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View};
use super::lookup::Lookup;
use crate::attributes::{
    check_length, elements, find, float, floats, int, ints, tensor, text, utf8,
};
use crate::check::{invalid, unsupported};
use crate::error::LoadError;
use crate::tensor::TensorData;

/// A table of one direction, or of both: from strings to integers and back.
#[derive(Debug, Clone)]
pub(crate) enum LabelEncoder {
    OneWay(Lookup),
    /// A direction may be none: two strings can stand for one integer.
    TwoWay {
        to_integers: Result<Lookup, String>,
        to_strings: Result<Lookup, String>,
    },
}

impl LabelEncoder {
    /// Reads a `LabelEncoder` of `ai.onnx.ml` 1, 2 or 4.
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        if find(node, "classes_strings").is_some() {
            let strings = utf8(node, "classes_strings")?.to_vec();
            let integers = (0..strings.len() as i64).collect();
            return Ok(Self::two_way(node, strings, integers));
        }
        let keys = read_list(node, "keys")?;
        let mut values = read_list(node, "values")?;
        check_length(node, "values_*", values.len(), "keys_*", keys.len())?;
        let default = tensor(node, "default_tensor").map(|tensor| {
            elements(tensor)
                .filter(|list| list.len() == 1)
                .ok_or_else(|| invalid(node, "default_tensor must hold one element"))
        });
        let default = default.transpose()?;
        let is_pushed = match (&mut values, &default) {
            (TensorData::Bytes(v), Some(TensorData::Bytes(d))) => push(v, d),
            (TensorData::Int64(v), Some(TensorData::Int64(d))) => push(v, d),
            (TensorData::Fp32(v), Some(TensorData::Fp32(d))) => push(v, d),
            (TensorData::Fp64(v), Some(TensorData::Fp64(d))) => push(v, d),
            (TensorData::Int16(v), Some(TensorData::Int16(d))) => push(v, d),
            (_, Some(_)) => false,
            (TensorData::Bytes(v), None) => push(v, &[default_text(node)]),
            (TensorData::Int64(v), None) => push(v, &[default_integer(node)]),
            (TensorData::Fp32(v), None) => push(v, &[float(node, "default_float").unwrap_or(-0.0)]),
            (TensorData::Fp64(v), None) => push(v, &[-0.0]),
            (other, None) => {
                let reason = format!("values of {} are not run", other.datatype().name());
                return Err(unsupported(node, reason, ""));
            }
        };
        if !is_pushed {
            return Err(invalid(
                node,
                "default_tensor has another type than the values",
            ));
        }
        Lookup::new(&keys, values)
            .map(Self::OneWay)
            .map_err(|reason| unsupported(node, reason, ""))
    }

    /// Reads a `CategoryMapper`.
    pub(crate) fn parse_mapper(node: &NodeProto) -> Result<Self, LoadError> {
        let strings = utf8(node, "cats_strings")?.to_vec();
        let integers = ints(node, "cats_int64s").to_vec();
        check_length(
            node,
            "cats_int64s",
            integers.len(),
            "cats_strings",
            strings.len(),
        )?;
        Ok(Self::two_way(node, strings, integers))
    }

    fn two_way(node: &NodeProto, strings: Vec<Vec<u8>>, integers: Vec<i64>) -> Self {
        let with = |mut list: Vec<Vec<u8>>| {
            list.push(default_text(node));
            TensorData::Bytes(list)
        };
        let with_integer = |mut list: Vec<i64>| {
            list.push(default_integer(node));
            TensorData::Int64(list)
        };
        Self::TwoWay {
            to_integers: Lookup::new(
                &TensorData::Bytes(strings.clone()),
                with_integer(integers.clone()),
            ),
            to_strings: Lookup::new(&TensorData::Int64(integers), with(strings)),
        }
    }

    fn lookup(&self, input: DataType) -> Result<&Lookup, String> {
        match (self, input) {
            (Self::OneWay(lookup), _) => Ok(lookup),
            (Self::TwoWay { to_integers, .. }, DataType::Bytes) => {
                to_integers.as_ref().map_err(Clone::clone)
            }
            (Self::TwoWay { to_strings, .. }, DataType::Int64) => {
                to_strings.as_ref().map_err(Clone::clone)
            }
            (_, other) => Err(format!("{} where BYTES or INT64 is taken", other.name())),
        }
    }

    pub(crate) fn form(&self, input: &Form) -> Result<Form, String> {
        self.lookup(input.datatype)?.form(input)
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Array, String> {
        self.lookup(input.data.datatype())?.run(input)
    }
}

fn push<T: Clone>(values: &mut Vec<T>, default: &[T]) -> bool {
    values.extend_from_slice(default);
    true
}

fn default_text(node: &NodeProto) -> Vec<u8> {
    text(node, "default_string").unwrap_or(b"_Unused").to_vec()
}

fn default_integer(node: &NodeProto) -> i64 {
    int(node, "default_int64").unwrap_or(-1)
}

/// Reads the one form in which keys or values are given.
fn read_list(node: &NodeProto, name: &str) -> Result<TensorData, LoadError> {
    let mut lists = Vec::new();
    let strings = utf8(node, &format!("{name}_strings"))?;
    if !strings.is_empty() {
        lists.push(TensorData::Bytes(strings.to_vec()));
    }
    let integers = ints(node, &format!("{name}_int64s"));
    if !integers.is_empty() {
        lists.push(TensorData::Int64(integers.to_vec()));
    }
    let numbers = floats(node, &format!("{name}_floats"));
    if !numbers.is_empty() {
        lists.push(TensorData::Fp32(numbers.to_vec()));
    }
    if let Some(tensor) = tensor(node, &format!("{name}_tensor")) {
        let list = elements(tensor);
        lists.push(list.ok_or_else(|| {
            unsupported(
                node,
                format!("{name}_tensor has a type that is not read"),
                "",
            )
        })?);
    }
    let count = lists.len();
    match (lists.pop(), count) {
        (Some(list), 1) => Ok(list),
        _ => Err(invalid(
            node,
            format!(
                "{count} of {name}_strings, {name}_int64s, {name}_floats and {name}_tensor are given; one is needed"
            ),
        )),
    }
}
