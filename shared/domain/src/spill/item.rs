//! One thing that is kept in the spill: a stream's registration, or a run of its records.

use std::fmt;

use audit::{Record, SignedRegistration, StreamId, export};

use crate::StoreError;
use crate::ports::parse_registration;

/// Longest item in bytes. A run of records is written in items of about a quarter of it.
pub const MAX_ITEM_BYTES: u64 = 4 << 20;

/// What an item's name says. Names of one stream sort in the order in which the items must be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpillName {
    /// The stream's registration: `<stream>-registration.jsonl`.
    Registration(StreamId),
    /// Records from `first` to `last`: `<stream>-tail-<20 digits>-<20 digits>.jsonl`.
    Tail {
        /// The stream.
        stream: StreamId,
        /// Position of the first record.
        first: u64,
        /// Position of the last one.
        last: u64,
    },
}

impl SpillName {
    /// The name that `text` spells, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_suffix(".jsonl")?;
        let (stream, rest) = stem.split_once('-')?;
        let stream = StreamId::parse(stream)?;
        let name = match rest.split_once('-') {
            None if rest == "registration" => Self::Registration(stream),
            Some(("tail", range)) => {
                let (first, last) = range.split_once('-')?;
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                Self::Tail {
                    stream,
                    first,
                    last,
                }
            }
            _ => return None,
        };
        (name.to_string() == text).then_some(name)
    }

    /// The stream.
    pub fn stream(&self) -> StreamId {
        match self {
            Self::Registration(stream) | Self::Tail { stream, .. } => *stream,
        }
    }

    /// How many events the item holds.
    pub fn events(&self) -> u64 {
        match self {
            Self::Registration(_) => 0,
            Self::Tail { first, last, .. } => last.saturating_sub(*first).saturating_add(1),
        }
    }

    /// A text after which the names of later streams come, and none of this stream.
    pub(crate) fn after_stream(stream: StreamId) -> String {
        format!("{stream}.")
    }
}

impl fmt::Display for SpillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(stream) => write!(f, "{stream}-registration.jsonl"),
            Self::Tail {
                stream,
                first,
                last,
            } => write!(f, "{stream}-tail-{first:020}-{last:020}.jsonl"),
        }
    }
}

/// A stream's registration, or a run of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpillContent {
    /// The registration.
    Registration(SignedRegistration),
    /// Consecutive records of one stream, at least one.
    Records(Vec<Record>),
}

/// An item: what is kept under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpillItem {
    name: SpillName,
    content: SpillContent,
}

/// Why bytes are not the item that their name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpillFault {
    /// The name is none that an item has.
    #[error("no item has such a name")]
    Name,
    /// The bytes are no lines of a stream.
    #[error("line {line}: {reason}")]
    Malformed {
        /// Which line, from 1.
        line: usize,
        /// What was expected.
        reason: String,
    },
    /// The bytes are another item's.
    #[error("expected what the name says, found {0}")]
    Other(String),
}

impl SpillItem {
    /// The item that holds this registration.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it cannot be read.
    pub fn of_registration(signed: &SignedRegistration) -> Result<Self, StoreError> {
        let parsed = parse_registration(signed)?;
        Ok(Self {
            name: SpillName::Registration(parsed.stream),
            content: SpillContent::Registration(signed.clone()),
        })
    }

    /// The item that holds these records.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where they are none, or not consecutive records of one stream.
    pub fn of_records(records: Vec<Record>) -> Result<Self, StoreError> {
        let refuse = |found: &str| StoreError::Conflict(format!("{found} cannot be spilled"));
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Err(refuse("no record"));
        };
        let name = SpillName::Tail {
            stream: first.stream,
            first: first.seq,
            last: last.seq,
        };
        let consecutive = (first.seq..)
            .zip(&records)
            .all(|(seq, record)| record.seq == seq && record.stream == first.stream);
        if !consecutive {
            return Err(refuse("records that do not follow each other"));
        }
        Ok(Self {
            name,
            content: SpillContent::Records(records),
        })
    }

    /// The item's name.
    pub fn name(&self) -> SpillName {
        self.name
    }

    /// What it holds.
    pub fn content(&self) -> &SpillContent {
        &self.content
    }

    /// What is kept: lines as in a stream's file (see [`audit::export`]). The same item gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.content {
            SpillContent::Registration(signed) => export::registration_line(signed),
            SpillContent::Records(records) => {
                records.iter().flat_map(export::record_line).collect()
            }
        }
    }

    /// The item that was kept under this name. Signatures are not looked at.
    ///
    /// # Errors
    /// [`SpillFault`] with what was expected.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, SpillFault> {
        let name = SpillName::parse(name).ok_or(SpillFault::Name)?;
        let item = match name {
            SpillName::Registration(_) => {
                let signed = export::parse_registration_line(bytes).map_err(|error| {
                    SpillFault::Malformed {
                        line: 1,
                        reason: error.to_string(),
                    }
                })?;
                Self::of_registration(&signed)
            }
            SpillName::Tail { .. } => {
                let mut records = Vec::new();
                for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
                    let record =
                        export::parse_record_line(line).map_err(|error| SpillFault::Malformed {
                            line: at + 1,
                            reason: error.to_string(),
                        })?;
                    records.push(record);
                }
                Self::of_records(records)
            }
        }
        .map_err(|error| SpillFault::Other(error.to_string()))?;
        if item.name != name {
            return Err(SpillFault::Other(item.name.to_string()));
        }
        if item.to_bytes() != bytes {
            return Err(SpillFault::Other("another spelling".to_owned()));
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use audit::{EventBody, Stream, event::Security};

    use super::*;

    fn stream() -> (SignedRegistration, Vec<Record>) {
        let (mut stream, registration) = Stream::open([7; 16], &[9; 32], "host", 1).unwrap();
        let signed = SignedRegistration {
            registration: registration.to_bytes().unwrap(),
            key_id: "key".to_owned(),
            signature: [5; 64],
        };
        let record = |n: u64| {
            let event = Security {
                code: "c".to_owned(),
                subject: format!("subject {n}"),
                detail: "d".to_owned(),
            };
            stream.record(EventBody::Security(event), n).unwrap()
        };
        (signed, (0..4).map(record).collect())
    }

    #[test]
    fn an_item_reads_back_under_its_name() {
        let (signed, records) = stream();
        for item in [
            SpillItem::of_registration(&signed).unwrap(),
            SpillItem::of_records(records[1..].to_vec()).unwrap(),
        ] {
            let name = item.name().to_string();
            assert_eq!(SpillName::parse(&name), Some(item.name()));
            assert_eq!(SpillItem::parse(&name, &item.to_bytes()), Ok(item));
        }
    }

    #[test]
    fn names_of_a_stream_sort_in_the_order_of_replay() {
        let stream = StreamId([7; 16]);
        let tail = |first, last| SpillName::Tail {
            stream,
            first,
            last,
        };
        let names: Vec<_> = [
            SpillName::Registration(stream),
            tail(0, 3),
            tail(9, 9),
            tail(10, 10),
            tail(10, 12),
        ]
        .iter()
        .map(ToString::to_string)
        .chain([SpillName::after_stream(stream)])
        .collect();
        assert!(names.is_sorted(), "{names:?}");
        let next = SpillName::Registration(StreamId([8; 16])).to_string();
        assert!(SpillName::after_stream(stream) < next);
    }

    #[test]
    fn bytes_that_are_not_what_the_name_says_are_refused() {
        let (signed, records) = stream();
        let item = SpillItem::of_records(records[..2].to_vec()).unwrap();
        let (name, bytes) = (item.name().to_string(), item.to_bytes());
        let other = SpillItem::of_records(records[1..].to_vec()).unwrap();
        let registration = SpillItem::of_registration(&signed).unwrap();
        let cut = &bytes[..bytes.len() - 3];
        for damaged in [&b""[..], b"\n", b"{}", cut, &other.to_bytes()] {
            assert!(SpillItem::parse(&name, damaged).is_err(), "{damaged:?}");
        }
        let name = registration.name().to_string();
        assert!(SpillItem::parse(&name, &bytes).is_err());
        let spelled = export::registration_line(&signed);
        let spelled = String::from_utf8(spelled)
            .unwrap()
            .replace("\"key\"", "\"\\u006bey\"");
        assert!(SpillItem::parse(&name, spelled.as_bytes()).is_err());
        let gap = vec![records[0].clone(), records[2].clone()];
        assert!(SpillItem::of_records(gap).is_err());
        assert!(SpillItem::of_records(vec![]).is_err());
    }

    #[test]
    fn a_name_is_taken_in_one_spelling_only() {
        let name = SpillName::Tail {
            stream: StreamId([7; 16]),
            first: 3,
            last: 5,
        };
        assert_eq!(name.events(), 3);
        let text = name.to_string();
        for other in [
            text.replace("0003-", "003-"),
            text.replace(".jsonl", ""),
            text.replace("tail", "tale"),
            text.to_uppercase(),
            format!("../{text}"),
            String::new(),
        ] {
            assert_eq!(SpillName::parse(&other), None, "{other}");
        }
    }
}
