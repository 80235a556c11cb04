//! Proofs that are made from a log's tiles, and verified before anybody is given them.

use audit::canonical::leaf_hash;
use audit::checkpoint::Checkpoint;
use audit::note::{ParseNoteError, SignedNote};
use audit::proof_file::{MakeProofError, ProofFile, ProvenEntry, VerifyProofFileError};
use audit::seal::SealLeaf;
use audit::tiles::{ReadTileError, TileReader as _, TreeReader};
use audit::{LeafHash, StreamId};

use crate::failure::Failure;
use crate::log_trust::{Trust, describe_open_error};
use crate::sealed_log::{FindError, ObjectError, Place, Tiles, find_event};

/// An entry with its proof, verified.
#[derive(Debug)]
pub(crate) struct Proven {
    /// The entry's bytes.
    pub(crate) entry: Vec<u8>,
    /// The proof file.
    pub(crate) file: ProofFile,
    /// What it proves.
    pub(crate) by: ProvenEntry,
}

/// Finds an event in a log and proves it. `note` is the log's checkpoint, as it was published; nothing where the
/// event is not in the log.
pub(crate) fn prove_event(
    tiles: &mut Tiles,
    trust: &Trust,
    note: &[u8],
    stream: StreamId,
    seq: u64,
) -> Result<Option<Proven>, Failure> {
    let size = open_size(trust, note)?;
    match find_event(tiles, size, stream, seq) {
        Ok(None) => Ok(None),
        Ok(Some(Place { index, entry })) => prove_entry(tiles, trust, note, index, entry).map(Some),
        Err(FindError::Bundle(tile, error)) => {
            Err(describe_object_error(&error, &tile.to_string()))
        }
        Err(FindError::Unreadable(tile, reason)) => Err(Failure::refused(
            "audit.tile_unreadable",
            format!("{tile}: {reason}: it was altered"),
        )),
        Err(FindError::NotWhereSealed(seal)) => {
            let message = format!(
                "the seal at entry {seal} covers event {stream}:{seq}, and no entry that it covers is that event: one \
                 of them was altered (verify the log to see which)"
            );
            Err(Failure::refused("audit.seal_differs", message).with("index", seal))
        }
    }
}

/// Proves the entry at an index.
pub(crate) fn prove_index(
    tiles: &mut Tiles,
    trust: &Trust,
    note: &[u8],
    index: u64,
) -> Result<Proven, Failure> {
    let size = open_size(trust, note)?;
    if index >= size {
        let message = format!("the log has {size} entries: there is no entry {index} yet");
        return Err(Failure::not_found("audit.event_not_sealed", message).at("--index"));
    }
    let entry = tiles
        .entry(index, size)
        .map_err(|error| describe_object_error(&error, "the entry's bundle"))?;
    let entry = entry.ok_or_else(|| {
        let message = format!("the bundle of entry {index} is none: it was altered");
        Failure::refused("audit.tile_unreadable", message).with("index", index)
    })?;
    prove_entry(tiles, trust, note, index, entry)
}

fn open_size(trust: &Trust, note: &[u8]) -> Result<u64, Failure> {
    let opened = trust.require()?.open(note);
    let (checkpoint, _) = opened.map_err(|error| describe_open_error(&error))?;
    Ok(checkpoint.size)
}

fn prove_entry(
    tiles: &mut Tiles,
    trust: &Trust,
    note: &[u8],
    index: u64,
    entry: Vec<u8>,
) -> Result<Proven, Failure> {
    let unreadable = |error: ParseNoteError| describe_open_error(&error.into());
    let note = SignedNote::parse(note).map_err(unreadable)?;
    let leaf = LeafHash(leaf_hash(&entry));
    let file = ProofFile::make(&note, index, leaf, |tile| tiles.read_tile(tile));
    let file = file.map_err(|error| match error {
        MakeProofError::Checkpoint(error) => describe_open_error(&error),
        MakeProofError::Tile(error) => describe_tile_error(&error),
        MakeProofError::OtherLeaf { sealed, .. } => {
            let message = format!(
                "entry {index} is not the one that was sealed there: expected hash {sealed}, found {leaf}"
            );
            Failure::refused("audit.entry_differs", message).with("index", index)
        }
        MakeProofError::Damaged(_) => {
            let message =
                format!("the tiles beside entry {index} do not lead to the checkpoint's root: one was altered");
            Failure::refused("audit.tile_differs", message).with("index", index)
        }
    })?;
    verify_entry(trust, file, entry)
}

/// Verifies a proof that somebody else made.
pub(crate) fn verify_entry(
    trust: &Trust,
    file: ProofFile,
    entry: Vec<u8>,
) -> Result<Proven, Failure> {
    match file.verify(&entry, trust.require()?) {
        Ok(by) => Ok(Proven { entry, file, by }),
        Err(VerifyProofFileError::Checkpoint(error)) => Err(describe_open_error(&error)),
        Err(VerifyProofFileError::Inclusion { index, source }) => {
            let message = format!(
                "entry {index} and the hashes beside it do not lead to the checkpoint's root: one of them was \
                 altered ({source})"
            );
            Err(Failure::refused("audit.proof_invalid", message).with("index", index))
        }
    }
}

/// When the newest leaf of the log was sealed, where it is a seal and in the log; no proof, no time.
pub(crate) fn newest_seal(tiles: &mut Tiles, checkpoint: &Checkpoint) -> Option<SealLeaf> {
    let index = checkpoint.size.checked_sub(1)?;
    let entry = tiles.entry(index, checkpoint.size).ok()??;
    let hashes = TreeReader::new(checkpoint.size, |tile| tiles.read_tile(tile))
        .prove_inclusion(index)
        .ok()?;
    let leaf = leaf_hash(&entry);
    let (size, root) = (checkpoint.size, &checkpoint.root);
    audit::tree::verify_inclusion(size, index, &leaf, &hashes, root).ok()?;
    SealLeaf::parse(&entry).ok()
}

impl Proven {
    /// Holds the entry against the leaf hash of its receipt.
    pub(crate) fn check_hash(&self, expected: LeafHash) -> Result<(), Failure> {
        let found = LeafHash(self.by.leaf);
        if found == expected {
            return Ok(());
        }
        let index = self.by.index;
        let message = format!(
            "entry {index} of the log is not the event of the receipt: expected hash {expected}, found {found}"
        );
        Err(Failure::refused("audit.receipt_mismatch", message)
            .at("receipt")
            .with("index", index))
    }
}

fn describe_object_error(error: &ObjectError, what: &str) -> Failure {
    let message = format!("{what}: {error}");
    match error {
        ObjectError::Absent => Failure::not_found("audit.tile_not_found", message),
        ObjectError::Unreachable(_) => Failure::unavailable("audit.log_unreachable", message),
    }
}

fn describe_tile_error(error: &ReadTileError<ObjectError>) -> Failure {
    match error {
        ReadTileError::Store(tile, error) => describe_object_error(error, &tile.to_string()),
        other => Failure::refused("audit.tile_unreadable", other.to_string()),
    }
}
