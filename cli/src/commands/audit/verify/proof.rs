//! Verification of one event by its proof file, with nothing but both files and the log's key.

use std::path::Path;

use audit::proof_file::{ProofFile, VerifyProofFileError};
use serde_json::{Value, json};

use super::super::not_verified;
use crate::failure::Failure;
use crate::files;
use crate::log_trust::{TrustArguments, describe_open_error, encode_root};
use crate::output::{Report, Text};

const MAX_PROOF: u64 = 4 << 20;
const MAX_ENTRY: u64 = audit::stream::MAX_ENTRY_BYTES as u64;

/// Verifies the event.
pub(super) fn run(
    trust: &TrustArguments,
    proof_path: &Path,
    event_path: &Path,
) -> Result<Report, Failure> {
    let trust = trust.read().map_err(not_verified)?;
    let log = trust.require()?;
    let bytes = files::read(proof_path, MAX_PROOF).map_err(not_verified)?;
    let entry = files::read(event_path, MAX_ENTRY)?;
    let place = proof_path.display().to_string();
    let proof = ProofFile::parse(&bytes).map_err(|error| {
        let message = format!("{place}: {error}");
        Failure::refused("audit.proof_malformed", message).at(&place)
    })?;
    let proven = proof.verify(&entry, log).map_err(|error| match error {
        VerifyProofFileError::Checkpoint(error) => {
            describe_open_error(&error).while_doing(format!("{place}: the proof's checkpoint"))
        }
        VerifyProofFileError::Inclusion { index, source } => {
            let message = format!(
                "{}: not the entry that was sealed at {index}: {source}",
                event_path.display()
            );
            Failure::refused("audit.proof_invalid", message)
                .at(event_path.display().to_string())
                .with("index", index)
        }
    })?;
    let event: Option<Value> = serde_json::from_slice(&entry).ok();
    let said = |name: &str| event.as_ref().and_then(|event| event.get(name)).cloned();
    let checkpoint = &proven.checkpoint;
    let signers: Vec<String> = proven.signers.iter().map(ToString::to_string).collect();
    let position = match (said("stream"), said("seq")) {
        (Some(Value::String(stream)), Some(Value::Number(seq))) => Some(format!("{stream}:{seq}")),
        _ => None,
    };
    let text = Text::new()
        .field(
            "verified",
            format!("entry {} of {}", proven.index, checkpoint.size),
        )
        .field("log", &checkpoint.origin)
        .field("root", encode_root(&checkpoint.root))
        .field("signed by", signers.join(", "))
        .field("leaf hash", hex::encode(proven.leaf))
        .optional("event", position)
        .optional("kind", said("kind").as_ref().and_then(Value::as_str))
        .optional("time", said("time").as_ref().and_then(Value::as_str));
    Report::new(
        &json!({
            "verdict": "verified",
            "verified": true,
            "index": proven.index,
            "leaf_hash": hex::encode(proven.leaf),
            "checkpoint": {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": encode_root(&checkpoint.root),
                "signed_by": signers,
            },
            "event": event,
        }),
        text,
    )
}
