//! Tensors as they cross the engine's border: row-major, owned, named.

use artifact::manifest::DataType;
use half::f16;

/// One named tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The graph's name of the input or output.
    pub name: String,
    /// The shape; its product is the number of elements.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: TensorData,
}

/// The elements of a tensor, row-major. A missing float is NaN.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum TensorData {
    Bool(Vec<bool>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp16(Vec<f16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    Bytes(Vec<Vec<u8>>),
}

impl TensorData {
    /// The element type.
    pub fn datatype(&self) -> DataType {
        match self {
            Self::Bool(_) => DataType::Bool,
            Self::Uint8(_) => DataType::Uint8,
            Self::Uint16(_) => DataType::Uint16,
            Self::Uint32(_) => DataType::Uint32,
            Self::Uint64(_) => DataType::Uint64,
            Self::Int8(_) => DataType::Int8,
            Self::Int16(_) => DataType::Int16,
            Self::Int32(_) => DataType::Int32,
            Self::Int64(_) => DataType::Int64,
            Self::Fp16(_) => DataType::Fp16,
            Self::Fp32(_) => DataType::Fp32,
            Self::Fp64(_) => DataType::Fp64,
            Self::Bytes(_) => DataType::Bytes,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(v) => v.len(),
            Self::Uint8(v) => v.len(),
            Self::Uint16(v) => v.len(),
            Self::Uint32(v) => v.len(),
            Self::Uint64(v) => v.len(),
            Self::Int8(v) => v.len(),
            Self::Int16(v) => v.len(),
            Self::Int32(v) => v.len(),
            Self::Int64(v) => v.len(),
            Self::Fp16(v) => v.len(),
            Self::Fp32(v) => v.len(),
            Self::Fp64(v) => v.len(),
            Self::Bytes(v) => v.len(),
        }
    }

    /// As many elements of one small number; texts are empty.
    pub(crate) fn filled(datatype: DataType, count: usize, value: u8) -> Self {
        match datatype {
            DataType::Bool => Self::Bool(vec![value != 0; count]),
            DataType::Uint8 => Self::Uint8(vec![value; count]),
            DataType::Uint16 => Self::Uint16(vec![value.into(); count]),
            DataType::Uint32 => Self::Uint32(vec![value.into(); count]),
            DataType::Uint64 => Self::Uint64(vec![value.into(); count]),
            DataType::Int8 => Self::Int8(vec![i8::from(value != 0); count]),
            DataType::Int16 => Self::Int16(vec![value.into(); count]),
            DataType::Int32 => Self::Int32(vec![value.into(); count]),
            DataType::Int64 => Self::Int64(vec![value.into(); count]),
            DataType::Fp16 => Self::Fp16(vec![f16::from(value); count]),
            DataType::Fp32 => Self::Fp32(vec![value.into(); count]),
            DataType::Fp64 => Self::Fp64(vec![value.into(); count]),
            DataType::Bytes => Self::Bytes(vec![Vec::new(); count]),
        }
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes of an element; of a string, those of its own place.
pub(crate) fn element_size(datatype: DataType) -> usize {
    match datatype {
        DataType::Bool | DataType::Uint8 | DataType::Int8 => 1,
        DataType::Uint16 | DataType::Int16 | DataType::Fp16 => 2,
        DataType::Uint32 | DataType::Int32 | DataType::Fp32 => 4,
        DataType::Uint64 | DataType::Int64 | DataType::Fp64 => 8,
        DataType::Bytes => size_of::<Vec<u8>>(),
    }
}
