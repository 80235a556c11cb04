//! Where an event stands in a log. What the seals say about it is a hint: the proof that follows is what counts.

use audit::StreamId;
use audit::seal::SealLeaf;
use audit::tiles::{TILE_WIDTH, TileId, TileKind, TileReader as _, first_entries};
use serde::Deserialize;

use super::{ObjectError, Tiles};
use crate::progress::Progress;

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
    last: Option<(u64, Vec<Vec<u8>>)>,
}

impl Bundles<'_> {
    /// The entries of a bundle; none where it is no bundle.
    fn read(&mut self, index: u64) -> Result<&[Vec<u8>], ObjectError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != index) {
            let mut entries = Vec::new();
            if let Some(tile) = TileId::in_tree(TileKind::Entries, index, self.size) {
                let bytes = self.tiles.read_tile(tile)?;
                if let Ok(read) = first_entries(&bytes, tile.width()) {
                    entries = read.into_iter().map(<[u8]>::to_vec).collect();
                }
            }
            self.last = Some((index, entries));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, entries)| entries))
    }

    fn entry(&mut self, index: u64) -> Result<Option<Vec<u8>>, ObjectError> {
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
    ) -> Result<Option<Place>, ObjectError> {
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
pub(crate) fn find_event(
    tiles: &mut Tiles,
    size: u64,
    stream: StreamId,
    seq: u64,
) -> Result<Option<Place>, ObjectError> {
    let mut progress = Progress::start("looking for the event", size);
    let mut bundles = Bundles {
        tiles,
        size,
        last: None,
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
        let block = (seal.previous_size, end);
        if covered && let Some(place) = bundles.scan(block, stream, seq, &mut progress)? {
            return Ok(Some(place));
        }
        end = seal.previous_size;
    }
    Ok(None)
}
