//! Tiles of the log, fetched before pure code reads them.

use std::collections::BTreeMap;

use audit::checkpoint::{CheckGrowthError, Checkpoint, check_growth};
use audit::seal::{LogEdge, SealLeaf};
use audit::tiles::{TILE_WIDTH, TileId, TileKind, growth_tiles, parse_entries};
use domain::ports::LogReader;
use domain::{LogPath, StoreError};
use futures::future::join_all;

use crate::error::SealError;

/// Longest tile in bytes: a bundle of 256 of the longest entries.
const MAX_TILE_BYTES: u64 = 256 * (65_535 + 2);
/// Tiles that are read at once.
const AT_ONCE: usize = 16;

/// The path of a tile.
pub(crate) fn path_of(tile: TileId) -> Result<LogPath, StoreError> {
    LogPath::parse(&tile.to_string()).map_err(|error| StoreError::Conflict(error.to_string()))
}

/// The bytes of a tile.
pub(crate) async fn read_tile(log: &dyn LogReader, tile: TileId) -> Result<Vec<u8>, StoreError> {
    log.read(&path_of(tile)?, MAX_TILE_BYTES).await
}

/// Tiles by their ids, or why they could not be read.
struct Fetched(BTreeMap<TileId, Result<Vec<u8>, StoreError>>);

impl Fetched {
    async fn read(log: &dyn LogReader, tiles: Vec<TileId>) -> Self {
        let mut fetched = BTreeMap::new();
        for part in tiles.chunks(AT_ONCE) {
            let reads = part
                .iter()
                .map(|tile| async move { (*tile, read_tile(log, *tile).await) });
            fetched.extend(join_all(reads).await);
        }
        Self(fetched)
    }

    fn get(&self, tile: TileId) -> Result<Vec<u8>, StoreError> {
        let unknown = || Err(StoreError::NotFound(format!("{tile} was not fetched")));
        self.0.get(&tile).cloned().unwrap_or_else(unknown)
    }

    /// The first store that could not be asked.
    fn outage(&self) -> Option<StoreError> {
        let mut failures = self.0.values().filter_map(|read| read.as_ref().err());
        failures
            .find(|error| !matches!(error, StoreError::NotFound(_) | StoreError::Corrupt(_)))
            .cloned()
    }
}

/// The tiles at the right edge of a tree: of each level the one that is not full, and the last bundles.
fn edge_tiles(size: u64) -> Vec<TileId> {
    let mut tiles = Vec::new();
    for level in 0..8_u8 {
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let index = hashes / TILE_WIDTH as u64;
        tiles.extend(TileId::in_tree(TileKind::Hashes(level), index, size));
    }
    for kind in [TileKind::Entries, TileKind::Signatures] {
        tiles.extend(TileId::in_tree(kind, size / TILE_WIDTH as u64, size));
    }
    tiles
}

/// Reads the end of the log, and when the last seal says it was made, in microseconds since 1970.
pub(crate) async fn read_edge(
    log: &dyn LogReader,
    checkpoint: &Checkpoint,
) -> Result<(LogEdge, Option<u64>), SealError> {
    let size = checkpoint.size;
    let Some(last) = size.checked_sub(1) else {
        return Ok((LogEdge::new(), None));
    };
    let mut tiles = edge_tiles(size);
    let last_bundle = TileId::in_tree(TileKind::Entries, last / TILE_WIDTH as u64, size);
    if let Some(bundle) = last_bundle
        && !tiles.contains(&bundle)
    {
        tiles.push(bundle);
    }
    let names: Vec<String> = tiles.iter().map(ToString::to_string).collect();
    let fetched = Fetched::read(log, tiles).await;
    if let Some(error) = fetched.outage() {
        return Err(SealError::store("read the end of the log")(error));
    }
    let mut reader = |tile: TileId| fetched.get(tile);
    let edge = LogEdge::read(checkpoint, &mut reader).map_err(|error| SealError::Edge {
        size,
        tiles: names.join(", "),
        reason: error.to_string(),
    })?;
    let sealed_us = last_bundle.and_then(|bundle| {
        let bytes = fetched.get(bundle).ok()?;
        let entries = parse_entries(&bytes, bundle.width()).ok()?;
        let seal = SealLeaf::parse(entries.last()?).ok()?;
        domain::lookup::parse_time(&seal.time)
    });
    Ok((edge, sealed_us))
}

/// Checks by the tiles that the log has only grown from one head to the other.
pub(crate) async fn check_grown(
    log: &dyn LogReader,
    older: &Checkpoint,
    newer: &Checkpoint,
) -> Result<(), SealError> {
    let fetched = Fetched::read(log, growth_tiles(older.size, newer.size)).await;
    let grown = check_growth(older, newer, |tile: TileId| fetched.get(tile));
    match (grown, fetched.outage()) {
        (Err(CheckGrowthError::Unreadable { .. }), Some(error)) => {
            Err(SealError::store("read tiles of the log")(error))
        }
        (grown, _) => Ok(grown?),
    }
}
