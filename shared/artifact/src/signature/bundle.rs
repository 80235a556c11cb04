//! The Sigstore bundle (v0.3) and the DSSE envelope in it, read strictly: one spelling, nothing unknown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::Signature;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::SignatureError;
use crate::json::{self, JsonError};

/// Largest bundle that is read, in bytes.
pub const MAX_BUNDLE_SIZE: usize = 256 * 1024;

/// What an envelope holds: an in-toto statement as JSON.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Material {
    public_key: KeyIdentifier,
    /// Always empty: a statement under a key of one's own stands in no public log.
    #[serde(default, serialize_with = "write_empty_list")]
    tlog_entries: Vec<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyIdentifier {
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    sig: String,
    /// Always empty: the key is named by the verification material.
    #[serde(default)]
    keyid: String,
}

fn write_empty_list<S: serde::Serializer>(
    _: &[IgnoredAny],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    [(); 0].serialize(serializer)
}

/// What a bundle holds, decoded but not yet verified.
pub(super) struct Unverified {
    pub(super) hint: String,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Signature,
}

/// DSSE's pre-authentication encoding of a payload: what is signed.
pub(super) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

pub(super) fn write(
    payload: &[u8],
    der_signature: &[u8],
    hint: &str,
) -> Result<Vec<u8>, JsonError> {
    let bundle = Bundle {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: Material {
            public_key: KeyIdentifier {
                hint: hint.to_owned(),
            },
            tlog_entries: Vec::new(),
        },
        dsse_envelope: Envelope {
            payload: STANDARD.encode(payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![EnvelopeSignature {
                sig: STANDARD.encode(der_signature),
                keyid: String::new(),
            }],
        },
    };
    let bytes =
        serde_json_canonicalizer::to_vec(&bundle).map_err(|error| JsonError::Malformed {
            path: ".".to_owned(),
            reason: error.to_string(),
        })?;
    if bytes.len() > MAX_BUNDLE_SIZE {
        return Err(JsonError::TooLarge {
            size: bytes.len(),
            limit: MAX_BUNDLE_SIZE,
        });
    }
    Ok(bytes)
}

pub(super) fn read(bytes: &[u8]) -> Result<Unverified, SignatureError> {
    let malformed = |field, expected| SignatureError::Malformed { field, expected };
    let bundle: Bundle = json::read(bytes, MAX_BUNDLE_SIZE)?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(malformed("mediaType", MEDIA_TYPE));
    }
    if !bundle.verification_material.tlog_entries.is_empty() {
        return Err(malformed(
            "verificationMaterial.tlogEntries",
            "none, for a signature under a key",
        ));
    }
    let envelope = bundle.dsse_envelope;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(SignatureError::PayloadType {
            found: envelope.payload_type.chars().take(80).collect(),
        });
    }
    let [signature] = envelope.signatures.as_slice() else {
        return Err(malformed(
            "dsseEnvelope.signatures",
            "exactly one signature",
        ));
    };
    if !signature.keyid.is_empty() {
        return Err(malformed(
            "dsseEnvelope.signatures[0].keyid",
            "an empty text",
        ));
    }
    let base64 = "padded standard base64";
    let payload = STANDARD
        .decode(&envelope.payload)
        .map_err(|_| malformed("dsseEnvelope.payload", base64))?;
    let der = STANDARD
        .decode(&signature.sig)
        .map_err(|_| malformed("dsseEnvelope.signatures[0].sig", base64))?;
    let signature = Signature::from_der(&der).map_err(|_| {
        malformed(
            "dsseEnvelope.signatures[0].sig",
            "an ECDSA P-256 signature in DER",
        )
    })?;
    Ok(Unverified {
        hint: bundle.verification_material.public_key.hint,
        payload,
        signature,
    })
}
