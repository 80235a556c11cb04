//! Makes the index anew from the log, which says everything that the index holds.

use std::collections::BTreeMap;

use audit::canonical::leaf_hash;
use audit::event::{Event, EventBody};
use audit::seal::{FindingKind, LeafRange, SealLeaf, SealedStream, Standing, StreamEnd};
use audit::stream::Registration;
use audit::tiles::{TILE_WIDTH, TileId, TileKind, parse_entries, parse_hashes};
use audit::tree::Frontier;
use audit::{LeafHash, StreamId};
use domain::StoreError;
use domain::lookup::parse_time;
use domain::ports::IndexPosition;
use futures::future::join_all;
use serde::Deserialize;

use crate::error::SealError;
use crate::head::Head;
use crate::sealer::{Sealer, Time};
use crate::tiles::read_tile;

/// Bundles that are read at once.
const AT_ONCE: u64 = 16;
/// States or ranges that are written at once.
const WRITTEN: usize = 512;

impl Sealer {
    /// Makes the index anew from the log as it is at `head`, every entry held against the checkpoint's root before
    /// anything is written. Ends early, and changes nothing, where time is short.
    ///
    /// # Errors
    /// [`SealError::IndexBehind`] where time was too short; [`SealError`] where the log cannot be read or is not what was
    /// sealed.
    pub(crate) async fn rebuild_index(
        &self,
        head: &mut Head,
        time: &Time,
    ) -> Result<(), SealError> {
        let size = head.checkpoint.size;
        let mut walk = Walk::default();
        let bundles = size.div_ceil(TILE_WIDTH as u64);
        for first in (0..bundles).step_by(AT_ONCE as usize) {
            if time.is_short() {
                let indexed = head.position.tree_size;
                return Err(SealError::IndexBehind { indexed, size });
            }
            let part = first..bundles.min(first + AT_ONCE);
            let reads = part.map(|index| self.read_entries(index, size));
            for entries in join_all(reads).await {
                for entry in entries? {
                    walk.take(&entry);
                }
            }
        }
        if walk.frontier.root() != head.checkpoint.root {
            return Err(SealError::Entries {
                tile: "tile/0".to_owned(),
                reason: format!("the entries lead to another root than that of {size} leaves"),
            });
        }
        let (states, ranges) = walk.finish(size);
        let index = &self.ports.index_writer;
        for part in ranges.chunks(WRITTEN) {
            put(index.put(&[], part).await)?;
        }
        for part in states.chunks(WRITTEN) {
            put(index.put(part, &[]).await)?;
        }
        // The streams that were registered since the last seal are listed anew.
        head.position = IndexPosition {
            tree_size: size,
            listed_until_us: 0,
        };
        let advance = index.advance(head.position).await;
        advance.map_err(SealError::store("say how far the index is"))
    }

    /// A bundle of entries, each held against its hash.
    async fn read_entries(&self, index: u64, size: u64) -> Result<Vec<Vec<u8>>, SealError> {
        let of_kind = |kind| TileId::in_tree(kind, index, size);
        let (Some(tile), Some(hashes)) = (of_kind(TileKind::Entries), of_kind(TileKind::Hashes(0)))
        else {
            return Ok(Vec::new());
        };
        let bytes = self.read_whole(tile).await?;
        let entries = parse_entries(&bytes, tile.width())
            .map_err(|error| differs(tile)(error.to_string()))?;
        let bytes = self.read_whole(hashes).await?;
        let leaves = parse_hashes(&bytes, hashes.width())
            .map_err(|error| differs(hashes)(error.to_string()))?;
        let other = |(entry, leaf): (&&[u8], &[u8; 32])| leaf_hash(entry) != *leaf;
        if let Some(at) = entries.iter().zip(&leaves).position(other) {
            let index = index * TILE_WIDTH as u64 + at as u64;
            return Err(differs(tile)(format!(
                "entry {index} is not the one whose hash stands in {hashes}"
            )));
        }
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    async fn read_whole(&self, tile: TileId) -> Result<Vec<u8>, SealError> {
        match read_tile(&*self.ports.log, tile).await {
            Err(error @ (StoreError::NotFound(_) | StoreError::Corrupt(_))) => {
                Err(differs(tile)(error.to_string()))
            }
            result => result.map_err(SealError::store("read the log's entries")),
        }
    }
}

fn differs(tile: TileId) -> impl Fn(String) -> SealError {
    move |reason| SealError::Entries {
        tile: tile.to_string(),
        reason,
    }
}

fn put(result: Result<(), StoreError>) -> Result<(), SealError> {
    match result {
        Err(StoreError::Conflict(reason)) => Err(SealError::IndexDiffers(reason)),
        result => result.map_err(SealError::store("write the index")),
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: String,
}

/// What was sealed of a stream in a block, or left out of it, at a position.
enum Step {
    Sealed { leaf: LeafHash, stopped: bool },
    LeftOut,
}

/// What of the log was read.
#[derive(Default)]
struct Walk {
    frontier: Frontier,
    states: BTreeMap<StreamId, SealedStream>,
    ranges: Vec<LeafRange>,
    /// Of the block that is read: what its streams gained, by position.
    steps: BTreeMap<StreamId, BTreeMap<u64, Step>>,
    /// Of the block that is read: the streams whose registration it has.
    registered: Vec<StreamId>,
}

impl Walk {
    fn take(&mut self, entry: &[u8]) {
        let (index, leaf) = (self.frontier.size(), leaf_hash(entry));
        self.frontier.append(leaf);
        let format = serde_json::from_slice::<FormatOnly>(entry).map(|entry| entry.format);
        match format.as_deref() {
            Ok("sealcast.stream/v1") => self.register(entry, index, LeafHash(leaf)),
            Ok("sealcast.event/v1") => self.event(entry, index, LeafHash(leaf)),
            Ok("sealcast.seal/v1") => self.seal(entry),
            // What this version cannot read, it did not seal.
            _ => {}
        }
    }

    fn register(&mut self, entry: &[u8], index: u64, leaf: LeafHash) {
        let Ok(parsed) = serde_json::from_slice::<Registration>(entry) else {
            return;
        };
        self.registered.push(parsed.stream);
        self.states.insert(
            parsed.stream,
            SealedStream {
                head: Some(leaf),
                standing: Standing::Registered {
                    index,
                    public_key: parsed.public_key,
                },
                ..unknown(parsed.stream)
            },
        );
    }

    fn event(&mut self, entry: &[u8], index: u64, leaf: LeafHash) {
        let Ok(event) = serde_json::from_slice::<Event>(entry) else {
            return;
        };
        let (stream, seq) = (event.stream, event.seq);
        match self.ranges.last_mut() {
            Some(range)
                if range.stream == stream
                    && range.seq_lo + range.count == seq
                    && range.index + range.count == index =>
            {
                range.count += 1;
            }
            _ => self.ranges.push(LeafRange {
                count: 1,
                index,
                seq_lo: seq,
                stream,
            }),
        }
        let stopped = matches!(event.body, EventBody::ProcessStopped(_));
        let step = Step::Sealed { leaf, stopped };
        self.steps.entry(stream).or_default().insert(seq, step);
    }

    /// What a seal says of the leaves before it ends their block.
    fn seal(&mut self, entry: &[u8]) {
        let Ok(seal) = SealLeaf::parse(entry) else {
            return;
        };
        let sealed_us = parse_time(&seal.time).unwrap_or(0);
        for finding in &seal.findings {
            match (finding.kind, finding.seq) {
                (FindingKind::Gap | FindingKind::Late, _) => {}
                (FindingKind::UnknownRegistration, _) => {
                    let refused = SealedStream {
                        last_sealed_us: sealed_us,
                        ..unknown(finding.stream)
                    };
                    self.states.entry(finding.stream).or_insert(refused);
                }
                (_, Some(seq)) => {
                    let steps = self.steps.entry(finding.stream).or_default();
                    steps.entry(seq.0).or_insert(Step::LeftOut);
                }
                (_, None) => {}
            }
        }
        for stream in self.registered.drain(..) {
            if let Some(state) = self.states.get_mut(&stream) {
                state.last_sealed_us = sealed_us;
            }
        }
        for (stream, steps) in std::mem::take(&mut self.steps) {
            let Some(state) = self.states.get_mut(&stream) else {
                continue;
            };
            for (seq, step) in steps {
                state_after(state, seq, &step, sealed_us);
            }
        }
        for stream in &seal.idle {
            if let Some(state) = self.states.get_mut(stream) {
                state.end = Some(StreamEnd::Idle);
            }
        }
    }

    fn finish(self, size: u64) -> (Vec<SealedStream>, Vec<LeafRange>) {
        let states = self.states.into_values().map(|state| SealedStream {
            tree_size: size,
            ..state
        });
        (states.collect(), self.ranges)
    }
}

/// A stream that nothing vouches for.
fn unknown(stream: StreamId) -> SealedStream {
    SealedStream {
        end: None,
        head: None,
        last_sealed_us: 0,
        next_seq: 0,
        reported_through: None,
        standing: Standing::Refused,
        stream,
        tree_size: 0,
    }
}

/// As the sealer decided when it chose the record.
fn state_after(state: &mut SealedStream, seq: u64, step: &Step, sealed_us: u64) {
    match step {
        Step::Sealed { leaf, stopped } => {
            state.end = stopped.then_some(StreamEnd::Stopped);
            state.head = Some(*leaf);
            state.last_sealed_us = sealed_us;
            state.next_seq = seq + 1;
        }
        Step::LeftOut if seq == state.next_seq => {
            state.head = None;
            state.next_seq += 1;
        }
        Step::LeftOut if seq > state.next_seq => {
            state.reported_through = state.reported_through.max(Some(seq));
        }
        Step::LeftOut => {}
    }
}
