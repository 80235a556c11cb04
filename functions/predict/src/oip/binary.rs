//! Raw tensors: little-endian elements, row-major; an element of BYTES has a 4-byte length before it.

use artifact::manifest::DataType;
use engine::TensorData;
use half::f16;
use web::ApiError;

/// Bytes of one element; `None` for BYTES.
pub fn element_size(datatype: DataType) -> Option<usize> {
    match datatype {
        DataType::Bool | DataType::Uint8 | DataType::Int8 => Some(1),
        DataType::Uint16 | DataType::Int16 | DataType::Fp16 => Some(2),
        DataType::Uint32 | DataType::Int32 | DataType::Fp32 => Some(4),
        DataType::Uint64 | DataType::Int64 | DataType::Fp64 => Some(8),
        DataType::Bytes => None,
    }
}

/// Reads `count` elements.
///
/// # Errors
/// 400 where the bytes are not exactly that many elements.
pub fn read(
    bytes: &[u8],
    datatype: DataType,
    count: usize,
    field: &str,
) -> Result<TensorData, ApiError> {
    let Some(size) = element_size(datatype) else {
        return read_strings(bytes, count, field).map(TensorData::Bytes);
    };
    if Some(bytes.len()) != count.checked_mul(size) {
        let message = format!(
            "{} bytes are not {count} elements of {}",
            bytes.len(),
            datatype.name()
        );
        return Err(ApiError::bad_field("input.count", field, message));
    }
    macro_rules! elements {
        ($type:ty) => {
            bytes
                .chunks_exact(size_of::<$type>())
                .map(|chunk| {
                    let mut element = [0; size_of::<$type>()];
                    element.copy_from_slice(chunk);
                    <$type>::from_le_bytes(element)
                })
                .collect()
        };
    }
    Ok(match datatype {
        DataType::Bool => TensorData::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
        DataType::Uint8 => TensorData::Uint8(bytes.to_vec()),
        DataType::Uint16 => TensorData::Uint16(elements!(u16)),
        DataType::Uint32 => TensorData::Uint32(elements!(u32)),
        DataType::Uint64 => TensorData::Uint64(elements!(u64)),
        DataType::Int8 => TensorData::Int8(elements!(i8)),
        DataType::Int16 => TensorData::Int16(elements!(i16)),
        DataType::Int32 => TensorData::Int32(elements!(i32)),
        DataType::Int64 => TensorData::Int64(elements!(i64)),
        DataType::Fp16 => TensorData::Fp16(elements!(f16)),
        DataType::Fp32 => TensorData::Fp32(elements!(f32)),
        DataType::Fp64 | DataType::Bytes => TensorData::Fp64(elements!(f64)),
    })
}

fn read_strings(mut bytes: &[u8], count: usize, field: &str) -> Result<Vec<Vec<u8>>, ApiError> {
    let broken = || {
        ApiError::bad_field(
            "input.count",
            field,
            format!("expected {count} elements of BYTES, each after its length in 4 bytes"),
        )
    };
    let mut strings = Vec::with_capacity(count.min(bytes.len() / 4));
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let (string, rest) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or_else(broken)?;
        strings.push(string.to_vec());
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(strings)
    } else {
        Err(broken())
    }
}

/// Appends the elements to `out`.
pub fn write(data: &TensorData, out: &mut Vec<u8>) {
    macro_rules! elements {
        ($values:expr) => {
            for value in $values {
                out.extend_from_slice(&value.to_le_bytes());
            }
        };
    }
    match data {
        TensorData::Bool(v) => out.extend(v.iter().map(|b| u8::from(*b))),
        TensorData::Uint8(v) => out.extend_from_slice(v),
        TensorData::Uint16(v) => elements!(v),
        TensorData::Uint32(v) => elements!(v),
        TensorData::Uint64(v) => elements!(v),
        TensorData::Int8(v) => elements!(v),
        TensorData::Int16(v) => elements!(v),
        TensorData::Int32(v) => elements!(v),
        TensorData::Int64(v) => elements!(v),
        TensorData::Fp16(v) => elements!(v),
        TensorData::Fp32(v) => elements!(v),
        TensorData::Fp64(v) => elements!(v),
        TensorData::Bytes(v) => {
            for string in v {
                out.extend_from_slice(&(string.len() as u32).to_le_bytes());
                out.extend_from_slice(string);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wrong_length_is_refused() {
        assert!(read(&[0; 7], DataType::Fp32, 2, "x").is_err());
        assert!(read(&[1, 0, 0, 0], DataType::Bytes, 1, "x").is_err());
        assert!(read(&[1, 0, 0, 0, b'a', 0], DataType::Bytes, 1, "x").is_err());
        assert!(read(&[255, 255, 255, 255], DataType::Bytes, usize::MAX, "x").is_err());
        assert!(read(&[], DataType::Fp64, usize::MAX, "x").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9), longs: Vec<i64>, singles in prop::collection::vec(-1e9_f32..1e9, 0..9)) {
            for data in [TensorData::Bytes(strings.clone()), TensorData::Int64(longs.clone()), TensorData::Fp32(singles.clone())] {
                let mut bytes = Vec::new();
                write(&data, &mut bytes);
                prop_assert_eq!(read(&bytes, data.datatype(), data.len(), "x").unwrap(), data);
            }
        }
    }
}
