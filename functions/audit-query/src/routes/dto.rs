//! What is written out.

use audit::{LeafHash, StreamId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::head::Head;
use crate::read::{EventFault, FoundEvent};

/// The root of the head's tree, base64.
pub(super) fn root_of(head: &Head) -> String {
    STANDARD.encode(head.checkpoint.root)
}

/// As of which tree an answer is.
#[derive(Serialize)]
pub(super) struct AsOfResponse<'a> {
    origin: &'a str,
    size: u64,
    root: String,
}

impl<'a> AsOfResponse<'a> {
    pub(super) fn of(head: &'a Head) -> Self {
        Self {
            origin: &head.checkpoint.origin,
            size: head.checkpoint.size,
            root: root_of(head),
        }
    }
}

/// An event.
#[derive(Serialize)]
pub(super) struct EventResponse<'a> {
    stream: StreamId,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf_hash: Option<LeafHash>,
    sealed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a EventFault>,
    /// The signed bytes as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl<'a> EventResponse<'a> {
    pub(super) fn of(event: &'a FoundEvent) -> Self {
        let record = event.record.as_ref();
        Self {
            stream: event.stream,
            seq: event.seq,
            leaf_hash: event.leaf_hash(),
            sealed: event.index.is_some(),
            index: event.index,
            fault: event.fault.as_ref(),
            // What was read is JSON: the reading saw to that.
            entry: record.and_then(|record| serde_json::from_slice(&record.entry).ok()),
            sig: record.map(|record| STANDARD.encode(record.signature)),
        }
    }
}

/// The body of `/v1/audit/events/{stream}/{seq}`.
#[derive(Serialize)]
pub(super) struct OneEventResponse<'a> {
    #[serde(flatten)]
    pub(super) event: EventResponse<'a>,
    /// A `tlog-proof@v1` file, once the event is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<String>,
    pub(super) as_of: AsOfResponse<'a>,
}
