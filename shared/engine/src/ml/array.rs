//! Tensors between operators, and what is common to reading them.

use std::borrow::Cow;

use artifact::manifest::DataType;

use crate::tensor::TensorData;

/// A tensor without a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    /// The shape; its product is the number of elements.
    pub(crate) shape: Vec<usize>,
    /// The elements, row-major.
    pub(crate) data: TensorData,
}

/// A borrowed tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) shape: &'a [usize],
    pub(crate) data: &'a TensorData,
}

/// A tensor's type and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) datatype: DataType,
    pub(crate) shape: Vec<usize>,
}

impl Array {
    pub(crate) fn view(&self) -> View<'_> {
        View {
            shape: &self.shape,
            data: &self.data,
        }
    }

    pub(crate) fn floats(shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self {
            shape,
            data: TensorData::Fp32(values),
        }
    }
}

impl Form {
    pub(crate) fn new(datatype: DataType, shape: Vec<usize>) -> Self {
        Self { datatype, shape }
    }
}

impl View<'_> {
    pub(crate) fn form(&self) -> Form {
        Form::new(self.data.datatype(), self.shape.to_vec())
    }
}

/// Rows and columns: `[columns]` is one row, as in onnxruntime.
pub(crate) fn matrix(shape: &[usize]) -> Result<(usize, usize), String> {
    match *shape {
        [columns] => Ok((1, columns)),
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!("shape {shape:?} where [rows, columns] is taken")),
    }
}

/// Rows and columns, of as many columns as the operator was made for.
pub(crate) fn matrix_of(shape: &[usize], columns: usize) -> Result<usize, String> {
    match matrix(shape)? {
        (rows, found) if found == columns => Ok(rows),
        (_, found) => Err(format!(
            "{found} features where the operator was made for {columns}"
        )),
    }
}

/// True for the numbers that the operators of `ai.onnx.ml` take.
pub(crate) fn is_number(datatype: DataType) -> bool {
    matches!(
        datatype,
        DataType::Fp32 | DataType::Fp64 | DataType::Int32 | DataType::Int64
    )
}

/// Refuses what is no FP32, FP64, INT32 or INT64.
pub(crate) fn check_number(datatype: DataType) -> Result<(), String> {
    if is_number(datatype) {
        Ok(())
    } else {
        Err(format!(
            "{} where FP32, FP64, INT32 or INT64 is taken",
            datatype.name()
        ))
    }
}

/// Numbers as float32, each rounded once.
pub(crate) fn to_f32(data: &TensorData) -> Result<Cow<'_, [f32]>, String> {
    check_number(data.datatype())?;
    Ok(match data {
        TensorData::Fp32(values) => Cow::Borrowed(values),
        TensorData::Fp64(values) => values.iter().map(|v| *v as f32).collect(),
        TensorData::Int32(values) => values.iter().map(|v| *v as f32).collect(),
        TensorData::Int64(values) => values.iter().map(|v| *v as f32).collect(),
        _ => Cow::Borrowed(&[]),
    })
}

/// The elements at some places, in their order; every place is within.
pub(crate) fn pick(data: &TensorData, places: impl Iterator<Item = usize>) -> TensorData {
    match data {
        TensorData::Bool(v) => TensorData::Bool(places.map(|at| v[at]).collect()),
        TensorData::Uint8(v) => TensorData::Uint8(places.map(|at| v[at]).collect()),
        TensorData::Uint16(v) => TensorData::Uint16(places.map(|at| v[at]).collect()),
        TensorData::Uint32(v) => TensorData::Uint32(places.map(|at| v[at]).collect()),
        TensorData::Uint64(v) => TensorData::Uint64(places.map(|at| v[at]).collect()),
        TensorData::Int8(v) => TensorData::Int8(places.map(|at| v[at]).collect()),
        TensorData::Int16(v) => TensorData::Int16(places.map(|at| v[at]).collect()),
        TensorData::Int32(v) => TensorData::Int32(places.map(|at| v[at]).collect()),
        TensorData::Int64(v) => TensorData::Int64(places.map(|at| v[at]).collect()),
        TensorData::Fp16(v) => TensorData::Fp16(places.map(|at| v[at]).collect()),
        TensorData::Fp32(v) => TensorData::Fp32(places.map(|at| v[at]).collect()),
        TensorData::Fp64(v) => TensorData::Fp64(places.map(|at| v[at]).collect()),
        TensorData::Bytes(v) => TensorData::Bytes(places.map(|at| v[at].clone()).collect()),
    }
}
