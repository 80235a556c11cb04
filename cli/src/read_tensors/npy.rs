//! The `.npy` files of `NumPy`, format versions 1 to 3: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use engine::{Tensor, TensorData, TensorSpec};
use half::f16;

use crate::elements::{self, Element};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads an array; its numbers may have another type than the input where they fit.
pub(super) fn parse(bytes: &[u8], spec: &TensorSpec) -> Result<Tensor, String> {
    let (header, body) = split(bytes).ok_or("not a .npy file: its header is not whole")?;
    let header = Header::parse(header)?;
    let kind = Kind::parse(&header.descr)?;
    let count = header
        .shape
        .iter()
        .try_fold(1_usize, |product, dim| product.checked_mul(*dim))
        .ok_or("the shape is too large")?;
    let width = kind.width();
    if count.checked_mul(width) != Some(body.len()) {
        let (shape, found) = (&header.shape, body.len());
        return Err(format!(
            "expected {count} elements of {width} bytes for shape {shape:?}, found {found} bytes"
        ));
    }
    let mut data = elements::empty(spec.datatype);
    for at in order(&header) {
        let element = &body[at * width..(at + 1) * width];
        kind.push(&mut data, element)
            .map_err(|message| format!("element {at}: {message}"))?;
    }
    Ok(Tensor {
        name: spec.name.clone(),
        shape: header.shape,
        data,
    })
}

/// Header text and array.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (len, rest) = match version[0] {
        1 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        2 | 3 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::try_from(u32::from_le_bytes(*len)).ok()?, rest)
        }
        _ => return None,
    };
    let (header, body) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, body))
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (300, 14), }`
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Self, String> {
        Self::read(text.trim()).ok_or_else(|| {
            let shown: String = text.trim().chars().take(120).collect();
            format!("expected a plain array with descr, fortran_order and shape, found the header {shown}")
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, value) = quoted(rest)?;
            let value = value.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" => {
                    let (text, after) = quoted(value)?;
                    descr = Some(text.to_owned());
                    after
                }
                "fortran_order" => {
                    let after = value.strip_prefix("False");
                    fortran_order = Some(after.is_none());
                    after.or_else(|| value.strip_prefix("True"))?
                }
                "shape" => {
                    let (list, after) = value.strip_prefix('(')?.split_once(')')?;
                    let dims = list.split(',').map(str::trim).filter(|dim| !dim.is_empty());
                    shape = Some(dims.map(|dim| dim.parse().ok()).collect::<Option<_>>()?);
                    after
                }
                _ => return None,
            }
            .trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        Some(Self {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
        .or_else(|| text.strip_prefix('"').and_then(|rest| rest.split_once('"')))
}

/// The places of the elements in the file, in row-major order.
fn order(header: &Header) -> Box<dyn Iterator<Item = usize>> {
    let count: usize = header.shape.iter().product();
    if !header.fortran_order || header.shape.len() < 2 {
        return Box::new(0..count);
    }
    let shape = header.shape.clone();
    Box::new((0..count).map(move |at| {
        let (mut left, mut place) = (at, 0);
        // The last dimension varies fastest in what we give, the first one in the file.
        let mut stride: usize = shape.iter().product();
        for dim in shape.iter().rev() {
            stride /= dim;
            place += left % dim * stride;
            left /= dim;
        }
        place
    }))
}

/// What an element is in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kind {
    code: char,
    size: usize,
    big_endian: bool,
}

impl Kind {
    fn parse(descr: &str) -> Result<Self, String> {
        let read = || {
            let mut chars = descr.chars();
            let (order, code) = (chars.next()?, chars.next()?);
            let size: usize = chars.as_str().parse().ok()?;
            let known = match code {
                'b' => size == 1,
                'i' | 'u' => matches!(size, 1 | 2 | 4 | 8),
                'f' => matches!(size, 2 | 4 | 8),
                'S' | 'U' => (1..=1 << 16).contains(&size),
                _ => false,
            };
            (known && matches!(order, '<' | '>' | '|' | '=')).then_some(Self {
                code,
                size,
                big_endian: order == '>',
            })
        };
        read().ok_or_else(|| {
            format!("descr: expected an array of numbers, booleans or text, found {descr:?}")
        })
    }

    /// Bytes of one element.
    fn width(self) -> usize {
        if self.code == 'U' {
            self.size * 4
        } else {
            self.size
        }
    }

    fn push(self, data: &mut TensorData, element: &[u8]) -> Result<(), String> {
        // Little endian from here on.
        let mut wide = [0_u8; 8];
        if self.size <= 8 && self.code != 'U' {
            wide[..self.size].copy_from_slice(element);
            if self.big_endian {
                wide[..self.size].reverse();
            }
        }
        let unsigned = u64::from_le_bytes(wide);
        let unused = 64 - 8 * self.size.min(8) as u32;
        match self.code {
            'b' => elements::push(data, Element::Bool(unsigned != 0)),
            'u' => elements::push(data, Element::Integer(i128::from(unsigned))),
            'i' => {
                let signed = ((unsigned << unused) as i64) >> unused;
                elements::push(data, Element::Integer(i128::from(signed)))
            }
            'f' => {
                let value = match self.size {
                    2 => f16::from_bits(unsigned as u16).to_f64(),
                    4 => f64::from(f32::from_bits(unsigned as u32)),
                    _ => f64::from_bits(unsigned),
                };
                elements::push(data, Element::Float(value))
            }
            'S' => {
                let end = element
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1);
                elements::push(data, Element::Bytes(&element[..end]))
            }
            _ => {
                let text = self.read_text(element).ok_or("expected Unicode text")?;
                elements::push(data, Element::Bytes(text.as_bytes()))
            }
        }
    }

    /// UCS-4, padded with zeros.
    fn read_text(self, element: &[u8]) -> Option<String> {
        let (chunks, _) = element.as_chunks::<4>();
        let text: Option<String> = chunks
            .iter()
            .map(|bytes| {
                let code = if self.big_endian {
                    u32::from_be_bytes(*bytes)
                } else {
                    u32::from_le_bytes(*bytes)
                };
                char::from_u32(code)
            })
            .collect();
        Some(text?.trim_end_matches('\0').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifact::manifest::DataType;

    fn file(descr: &str, fortran: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    fn read(datatype: DataType, bytes: &[u8]) -> Result<Tensor, String> {
        let spec = TensorSpec {
            name: "x".to_owned(),
            datatype,
            shape: vec![-1, 2],
        };
        parse(bytes, &spec)
    }

    fn little(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn singles_keep_their_bits() {
        let body = little(&[0.1, -0.0, f32::MIN_POSITIVE, 3.4e38]);
        let tensor = read(DataType::Fp32, &file("<f4", "False", "(2, 2)", &body)).unwrap();
        assert_eq!(tensor.shape, [2, 2]);
        let TensorData::Fp32(values) = tensor.data else {
            panic!()
        };
        assert_eq!(little(&values), body);
    }

    #[test]
    fn column_major_arrays_are_turned() {
        let body = little(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let tensor = read(DataType::Fp32, &file("<f4", "True", "(2, 3)", &body)).unwrap();
        assert_eq!(
            tensor.data,
            TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        );
    }

    #[test]
    fn integers_are_signed_and_in_either_byte_order() {
        let tensor = read(
            DataType::Int64,
            &file(">i2", "False", "(2,)", &[0xff, 0xfe, 0, 7]),
        )
        .unwrap();
        assert_eq!(tensor.data, TensorData::Int64(vec![-2, 7]));
        let tensor = read(DataType::Uint64, &file("|u1", "False", "(1,)", &[0xff])).unwrap();
        assert_eq!(tensor.data, TensorData::Uint64(vec![255]));
        assert!(read(DataType::Uint64, &file("|i1", "False", "(1,)", &[0xff])).is_err());
    }

    #[test]
    fn text_is_read_in_both_forms() {
        let tensor = read(DataType::Bytes, &file("|S3", "False", "(2,)", b"ab\0cde")).unwrap();
        assert_eq!(
            tensor.data,
            TensorData::Bytes(vec![b"ab".to_vec(), b"cde".to_vec()])
        );
        let body: Vec<u8> = "\u{e9}\0"
            .chars()
            .flat_map(|c| (c as u32).to_le_bytes())
            .collect();
        let tensor = read(DataType::Bytes, &file("<U2", "False", "(1,)", &body)).unwrap();
        assert_eq!(
            tensor.data,
            TensorData::Bytes(vec!["\u{e9}".as_bytes().to_vec()])
        );
    }

    #[test]
    fn what_is_no_plain_array_is_refused() {
        let whole = file("<f4", "False", "(1,)", &[0; 4]);
        for cut in 0..whole.len() {
            assert!(read(DataType::Fp32, &whole[..cut]).is_err(), "{cut}");
        }
        for (descr, shape) in [
            ("|O", "(1,)"),
            ("<c8", "(1,)"),
            ("<f3", "(1,)"),
            ("<f4", "(-1,)"),
            ("", "(1,)"),
        ] {
            assert!(
                read(DataType::Fp32, &file(descr, "False", shape, &[0; 4])).is_err(),
                "{descr}"
            );
        }
        let huge = file("<f4", "False", "(18446744073709551615, 2)", &[0; 4]);
        assert!(read(DataType::Fp32, &huge).is_err());
    }
}
