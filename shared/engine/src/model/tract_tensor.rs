//! Tensors of the graph engine and of this crate, to and fro.

use artifact::manifest::DataType;
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::{DatumType, TDim, Tensor as TractTensor, TractError, TractResult};
use tract_onnx::tract_core::internal::{anyhow, bail};

use crate::tensor::{Tensor, TensorData};

/// Copies a tensor for the graph engine.
pub(crate) fn to_tract(shape: &[usize], data: &TensorData) -> TractResult<TractTensor> {
    Ok(match data {
        TensorData::Bool(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Uint8(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Uint16(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Uint32(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Uint64(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Int8(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Int16(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Int32(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Int64(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Fp16(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Fp32(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Fp64(v) => TractTensor::from_shape(shape, v)?,
        TensorData::Bytes(v) => {
            let strings = v
                .iter()
                .map(|bytes| {
                    String::from_utf8(bytes.clone()).map_err(|_| anyhow!("a string is not UTF-8"))
                })
                .collect::<Result<Vec<_>, TractError>>()?;
            ArrayD::from_shape_vec(shape, strings)?.into()
        }
    })
}

/// The graph engine's type as a request's; symbolic dimensions count as integers.
pub(crate) fn read_datatype(kind: DatumType) -> Option<DataType> {
    Some(match kind {
        DatumType::Bool => DataType::Bool,
        DatumType::U8 => DataType::Uint8,
        DatumType::U16 => DataType::Uint16,
        DatumType::U32 => DataType::Uint32,
        DatumType::U64 => DataType::Uint64,
        DatumType::I8 => DataType::Int8,
        DatumType::I16 => DataType::Int16,
        DatumType::I32 => DataType::Int32,
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::F16 => DataType::Fp16,
        DatumType::F32 => DataType::Fp32,
        DatumType::F64 => DataType::Fp64,
        DatumType::String => DataType::Bytes,
        _ => return None,
    })
}

/// Copies a tensor from the graph engine; symbolic dimensions become integers.
pub(crate) fn from_tract(name: &str, value: &TractTensor) -> TractResult<Tensor> {
    let plain = value.try_as_plain_ram()?;
    let data = match value.datum_type() {
        DatumType::Bool => TensorData::Bool(plain.as_slice::<bool>()?.to_vec()),
        DatumType::U8 => TensorData::Uint8(plain.as_slice::<u8>()?.to_vec()),
        DatumType::U16 => TensorData::Uint16(plain.as_slice::<u16>()?.to_vec()),
        DatumType::U32 => TensorData::Uint32(plain.as_slice::<u32>()?.to_vec()),
        DatumType::U64 => TensorData::Uint64(plain.as_slice::<u64>()?.to_vec()),
        DatumType::I8 => TensorData::Int8(plain.as_slice::<i8>()?.to_vec()),
        DatumType::I16 => TensorData::Int16(plain.as_slice::<i16>()?.to_vec()),
        DatumType::I32 => TensorData::Int32(plain.as_slice::<i32>()?.to_vec()),
        DatumType::I64 => TensorData::Int64(plain.as_slice::<i64>()?.to_vec()),
        DatumType::F16 => TensorData::Fp16(plain.as_slice()?.to_vec()),
        DatumType::F32 => TensorData::Fp32(plain.as_slice::<f32>()?.to_vec()),
        DatumType::F64 => TensorData::Fp64(plain.as_slice::<f64>()?.to_vec()),
        DatumType::TDim => {
            let dims = plain.as_slice::<TDim>()?;
            TensorData::Int64(dims.iter().map(TDim::to_i64).collect::<Result<_, _>>()?)
        }
        DatumType::String => TensorData::Bytes(
            plain
                .as_slice::<String>()?
                .iter()
                .map(|text| text.clone().into_bytes())
                .collect(),
        ),
        other => bail!("output `{name}` has the type {other:?}, which is not passed on"),
    };
    Ok(Tensor {
        name: name.to_owned(),
        shape: value.shape().to_vec(),
        data,
    })
}
