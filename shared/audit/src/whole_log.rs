//! Verification of a whole log: everything that can be computed again is.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::canonical::leaf_hash;
use crate::checkpoint::Checkpoint;
use crate::stream::{LeafHash, PublicKey, StreamId};
use crate::tiles::{
    NO_SIGNATURE, TILE_WIDTH, TileId, TileKind, TileReader, parse_entries, parse_hashes,
    parse_signatures,
};
use crate::tree::{Frontier, Hash};

mod entries;
mod fault;

pub use entries::{EntryVerifier, StreamSummary};
pub use fault::LogFault;

/// Most faults that a report names; the rest is counted.
pub const MAX_FAULTS: usize = 1000;

/// What of a log was verified, and what could not be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogReport {
    /// The log.
    pub origin: String,
    /// Leaves that the checkpoint covers.
    pub size: u64,
    /// True where the leaves' hashes lead to the checkpoint's root.
    pub root_verified: bool,
    /// Entries whose bytes were there and are the ones that were sealed.
    pub entries: u64,
    /// Entries whose bytes were not there; their hashes stood in for them.
    pub entries_missing: u64,
    /// Seals among the entries.
    pub seals: u64,
    /// Registrations and events whose signature was verified.
    pub signatures: u64,
    /// Registrations and events whose signature was not there.
    pub signatures_missing: u64,
    /// Findings that the sealer reported, by their code.
    pub reported: BTreeMap<String, u64>,
    /// The streams, by id.
    pub streams: BTreeMap<StreamId, StreamSummary>,
    /// What does not hold, with its place; at most [`MAX_FAULTS`].
    pub faults: Vec<LogFault>,
    /// All faults, the ones that are not named too.
    pub fault_count: u64,
}

impl LogReport {
    fn of(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            size: 0,
            root_verified: false,
            entries: 0,
            entries_missing: 0,
            seals: 0,
            signatures: 0,
            signatures_missing: 0,
            reported: BTreeMap::new(),
            streams: BTreeMap::new(),
            faults: Vec::new(),
            fault_count: 0,
        }
    }

    /// True where nothing is wrong and nothing was missing. Gaps that the sealer reported itself are in `reported`.
    pub fn is_complete(&self) -> bool {
        self.root_verified
            && self.fault_count == 0
            && self.entries_missing == 0
            && self.signatures_missing == 0
    }
}

/// Verifies a whole log of a trusted checkpoint from its tiles, in memory that grows with the streams and not with the events: every
/// entry against its hash, every tile against the hashes below it, the root, each stream's chain and signatures, and
/// what each seal says. `progress` is told the number of leaves that are done, after each bundle.
pub fn verify_log<R: TileReader<Error: fmt::Display>>(
    checkpoint: &Checkpoint,
    trusted: &[(String, PublicKey)],
    reader: &mut R,
    progress: &mut dyn FnMut(u64),
) -> LogReport {
    let mut walk = Walk {
        size: checkpoint.size,
        reader,
        frontier: Frontier::new(),
        entries: EntryVerifier::new(&checkpoint.origin, trusted),
        missing: 0,
        readable: true,
    };
    let mut index = 0;
    while let Some(tile) = TileId::in_tree(TileKind::Hashes(0), index, checkpoint.size) {
        walk.check_bundle(tile);
        progress(index * TILE_WIDTH as u64 + tile.width() as u64);
        if !walk.readable {
            break;
        }
        index += 1;
    }
    walk.check_edge();
    let found = walk.frontier.root();
    let root_verified = walk.readable && found == checkpoint.root;
    if walk.readable && !root_verified {
        walk.entries.fault(LogFault::Root {
            expected: LeafHash(checkpoint.root),
            found: LeafHash(found),
        });
    }
    let missing = walk.missing;
    let mut report = walk.entries.finish();
    report.size = checkpoint.size;
    report.root_verified = root_verified;
    report.entries_missing = missing;
    report
}

struct Walk<'a, R> {
    size: u64,
    reader: &'a mut R,
    frontier: Frontier,
    entries: EntryVerifier,
    missing: u64,
    readable: bool,
}

impl<R: TileReader<Error: fmt::Display>> Walk<'_, R> {
    fn read(&mut self, tile: TileId) -> Option<Vec<u8>> {
        match self.reader.read_tile(tile) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let reason = error.to_string();
                self.unreadable(tile, reason);
                None
            }
        }
    }

    fn unreadable(&mut self, tile: TileId, reason: String) {
        let path = tile.to_string();
        self.entries
            .fault(LogFault::TileUnreadable { path, reason });
    }

    fn parse<T, E: fmt::Display>(&mut self, tile: TileId, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.unreadable(tile, error.to_string());
                None
            }
        }
    }

    /// Checks up to 256 entries: each against its hash in the tile, and what it says.
    fn check_bundle(&mut self, tile: TileId) {
        let first = self.frontier.size();
        let of_kind = |kind| TileId::in_tree(kind, tile.index(), self.size).unwrap_or(tile);
        let (entry_tile, signature_tile) =
            (of_kind(TileKind::Entries), of_kind(TileKind::Signatures));
        let hashes = self.read(tile);
        let hashes = hashes.and_then(|bytes| self.parse(tile, parse_hashes(&bytes, tile.width())));
        let bundle = self.read(entry_tile);
        let entries = bundle
            .as_ref()
            .and_then(|bytes| self.parse(entry_tile, parse_entries(bytes, tile.width())));
        let signatures = self
            .read(signature_tile)
            .and_then(|bytes| self.parse(signature_tile, parse_signatures(&bytes, tile.width())));
        let signature = |at: usize| {
            let found = signatures.as_ref().and_then(|all| all.get(at));
            found.copied().unwrap_or(NO_SIGNATURE)
        };
        for at in 0..tile.width() {
            let index = first + at as u64;
            let sealed = hashes.as_ref().and_then(|hashes| hashes.get(at)).copied();
            let entry = entries
                .as_ref()
                .and_then(|entries| entries.get(at))
                .copied();
            let leaf = match (entry, sealed) {
                (Some(entry), sealed) => {
                    let found = leaf_hash(entry);
                    if let Some(sealed) = sealed.filter(|sealed| *sealed != found) {
                        self.entries.altered(entry, sealed);
                        sealed
                    } else {
                        self.entries.entry(entry, &signature(at));
                        found
                    }
                }
                (None, Some(sealed)) => {
                    self.missing += 1;
                    self.entries.skip();
                    sealed
                }
                // Neither the entry nor its hash: the tree cannot be computed from here on.
                (None, None) => {
                    self.missing += self.size - index;
                    self.readable = false;
                    return;
                }
            };
            for (filled, hashes) in self.frontier.append(leaf) {
                if filled.kind() != TileKind::Hashes(0) {
                    self.check_tile(filled, &hashes);
                }
            }
            self.entries.grown_to(&self.frontier);
        }
    }

    /// Checks the partial tiles above the leaves.
    fn check_edge(&mut self) {
        if !self.readable {
            return;
        }
        let partials: Vec<(TileId, Vec<Hash>)> = self
            .frontier
            .partials()
            .map(|(tile, hashes)| (tile, hashes.to_vec()))
            .collect();
        for (tile, hashes) in partials {
            if tile.kind() != TileKind::Hashes(0) {
                self.check_tile(tile, &hashes);
            }
        }
    }

    fn check_tile(&mut self, tile: TileId, expected: &[Hash]) {
        let stored = self.read(tile);
        let stored = stored.and_then(|bytes| self.parse(tile, parse_hashes(&bytes, tile.width())));
        let differs =
            stored.and_then(|stored| stored.iter().zip(expected).position(|(s, e)| s != e));
        if let Some(at) = differs {
            let path = tile.to_string();
            self.entries.fault(LogFault::TileHash { path, at });
        }
    }
}
