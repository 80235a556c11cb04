//! A model's outputs in the form of the Open Inference Protocol.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Tensor, TensorData};
use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::output;

/// `{"model_name","outputs":[{name,shape,datatype,data}],"parameters":{…}}`
#[derive(Debug, Serialize)]
pub(crate) struct InferResponse<'a, P> {
    pub(crate) model_name: &'a str,
    pub(crate) outputs: Vec<OutputTensor<'a>>,
    pub(crate) parameters: P,
}

/// One output.
#[derive(Debug, Serialize)]
pub(crate) struct OutputTensor<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    data: Elements<'a>,
}

impl<'a> OutputTensor<'a> {
    /// The output as the protocol names it.
    pub(crate) fn of(tensor: &'a Tensor) -> Self {
        Self {
            name: &tensor.name,
            shape: &tensor.shape,
            datatype: tensor.data.datatype().name(),
            data: Elements(&tensor.data),
        }
    }
}

/// Elements as JSON: every float as the shortest decimal that names it in its own type, NaN as `null`, an
/// infinity as text, BYTES as text, or `base64:…` where they are not UTF-8.
#[derive(Debug)]
struct Elements<'a>(&'a TensorData);

#[derive(Serialize)]
#[serde(untagged)]
enum Float<T> {
    Finite(T),
    Missing(()),
    Infinite(&'static str),
}

fn float<T: Into<f64> + Copy>(value: T) -> Float<T> {
    let wide: f64 = value.into();
    if wide.is_finite() {
        Float::Finite(value)
    } else if wide.is_nan() {
        Float::Missing(())
    } else {
        Float::Infinite(if wide > 0.0 { "inf" } else { "-inf" })
    }
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

impl Serialize for Elements<'_> {
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
            TensorData::Fp16(v) => serializer.collect_seq(v.iter().map(|x| float(x.to_f32()))),
            TensorData::Fp32(v) => serializer.collect_seq(v.iter().map(|x| float(*x))),
            TensorData::Fp64(v) => serializer.collect_seq(v.iter().map(|x| float(*x))),
            TensorData::Bytes(v) => serializer.collect_seq(v.iter().map(|x| text(x))),
        }
    }
}

/// The same document with an output a line, for people.
pub(crate) fn write_readable<P: Serialize>(
    response: &InferResponse<'_, P>,
) -> Result<String, Failure> {
    let mut text = String::from("{\n");
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "  \"model_name\": {},",
        output::to_json(&response.model_name)?
    );
    text.push_str("  \"outputs\": [\n");
    for (at, tensor) in response.outputs.iter().enumerate() {
        let comma = if at + 1 < response.outputs.len() {
            ","
        } else {
            ""
        };
        let _ = writeln!(text, "    {}{comma}", output::to_json(tensor)?);
    }
    text.push_str("  ],\n");
    let _ = writeln!(
        text,
        "  \"parameters\": {}",
        output::to_json(&response.parameters)?
    );
    text.push_str("}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    fn json(data: &TensorData) -> String {
        output::to_json(&Elements(data)).unwrap()
    }

    #[test]
    fn floats_are_the_shortest_decimals_of_their_own_type() {
        assert_eq!(
            json(&TensorData::Fp32(vec![0.1, 0.300_000_04])),
            "[0.1,0.30000004]"
        );
        assert_eq!(
            json(&TensorData::Fp64(vec![0.1, 1.0 / 3.0])),
            "[0.1,0.3333333333333333]"
        );
        assert_eq!(json(&TensorData::Fp16(vec![f16::from_f32(0.5)])), "[0.5]");
        let odd = TensorData::Fp32(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        assert_eq!(json(&odd), "[null,\"inf\",\"-inf\"]");
    }

    #[test]
    fn integers_and_bytes_are_whole() {
        assert_eq!(
            json(&TensorData::Uint64(vec![u64::MAX])),
            "[18446744073709551615]"
        );
        let bytes = TensorData::Bytes(vec![b"buy".to_vec(), vec![0xff]]);
        assert_eq!(json(&bytes), "[\"buy\",\"base64:/w==\"]");
    }
}
