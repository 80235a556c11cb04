//! Canonical bytes (RFC 8785, JSON Canonicalization Scheme) and hashes of them.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// The canonical JSON of `value`: sorted keys, ECMAScript numbers, no white space.
///
/// # Errors
/// Where the value holds a non-finite number or a map with keys that are no strings.
pub fn to_canonical_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json_canonicalizer::to_vec(value)
}

/// The canonical JSON of a value whose structs declare their fields in the order of their names and whose map keys
/// are ASCII: what serde writes is sorted already, and only numbers need ECMAScript's form. A tenth of the time of
/// [`to_canonical_json`], which the tests hold it against.
///
/// # Errors
/// As [`to_canonical_json`].
pub fn to_canonical_json_sorted(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, EcmaScript))?;
    Ok(bytes)
}

/// The largest integer up to which a double holds every one.
pub const EXACT: u64 = 1 << 53;

/// Writes numbers as `ECMAScript` does (RFC 8785, 3.2.2.3); the rest of `serde_json`'s compact form is canonical.
struct EcmaScript;

impl Formatter for EcmaScript {
    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        self.write_f64(writer, value.into())
    }

    fn write_i64<W: ?Sized + Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        if value.unsigned_abs() > EXACT {
            return self.write_f64(writer, value as f64);
        }
        write!(writer, "{value}")
    }

    fn write_u64<W: ?Sized + Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        if value > EXACT {
            return self.write_f64(writer, value as f64);
        }
        write!(writer, "{value}")
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu_js::Buffer::new().format_finite(value).as_bytes())
    }
}

/// RFC 6962 leaf hash: `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update([0])
        .chain_update(entry)
        .finalize()
        .into()
}

/// An integer as JSON: a number where a double holds it exactly, else a string (RFC 8785, appendix D).
pub fn integer(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(small) if small.unsigned_abs() <= EXACT => Value::Number(small.into()),
        _ => Value::String(value.to_string()),
    }
}

/// A double as JSON; a missing value (NaN) is `null`, an infinity is a string.
pub fn double(value: f64) -> Value {
    if value.is_nan() {
        return Value::Null;
    }
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

/// A single-precision number as JSON: the shortest decimal that names it among all single-precision
/// numbers, so that `0.1` is recorded as `0.1`. Reading it back as single precision gives the same bits.
pub fn single(value: f32) -> Value {
    let mut buffer = ryu_js::Buffer::new();
    let shortest = buffer.format(value).parse::<f64>().unwrap_or(f64::NAN);
    let same = (shortest as f32).to_bits() == value.to_bits();
    double(if same { shortest } else { f64::from(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_sorted_and_numbers_are_written_as_ecmascript_does() {
        let value = serde_json::json!({"b": 1.0, "a": [1e21, 1e-7, 0.1, -0.0], "é": "\u{1f}\n"});
        let bytes = to_canonical_json(&value).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"a\":[1e+21,1e-7,0.1,0],\"b\":1,\"é\":\"\\u001f\\n\"}"
        );
    }

    #[test]
    fn the_leaf_hash_of_nothing_is_that_of_rfc_6962() {
        assert_eq!(
            hex::encode(leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn integers_that_a_double_cannot_hold_are_strings() {
        assert_eq!(
            integer(1 << 53),
            serde_json::json!(9_007_199_254_740_992_i64)
        );
        assert_eq!(
            integer((1 << 53) + 1),
            serde_json::json!("9007199254740993")
        );
        assert_eq!(
            integer(i128::from(u64::MAX)),
            serde_json::json!("18446744073709551615")
        );
    }

    proptest! {
        #[test]
        fn a_recorded_single_reads_back_as_the_same_bits(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = to_canonical_json(&single(value)).unwrap();
            let read: f64 = serde_json::from_slice(&text).unwrap();
            // RFC 8785 writes -0 as 0: the only bits that are not kept.
            if value == 0.0 {
                prop_assert!(read.abs() < f64::MIN_POSITIVE);
            } else {
                prop_assert_eq!((read as f32).to_bits(), bits);
            }
        }
    }
}
