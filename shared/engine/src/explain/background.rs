//! A background as bytes: what explaining needs to know of the rows, and none of the rows themselves.
//!
//! `version ‖ kind ‖ rows ‖ …`. For trees one number follows for each branch that a row came to: how many went
//! right. For a linear model the mean of each feature follows, as float64 in little-endian order. Numbers are
//! LEB128: seven bits a byte, the lowest first, the high bit where more follow.

/// The version of this form.
const VERSION: u8 = 1;

/// What is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Trees,
    Linear,
}

/// Writes what stands before the counts or means.
pub(super) fn write_head(kind: Kind, rows: u64) -> Vec<u8> {
    let mut bytes = vec![VERSION, kind as u8];
    write_count(rows, &mut bytes);
    bytes
}

/// Reads what [`write_head`] wrote; none for another form, and for no rows.
pub(super) fn read_head(bytes: &mut &[u8]) -> Option<(Kind, u64)> {
    let kind = match bytes.split_off(..2)? {
        [VERSION, 0] => Kind::Trees,
        [VERSION, 1] => Kind::Linear,
        _ => return None,
    };
    let rows = read_count(bytes).filter(|rows| *rows > 0)?;
    Some((kind, rows))
}

/// Writes a number.
pub(crate) fn write_count(mut count: u64, out: &mut Vec<u8>) {
    while count >= 0x80 {
        out.push(count as u8 | 0x80);
        count >>= 7;
    }
    out.push(count as u8);
}

/// Reads a number below 2^53, the counts that a float64 holds; none where there is no such number.
pub(crate) fn read_count(bytes: &mut &[u8]) -> Option<u64> {
    let mut count = 0_u64;
    for shift in (0..56).step_by(7) {
        let byte = *bytes.split_off_first()?;
        count |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(count).filter(|count| *count < 1 << 53);
        }
    }
    None
}

/// Writes the means.
pub(super) fn write_means(means: &[f64], out: &mut Vec<u8>) {
    for mean in means {
        out.extend_from_slice(&mean.to_le_bytes());
    }
}

/// Reads the means of `features` features; none where there are fewer, or one is not finite.
pub(super) fn read_means(features: usize, bytes: &mut &[u8]) -> Option<Vec<f64>> {
    let (means, rest) = bytes.split_at_checked(features.checked_mul(8)?)?;
    *bytes = rest;
    let (means, _) = means.as_chunks::<8>();
    let means: Vec<f64> = means.iter().map(|mean| f64::from_le_bytes(*mean)).collect();
    means.iter().all(|mean| mean.is_finite()).then_some(means)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_end_with_the_bytes() {
        for count in [0, 1, 127, 128, 300, 16_384, (1 << 53) - 1] {
            let mut bytes = Vec::new();
            write_count(count, &mut bytes);
            assert_eq!(read_count(&mut bytes.as_slice()), Some(count));
            let cut = &mut &bytes[..bytes.len() - 1];
            assert_eq!(read_count(cut), None);
        }
        assert_eq!(read_count(&mut [0xff; 20].as_slice()), None);
    }

    #[test]
    fn a_head_of_another_form_is_not_read() {
        for kind in [Kind::Trees, Kind::Linear] {
            let head = write_head(kind, 600);
            assert_eq!(read_head(&mut head.as_slice()), Some((kind, 600)));
        }
        for other in [&[][..], &[1], &[2, 0, 5], &[1, 2, 5], &[1, 0], &[1, 0, 0]] {
            assert_eq!(read_head(&mut &*other), None, "{other:?}");
        }
    }
}
