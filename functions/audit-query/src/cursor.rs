//! Cursors: where a question goes on. Opaque to callers, the same for every process, and bound to the question and the
//! log: each holds a digest of them and a checksum over all of it.
//!
//! A cursor is no secret and opens nothing: whoever made one up could have asked the same question from the beginning.

use audit::StreamId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{EventPosition, Sha256Digest};

/// Version of the form.
const V1: u8 = 1;
/// Bytes before the checksum: version, range, position, digest of the filters.
const BODY: usize = 1 + 8 + 8 + 8 + 16 + 8 + 8;
const CHECKSUM: usize = 8;

/// 10000-01-01T00:00:00Z in microseconds since 1970: RFC 3339 has no such time.
const END_OF_TIME_US: u64 = 253_402_300_800_000_000;

/// Where a question goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The question's earliest time, in microseconds since 1970.
    pub from_us: u64,
    /// The question's end, in microseconds since 1970.
    pub until_us: u64,
    /// After which event.
    pub after: EventPosition,
    /// Beginning of the digest of the question's filters and of the log that was asked.
    pub filters: [u8; 8],
}

/// Text that is no cursor of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseCursorError;

/// The beginning of the digest of what a cursor is bound to, as its canonical text writes that.
pub fn digest_of(filters: &str) -> [u8; 8] {
    first_8(&[b"sealcast.filters/v1\n", filters.as_bytes()].concat())
}

fn first_8(bytes: &[u8]) -> [u8; 8] {
    let digest = Sha256Digest::of(bytes).0;
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    first_8(&[b"sealcast.cursor/v1\n", body].concat())
}

impl Cursor {
    /// Reads a cursor.
    ///
    /// # Errors
    /// [`ParseCursorError`] for anything that this function did not give.
    pub fn parse(text: &str) -> Result<Self, ParseCursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseCursorError)?;
        let whole: &[u8; BODY + CHECKSUM] =
            bytes.as_slice().try_into().map_err(|_| ParseCursorError)?;
        let (body, sum) = whole.split_at(BODY);
        if body[0] != V1 || checksum(body) != sum {
            return Err(ParseCursorError);
        }
        let mut rest = &body[1..];
        let mut number = || {
            let (eight, after) = rest.split_first_chunk::<8>().ok_or(ParseCursorError)?;
            rest = after;
            Ok(u64::from_be_bytes(*eight))
        };
        let (from_us, until_us, time_us) = (number()?, number()?, number()?);
        if from_us >= until_us || until_us.max(time_us) >= END_OF_TIME_US {
            return Err(ParseCursorError);
        }
        let (high, low, seq) = (number()?, number()?, number()?);
        let filters = number()?.to_be_bytes();
        let stream = (u128::from(high) << 64) | u128::from(low);
        Ok(Self {
            from_us,
            until_us,
            after: EventPosition {
                time_us,
                stream: StreamId(stream.to_be_bytes()),
                seq,
            },
            filters,
        })
    }
}

/// The text that callers get: 87 characters of the URL-safe alphabet of base64.
impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Vec::with_capacity(BODY + CHECKSUM);
        bytes.push(V1);
        for number in [self.from_us, self.until_us, self.after.time_us] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.after.stream.0);
        bytes.extend_from_slice(&self.after.seq.to_be_bytes());
        bytes.extend_from_slice(&self.filters);
        bytes.extend_from_slice(&checksum(&bytes));
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor() -> impl Strategy<Value = Cursor> {
        let position = (0..END_OF_TIME_US, any::<[u8; 16]>(), any::<u64>());
        let range = (0..END_OF_TIME_US - 1, 1_u64..86_400_000_000);
        (range, position, any::<[u8; 8]>()).prop_map(
            |((from_us, length_us), (time_us, stream, seq), filters)| Cursor {
                from_us,
                until_us: (from_us + length_us).min(END_OF_TIME_US - 1),
                after: EventPosition {
                    time_us,
                    stream: StreamId(stream),
                    seq,
                },
                filters,
            },
        )
    }

    #[test]
    fn a_cursor_that_was_given_is_read_by_every_later_version() {
        let cursor = Cursor {
            from_us: 1_767_225_600_000_000,
            until_us: 1_767_229_200_000_000,
            after: EventPosition {
                time_us: 1_767_225_600_000_001,
                stream: StreamId([7; 16]),
                seq: 3,
            },
            filters: digest_of("kind=prediction\n"),
        };
        assert_eq!(Cursor::parse(GIVEN), Ok(cursor));
        assert_eq!(cursor.to_string(), GIVEN);
    }

    const GIVEN: &str =
        "AQAGR0hGIEAAAAZHSRyz5AAABkdIRiBAAQcHBwcHBwcHBwcHBwcHBwcAAAAAAAAAA8dAFKO-IrEOd3VzzISFOSs";

    proptest! {
        #[test]
        fn a_cursor_is_read_back(cursor in cursor()) {
            let text = cursor.to_string();
            prop_assert_eq!(text.len(), 87);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            prop_assert_eq!(Cursor::parse(&text), Ok(cursor));
        }

        #[test]
        fn a_changed_cursor_is_none(cursor in cursor(), at in 0_usize..87, other in "[A-Za-z0-9_-]") {
            let text = cursor.to_string();
            let mut changed = text.clone();
            changed.replace_range(at..=at, &other);
            prop_assume!(changed != text);
            prop_assert_eq!(Cursor::parse(&changed), Err(ParseCursorError));
        }

        #[test]
        fn other_text_is_no_cursor(text in ".{0,100}") {
            prop_assert_eq!(Cursor::parse(&text), Err(ParseCursorError));
        }
    }
}
