//! What is wrong with a stream, found while it is sealed.

use serde::{Deserialize, Serialize};

use crate::stream::{LeafHash, StreamId};
use crate::verify::StreamFault;

/// Longest `detail` of a finding in characters, all of them ASCII: a seal with the most findings fits into an entry.
const MAX_DETAIL: usize = 160;

/// An integer of any size, written as a string so that it is exact (RFC 8785, appendix D).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Exact(pub u64);

impl TryFrom<String> for Exact {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let number = crate::tiles::parse_decimal(&text);
        number.map(Self).ok_or("expected a decimal in a string")
    }
}

impl From<Exact> for String {
    fn from(value: Exact) -> Self {
        value.0.to_string()
    }
}

/// The kinds of findings; each is a security event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FindingKind {
    /// Events are missing: `seq` is the first, `until` the first that is there again.
    #[serde(rename = "audit.event_missing")]
    Gap,
    /// The stream's key did not sign the event: altered, or put in.
    #[serde(rename = "audit.event_signature_invalid")]
    Signature,
    /// Signed by the stream's key, but it continues another history of the stream.
    #[serde(rename = "audit.chain_broken")]
    Chain,
    /// The event stands where another was sealed already, or not where it says.
    #[serde(rename = "audit.event_out_of_order")]
    OutOfOrder,
    /// The event is of another stream.
    #[serde(rename = "audit.event_of_other_stream")]
    OtherStream,
    /// The entry is no event that this version reads.
    #[serde(rename = "audit.event_unreadable")]
    Unreadable,
    /// The entry is longer than a log's entry can be.
    #[serde(rename = "audit.event_too_large")]
    TooLarge,
    /// The stream had closed itself.
    #[serde(rename = "audit.event_after_close")]
    AfterClose,
    /// The sealer had closed the stream because it was idle. The event is sealed: it is late, not wrong.
    #[serde(rename = "audit.event_late")]
    Late,
    /// Nothing vouches for the stream: no registration, or not by a trusted key, or not a right one.
    #[serde(rename = "audit.registration_unknown")]
    UnknownRegistration,
}

impl FindingKind {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Gap => "audit.event_missing",
            Self::Signature => "audit.event_signature_invalid",
            Self::Chain => "audit.chain_broken",
            Self::OutOfOrder => "audit.event_out_of_order",
            Self::OtherStream => "audit.event_of_other_stream",
            Self::Unreadable => "audit.event_unreadable",
            Self::TooLarge => "audit.event_too_large",
            Self::AfterClose => "audit.event_after_close",
            Self::Late => "audit.event_late",
            Self::UnknownRegistration => "audit.registration_unknown",
        }
    }
}

impl From<&StreamFault> for FindingKind {
    fn from(fault: &StreamFault) -> Self {
        match fault {
            StreamFault::RegistrationUnreadable(_)
            | StreamFault::UnknownRegistrationKey(_)
            | StreamFault::RegistrationSignature => Self::UnknownRegistration,
            StreamFault::Unreadable { .. } => Self::Unreadable,
            StreamFault::OtherStream { .. } => Self::OtherStream,
            StreamFault::OutOfOrder { .. } => Self::OutOfOrder,
            StreamFault::Signature(_) => Self::Signature,
            StreamFault::Chain(_) => Self::Chain,
            StreamFault::AfterClose(_) => Self::AfterClose,
        }
    }
}

/// What was found, and where. Except for [`FindingKind::Gap`] and [`FindingKind::Late`] it is about a record that was
/// left out; `leaf_hash` binds the record that was seen there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// One sentence.
    pub detail: String,
    /// What kind.
    pub kind: FindingKind,
    /// Leaf hash of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_hash: Option<LeafHash>,
    /// Where in the stream; none where it is about the whole stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Exact>,
    /// The stream.
    pub stream: StreamId,
    /// Of a gap: the first position that is there again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Exact>,
}

impl Finding {
    /// About a whole stream.
    pub(super) fn of_stream(stream: StreamId, kind: FindingKind, detail: &str) -> Self {
        Self {
            detail: detail
                .chars()
                .map(|c| {
                    if c == ' ' || c.is_ascii_graphic() {
                        c
                    } else {
                        '?'
                    }
                })
                .take(MAX_DETAIL)
                .collect(),
            kind,
            leaf_hash: None,
            seq: None,
            stream,
            until: None,
        }
    }

    /// About the record at a place.
    pub(super) fn at(
        stream: StreamId,
        seq: u64,
        leaf: LeafHash,
        kind: FindingKind,
        detail: &str,
    ) -> Self {
        Self {
            leaf_hash: Some(leaf),
            seq: Some(Exact(seq)),
            ..Self::of_stream(stream, kind, detail)
        }
    }

    /// Events that are missing.
    pub(super) fn gap(stream: StreamId, from: u64, until: u64) -> Self {
        let detail = format!("events {from} to {} are missing", until.saturating_sub(1));
        Self {
            seq: Some(Exact(from)),
            until: Some(Exact(until)),
            ..Self::of_stream(stream, FindingKind::Gap, &detail)
        }
    }
}
