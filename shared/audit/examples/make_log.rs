//! Writes a small sealed log with proofs, for verifiers that know nothing of this code. Its keys are in this file: it
//! is for tests.
//!
//! ```text
//! make_log DIR [PREDICTIONS]
//! ```
//! With a number, a fourth stream holds that many predictions of the size of the example's: for measuring.
//!
//! | File in `DIR` | |
//! |---|---|
//! | `log/` | the log as it would be published: `checkpoint` and `tile/…` |
//! | `log.vkey` | the log's verifier key |
//! | `registration.pub.pem` | the key that registered the streams |
//! | `older-checkpoint` | the checkpoint of the run before |
//! | `growth` | the hashes of the consistency proof between them, one a line in base64 |
//! | `event.json`, `event.tlog-proof` | an entry, and its proof file |

use std::error::Error;
use std::fs;
use std::path::Path;

use audit::event::{EventBody, Security};
use audit::note::{KeyName, SignedNote, VerifierKey};
use audit::proof_file::ProofFile;
use audit::seal::{LogEdge, SealRules, SealedStream, StreamPage, plan_seal};
use audit::tiles::{CHECKPOINT_PATH, TileId, TreeReader};
use audit::{PublicKey, Record, SignedRegistration, Stream};
use base64::Engine as _;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;

const ORIGIN: &str = "example.com/audit";
const START_US: u64 = 1_700_000_000_000_000;
const REGISTRAR_ID: &str = "registration-1";

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: make_log DIR [PREDICTIONS]";
    let dir = std::env::args().nth(1).ok_or(usage)?;
    let predictions = match std::env::args().nth(2) {
        Some(count) => count.parse().map_err(|_| usage)?,
        None => 0,
    };
    let dir = Path::new(&dir);
    let log_key = SigningKey::from_bytes(&[7; 32]);
    let name = KeyName::parse(ORIGIN).ok_or("the origin is no key name")?;
    let vkey = VerifierKey::ed25519(name, &public(&log_key))?;

    let mut whole = vec![
        stream(1, 500, |n| Ok(example(n)))?,
        stream(2, 400, |n| Ok(example(n)))?,
        stream(3, 100, |n| Ok(example(n)))?,
    ];
    if predictions > 0 {
        whole.push(stream(4, predictions, prediction)?);
    }
    let older = seal(dir, &vkey, &log_key, LogEdge::new(), &whole, 150, &[])?;
    let newer = seal(
        dir,
        &vkey,
        &log_key,
        older.edge,
        &whole,
        usize::MAX,
        &older.states,
    )?;

    let size = newer.edge.size();
    let mut tree = TreeReader::new(size, |tile: TileId| {
        fs::read(dir.join("log").join(tile.to_string()))
    });
    let index = size / 2;
    let entry = newer
        .entries
        .get(&index)
        .ok_or("the leaf in the middle is no event")?;
    let proof = ProofFile {
        extra: None,
        index,
        hashes: tree.prove_inclusion(index).map_err(|e| e.to_string())?,
        checkpoint: newer.note.to_string(),
    };
    let growth = tree
        .prove_consistency(older.size)
        .map_err(|e| e.to_string())?;
    let growth = growth
        .iter()
        .map(|hash| base64::engine::general_purpose::STANDARD.encode(hash) + "\n");
    fs::write(dir.join("event.json"), entry)?;
    fs::write(dir.join("event.tlog-proof"), proof.to_string())?;
    fs::write(dir.join("growth"), growth.collect::<String>())?;
    fs::write(dir.join("older-checkpoint"), older.note.to_string())?;
    fs::write(dir.join("log.vkey"), format!("{vkey}\n"))?;
    let registrar = SigningKey::from_bytes(&[9; 32]).verifying_key();
    let pem = registrar.to_public_key_pem(LineEnding::LF)?;
    fs::write(dir.join("registration.pub.pem"), pem)?;
    Ok(())
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn example(n: u64) -> EventBody {
    EventBody::Security(Security {
        code: "example.event".to_owned(),
        detail: format!("event {n} of an example"),
        subject: "nobody".to_owned(),
    })
}

/// What one row of a model with 14 features and three classes leaves in the log.
fn prediction(n: u64) -> Result<EventBody, serde_json::Error> {
    let data = |count: u64| -> Vec<f64> { (0..count).map(|i| (n + i) as f64 / 7.0).collect() };
    let tensor = |name: &str, count: u64| json!({ "name": name, "datatype": "FP32", "shape": [1, count], "data": data(count) });
    serde_json::from_value(json!({
        "kind": "prediction",
        "data": {
            "answered_by": "direction@1.0.0",
            "answers": { "offset": 0, "values": [{ "label": "hold", "probabilities": [0.25, 0.5, 0.25] }] },
            "duration_us": 90,
            "fallback_level": 0,
            "inputs": [tensor("features", 14)],
            "outputs": [tensor("probabilities", 3)],
            "part": 1,
            "parts": 1,
            "principal": "desk",
            "release": "r-000001",
            "request_id": format!("0191d2a4-0000-7000-8000-{n:012}"),
            "requested": {
                "algo_id": "ALGO-1", "name": "direction", "sha256": "ab".repeat(32), "version": "1.0.0",
            },
            "rows": 1,
            "symbols": { "offset": 0, "values": ["ACME"] },
        },
    }))
}

fn stream(
    id: u8,
    count: u64,
    body: impl Fn(u64) -> Result<EventBody, serde_json::Error>,
) -> Result<(SignedRegistration, Vec<Record>), Box<dyn Error>> {
    let (mut stream, registration) = Stream::open([id; 16], &[id; 32], "example", START_US)?;
    let registration = registration.to_bytes()?;
    let signature = SigningKey::from_bytes(&[9; 32])
        .sign(&registration)
        .to_bytes();
    let signed = SignedRegistration {
        registration,
        key_id: REGISTRAR_ID.to_owned(),
        signature,
    };
    let record = |n| Ok(stream.record(body(n)?, START_US + n)?);
    let records: Result<Vec<Record>, Box<dyn Error>> = (0..count).map(record).collect();
    Ok((signed, records?))
}

struct Sealed {
    edge: LogEdge,
    size: u64,
    note: SignedNote,
    states: Vec<SealedStream>,
    entries: std::collections::BTreeMap<u64, Vec<u8>>,
}

/// Seals what is new of the first `arrived` records of each stream, and writes it.
fn seal(
    dir: &Path,
    vkey: &VerifierKey,
    log_key: &SigningKey,
    edge: LogEdge,
    streams: &[(SignedRegistration, Vec<Record>)],
    arrived: usize,
    states: &[SealedStream],
) -> Result<Sealed, Box<dyn Error>> {
    let registrar = public(&SigningKey::from_bytes(&[9; 32]));
    let trusted = [(REGISTRAR_ID.to_owned(), registrar)];
    let rules = SealRules {
        commands_only: &[],
        trusted: &trusted,
        idle_after_us: 3_600_000_000,
        max_leaves: 100_000_000,
    };
    let mut pages = Vec::new();
    for (registration, records) in streams {
        let stream = records.first().ok_or("a stream without records")?.stream;
        let known = states.iter().find(|state| state.stream == stream).cloned();
        let from = known.as_ref().map_or(0, |known| known.next_seq) as usize;
        let until = records.len().min(arrived);
        pages.push(StreamPage {
            stream,
            known,
            registration: Some(registration.clone()),
            records: records[from.min(until)..until].to_vec(),
        });
    }
    let plan = plan_seal(ORIGIN, edge, pages, &rules, START_US)?;
    let (edge, ranges) = (plan.edge.clone(), plan.ranges.clone());
    let mut note = plan.unsigned();
    note.add(
        vkey,
        log_key.sign(plan.text().as_bytes()).to_bytes().to_vec(),
    )?;
    let staged = plan.stage(note)?;
    let log = dir.join("log");
    for (tile, bytes) in &staged.tiles {
        let path = log.join(tile.to_string());
        fs::create_dir_all(path.parent().ok_or("a tile without a folder")?)?;
        fs::write(path, bytes)?;
    }
    fs::write(log.join(CHECKPOINT_PATH), staged.note.to_string())?;
    let records = streams.iter().flat_map(|(_, records)| records);
    let placed = records.filter_map(|record| {
        let range = ranges.iter().find(|range| {
            range.stream == record.stream
                && (range.seq_lo..range.seq_lo + range.count).contains(&record.seq)
        })?;
        Some((
            range.index + record.seq - range.seq_lo,
            record.entry.clone(),
        ))
    });
    Ok(Sealed {
        size: edge.size(),
        edge,
        note: staged.note,
        states: staged.streams,
        entries: placed.collect(),
    })
}
