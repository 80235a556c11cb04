//! One stream: its registration, its chain and what is stored of it.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use crate::canonical::{leaf_hash, to_canonical_json, to_canonical_json_sorted};
use crate::event::{Event, EventBody, EventFormat};

/// What the host of a stream begins with that a person's command writes.
pub const COMMAND_HOST: &str = "cli/";

/// Longest entry in bytes: a log tile counts an entry's length in 16 bits (C2SP tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Parses the lower-case hexadecimal form; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                (hex::encode(bytes) == text).then_some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text).ok_or(concat!("expected ", $expected))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

hex_bytes!(
    /// A stream's id: 128 random bits, written as 32 hexadecimal digits.
    StreamId,
    16,
    "32 lower-case hexadecimal digits"
);
hex_bytes!(
    /// RFC 6962 leaf hash of an entry, written as 64 hexadecimal digits.
    LeafHash,
    32,
    "64 lower-case hexadecimal digits"
);
hex_bytes!(
    /// A raw Ed25519 public key, written as 64 hexadecimal digits.
    PublicKey,
    32,
    "64 lower-case hexadecimal digits"
);

/// What every answer carries: where its record stands, and the record's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Hash of the record.
    pub leaf_hash: LeafHash,
    /// Position in the stream.
    pub seq: u64,
    /// The stream.
    pub stream: StreamId,
}

/// The version tag of a registration's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistrationFormat {
    /// The only version so far.
    #[serde(rename = "sealcast.stream/v1")]
    V1,
}

/// What vouches for a stream's ephemeral key. Its leaf hash is `prev` of the stream's first event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Version of this form.
    pub format: RegistrationFormat,
    /// The stream.
    pub stream: StreamId,
    /// The stream's ephemeral Ed25519 key.
    pub public_key: PublicKey,
    /// Who records: a function's ARN and version, or a server's name.
    pub host: String,
    /// When the stream was opened, RFC 3339 in UTC with microseconds.
    pub time: String,
}

impl Registration {
    /// The bytes that the registration key signs (Ed25519, message as it is).
    ///
    /// # Errors
    /// [`RecordError::Encode`], which no registration causes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        to_canonical_json(self).map_err(|e| RecordError::Encode(e.to_string()))
    }
}

/// A registration and the signature that the firm's registration key put under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRegistration {
    /// Canonical JSON of a [`Registration`].
    pub registration: Vec<u8>,
    /// Id of the key that signed.
    pub key_id: String,
    /// Ed25519 signature over `registration`.
    pub signature: [u8; 64],
}

/// An event as it is stored: canonical bytes and the stream key's signature over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The stream.
    pub stream: StreamId,
    /// Position in the stream.
    pub seq: u64,
    /// Canonical JSON of an [`Event`].
    pub entry: Vec<u8>,
    /// Ed25519 signature over `entry`.
    pub signature: [u8; 64],
}

impl Record {
    /// Where the record stands and its hash.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            stream: self.stream,
            seq: self.seq,
            leaf_hash: LeafHash(leaf_hash(&self.entry)),
        }
    }
}

/// An event that cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The entry is longer than [`MAX_ENTRY_BYTES`].
    #[error("an audit event of {0} bytes is longer than {MAX_ENTRY_BYTES}")]
    TooLarge(usize),
    /// The event has no canonical form (a non-finite number).
    #[error("an audit event has no canonical form: {0}")]
    Encode(String),
}

/// The writing end of a stream. One owner; events come out in chain order.
pub struct Stream {
    id: StreamId,
    key: SigningKey,
    next: u64,
    prev: LeafHash,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.id)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Starts a stream from 16 random bytes for its id and 32 for its key, both used only here.
    /// The registration must be signed and durable before the first record is.
    ///
    /// # Errors
    /// [`RecordError::Encode`], which no registration causes.
    pub fn open(
        id: [u8; 16],
        key: &[u8; 32],
        host: &str,
        now_us: u64,
    ) -> Result<(Self, Registration), RecordError> {
        let key = SigningKey::from_bytes(key);
        let registration = Registration {
            format: RegistrationFormat::V1,
            stream: StreamId(id),
            public_key: PublicKey(key.verifying_key().to_bytes()),
            host: host.to_owned(),
            time: rfc3339(now_us),
        };
        let prev = LeafHash(leaf_hash(&registration.to_bytes()?));
        Ok((
            Self {
                id: StreamId(id),
                key,
                next: 0,
                prev,
            },
            registration,
        ))
    }

    /// The stream's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Makes the next record of the chain. On an error the chain is as it was.
    ///
    /// # Errors
    /// [`RecordError`] where the event is too long or has no canonical form.
    pub fn record(&mut self, body: EventBody, now_us: u64) -> Result<Record, RecordError> {
        let event = Event {
            format: EventFormat::V1,
            stream: self.id,
            seq: self.next,
            prev: self.prev,
            time: rfc3339(now_us),
            body,
        };
        let entry =
            to_canonical_json_sorted(&event).map_err(|e| RecordError::Encode(e.to_string()))?;
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(RecordError::TooLarge(entry.len()));
        }
        let signature = self.key.sign(&entry).to_bytes();
        let record = Record {
            stream: self.id,
            seq: self.next,
            entry,
            signature,
        };
        self.prev = record.receipt().leaf_hash;
        self.next += 1;
        Ok(record)
    }
}

/// Microseconds since 1970 as RFC 3339 in UTC, for example `2026-11-22T13:00:00.123456Z`.
pub fn rfc3339(now_us: u64) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(now_us)).to_string()
}
