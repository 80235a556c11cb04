//! Verification of a stream, with nothing but the stream and the registration key.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::Serialize;

use crate::canonical::{leaf_hash, to_canonical_json, to_canonical_json_sorted};
use crate::event::Event;
use crate::stream::{LeafHash, PublicKey, Record, Registration, SignedRegistration, StreamId};

/// What is wrong with a stream, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// The registration is not one that this version reads.
    #[error("the registration cannot be read: {0}")]
    RegistrationUnreadable(String),
    /// The key that signed the registration is not among the trusted ones.
    #[error("the registration is signed by the key {0:?}, which is not trusted")]
    UnknownRegistrationKey(String),
    /// The signature under the registration is wrong.
    #[error("the registration's signature does not verify")]
    RegistrationSignature,
    /// An entry is not canonical JSON of an event that this version reads.
    #[error("event {seq}: the entry cannot be read: {reason}")]
    Unreadable {
        /// Where it should stand.
        seq: u64,
        /// What was expected.
        reason: String,
    },
    /// An entry belongs to another stream.
    #[error("event {seq}: belongs to stream {found}")]
    OtherStream {
        /// Where it was found.
        seq: u64,
        /// The stream that it names.
        found: StreamId,
    },
    /// Events are missing, doubled or out of order.
    #[error(
        "expected event {expected}, found {found}: events are missing, doubled or out of order"
    )]
    OutOfOrder {
        /// The next position.
        expected: u64,
        /// The position that the event names.
        found: u64,
    },
    /// The stream key did not sign this entry.
    #[error("event {0}: the signature does not verify: the event was altered or put in")]
    Signature(u64),
    /// `prev` is not the hash of the event before.
    #[error("event {0}: `prev` is not the hash of the event before it")]
    Chain(u64),
    /// An event follows the one that closed the stream.
    #[error("event {0}: follows the record that closed the stream")]
    AfterClose(u64),
}

impl StreamFault {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RegistrationUnreadable(_) => "audit.registration_unreadable",
            Self::UnknownRegistrationKey(_) => "audit.registration_key_unknown",
            Self::RegistrationSignature => "audit.registration_signature_invalid",
            Self::Unreadable { .. } => "audit.event_unreadable",
            Self::OtherStream { .. } => "audit.event_of_other_stream",
            Self::OutOfOrder { .. } => "audit.event_out_of_order",
            Self::Signature(_) => "audit.event_signature_invalid",
            Self::Chain(_) => "audit.chain_broken",
            Self::AfterClose(_) => "audit.event_after_close",
        }
    }
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamReport {
    /// The stream.
    pub stream: StreamId,
    /// Who recorded, as its registration says.
    pub host: String,
    /// Id of the key that vouches for the stream.
    pub registration_key: String,
    /// Number of events; all of them verified.
    pub events: u64,
    /// Number of events of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Time of the first event.
    pub first_time: Option<String>,
    /// Time of the last event.
    pub last_time: Option<String>,
    /// Hash of the last event, or of the registration where there is none.
    pub head: LeafHash,
    /// True where the stream says itself that it ended; a process that was killed leaves it open.
    pub closed: bool,
}

/// Verifies a stream record by record, in constant memory.
#[derive(Debug)]
pub struct StreamVerifier {
    key: VerifyingKey,
    report: StreamReport,
}

impl StreamVerifier {
    /// Checks the registration against the trusted keys, given as (key id, raw Ed25519 public key).
    ///
    /// # Errors
    /// The [`StreamFault`]s about registrations.
    pub fn new(
        signed: &SignedRegistration,
        trusted: &[(String, PublicKey)],
    ) -> Result<Self, StreamFault> {
        let (registration, key) = open_registration(signed, trusted)?;
        Ok(Self {
            key,
            report: StreamReport {
                stream: registration.stream,
                host: registration.host,
                registration_key: signed.key_id.clone(),
                events: 0,
                kinds: BTreeMap::new(),
                first_time: None,
                last_time: None,
                head: LeafHash(leaf_hash(&signed.registration)),
                closed: false,
            },
        })
    }

    /// Checks the next record: form, stream, position, signature, chain.
    ///
    /// # Errors
    /// The first [`StreamFault`] found. The verifier stays where it was.
    pub fn check(&mut self, record: &Record) -> Result<Event, StreamFault> {
        let seq = self.report.events;
        let event = parse_event(&record.entry, self.report.stream, seq)?;
        if event.seq != seq {
            return Err(StreamFault::OutOfOrder {
                expected: seq,
                found: event.seq,
            });
        }
        verify_entry(&self.key, &record.entry, &event, &record.signature)?;
        if event.prev != self.report.head {
            return Err(StreamFault::Chain(seq));
        }
        if self.report.closed {
            return Err(StreamFault::AfterClose(seq));
        }
        let report = &mut self.report;
        report.events += 1;
        *report
            .kinds
            .entry(event.body.kind().to_owned())
            .or_default() += 1;
        report.first_time.get_or_insert_with(|| event.time.clone());
        report.last_time = Some(event.time.clone());
        report.head = record.receipt().leaf_hash;
        report.closed = matches!(event.body, crate::EventBody::ProcessStopped(_));
        Ok(event)
    }

    /// What has been verified so far.
    pub fn report(&self) -> &StreamReport {
        &self.report
    }
}

/// Checks a registration against the trusted keys, and gives the stream's own key.
pub(crate) fn open_registration(
    signed: &SignedRegistration,
    trusted: &[(String, PublicKey)],
) -> Result<(Registration, VerifyingKey), StreamFault> {
    let (_, registrar) = trusted
        .iter()
        .find(|(id, _)| *id == signed.key_id)
        .ok_or_else(|| StreamFault::UnknownRegistrationKey(signed.key_id.clone()))?;
    if !is_signed(registrar, &signed.registration, &signed.signature) {
        return Err(StreamFault::RegistrationSignature);
    }
    parse_registration(&signed.registration)
}

/// Checks that records are signed by the key that the registration names. Neither who vouches for the registration nor
/// the chain is looked at: that is for [`StreamVerifier`].
///
/// # Errors
/// [`StreamFault::RegistrationUnreadable`], or [`StreamFault::Signature`] of the first record that is not signed.
pub fn check_signatures(
    signed: &SignedRegistration,
    records: &[Record],
) -> Result<(), StreamFault> {
    let (registration, _) = parse_registration(&signed.registration)?;
    let not_signed =
        |record: &&Record| !is_signed(&registration.public_key, &record.entry, &record.signature);
    match records.iter().find(not_signed) {
        Some(record) => Err(StreamFault::Signature(record.seq)),
        None => Ok(()),
    }
}

/// Whether a key, given in its 32 bytes, signed a message (Ed25519, RFC 8032, strict).
pub fn is_signed(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// Reads a registration's canonical bytes.
pub(crate) fn parse_registration(
    bytes: &[u8],
) -> Result<(Registration, VerifyingKey), StreamFault> {
    let unreadable =
        |reason: &dyn ToString| StreamFault::RegistrationUnreadable(reason.to_string());
    let registration: Registration = serde_json::from_slice(bytes).map_err(|e| unreadable(&e))?;
    if registration.to_bytes().ok().as_deref() != Some(bytes) {
        return Err(unreadable(&"not canonical JSON"));
    }
    let key = VerifyingKey::from_bytes(&registration.public_key.0).map_err(|e| unreadable(&e))?;
    Ok((registration, key))
}

/// Reads the entry that should stand at `seq` of `stream`; its own `seq` is not compared.
pub(crate) fn parse_event(entry: &[u8], stream: StreamId, seq: u64) -> Result<Event, StreamFault> {
    let event: Event = serde_json::from_slice(entry).map_err(|e| StreamFault::Unreadable {
        seq,
        reason: e.to_string(),
    })?;
    if event.stream == stream {
        Ok(event)
    } else {
        let found = event.stream;
        Err(StreamFault::OtherStream { seq, found })
    }
}

/// Checks an entry's signature and its form; `event` is what the entry was read as.
pub(crate) fn verify_entry(
    key: &VerifyingKey,
    entry: &[u8],
    event: &Event,
    signature: &[u8; 64],
) -> Result<(), StreamFault> {
    key.verify_strict(entry, &Signature::from_bytes(signature))
        .map_err(|_| StreamFault::Signature(event.seq))?;
    check_canonical(entry, event)
}

/// Checks that the entry is canonical JSON; `event` is what it was read as.
pub(crate) fn check_canonical(entry: &[u8], event: &Event) -> Result<(), StreamFault> {
    // Nearly always the event's own serialisation is the entry; one with members of a later version needs more.
    let written = entry.is_ascii() && to_canonical_json_sorted(event).is_ok_and(|own| own == entry);
    if written || is_canonical(entry) {
        Ok(())
    } else {
        Err(StreamFault::Unreadable {
            seq: event.seq,
            reason: "not canonical JSON".to_owned(),
        })
    }
}

fn is_canonical(entry: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(entry)
        .and_then(|value| to_canonical_json(&value))
        .is_ok_and(|canonical| canonical == entry)
}
