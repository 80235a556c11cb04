//! What the sealed log says of events.

use std::collections::{BTreeMap, BTreeSet};

use audit::canonical::leaf_hash;
use audit::seal::Standing;
use audit::stream::MAX_ENTRY_BYTES;
use audit::tiles::{TILE_WIDTH, TileId, TileKind, parse_entries, parse_hashes, parse_signatures};
use audit::tree::Hash;
use audit::verify::is_signed;
use audit::{PublicKey, Record, StreamId};
use domain::LogPath;
use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use web::ApiError;

use crate::function::{AuditQuery, Held};
use crate::head::Head;
use crate::read::{AT_ONCE, EventFault, FoundEvent, Place, Row};

/// Longest tile of its kind in bytes.
pub(crate) fn most_bytes(tile: TileId) -> u64 {
    let each = match tile.kind() {
        TileKind::Hashes(_) => 32,
        TileKind::Entries => MAX_ENTRY_BYTES + 2,
        TileKind::Signatures => 64,
    };
    (tile.width() * each) as u64
}

/// The row is not what was sealed.
pub(crate) const ALTERED: &str = "audit.event_altered";
/// The index names an event that is nowhere.
pub(crate) const MISSING: &str = "audit.event_missing";
/// The stream's key did not sign the row, which is not sealed yet.
pub(crate) const NOT_SIGNED: &str = "audit.event_signature_invalid";
/// The index of events gives it for what it is not.
pub(crate) const MISPLACED: &str = "audit.event_misplaced";
/// The row is no event.
pub(crate) const UNREADABLE: &str = "audit.event_unreadable";
/// The sealed log is not what its checkpoint says.
pub(crate) const LOG_CORRUPT: &str = "audit.log_corrupt";

/// What is wrong with a tile.
pub(crate) type TileFault = String;

/// What is sealed as one leaf: its bytes, whose hash stands in the log's tile, and the signature beside them.
pub(crate) struct Leaf {
    pub(crate) entry: Vec<u8>,
    pub(crate) signature: [u8; 64],
}

/// Why a sealed event cannot be given.
enum SealedFault {
    /// Its leaf cannot be read.
    Unreadable(String),
    /// Its leaf is that of something else: the index of the log is wrong, and says nothing of the row.
    Elsewhere(String),
}

/// What the log's own index knows of streams and events.
pub(crate) struct Known {
    /// Where each event is sealed as of the head, in the order in which they were asked for.
    pub(crate) indices: Vec<Result<Option<u64>, TileFault>>,
    /// Keys of the streams whose registration is sealed.
    pub(crate) keys: BTreeMap<StreamId, PublicKey>,
}

/// The tile of this kind that has the leaf at `index`, and the leaf's place in it.
fn tile_of(kind: TileKind, index: u64, size: u64) -> Option<(TileId, usize)> {
    let width = TILE_WIDTH as u64;
    let tile = TileId::in_tree(kind, index / width, size)?;
    Some((tile, (index % width) as usize))
}

/// A tile as it is stored; none where there is none.
///
/// # Errors
/// 503 where the store does not answer, or what it holds cannot be the tile.
pub(crate) async fn read_object(
    query: &AuditQuery,
    tile: TileId,
) -> Result<Option<Vec<u8>>, ApiError> {
    let path = LogPath::parse(&tile.to_string()).map_err(|_| ApiError::internal())?;
    let read = query.ports.log.read(&path, most_bytes(tile));
    match query.ask("tile", read).await? {
        Held::Found(bytes) => Ok(Some(bytes)),
        Held::Missing => Ok(None),
        Held::Unreadable(why) => Err(query.corrupt_log(path.to_string(), why).await),
    }
}

impl AuditQuery {
    /// The bytes of a tile, or why there are none.
    pub(crate) async fn read_tile(
        &self,
        tile: TileId,
    ) -> Result<Result<Vec<u8>, TileFault>, ApiError> {
        let path = match LogPath::parse(&tile.to_string()) {
            Ok(path) => path,
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(
            match self
                .ask("tile", self.ports.log.read(&path, most_bytes(tile)))
                .await?
            {
                Held::Found(bytes) => Ok(bytes),
                Held::Missing => Err(format!("{tile} is not there")),
                Held::Unreadable(why) => Err(format!("{tile}: {why}")),
            },
        )
    }

    /// What the log's own index knows of the events at these places.
    pub(crate) async fn known_of(&self, places: &[Place], head: &Head) -> Result<Known, ApiError> {
        let streams: BTreeSet<StreamId> = places.iter().map(|(stream, _)| *stream).collect();
        let key = |stream: StreamId| async move {
            let registered = self.registered_at(stream).await?;
            Ok::<_, ApiError>(registered.map(|(_, key)| (stream, key)))
        };
        let keys = stream::iter(streams.into_iter().map(key))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>();
        let (indices, keys) = tokio::try_join!(self.sealed_at(places, head), keys)?;
        let keys = keys.into_iter().flatten().collect();
        Ok(Known { indices, keys })
    }

    /// Where the stream's registration is sealed, and the stream's key. None where it is not, or where that cannot be
    /// read: the sealer says so.
    pub(crate) async fn registered_at(
        &self,
        stream: StreamId,
    ) -> Result<Option<(u64, PublicKey)>, ApiError> {
        let state = self.ask("seal index", self.ports.index.state(stream));
        let Held::Found(Some(state)) = state.await? else {
            return Ok(None);
        };
        Ok(match state.standing {
            Standing::Registered { index, public_key } => Some((index, public_key)),
            Standing::Refused => None,
        })
    }

    /// Where in the tree of the head each event stands; none where it is not sealed there, or why that cannot be told.
    async fn sealed_at(
        &self,
        places: &[Place],
        head: &Head,
    ) -> Result<Vec<Result<Option<u64>, TileFault>>, ApiError> {
        let size = head.checkpoint.size;
        let ask = |place: Place| async move {
            if size == 0 {
                return Ok(Ok(None));
            }
            let index = self.ports.index.leaf_index(place.0, place.1);
            Ok(match self.ask("seal index", index).await? {
                // The index may be ahead of what is published.
                Held::Found(index) => Ok(index.filter(|index| *index < size)),
                Held::Missing => Ok(None),
                Held::Unreadable(why) => Err(format!("the index of the log: {why}")),
            })
        };
        let places = places.iter().copied().map(ask);
        stream::iter(places)
            .buffered(2 * AT_ONCE)
            .try_collect()
            .await
    }

    /// The hashes that stand at these places of the log, or why they cannot be read.
    pub(crate) async fn read_leaves(
        &self,
        indices: impl IntoIterator<Item = u64>,
        head: &Head,
    ) -> Result<BTreeMap<u64, Result<Hash, TileFault>>, ApiError> {
        let size = head.checkpoint.size;
        let of = |index: u64| tile_of(TileKind::Hashes(0), index, size);
        let indices: BTreeSet<u64> = indices.into_iter().collect();
        let tiles: BTreeSet<TileId> = indices
            .iter()
            .filter_map(|index| Some(of(*index)?.0))
            .collect();
        let read = |tile: TileId| async move {
            let bytes = self.read_tile(tile).await?;
            let hashes = bytes.and_then(|bytes| {
                parse_hashes(&bytes, tile.width()).map_err(|error| format!("{tile}: {error}"))
            });
            Ok::<_, ApiError>((tile, hashes))
        };
        let tiles: BTreeMap<TileId, Result<Vec<Hash>, TileFault>> = stream::iter(tiles)
            .map(read)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let leaf = |index: u64| {
            let (tile, at) = of(index)?;
            let leaf = match tiles.get(&tile)? {
                Ok(hashes) => Ok(*hashes.get(at)?),
                Err(fault) => Err(fault.clone()),
            };
            Some((index, leaf))
        };
        Ok(indices.into_iter().filter_map(leaf).collect())
    }

    /// The event at a place, of its row and of what is sealed: `sealed` is where that is, and the hash that stands
    /// there; `key` is the stream's, where it is known. What was sealed counts; a row that says something else was
    /// altered.
    pub(crate) async fn complete(
        &self,
        place: Place,
        row: Option<Row>,
        key: Option<PublicKey>,
        sealed: Option<(u64, Result<Hash, TileFault>)>,
        head: &Head,
    ) -> Result<FoundEvent, ApiError> {
        let found = |record, index, fault| FoundEvent {
            stream: place.0,
            seq: place.1,
            record,
            index,
            fault,
        };
        let is_signed = |record: &Record| {
            key.is_none_or(|key| is_signed(&key, &record.entry, &record.signature))
        };
        let Some((index, leaf)) = sealed else {
            return Ok(match row {
                Some(Row::Event(record)) => {
                    let why = "the stream's key did not sign it: it was altered, or put in";
                    let fault = (!is_signed(&record)).then(|| EventFault::new(NOT_SIGNED, why));
                    found(Some(record), None, fault)
                }
                Some(Row::Unreadable(why)) => {
                    found(None, None, Some(EventFault::new(UNREADABLE, why)))
                }
                None => {
                    let why = "the index of events names it, and its stream does not have it";
                    found(None, None, Some(EventFault::new(MISSING, why)))
                }
            });
        };
        let leaf = match leaf {
            Ok(leaf) => leaf,
            Err(why) => {
                let record = row.and_then(Row::into_record);
                return Ok(found(record, None, Some(EventFault::new(LOG_CORRUPT, why))));
            }
        };
        let fault = match &row {
            Some(Row::Event(record)) if leaf_hash(&record.entry) != leaf => {
                let hash = record.receipt().leaf_hash;
                let why = format!("its row has the leaf hash {hash}; this is what was sealed");
                Some(EventFault::new(ALTERED, why))
            }
            Some(Row::Event(record)) if !is_signed(record) => {
                let why = "its row has another signature; this is what was sealed";
                Some(EventFault::new(ALTERED, why))
            }
            Some(Row::Event(record)) => return Ok(found(Some(record.clone()), Some(index), None)),
            Some(Row::Unreadable(why)) => {
                let why = format!("its row cannot be read ({why}); this is what was sealed");
                Some(EventFault::new(UNREADABLE, why))
            }
            // Rows expire; what is sealed does not.
            None => None,
        };
        Ok(match self.read_sealed(place, index, &leaf, head).await? {
            Ok(record) => found(Some(record), Some(index), fault),
            Err(SealedFault::Unreadable(why)) => {
                let fault = fault.unwrap_or_else(|| EventFault::new(LOG_CORRUPT, why));
                found(None, Some(index), Some(fault))
            }
            Err(SealedFault::Elsewhere(why)) => {
                let record = row.and_then(Row::into_record);
                found(record, None, Some(EventFault::new(LOG_CORRUPT, why)))
            }
        })
    }

    /// The event that is sealed at `index`, whose hash is `leaf`.
    async fn read_sealed(
        &self,
        (stream, seq): Place,
        index: u64,
        leaf: &Hash,
        head: &Head,
    ) -> Result<Result<Record, SealedFault>, ApiError> {
        let Leaf { entry, signature } = match self.read_leaf(index, leaf, head).await? {
            Ok(leaf) => leaf,
            Err(why) => return Ok(Err(SealedFault::Unreadable(why))),
        };
        let record = Record {
            stream,
            seq,
            entry,
            signature,
        };
        Ok(match Row::from(record) {
            Row::Event(record) => Ok(record),
            Row::Unreadable(why) => {
                let why =
                    format!("the index of the log says leaf {index}, which is another: {why}");
                Err(SealedFault::Elsewhere(why))
            }
        })
    }

    /// What is sealed at `index`, where its hash is `leaf`.
    pub(crate) async fn read_leaf(
        &self,
        index: u64,
        leaf: &Hash,
        head: &Head,
    ) -> Result<Result<Leaf, TileFault>, ApiError> {
        let size = head.checkpoint.size;
        let bundles =
            tile_of(TileKind::Entries, index, size).zip(tile_of(TileKind::Signatures, index, size));
        let Some(((entries, at), (signatures, _))) = bundles else {
            return Ok(Err(format!("the log has no leaf {index}")));
        };
        let (entry_bytes, signature_bytes) =
            tokio::try_join!(self.read_tile(entries), self.read_tile(signatures))?;
        let read = || {
            let bytes = entry_bytes?;
            let parsed = parse_entries(&bytes, entries.width());
            let parsed = parsed.map_err(|error| format!("{entries}: {error}"))?;
            let entry = parsed
                .get(at)
                .map(|entry| entry.to_vec())
                .unwrap_or_default();
            if leaf_hash(&entry) != *leaf {
                return Err(format!("{entries}: entry {at} is not the leaf {index}"));
            }
            let bytes = signature_bytes?;
            let parsed = parse_signatures(&bytes, signatures.width());
            let parsed = parsed.map_err(|error| format!("{signatures}: {error}"))?;
            let signature = parsed.get(at).copied().unwrap_or([0; 64]);
            Ok(Leaf { entry, signature })
        };
        Ok(read())
    }

    /// Records what is wrong with events.
    pub(crate) async fn raise_faults(&self, events: &[FoundEvent]) {
        let faults = events.iter().filter_map(|event| {
            let fault = event.fault.as_ref()?;
            let subject = format!("{}:{}", event.stream, event.seq);
            Some(self.alarms.raise(fault.code, subject, fault.detail.clone()))
        });
        // At once: they become durable together, and a page full of them is answered in time all the same.
        join_all(faults).await;
    }
}
