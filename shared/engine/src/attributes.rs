//! Reads a node's attributes as they stand in the file.

use artifact::manifest::DataType;
use half::f16;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use crate::check::invalid;
use crate::error::LoadError;
use crate::tensor::TensorData;

/// Finds an attribute.
pub(crate) fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

pub(crate) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    find(node, name).map(|attribute| attribute.i)
}

pub(crate) fn float(node: &NodeProto, name: &str) -> Option<f32> {
    find(node, name).map(|attribute| attribute.f)
}

pub(crate) fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    find(node, name).map(|attribute| attribute.s.as_slice())
}

pub(crate) fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    find(node, name).map_or(&[], |attribute| &attribute.ints)
}

pub(crate) fn floats<'a>(node: &'a NodeProto, name: &str) -> &'a [f32] {
    find(node, name).map_or(&[], |attribute| &attribute.floats)
}

pub(crate) fn strings<'a>(node: &'a NodeProto, name: &str) -> &'a [Vec<u8>] {
    find(node, name).map_or(&[], |attribute| &attribute.strings)
}

pub(crate) fn tensor<'a>(node: &'a NodeProto, name: &str) -> Option<&'a TensorProto> {
    find(node, name).and_then(|attribute| attribute.t.as_ref())
}

/// Reads a list of strings, each of them UTF-8.
pub(crate) fn utf8<'a>(node: &'a NodeProto, name: &str) -> Result<&'a [Vec<u8>], LoadError> {
    let texts = strings(node, name);
    match texts
        .iter()
        .position(|text| std::str::from_utf8(text).is_err())
    {
        Some(at) => Err(invalid(node, format!("{name}[{at}] is not UTF-8"))),
        None => Ok(texts),
    }
}

/// Refuses NaN and infinities.
pub(crate) fn finite<'a>(
    node: &NodeProto,
    name: &str,
    values: &'a [f32],
) -> Result<&'a [f32], LoadError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(invalid(
            node,
            format!("{name}[{at}] is {}, not finite", values[at]),
        )),
        None => Ok(values),
    }
}

/// Refuses a list that is not as long as another.
pub(crate) fn check_length(
    node: &NodeProto,
    name: &str,
    len: usize,
    other: &str,
    expected: usize,
) -> Result<(), LoadError> {
    if len == expected {
        Ok(())
    } else {
        Err(invalid(
            node,
            format!("{name} has {len} entries where {other} has {expected}"),
        ))
    }
}

/// The elements of a tensor in the file; none for types that are not read.
pub(crate) fn elements(tensor: &TensorProto) -> Option<TensorData> {
    let raw = tensor.raw_data.as_slice();
    let is_raw = !raw.is_empty();
    Some(match ElementType::try_from(tensor.data_type).ok()? {
        ElementType::Float if is_raw => TensorData::Fp32(read_raw(raw, f32::from_le_bytes)?),
        ElementType::Float => TensorData::Fp32(tensor.float_data.clone()),
        ElementType::Double if is_raw => TensorData::Fp64(read_raw(raw, f64::from_le_bytes)?),
        ElementType::Double => TensorData::Fp64(tensor.double_data.clone()),
        ElementType::Int64 if is_raw => TensorData::Int64(read_raw(raw, i64::from_le_bytes)?),
        ElementType::Int64 => TensorData::Int64(tensor.int64_data.clone()),
        ElementType::Int32 if is_raw => TensorData::Int32(read_raw(raw, i32::from_le_bytes)?),
        ElementType::Int32 => TensorData::Int32(tensor.int32_data.clone()),
        ElementType::Int16 if is_raw => TensorData::Int16(read_raw(raw, i16::from_le_bytes)?),
        ElementType::Int16 => TensorData::Int16(
            tensor
                .int32_data
                .iter()
                .map(|value| i16::try_from(*value).ok())
                .collect::<Option<_>>()?,
        ),
        ElementType::Uint8 if is_raw => TensorData::Uint8(raw.to_vec()),
        ElementType::Uint8 => TensorData::Uint8(
            tensor
                .int32_data
                .iter()
                .map(|value| u8::try_from(*value).ok())
                .collect::<Option<_>>()?,
        ),
        ElementType::Bool if is_raw => TensorData::Bool(raw.iter().map(|b| *b != 0).collect()),
        ElementType::Bool => {
            TensorData::Bool(tensor.int32_data.iter().map(|value| *value != 0).collect())
        }
        ElementType::Float16 if is_raw => TensorData::Fp16(read_raw(raw, f16::from_le_bytes)?),
        ElementType::String => TensorData::Bytes(tensor.string_data.clone()),
        _ => return None,
    })
}

fn read_raw<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (chunks, rest) = raw.as_chunks::<N>();
    rest.is_empty()
        .then(|| chunks.iter().map(|bytes| read(*bytes)).collect())
}

/// The file's name of an element type, for messages.
pub(crate) fn element_name(element: i32) -> String {
    ElementType::try_from(element).map_or_else(
        |_| format!("number {element}"),
        |kind| kind.as_str_name().to_owned(),
    )
}

/// The request's name of an element type in the file.
pub(crate) fn read_datatype(element: i32) -> Option<DataType> {
    Some(match ElementType::try_from(element).ok()? {
        ElementType::Bool => DataType::Bool,
        ElementType::Uint8 => DataType::Uint8,
        ElementType::Uint16 => DataType::Uint16,
        ElementType::Uint32 => DataType::Uint32,
        ElementType::Uint64 => DataType::Uint64,
        ElementType::Int8 => DataType::Int8,
        ElementType::Int16 => DataType::Int16,
        ElementType::Int32 => DataType::Int32,
        ElementType::Int64 => DataType::Int64,
        ElementType::Float16 => DataType::Fp16,
        ElementType::Float => DataType::Fp32,
        ElementType::Double => DataType::Fp64,
        ElementType::String => DataType::Bytes,
        _ => return None,
    })
}
