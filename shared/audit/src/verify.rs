//! Verification of a stream, with nothing but the stream and the registration key.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::Serialize;

use crate::canonical::{leaf_hash, to_canonical_json};
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
        let unreadable =
            |reason: &dyn ToString| StreamFault::RegistrationUnreadable(reason.to_string());
        let (_, registrar) = trusted
            .iter()
            .find(|(id, _)| *id == signed.key_id)
            .ok_or_else(|| StreamFault::UnknownRegistrationKey(signed.key_id.clone()))?;
        let registrar = VerifyingKey::from_bytes(&registrar.0).map_err(|e| unreadable(&e))?;
        registrar
            .verify_strict(
                &signed.registration,
                &Signature::from_bytes(&signed.signature),
            )
            .map_err(|_| StreamFault::RegistrationSignature)?;
        let registration: Registration =
            serde_json::from_slice(&signed.registration).map_err(|e| unreadable(&e))?;
        if registration.to_bytes().ok().as_deref() != Some(&signed.registration) {
            return Err(unreadable(&"not canonical JSON"));
        }
        Ok(Self {
            key: VerifyingKey::from_bytes(&registration.public_key.0)
                .map_err(|e| unreadable(&e))?,
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
        let unreadable = |reason: String| StreamFault::Unreadable { seq, reason };
        let event: Event =
            serde_json::from_slice(&record.entry).map_err(|e| unreadable(e.to_string()))?;
        if event.stream != self.report.stream {
            return Err(StreamFault::OtherStream {
                seq,
                found: event.stream,
            });
        }
        if event.seq != seq {
            return Err(StreamFault::OutOfOrder {
                expected: seq,
                found: event.seq,
            });
        }
        self.key
            .verify_strict(&record.entry, &Signature::from_bytes(&record.signature))
            .map_err(|_| StreamFault::Signature(seq))?;
        if !is_canonical(&record.entry) {
            return Err(unreadable("not canonical JSON".to_owned()));
        }
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

fn is_canonical(entry: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(entry)
        .and_then(|value| to_canonical_json(&value))
        .is_ok_and(|canonical| canonical == entry)
}
