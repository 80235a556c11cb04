//! The `.npy` format of numpy, version 1 and 2: little-endian, C order, the types of this crate's tensors.

use engine::TensorData;
use half::f16;

/// Marks the format; two bytes of version follow.
const MAGIC: &[u8] = b"\x93NUMPY";
/// What numpy aligns the data to, in bytes.
const ALIGNMENT: usize = 64;

/// Reads shape and elements. Strings are `S` arrays: their padding of zero bytes is cut off.
///
/// # Errors
/// A sentence for what is no such file, or holds a type that no tensor has.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Vec<usize>, TensorData), String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("not a .npy file: it starts otherwise")?;
    let (length_size, length) = match rest {
        [1, _, a, b, ..] => (2, usize::from(u16::from_le_bytes([*a, *b]))),
        [2, _, a, b, c, d, ..] => (4, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        _ => return Err("a .npy file of an unknown version".to_owned()),
    };
    let header = rest
        .get(2 + length_size..2 + length_size + length)
        .ok_or("a .npy file that ends in its header")?;
    let header = str::from_utf8(header).map_err(|error| error.to_string())?;
    if !header.contains("'fortran_order': False") {
        return Err("a .npy file in Fortran order".to_owned());
    }
    let descr = between(header, "'descr': '", "'")?;
    let shape = between(header, "'shape': (", ")")?
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| dim.parse().map_err(|_| format!("dimension `{dim}`")))
        .collect::<Result<Vec<usize>, _>>()?;
    let count: usize = shape.iter().product();
    let body = &rest[2 + length_size + length..];
    Ok((shape, decode_elements(descr, body, count)?))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str, String> {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map(|(value, _)| value)
        .ok_or_else(|| format!("a .npy header without {before}"))
}

fn decode_elements(descr: &str, body: &[u8], count: usize) -> Result<TensorData, String> {
    macro_rules! numbers {
        ($variant:ident, $kind:ty) => {{
            let size = size_of::<$kind>();
            check_length(body, count, size)?;
            let read = |bytes: &[u8]| {
                let mut own = [0; size_of::<$kind>()];
                own.copy_from_slice(bytes);
                <$kind>::from_le_bytes(own)
            };
            TensorData::$variant(body.chunks_exact(size).map(read).collect())
        }};
    }
    Ok(match descr {
        "|b1" => {
            check_length(body, count, 1)?;
            TensorData::Bool(body.iter().map(|byte| *byte != 0).collect())
        }
        "|u1" => numbers!(Uint8, u8),
        "<u2" => numbers!(Uint16, u16),
        "<u4" => numbers!(Uint32, u32),
        "<u8" => numbers!(Uint64, u64),
        "|i1" => numbers!(Int8, i8),
        "<i2" => numbers!(Int16, i16),
        "<i4" => numbers!(Int32, i32),
        "<i8" => numbers!(Int64, i64),
        "<f2" => numbers!(Fp16, f16),
        "<f4" => numbers!(Fp32, f32),
        "<f8" => numbers!(Fp64, f64),
        other => {
            let width: usize = other
                .strip_prefix("|S")
                .and_then(|width| width.parse().ok())
                .ok_or_else(|| format!("type `{other}`"))?;
            check_length(body, count, width)?;
            let trim = |at: usize| {
                let word = &body[at * width..(at + 1) * width];
                let end = word
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1);
                word[..end].to_vec()
            };
            TensorData::Bytes((0..count).map(trim).collect())
        }
    })
}

fn check_length(body: &[u8], count: usize, size: usize) -> Result<(), String> {
    if body.len() == count * size {
        Ok(())
    } else {
        Err(format!(
            "{} bytes for {count} elements of {size}",
            body.len()
        ))
    }
}

/// Writes shape and elements as version 1.
pub(crate) fn encode(shape: &[usize], data: &TensorData) -> Vec<u8> {
    let (descr, body) = encode_elements(data);
    // Each with a comma: one dimension alone is a tuple only so.
    let dims: Vec<String> = shape.iter().map(|dim| format!("{dim},")).collect();
    let dims = dims.concat();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    let prefix = MAGIC.len() + 4;
    let padding = ALIGNMENT - 1 - (prefix + header.len()) % ALIGNMENT;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(body);
    bytes
}

fn encode_elements(data: &TensorData) -> (String, Vec<u8>) {
    macro_rules! numbers {
        ($descr:literal, $values:expr) => {
            (
                $descr.to_owned(),
                $values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            )
        };
    }
    match data {
        TensorData::Bool(values) => (
            "|b1".to_owned(),
            values.iter().map(|flag| u8::from(*flag)).collect(),
        ),
        TensorData::Uint8(values) => ("|u1".to_owned(), values.clone()),
        TensorData::Uint16(values) => numbers!("<u2", values),
        TensorData::Uint32(values) => numbers!("<u4", values),
        TensorData::Uint64(values) => numbers!("<u8", values),
        TensorData::Int8(values) => numbers!("|i1", values),
        TensorData::Int16(values) => numbers!("<i2", values),
        TensorData::Int32(values) => numbers!("<i4", values),
        TensorData::Int64(values) => numbers!("<i8", values),
        TensorData::Fp16(values) => numbers!("<f2", values),
        TensorData::Fp32(values) => numbers!("<f4", values),
        TensorData::Fp64(values) => numbers!("<f8", values),
        TensorData::Bytes(words) => {
            // A type of width 0 is read back as width 1 by some versions of numpy.
            let width = words.iter().map(Vec::len).max().unwrap_or(0).max(1);
            let mut body = Vec::with_capacity(words.len() * width);
            for word in words {
                body.extend(word);
                body.resize(body.len() + width - word.len(), 0);
            }
            (format!("|S{width}"), body)
        }
    }
}
