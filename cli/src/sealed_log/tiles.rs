//! The tiles of a log of one size, and what of them was not given.

use std::sync::Arc;

use audit::tiles::{TILE_WIDTH, TileId, TileKind, TileReader, first_entries};

use super::ahead::Ahead;
use super::{LogObjects, ObjectError};

/// Longest bundle of entries in bytes.
const MAX_BUNDLE: u64 = (TILE_WIDTH * (2 + audit::stream::MAX_ENTRY_BYTES)) as u64;

/// Reads the tiles of a log. Once what keeps it does not answer any more, nothing is asked any more: what remains
/// cannot be verified, and a run over millions of tiles must not wait for each.
pub(crate) struct Tiles {
    objects: Arc<dyn LogObjects>,
    ahead: Option<Ahead>,
    absent: bool,
    lost: Option<(String, String)>,
}

impl Tiles {
    /// Reads tiles one by one, as they are asked for.
    pub(crate) fn new(objects: &Arc<dyn LogObjects>) -> Self {
        Self {
            objects: Arc::clone(objects),
            ahead: None,
            absent: false,
            lost: None,
        }
    }

    /// Fetches these tiles, in the order in which they will be asked for, before they are; several at once.
    pub(crate) fn fetching_ahead(
        mut self,
        order: impl Iterator<Item = TileId> + Send + 'static,
    ) -> Self {
        if self.objects.parallel() > 1 {
            self.ahead = Some(Ahead::new(&self.objects, Box::new(order)));
        }
        self
    }

    /// Whether a tile was not there.
    pub(crate) fn absent(&self) -> bool {
        self.absent
    }

    /// The path at which the log could not be reached any more, and why.
    pub(crate) fn lost(&self) -> Option<&(String, String)> {
        self.lost.as_ref()
    }

    /// The entry at `index` of the log of `size` leaves; nothing of it is verified. An entry that its bundle does
    /// not hold is none.
    pub(crate) fn entry(&mut self, index: u64, size: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        let Some(tile) = TileId::in_tree(TileKind::Entries, index / TILE_WIDTH as u64, size) else {
            return Ok(None);
        };
        let bytes = self.read_tile(tile)?;
        let entries = first_entries(&bytes, tile.width()).ok();
        let at = (index % TILE_WIDTH as u64) as usize;
        Ok(entries.and_then(|entries| entries.get(at).map(|entry| entry.to_vec())))
    }
}

impl TileReader for Tiles {
    type Error = ObjectError;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, ObjectError> {
        if let Some((_, reason)) = &self.lost {
            return Err(ObjectError::Unreachable(reason.clone()));
        }
        let read = match &mut self.ahead {
            Some(ahead) => ahead.read(tile),
            None => fetch(self.objects.as_ref(), tile),
        };
        match &read {
            Err(ObjectError::Absent) => self.absent = true,
            Err(ObjectError::Unreachable(reason)) => {
                self.lost = Some((tile.to_string(), reason.clone()));
            }
            Ok(_) => {}
        }
        read
    }
}

/// Reads a tile; where a partial one is gone because the log has grown since, the full one.
pub(super) fn fetch(objects: &dyn LogObjects, tile: TileId) -> Result<Vec<u8>, ObjectError> {
    let max = match tile.kind() {
        TileKind::Hashes(_) => 32 * TILE_WIDTH as u64,
        TileKind::Signatures => 64 * TILE_WIDTH as u64,
        TileKind::Entries => MAX_BUNDLE,
    };
    match objects.read(&tile.to_string(), max) {
        Err(ObjectError::Absent) if !tile.is_full() => {
            objects.read(&tile.widened().to_string(), max)
        }
        read => read,
    }
}

/// The tiles that a verification of the leaves `from..until` of a log reads, in its order; those above level 0 only
/// where they are filled by these leaves.
pub(crate) fn reading_order(
    from: u64,
    until: u64,
    size: u64,
) -> impl Iterator<Item = TileId> + Send + 'static {
    let width = TILE_WIDTH as u64;
    let bundles = from / width..until.div_ceil(width);
    bundles.flat_map(move |index| {
        let leaves = [TileKind::Hashes(0), TileKind::Entries, TileKind::Signatures];
        let filled = (1..8_u8).map_while(move |level| {
            let per = width.checked_pow(u32::from(level))?;
            (from == 0 && (index + 1) % per == 0)
                .then(|| (TileKind::Hashes(level), (index + 1) / per - 1))
        });
        leaves
            .into_iter()
            .map(move |kind| (kind, index))
            .chain(filled)
            .filter_map(move |(kind, index)| TileId::in_tree(kind, index, size))
            .collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A log that does not answer, and how often it was asked.
    struct Silent(AtomicUsize);

    impl LogObjects for Silent {
        fn place(&self) -> String {
            "nowhere".to_owned()
        }

        fn read(&self, _path: &str, _max: u64) -> Result<Vec<u8>, ObjectError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(ObjectError::Unreachable("no answer".to_owned()))
        }

        fn parallel(&self) -> usize {
            1
        }
    }

    #[test]
    fn a_log_that_does_not_answer_is_asked_once_and_not_for_each_tile() {
        let silent = Arc::new(Silent(AtomicUsize::new(0)));
        let mut tiles = Tiles::new(&(Arc::clone(&silent) as Arc<dyn LogObjects>));
        for tile in reading_order(0, 2000, 2000) {
            let read = tiles.read_tile(tile);
            assert!(matches!(read, Err(ObjectError::Unreachable(_))));
        }
        assert_eq!(silent.0.load(Ordering::Relaxed), 1);
        assert_eq!(tiles.lost().unwrap().0, "tile/0/000");
    }

    #[test]
    fn the_reading_order_is_that_of_the_verification() {
        for size in [1_u64, 255, 256, 257, 70_000] {
            let mut read = Vec::new();
            let mut reader = |tile: TileId| {
                read.push(tile);
                Ok::<_, String>(vec![0; 32 * tile.width()])
            };
            let checkpoint = audit::checkpoint::Checkpoint {
                origin: "o".to_owned(),
                size,
                root: [0; 32],
            };
            audit::whole_log::verify_log(&checkpoint, &[], &mut reader, &mut |_| {});
            let order: Vec<TileId> = reading_order(0, size, size).collect();
            // The partial tiles above level 0 come last, and are not foreseen; a full tile above a full one is read
            // with the leaf that fills it, before or after that leaf's own bundle mates.
            let foreseen: Vec<TileId> = read
                .iter()
                .copied()
                .filter(|tile| {
                    tile.kind() == TileKind::Entries || tile.kind() == TileKind::Hashes(0)
                })
                .collect();
            let wanted: Vec<TileId> = order
                .iter()
                .copied()
                .filter(|tile| {
                    tile.kind() == TileKind::Entries || tile.kind() == TileKind::Hashes(0)
                })
                .collect();
            assert_eq!(foreseen, wanted, "{size}");
            for tile in &order {
                assert!(read.contains(tile), "{size}: {tile}");
            }
        }
    }
}
