//! A whole log, from its leaves up to the root.

use std::fmt;

use super::source::Source;
use super::{LogFault, LogReport};
use crate::tiles::{TILE_WIDTH, TileId, TileKind, TileReader};
use crate::tree::{Frontier, Hash};

/// Verifies all leaves. What [`verify_log`](super::verify_log) says.
pub(super) fn verify<R: TileReader<Error: fmt::Display>>(
    source: Source<'_, '_, R>,
    progress: &mut dyn FnMut(u64),
) -> LogReport {
    let size = source.checkpoint.size;
    let mut walk = Walk {
        source,
        frontier: Frontier::new(),
    };
    let mut index = 0;
    let mut whole = true;
    while let Some(tile) = TileId::in_tree(TileKind::Hashes(0), index, size) {
        whole = walk.check_bundle(tile);
        progress(index * TILE_WIDTH as u64 + tile.width() as u64);
        if !whole {
            break;
        }
        index += 1;
    }
    let mut root_verified = false;
    if whole {
        walk.check_edge();
        let found = walk.frontier.root();
        root_verified = found == walk.source.checkpoint.root;
        if !root_verified {
            walk.source.other_root(found);
        }
    } else {
        // Neither entries nor hashes: the tree cannot be computed from here on.
        let rest = size - walk.frontier.size();
        walk.source.entries.skip_many(rest);
    }
    let mut report = walk.source.entries.finish();
    report.size = size;
    report.root_verified = root_verified;
    report
}

struct Walk<'a, 'r, R> {
    source: Source<'a, 'r, R>,
    frontier: Frontier,
}

impl<R: TileReader<Error: fmt::Display>> Walk<'_, '_, R> {
    /// Checks up to 256 entries: each against its hash in the tile, and what it says. Where entries and tile differ and
    /// the entries are the ones that lead to the root, the tile is wrong. False where neither entries nor hashes are
    /// there.
    fn check_bundle(&mut self, tile: TileId) -> bool {
        let mut hashes = self.source.hashes(tile);
        let bundle = self.source.bundle(tile);
        let found = bundle.hashes();
        match (&hashes, &found) {
            (None, None) => return self.pass_bundle(tile),
            (Some(sealed), Some(found))
                if sealed != found && self.source.lead_to_root(tile, found) =>
            {
                let path = tile.to_string();
                self.source.entries.fault(LogFault::TileSwapped { path });
                hashes = None;
            }
            _ => {}
        }
        for at in 0..tile.width() {
            let sealed = hashes.as_ref().and_then(|hashes| hashes.get(at)).copied();
            let entries = &mut self.source.entries;
            let found = found.as_ref().and_then(|found| found.get(at)).copied();
            let entry = bundle.entry(at).zip(found);
            let leaf = match (entry, sealed) {
                (Some((entry, found)), Some(sealed)) if sealed != found => {
                    entries.altered(entry, sealed);
                    sealed
                }
                (Some((entry, found)), _) => {
                    entries.entry(entry, &bundle.signature(at));
                    found
                }
                (None, Some(sealed)) => {
                    entries.skip();
                    sealed
                }
                (None, None) => return false,
            };
            let filled = self.frontier.append(leaf);
            self.check_filled(&filled);
            self.source.entries.grown_to(&self.frontier);
        }
        true
    }

    /// Passes over a full bundle of which nothing is there but its root, in the tile above.
    fn pass_bundle(&mut self, tile: TileId) -> bool {
        let (above, at) = (
            tile.index() / TILE_WIDTH as u64,
            tile.index() % TILE_WIDTH as u64,
        );
        let size = self.source.checkpoint.size;
        let above = TileId::in_tree(TileKind::Hashes(1), above, size).filter(|_| tile.is_full());
        let hashes = above.and_then(|above| self.source.hashes(above));
        let root = hashes.and_then(|hashes| hashes.get(at as usize).copied());
        let Some(filled) = root.and_then(|root| self.frontier.append_tile(root)) else {
            return false;
        };
        self.source.entries.skip_many(TILE_WIDTH as u64);
        self.check_filled(&filled);
        true
    }

    fn check_filled(&mut self, filled: &[(TileId, Vec<Hash>)]) {
        for (tile, hashes) in filled {
            if tile.kind() != TileKind::Hashes(0) {
                self.check_tile(*tile, hashes);
            }
        }
    }

    /// Checks the partial tiles above the leaves.
    fn check_edge(&mut self) {
        let partials = self.frontier.partials();
        let partials: Vec<(TileId, Vec<Hash>)> = partials
            .map(|(tile, hashes)| (tile, hashes.to_vec()))
            .collect();
        self.check_filled(&partials);
    }

    fn check_tile(&mut self, tile: TileId, expected: &[Hash]) {
        let stored = self.source.hashes(tile);
        let differs =
            stored.and_then(|stored| stored.iter().zip(expected).position(|(s, e)| s != e));
        if let Some(at) = differs {
            let path = tile.to_string();
            self.source.entries.fault(LogFault::TileHash { path, at });
        }
    }
}
