//! Where events and registrations stand in a log. What the seals say about it is a hint: the proof of an event, and
//! the signature of a registration, is what counts.

use std::collections::HashMap;
use std::sync::Arc;

use audit::seal::SealLeaf;
use audit::tiles::{
    NO_SIGNATURE, TILE_WIDTH, TileId, TileKind, TileReader as _, first_entries, first_signatures,
};
use audit::{SignedRegistration, StreamId};
use serde::Deserialize;

use super::{LogObjects, ObjectError, Tiles};
use crate::progress::Progress;

/// Why nobody knows whether an event stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FindError {
    /// A bundle of entries was not given.
    Bundle(TileId, ObjectError),
    /// The bytes of a bundle are none.
    Unreadable(TileId, String),
    /// The seal at this index says that it covers the event, and no entry that it covers is the event.
    NotWhereSealed(u64),
}

/// Where an event stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its index.
    pub(crate) index: u64,
    /// Its bytes, as the log has them.
    pub(crate) entry: Vec<u8>,
}

#[derive(Deserialize)]
struct EventHead {
    stream: StreamId,
    seq: u64,
}

/// Reads bundles of entries, and keeps the one that was read last.
struct Bundles<'a> {
    tiles: &'a mut Tiles,
    size: u64,
    last: &'a mut Option<(u64, Vec<Vec<u8>>)>,
}

impl Bundles<'_> {
    /// The entries of a bundle; none beyond the end of the log.
    fn read(&mut self, index: u64) -> Result<&[Vec<u8>], FindError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != index) {
            let mut entries = Vec::new();
            if let Some(tile) = TileId::in_tree(TileKind::Entries, index, self.size) {
                let bytes = self.tiles.read_tile(tile);
                let bytes = bytes.map_err(|error| FindError::Bundle(tile, error))?;
                let read = first_entries(&bytes, tile.width())
                    .map_err(|error| FindError::Unreadable(tile, error.to_string()))?;
                entries = read.into_iter().map(<[u8]>::to_vec).collect();
            }
            *self.last = Some((index, entries));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, entries)| entries))
    }

    fn entry(&mut self, index: u64) -> Result<Option<Vec<u8>>, FindError> {
        let at = (index % TILE_WIDTH as u64) as usize;
        Ok(self.read(index / TILE_WIDTH as u64)?.get(at).cloned())
    }

    /// Looks at each entry of `from..until`.
    fn scan(
        &mut self,
        (from, until): (u64, u64),
        stream: StreamId,
        seq: u64,
        progress: &mut Progress,
    ) -> Result<Option<Place>, FindError> {
        let width = TILE_WIDTH as u64;
        for bundle in from / width..until.div_ceil(width) {
            let first = bundle * width;
            for (index, entry) in (first..).zip(self.read(bundle)?) {
                if (from..until).contains(&index) && is_event(entry, stream, seq) {
                    let entry = entry.clone();
                    return Ok(Some(Place { index, entry }));
                }
            }
            progress.advance(width);
        }
        Ok(None)
    }
}

fn is_event(entry: &[u8], stream: StreamId, seq: u64) -> bool {
    serde_json::from_slice::<EventHead>(entry)
        .is_ok_and(|head| (head.stream, head.seq) == (stream, seq))
}

/// Finds an event in the log of `size` leaves: from the newest seal back to the one that covers it, and then among
/// the entries that this seal covers. Where the seals do not lead on, all entries before are looked at.
///
/// Nothing is said where no seal covers it. One that covers it, over entries that do not hold it, is an error: whoever
/// alters an event's position shall not make it one that is not sealed yet.
pub(crate) fn find_event(
    tiles: &mut Tiles,
    size: u64,
    stream: StreamId,
    seq: u64,
) -> Result<Option<Place>, FindError> {
    let mut progress = Progress::start("looking for the event", size);
    let mut last = None;
    let mut bundles = Bundles {
        tiles,
        size,
        last: &mut last,
    };
    let mut end = size;
    while end > 0 {
        let seal = bundles.entry(end - 1)?;
        let seal = seal.and_then(|entry| SealLeaf::parse(&entry).ok());
        let Some(seal) = seal.filter(|seal| seal.previous_size < end) else {
            return bundles.scan((0, end), stream, seq, &mut progress);
        };
        let covered = seal.runs.iter().any(|run| {
            let last = run.first.saturating_add(run.count);
            run.stream == stream && (run.first..last).contains(&seq)
        });
        if covered {
            let block = (seal.previous_size, end);
            let found = bundles.scan(block, stream, seq, &mut progress)?;
            return found.map(Some).ok_or(FindError::NotWhereSealed(end - 1));
        }
        progress.advance(end - seal.previous_size);
        end = seal.previous_size;
    }
    Ok(None)
}

/// The registrations of streams that began before a part of a log, found by the seals that cover them: from that part
/// back to the beginning, and no further than needed.
pub(crate) struct Registrations {
    tiles: Tiles,
    size: u64,
    /// Everything from here on is among the blocks.
    end: u64,
    /// Of each stream the blocks that may hold its registration.
    blocks: HashMap<StreamId, Vec<(u64, u64)>>,
    last: Option<(u64, Vec<Vec<u8>>)>,
}

#[derive(Deserialize)]
struct RegistrationHead {
    stream: StreamId,
    #[serde(rename = "public_key")]
    _public_key: String,
}

impl Registrations {
    /// Of the streams of the log of `size` leaves that began before the leaf `before`.
    pub(crate) fn new(objects: &Arc<dyn LogObjects>, size: u64, before: u64) -> Self {
        Self {
            tiles: Tiles::new(objects),
            size,
            end: before,
            blocks: HashMap::new(),
            last: None,
        }
    }

    /// The registration; none where it is not found, or what leads to it is not there.
    pub(crate) fn find(&mut self, stream: StreamId) -> Option<SignedRegistration> {
        loop {
            for block in self.blocks.remove(&stream).unwrap_or_default() {
                if let Some(found) = self.find_in(block, stream) {
                    return Some(found);
                }
            }
            if self.end == 0 {
                return None;
            }
            self.walk_back()?;
        }
    }

    fn find_in(&mut self, block: (u64, u64), stream: StreamId) -> Option<SignedRegistration> {
        for index in block.0..block.1 {
            let entry = self.bundles().entry(index).ok()?;
            let found = entry.filter(|entry| {
                serde_json::from_slice::<RegistrationHead>(entry)
                    .is_ok_and(|head| head.stream == stream)
            });
            if let Some(registration) = found {
                return Some(SignedRegistration {
                    registration,
                    // A leaf has none: the key that signed tells itself.
                    key_id: String::new(),
                    signature: self.signature(index),
                });
            }
        }
        None
    }

    fn bundles(&mut self) -> Bundles<'_> {
        Bundles {
            tiles: &mut self.tiles,
            size: self.size,
            last: &mut self.last,
        }
    }

    /// Takes note of the block before.
    fn walk_back(&mut self) -> Option<()> {
        let end = self.end;
        let entry = self.bundles().entry(end - 1).ok()?;
        let seal = entry.and_then(|entry| SealLeaf::parse(&entry).ok());
        let Some(seal) = seal.filter(|seal| seal.previous_size < end) else {
            // The part begins within a block, whose seal comes later: its own leaves are looked at one by one.
            self.end = end - 1;
            if let Some(head) = self.registered_at(end - 1) {
                self.blocks.entry(head).or_default().push((end - 1, end));
            }
            return Some(());
        };
        for run in seal.runs.iter().filter(|run| run.first == 0) {
            let block = (seal.previous_size, end);
            self.blocks.entry(run.stream).or_default().push(block);
        }
        self.end = seal.previous_size;
        Some(())
    }

    fn registered_at(&mut self, index: u64) -> Option<StreamId> {
        let entry = self.bundles().entry(index).ok()??;
        let head: Option<RegistrationHead> = serde_json::from_slice(&entry).ok();
        head.map(|head| head.stream)
    }

    fn signature(&mut self, index: u64) -> [u8; 64] {
        let tile = TileId::in_tree(TileKind::Signatures, index / TILE_WIDTH as u64, self.size);
        let read = tile.and_then(|tile| {
            let bytes = self.tiles.read_tile(tile).ok()?;
            first_signatures(&bytes, tile.width()).ok()
        });
        let at = (index % TILE_WIDTH as u64) as usize;
        read.and_then(|signatures| signatures.get(at).copied())
            .unwrap_or(NO_SIGNATURE)
    }
}
