//! A table from keys to values, which `LabelEncoder` and `CategoryMapper` look their elements up in.

use std::collections::HashMap;
use std::hash::Hash;

use artifact::manifest::DataType;

use super::array::{Array, Form, View, pick};
use crate::tensor::TensorData;

/// Values by key, and one for what is no key.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    keys: Keys,
    /// The values, and after them the default.
    values: TensorData,
}

/// Where in the values a key's stands.
#[derive(Debug, Clone)]
enum Keys {
    Strings(HashMap<Vec<u8>, usize>),
    Integers(HashMap<i64, usize>),
    /// By the bits of the key as float64.
    Floats(DataType, HashMap<u64, usize>),
}

impl Lookup {
    /// Makes a table; `values` holds one value a key and the default last.
    pub(super) fn new(keys: &TensorData, values: TensorData) -> Result<Self, String> {
        if values.len() != keys.len() + 1 {
            return Err(format!(
                "{} keys for {} values",
                keys.len(),
                values.len().saturating_sub(1)
            ));
        }
        let same = |a: usize, b: usize| same_value(&values, a, b);
        let keys = match keys {
            TensorData::Bytes(keys) => Keys::Strings(index(keys.iter().cloned(), same)?),
            TensorData::Int64(keys) => Keys::Integers(index(keys.iter().copied(), same)?),
            TensorData::Fp32(keys) => Keys::Floats(
                DataType::Fp32,
                index(keys.iter().map(|key| bits(f64::from(*key))), same)?,
            ),
            TensorData::Fp64(keys) => Keys::Floats(
                DataType::Fp64,
                index(keys.iter().map(|key| bits(*key)), same)?,
            ),
            other => return Err(format!("keys of {} are not run", other.datatype().name())),
        };
        Ok(Self { keys, values })
    }

    fn key_type(&self) -> DataType {
        match &self.keys {
            Keys::Strings(_) => DataType::Bytes,
            Keys::Integers(_) => DataType::Int64,
            Keys::Floats(datatype, _) => *datatype,
        }
    }

    pub(super) fn form(&self, input: &Form) -> Result<Form, String> {
        if input.datatype != self.key_type() {
            return Err(format!(
                "{} where {} is taken",
                input.datatype.name(),
                self.key_type().name()
            ));
        }
        Ok(Form::new(self.values.datatype(), input.shape.clone()))
    }

    pub(super) fn run(&self, input: View<'_>) -> Result<Array, String> {
        let default = self.values.len() - 1;
        let data = match (&self.keys, input.data) {
            (Keys::Strings(index), TensorData::Bytes(data)) => {
                self.pick(data.iter().map(|x| index.get(x)), default)
            }
            (Keys::Integers(index), TensorData::Int64(data)) => {
                self.pick(data.iter().map(|x| index.get(x)), default)
            }
            (Keys::Floats(DataType::Fp32, index), TensorData::Fp32(data)) => self.pick(
                data.iter().map(|x| index.get(&bits(f64::from(*x)))),
                default,
            ),
            (Keys::Floats(DataType::Fp64, index), TensorData::Fp64(data)) => {
                self.pick(data.iter().map(|x| index.get(&bits(*x))), default)
            }
            (_, other) => {
                return Err(format!(
                    "{} where {} is taken",
                    other.datatype().name(),
                    self.key_type().name()
                ));
            }
        };
        Ok(Array {
            shape: input.shape.to_vec(),
            data,
        })
    }

    fn pick<'a>(
        &self,
        places: impl Iterator<Item = Option<&'a usize>>,
        default: usize,
    ) -> TensorData {
        pick(
            &self.values,
            places.map(|place| place.copied().unwrap_or(default)),
        )
    }
}

/// The place of each key; a key that stands twice must have one value.
fn index<K: Hash + Eq>(
    keys: impl Iterator<Item = K>,
    same: impl Fn(usize, usize) -> bool,
) -> Result<HashMap<K, usize>, String> {
    let mut index = HashMap::new();
    for (at, key) in keys.enumerate() {
        match index.get(&key) {
            Some(&other) if !same(other, at) => {
                return Err(format!(
                    "key {at} is the same as key {other}, and has another value"
                ));
            }
            Some(_) => {}
            None => {
                index.insert(key, at);
            }
        }
    }
    Ok(index)
}

fn same_value(values: &TensorData, a: usize, b: usize) -> bool {
    match values {
        TensorData::Bytes(v) => v[a] == v[b],
        TensorData::Int64(v) => v[a] == v[b],
        TensorData::Int16(v) => v[a] == v[b],
        TensorData::Fp32(v) => v[a].to_bits() == v[b].to_bits(),
        TensorData::Fp64(v) => v[a].to_bits() == v[b].to_bits(),
        _ => false,
    }
}

/// Bits by which equal numbers are equal: one zero, one NaN.
fn bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        (value + 0.0).to_bits()
    }
}
