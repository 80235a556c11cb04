//! `sealcast audit checkpoint`: how long the sealed log is, who signed that, and whether it only grew.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use audit::checkpoint::{CheckGrowthError, check_growth};
use audit::tiles::{TileReader as _, TreeReader};
use audit::tree::verify_consistency;
use clap::Args;
use serde_json::json;

use super::LogChoice;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::log_proof::newest_seal;
use crate::log_trust::{KeyFrom, Opened, Trust, describe_open_error, encode_root};
use crate::output::{Report, Text};
use crate::sealed_log::{self, Tiles};

const EXIT_CODES: &str = "Exit codes:
  0  the checkpoint is signed by a trusted key, and with --since the log has only grown
  1  not verified: a wrong signature, or a log that was set back or has forked
  2  wrong command line, or a key file that is none
  3  could not be verified: no checkpoint, no key, or a tile that is not there
  4  could not be verified: a store, a file or the network is unavailable, or refuses to answer
  5  a fault of this program";

/// Show the log's newest checkpoint, verify its signature, and keep it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CheckpointArguments {
    #[command(flatten)]
    log: LogChoice,
    /// A checkpoint that was kept: the log must have grown from it.
    #[arg(long, value_name = "CHECKPOINT")]
    since: Option<PathBuf>,
    /// Keep the checkpoint in this file, never overwritten, as it was published.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the proof of the growth since --since to this file, never overwritten: its hashes, one a line in base64,
    /// as programs of others take it.
    #[arg(long, value_name = "FILE", requires = "since")]
    growth: Option<PathBuf>,
}

/// Reads, verifies and shows the checkpoint.
pub(crate) fn run(arguments: &CheckpointArguments) -> Result<Report, Failure> {
    let (source, trust) = arguments.log.open()?;
    let objects = source.objects();
    let note = sealed_log::read_checkpoint(objects.as_ref())?;
    let opened = trust
        .open(&note)
        .map_err(|error| describe_open_error(&error).while_doing(objects.place()))?;
    let mut tiles = Tiles::new(&objects);
    let older = match &arguments.since {
        Some(path) => Some(read_kept(&trust, path, "--since")?),
        None => None,
    };
    if let Some(older) = &older {
        check_grown(older, &opened, &mut tiles)?;
    }
    let proof = match &older {
        Some(older) if arguments.growth.is_some() => {
            Some(prove_growth(older, &opened, &mut tiles)?)
        }
        _ => None,
    };
    let seal = newest_seal(&mut tiles, &opened.checkpoint);
    let mut files: Vec<(&Path, &[u8])> = Vec::new();
    if let Some(out) = &arguments.out {
        files.push((out, &note));
    }
    if let (Some(path), Some(proof)) = (&arguments.growth, &proof) {
        files.push((path, proof.as_bytes()));
    }
    files::create_all_public(&files).map_err(super::not_written)?;
    let verified = !opened.signers.is_empty();
    let age_s = seal.as_ref().and_then(|seal| age_seconds(&seal.time));
    let mut value = opened.to_json(trust.from);
    value["verified"] = verified.into();
    value["place"] = objects.place().into();
    value["newest_seal"] = seal.as_ref().map(|seal| seal.time.clone()).into();
    value["age_s"] = age_s.into();
    if let Some(older) = &older {
        value["grown_from"] = json!(older.checkpoint.size);
    }
    if let Some(out) = &arguments.out {
        value["file"] = out.display().to_string().into();
    }
    if let Some(growth) = &arguments.growth {
        value["growth_file"] = growth.display().to_string().into();
    }
    let sealed = seal.as_ref().map_or_else(
        || "unknown: the newest entry is no seal that can be verified".to_owned(),
        |seal| match age_s {
            Some(age) => {
                let age = humantime::format_duration(Duration::from_secs(age));
                format!("{} ({age} ago)", seal.time)
            }
            None => seal.time.clone(),
        },
    );
    let text = describe(Text::new(), &opened, trust.from)
        .field("newest seal", sealed)
        .optional("grown", older.as_ref().map(describe_growth))
        .optional(
            "its proof",
            arguments.growth.as_ref().map(|growth| growth.display()),
        )
        .optional("kept in", arguments.out.as_ref().map(|out| out.display()));
    let report = Report::new(&value, text)?;
    Ok(if verified {
        report
    } else {
        report.ending_with(Exit::NotFound)
    })
}

/// What a checkpoint says, and whose signature it bears.
pub(super) fn describe(text: Text, opened: &Opened, from: KeyFrom) -> Text {
    let checkpoint = &opened.checkpoint;
    let signed = match (opened.signers.is_empty(), from.caveat()) {
        (true, _) => format!(
            "not verified: {}",
            KeyFrom::Nowhere.caveat().unwrap_or_default()
        ),
        (false, Some(caveat)) => format!("{}; {caveat}", opened.signers.join(", ")),
        (false, None) => opened.signers.join(", "),
    };
    text.field("log", &checkpoint.origin)
        .field("size", checkpoint.size)
        .field("root", encode_root(&checkpoint.root))
        .field("signed by", signed)
}

/// The sentence about growth.
pub(super) fn describe_growth(older: &Opened) -> String {
    format!("only, from the {} entries kept", older.checkpoint.size)
}

/// A checkpoint that was kept, and which option named it. That it is not right says nothing about the log.
pub(super) fn read_kept(trust: &Trust, path: &Path, option: &str) -> Result<Opened, Failure> {
    let place = path.display().to_string();
    let note = files::read(path, audit::note::MAX_NOTE_BYTES as u64);
    let note = note.map_err(super::not_verified)?;
    trust.open(&note).map_err(|error| {
        let failure = describe_open_error(&error).while_doing(&place).at(option);
        Failure {
            exit: Exit::Usage,
            ..failure
        }
    })
}

/// Checks that the log has only grown; a tile that is not given is no evidence.
pub(super) fn check_grown(
    older: &Opened,
    newer: &Opened,
    tiles: &mut Tiles,
) -> Result<(), Failure> {
    let grown = check_growth(&older.checkpoint, &newer.checkpoint, |tile| {
        tiles.read_tile(tile)
    });
    grown.map_err(|error| {
        describe_growth_error(&error, tiles)
            .with("from", older.checkpoint.size)
            .with("to", newer.checkpoint.size)
    })
}

/// Why the growth is not proven. Tiles that could not be read are evidence only where they were given.
fn describe_growth_error(error: &CheckGrowthError, tiles: &Tiles) -> Failure {
    let mut failure = Failure::refused(error.code(), error.to_string());
    if let CheckGrowthError::Unreadable { .. } = error {
        if tiles.lost().is_some() {
            failure.exit = Exit::Unavailable;
        } else if tiles.absent() {
            failure.exit = Exit::NotFound;
        }
    }
    failure
}

/// The hashes of the proof that the log has only grown, one a line.
fn prove_growth(older: &Opened, newer: &Opened, tiles: &mut Tiles) -> Result<String, Failure> {
    let (from, to) = (&older.checkpoint, &newer.checkpoint);
    let mut tree = TreeReader::new(to.size, |tile| tiles.read_tile(tile));
    let hashes = tree
        .prove_consistency(from.size)
        .map_err(|error| CheckGrowthError::Unreadable {
            older: from.size,
            newer: to.size,
            reason: error.to_string(),
        });
    let hashes = hashes.map_err(|error| describe_growth_error(&error, tiles))?;
    // The tiles were read a second time: what is written is what holds.
    verify_consistency((from.size, &from.root), (to.size, &to.root), &hashes)
        .map_err(|error| Failure::refused("audit.tile_differs", error.to_string()))?;
    Ok(hashes.iter().map(|hash| encode_root(hash) + "\n").collect())
}

/// Seconds since a time of a seal; none where the clocks disagree.
fn age_seconds(time: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    let age = SystemTime::now().duration_since(time).ok()?;
    Some(age.as_secs())
}
