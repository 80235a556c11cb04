//! A part of a log, from the root down to its leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use super::source::{Bundle, Source};
use super::{LogFault, LogReport};
use crate::canonical::leaf_hash;
use crate::tiles::{TILE_WIDTH, TileId, TileKind, TileReader};
use crate::tree::{Frontier, Hash, root_of};

const WIDTH: u64 = TILE_WIDTH as u64;

/// Verifies the leaves of a part. What [`verify_part`](super::verify_part) says.
pub(super) fn verify<R: TileReader<Error: fmt::Display>>(
    source: Source<'_, '_, R>,
    part: Range<u64>,
    progress: &mut dyn FnMut(u64),
) -> LogReport {
    let size = source.checkpoint.size;
    let until = part.end.min(size);
    let from = part.start.min(until);
    let mut walk = Part {
        source,
        leaves: from..until,
        edge: BTreeMap::new(),
        last: BTreeMap::new(),
        without: BTreeSet::new(),
    };
    walk.source.entries.begin_at(from);
    let root_verified = walk.read_edge();
    let mut done = from;
    if root_verified && let Some(mut frontier) = walk.beginning(from / WIDTH * WIDTH) {
        while frontier.size() < until && walk.check_bundle(&mut frontier) {
            done = frontier.size().clamp(from, until);
            progress(done - from);
        }
    }
    walk.source.entries.skip_many(until - done);
    let mut report = if until == size {
        walk.source.entries.finish()
    } else {
        walk.source.entries.finish_part()
    };
    report.size = size;
    report.root_verified = root_verified;
    report
}

struct Part<'a, 'r, R> {
    source: Source<'a, 'r, R>,
    leaves: Range<u64>,
    /// The partial tiles, which together give the root.
    edge: BTreeMap<TileId, Vec<Hash>>,
    /// Of each level the last full tile that was read.
    last: BTreeMap<TileKind, (u64, Vec<Hash>)>,
    /// Tiles that are not there, or not the right ones.
    without: BTreeSet<TileId>,
}

impl<R: TileReader<Error: fmt::Display>> Part<'_, '_, R> {
    /// Reads the partial tiles and holds them against the root.
    fn read_edge(&mut self) -> bool {
        let size = self.source.checkpoint.size;
        let mut levels = vec![Vec::new(); crate::tree::levels_of(size)];
        let mut whole = true;
        for (level, hashes) in levels.iter_mut().enumerate() {
            if let Some(tile) = TileId::at_edge(level as u8, size) {
                match self.source.hashes(tile) {
                    Some(read) => *hashes = read,
                    None => whole = false,
                }
            }
        }
        let Some(edge) = Frontier::from_levels(size, levels).ok().filter(|_| whole) else {
            return false;
        };
        let root = edge.root();
        if root != self.source.checkpoint.root {
            self.source.other_root(root);
            return false;
        }
        let partials = edge.partials();
        self.edge = partials
            .map(|(tile, hashes)| (tile, hashes.to_vec()))
            .collect();
        true
    }

    /// The hashes of a tile, for which the tiles above it vouch up to the root.
    fn hashes(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        let kind = TileKind::Hashes(level);
        let tile = TileId::in_tree(kind, index, self.source.checkpoint.size)?;
        if let Some(hashes) = self.edge.get(&tile) {
            return Some(hashes.clone());
        }
        if let Some((last, hashes)) = self.last.get(&kind)
            && *last == index
        {
            return Some(hashes.clone());
        }
        if self.without.contains(&tile) {
            return None;
        }
        let expected = self.root_of_tile(level, index)?;
        let hashes = self.source.hashes(tile);
        if let Some(hashes) = hashes.as_ref().filter(|hashes| root_of(hashes) == expected) {
            self.last.insert(kind, (index, hashes.clone()));
        } else {
            self.without.insert(tile);
            if hashes.is_some() {
                let path = tile.to_string();
                self.source.entries.fault(LogFault::TileSwapped { path });
            }
            return None;
        }
        hashes
    }

    /// The root of a full tile, from the tile above it.
    fn root_of_tile(&mut self, level: u8, index: u64) -> Option<Hash> {
        let above = self.hashes(level.checked_add(1)?, index / WIDTH)?;
        above.get((index % WIDTH) as usize).copied()
    }

    /// The right edge of the tree of the first `size` leaves, a multiple of 256.
    fn beginning(&mut self, size: u64) -> Option<Frontier> {
        let mut levels = vec![Vec::new(); crate::tree::levels_of(size)];
        for (level, hashes) in levels.iter_mut().enumerate() {
            let before = size >> (8 * level);
            let width = (before % WIDTH) as usize;
            if width > 0 {
                *hashes = self
                    .hashes(level as u8, before / WIDTH)?
                    .get(..width)?
                    .to_vec();
            }
        }
        Frontier::from_levels(size, levels).ok()
    }

    /// Checks the next bundle. False where it cannot be passed over: the tiles above it are not there.
    fn check_bundle(&mut self, frontier: &mut Frontier) -> bool {
        let (first, size) = (frontier.size(), self.source.checkpoint.size);
        let Some(tile) = TileId::in_tree(TileKind::Hashes(0), first / WIDTH, size) else {
            return false;
        };
        let sealed = self.hashes(0, tile.index());
        let bundle = self.source.bundle(tile);
        let root = if tile.is_full() && sealed.is_none() {
            self.root_of_tile(0, tile.index())
        } else {
            None
        };
        // The entries themselves vouch for a tile that is not there, or wrong.
        let sealed = sealed.or_else(|| {
            let hashes = bundle.hashes()?;
            (Some(root_of(&hashes)) == root).then_some(hashes)
        });
        let end = self.leaves.end.min(first + tile.width() as u64);
        match (sealed, root) {
            (Some(sealed), _) => {
                self.check_entries(frontier, &sealed, &bundle);
                true
            }
            (None, Some(root)) => {
                let begin = self.leaves.start.max(first);
                self.source.entries.skip_many(end - begin);
                frontier.append_tile(root).is_some()
            }
            (None, None) => false,
        }
    }

    fn check_entries(&mut self, frontier: &mut Frontier, sealed: &[Hash], bundle: &Bundle) {
        for (at, sealed) in sealed.iter().enumerate() {
            let index = frontier.size();
            if index >= self.leaves.end {
                break;
            }
            let entries = &mut self.source.entries;
            if self.leaves.contains(&index) {
                match bundle.entry(at) {
                    None => entries.skip(),
                    Some(entry) if leaf_hash(entry) != *sealed => entries.altered(entry, *sealed),
                    Some(entry) => entries.entry(entry, &bundle.signature(at)),
                }
            }
            frontier.append(*sealed);
            if self.leaves.contains(&index) {
                entries.grown_to(frontier);
            }
        }
    }
}
