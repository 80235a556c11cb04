//! `sealcast audit prove`: an event and the proof that it is in the sealed log, as files that programs of others take.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use audit::proof_file::ProofFile;
use audit::{LeafHash, StreamId};
use clap::{ArgGroup, Args};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::LogChoice;
use crate::ask::Client;
use crate::failure::Failure;
use crate::log_proof::{Proven, prove_event, prove_index, verify_entry};
use crate::log_trust::{KeyFrom, Trust, encode_root};
use crate::output::{Report, Text};
use crate::sealed_log::{self, Source, Tiles};
use crate::{files, stream_file};

/// Longest event with its proof that is read, in bytes.
const MAX_EVENT: u64 = 4 << 20;
/// How long to wait before it is asked again whether an event is sealed.
const PAUSE: Duration = Duration::from_secs(1);

const EXIT_CODES: &str = "Exit codes:
  0  proven; both files are written, and verified before
  1  evidence of tampering: the log holds another event, or its tiles do not fit
  2  wrong command line, or a key file that is none
  3  not proven: the event is not in the log, or a tile or a key is not there
  4  not proven: not sealed yet, or a store, a file or the network is unavailable, or refuses to answer
  5  a fault of this program";

/// Prove that an event is in the sealed log: write it and its proof file, verified.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
#[command(group = ArgGroup::new("which").required(true).args(["event", "index"]))]
pub(crate) struct ProveArguments {
    /// The event, or its receipt, whose hash it must have then.
    #[arg(value_name = "STREAM:SEQ[:HASH]", value_parser = parse_event)]
    event: Option<Event>,
    /// The entry at this index of the log: a registration or a seal, too.
    #[arg(long, value_name = "INDEX")]
    index: Option<u64>,
    #[command(flatten)]
    log: LogChoice,
    /// The folder for NAME.json and NAME.tlog-proof, which are never overwritten.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// What the files are called; STREAM-SEQ by default.
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
    /// Wait so long for an event that is not sealed yet, in seconds.
    #[arg(long, value_name = "S", default_value_t = 0)]
    wait: u64,
}

/// An event that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) stream: StreamId,
    pub(crate) seq: u64,
    pub(crate) hash: Option<LeafHash>,
}

fn parse_event(text: &str) -> Result<Event, String> {
    if text.split(':').count() == 3 {
        let receipt = stream_file::parse_receipt(text)?;
        return Ok(Event {
            stream: receipt.stream,
            seq: receipt.seq,
            hash: Some(receipt.leaf_hash),
        });
    }
    let parse = || {
        let (stream, seq) = text.split_once(':')?;
        Some(Event {
            stream: StreamId::parse(stream)?,
            seq: seq.parse().ok()?,
            hash: None,
        })
    };
    parse().ok_or_else(|| {
        "expected STREAM:SEQ or a receipt STREAM:SEQ:HASH (32 hexadecimal digits, a number, 64 hexadecimal digits)"
            .to_owned()
    })
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') || text.starts_with('.') {
        return Err("expected a file's name without its folder".to_owned());
    }
    Ok(text.to_owned())
}

/// An event as the API gives it.
#[derive(Deserialize)]
struct SealedEvent {
    entry: Box<RawValue>,
    #[serde(default)]
    proof: Option<String>,
}

/// Proves, verifies, and writes both files.
pub(crate) fn run(arguments: &ProveArguments) -> Result<Report, Failure> {
    let (source, trust) = arguments.log.open()?;
    trust.require()?;
    let started = Instant::now();
    let proven = loop {
        let found = match (arguments.event, arguments.index) {
            (Some(event), _) => prove(&source, &trust, event)?,
            (None, index) => Some(prove_at(&source, &trust, index.unwrap_or_default())?),
        };
        match found {
            Some(proven) => break proven,
            None if started.elapsed() < Duration::from_secs(arguments.wait) => {
                std::thread::sleep(PAUSE);
            }
            None => return Err(not_sealed(arguments.event)),
        }
    };
    if let Some(hash) = arguments.event.and_then(|event| event.hash) {
        proven.check_hash(hash)?;
    }
    let name = arguments
        .name
        .clone()
        .unwrap_or_else(|| match arguments.event {
            Some(event) => format!("{}-{}", event.stream, event.seq),
            None => format!("entry-{}", proven.by.index),
        });
    let event_path = arguments.out.join(format!("{name}.json"));
    let proof_path = arguments.out.join(format!("{name}.tlog-proof"));
    write(&event_path, &proof_path, &proven).map_err(super::not_written)?;
    report(&proven, trust.from, &event_path, &proof_path)
}

fn not_sealed(event: Option<Event>) -> Failure {
    let which = event.map_or_else(String::new, |event| {
        format!("{}:{}", event.stream, event.seq)
    });
    let message = format!(
        "event {which} is not in the sealed log: not sealed yet (--wait S waits), or never recorded, or removed before \
         it was sealed"
    );
    Failure::unavailable("audit.event_not_sealed", message)
}

/// Proves an event from an API's answer or from tiles; nothing where it is not sealed (yet).
pub(super) fn prove(
    source: &Source,
    trust: &Trust,
    event: Event,
) -> Result<Option<Proven>, Failure> {
    match source {
        Source::Api(client) => ask_for(client, trust, event),
        Source::Folder(_) | Source::Store(..) => {
            let objects = source.objects();
            let note = sealed_log::read_checkpoint(objects.as_ref())?;
            let mut tiles = Tiles::new(&objects);
            prove_event(&mut tiles, trust, &note, event.stream, event.seq)
        }
    }
}

fn prove_at(source: &Source, trust: &Trust, index: u64) -> Result<Proven, Failure> {
    let objects = source.objects();
    let note = sealed_log::read_checkpoint(objects.as_ref())?;
    prove_index(&mut Tiles::new(&objects), trust, &note, index)
}

fn ask_for(client: &Client, trust: &Trust, event: Event) -> Result<Option<Proven>, Failure> {
    let (stream, seq) = (event.stream, event.seq);
    let route = format!("/v1/audit/events/{stream}/{seq}");
    let fetched = sealed_log::persist(|| client.get(&route, MAX_EVENT));
    let fetched = fetched
        .map_err(|failure| super::not_verified(failure.while_doing(format!("{stream}:{seq}"))))?;
    let no_answer = |error: String| {
        let message = format!("GET {}{route}: {error}", client.address());
        Failure::unavailable("network.no_answer", message).at("--server")
    };
    let found: SealedEvent =
        serde_json::from_slice(&fetched.body).map_err(|error| no_answer(error.to_string()))?;
    let Some(proof) = found.proof else {
        return Ok(None);
    };
    let file = ProofFile::parse(proof.as_bytes()).map_err(|error| no_answer(error.to_string()))?;
    let proven = verify_entry(trust, file, found.entry.get().as_bytes().to_vec())?;
    // What is proven must be what was asked for.
    let same = serde_json::from_slice::<Position>(&proven.entry)
        .is_ok_and(|found| (found.stream, found.seq) == (stream, seq));
    if same {
        return Ok(Some(proven));
    }
    let message = format!(
        "the server proves entry {}, which is not event {seq} of stream {stream}",
        proven.by.index
    );
    Err(Failure::refused("audit.event_differs", message).with("index", proven.by.index))
}

#[derive(Deserialize)]
struct Position {
    stream: StreamId,
    seq: u64,
}

/// Writes both files, or neither.
fn write(event: &Path, proof: &Path, proven: &Proven) -> Result<(), Failure> {
    if let Some(dir) = event.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(|error| Failure::file("create", dir, &error))?;
    }
    let file = proven.file.to_string();
    files::create_all_public(&[(event, &proven.entry), (proof, file.as_bytes())])
}

fn report(proven: &Proven, from: KeyFrom, event: &Path, proof: &Path) -> Result<Report, Failure> {
    let (index, checkpoint) = (proven.by.index, &proven.by.checkpoint);
    let signers: Vec<String> = proven.by.signers.iter().map(ToString::to_string).collect();
    let (event, proof) = (event.display().to_string(), proof.display().to_string());
    let text = Text::new()
        .field("proven", format!("entry {index} of {}", checkpoint.size))
        .field("log", &checkpoint.origin)
        .field("root", encode_root(&checkpoint.root))
        .field("signed by", signers.join(", "))
        .optional("but", from.caveat())
        .field("leaf hash", hex::encode(proven.by.leaf))
        .field("event", &event)
        .field("proof", &proof);
    Report::new(
        &json!({
            "verified": true,
            "index": index,
            "leaf_hash": hex::encode(proven.by.leaf),
            "checkpoint": {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": encode_root(&checkpoint.root),
                "signed_by": signers,
                "key_from": from,
            },
            "event": event,
            "proof": proof,
        }),
        text,
    )
}
