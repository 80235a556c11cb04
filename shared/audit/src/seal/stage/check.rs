//! Holds a staged record against its checkpoint.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, VerifyingKey};

use super::super::{LogEdge, SealLeaf, SealedStream, Standing, StreamEnd};
use super::{LeafRange, StagedSeal};
use crate::canonical::leaf_hash;
use crate::event::{Event, EventBody};
use crate::stream::{LeafHash, PublicKey, StreamId, rfc3339};
use crate::tiles::{
    NO_SIGNATURE, TILE_WIDTH, TileId, TileKind, encode_hashes, parse_entries, parse_hashes,
    parse_signatures,
};
use crate::tree::{Frontier, levels_changed};
use crate::verify::{is_signed, parse_registration};

const WIDTH: u64 = TILE_WIDTH as u64;

/// An entry of the record with its place.
struct Leaf<'a> {
    index: u64,
    entry: &'a [u8],
    signature: [u8; 64],
}

/// Holds all parts against the checkpoint; says what differs. The tiles are those that the growth adds.
pub(super) fn check(staged: &StagedSeal) -> Result<(), String> {
    let leaves = leaves(staged)?;
    check_tree(staged, &leaves)?;
    check_contents(staged, new_leaves(staged, &leaves))
}

/// Whether trusted keys signed the registrations among the new leaves.
pub(super) fn check_registrations(
    staged: &StagedSeal,
    trusted: &[(String, PublicKey)],
) -> Result<(), String> {
    let leaves = leaves(staged)?;
    for leaf in new_leaves(staged, &leaves) {
        if let Ok((registration, _)) = parse_registration(leaf.entry) {
            let mut keys = trusted.iter();
            if !keys.any(|(_, key)| is_signed(key, leaf.entry, &leaf.signature)) {
                return Err(format!(
                    "leaf {}: no trusted key signed the registration of stream {}",
                    leaf.index, registration.stream
                ));
            }
        }
    }
    Ok(())
}

/// Whether the record begins with what the log ended with.
pub(super) fn check_beginning(staged: &StagedSeal, edge: &LogEdge) -> Result<(), String> {
    if edge.checkpoint(&staged.older.origin) != staged.older {
        return Err(format!(
            "it continues a tree of {} leaves, and not the log's of {}, or of another root",
            staged.older.size,
            edge.size()
        ));
    }
    let leaves = leaves(staged)?;
    let (entries, signatures) = edge.last_bundle();
    for ((leaf, entry), signature) in leaves.iter().zip(entries).zip(signatures) {
        if leaf.entry != entry || leaf.signature != *signature {
            return Err(format!(
                "leaf {}: entry or signature is not the log's",
                leaf.index
            ));
        }
    }
    Ok(())
}

/// The entries of the record's bundles: from the beginning of the bundle in which the run begins.
fn leaves(staged: &StagedSeal) -> Result<Vec<Leaf<'_>>, String> {
    let first = staged.older.size / WIDTH;
    let mut leaves = Vec::new();
    for index in first..staged.newer.size.div_ceil(WIDTH) {
        let (tile, bytes) = tile_of(staged, TileKind::Entries, index)?;
        let entries =
            parse_entries(bytes, tile.width()).map_err(|error| format!("{tile}: {error}"))?;
        let (tile, bytes) = tile_of(staged, TileKind::Signatures, index)?;
        let signatures =
            parse_signatures(bytes, tile.width()).map_err(|error| format!("{tile}: {error}"))?;
        let pairs = entries.into_iter().zip(signatures).zip(index * WIDTH..);
        leaves.extend(pairs.map(|((entry, signature), index)| Leaf {
            index,
            entry,
            signature,
        }));
    }
    Ok(leaves)
}

fn new_leaves<'a>(staged: &StagedSeal, leaves: &'a [Leaf<'a>]) -> &'a [Leaf<'a>] {
    let before = (staged.older.size % WIDTH) as usize;
    leaves.get(before..).unwrap_or_default()
}

fn tile_of(staged: &StagedSeal, kind: TileKind, index: u64) -> Result<(TileId, &[u8]), String> {
    let tile = TileId::in_tree(kind, index, staged.newer.size);
    let found = tile.and_then(|tile| Some((tile, staged.tiles.get(&tile)?.as_slice())));
    found.ok_or_else(|| format!("tile {index} of {kind:?} is not in the record"))
}

/// Builds the tree before the run, then the one after it, and compares every tile and both roots.
fn check_tree(staged: &StagedSeal, leaves: &[Leaf<'_>]) -> Result<(), String> {
    let (older, newer) = (staged.older.size, staged.newer.size);
    let changed = levels_changed(older, newer);
    let high = |size: u64, level: usize| size.checked_shr(8 * level as u32).unwrap_or(0);
    // Leaves below subtrees that stay as they were. What follows them is a tree of its own.
    let shift = 8 * changed as u32;
    let kept = high(older, changed).checked_shl(shift).unwrap_or(0);
    if staged.kept.len() != kept.count_ones() as usize {
        return Err(format!(
            "{} roots of what stays as it was, expected {}",
            staged.kept.len(),
            kept.count_ones()
        ));
    }
    let left: Vec<[u8; 32]> = staged.kept.iter().map(|hash| hash.0).collect();
    let mut levels = Vec::new();
    for level in 0..changed {
        let before = high(older, level);
        let width = (before % WIDTH) as usize;
        let mut hashes = Vec::new();
        if width > 0 {
            let (tile, bytes) = tile_of(staged, TileKind::Hashes(level as u8), before / WIDTH)?;
            hashes =
                parse_hashes(bytes, tile.width()).map_err(|error| format!("{tile}: {error}"))?;
            hashes.truncate(width);
        }
        levels.push(hashes);
    }
    let beginning = levels.first().cloned().unwrap_or_default();
    let mut tree =
        Frontier::from_levels(older - kept, levels).map_err(|error| error.to_string())?;
    if tree.root_behind(&left) != staged.older.root {
        return Err(format!(
            "the tiles do not lead to the root of the tree of {older} leaves before"
        ));
    }
    let mut made = BTreeMap::new();
    for (at, leaf) in leaves.iter().enumerate() {
        let hash = leaf_hash(leaf.entry);
        match beginning.get(at) {
            Some(sealed) if *sealed == hash => {}
            Some(_) => {
                return Err(format!(
                    "leaf {}: not the entry of the tree before",
                    leaf.index
                ));
            }
            None => made.extend(tree.append(hash)),
        }
    }
    if tree.root_behind(&left) != staged.newer.root {
        return Err("the entries do not lead to the checkpoint's root".to_owned());
    }
    let partials = tree.partials();
    made.extend(partials.map(|(tile, hashes)| (tile, hashes.to_vec())));
    for (tile, hashes) in made {
        let TileKind::Hashes(level) = tile.kind() else {
            continue;
        };
        let index = tile.index() + high(kept, usize::from(level) + 1);
        let (tile, bytes) = tile_of(staged, tile.kind(), index)?;
        if bytes != encode_hashes(&hashes) {
            return Err(format!("{tile}: not the hashes of the entries"));
        }
    }
    Ok(())
}

/// What the new leaves say about the streams.
#[derive(Default)]
struct Said<'a> {
    ranges: Vec<LeafRange>,
    streams: BTreeMap<StreamId, SaidOfStream>,
    seals: Vec<SealLeaf>,
    events: Vec<(StreamId, &'a Leaf<'a>)>,
}

#[derive(Default)]
struct SaidOfStream {
    registration: Option<(u64, PublicKey)>,
    /// Position and hash of its last event, and whether that closed it.
    last: Option<(u64, LeafHash, bool)>,
    /// The highest position of a finding, where one has a position.
    found: Option<u64>,
    idle: bool,
}

fn check_contents<'a>(staged: &StagedSeal, leaves: &'a [Leaf<'a>]) -> Result<(), String> {
    let mut said = Said::default();
    for leaf in leaves {
        said.read(leaf)
            .map_err(|reason| format!("leaf {}: {reason}", leaf.index))?;
    }
    let last = leaves
        .last()
        .is_some_and(|leaf| SealLeaf::parse(leaf.entry).is_ok());
    if !last {
        return Err("the last leaf is no seal".to_owned());
    }
    if let Some(seal) = said
        .seals
        .iter()
        .find(|seal| seal.origin != staged.newer.origin)
    {
        return Err(format!("a seal is of {:?}", seal.origin));
    }
    if said.ranges != staged.ranges {
        return Err("the ranges are not those of the events".to_owned());
    }
    let mut states = BTreeMap::new();
    let mut before = None;
    for state in &staged.streams {
        if before >= Some(state.stream) {
            return Err(format!(
                "the state of stream {} is not in order",
                state.stream
            ));
        }
        before = Some(state.stream);
        said.check_state(staged, state)
            .map_err(|reason| format!("the state of stream {}: {reason}", state.stream))?;
        states.insert(state.stream, state);
    }
    for (stream, said) in &said.streams {
        let changed = said.registration.is_some() || said.last.is_some() || said.idle;
        if changed && !states.contains_key(stream) {
            return Err(format!("no state of stream {stream}, which changed"));
        }
    }
    check_signatures(&said, &states)
}

impl<'a> Said<'a> {
    fn read(&mut self, leaf: &'a Leaf<'a>) -> Result<(), String> {
        if let Ok(event) = serde_json::from_slice::<Event>(leaf.entry) {
            match self.ranges.last_mut() {
                Some(range)
                    if range.stream == event.stream && range.follows(event.seq, leaf.index) =>
                {
                    range.count += 1;
                }
                _ => self.ranges.push(LeafRange {
                    count: 1,
                    index: leaf.index,
                    seq_lo: event.seq,
                    stream: event.stream,
                }),
            }
            let stopped = matches!(event.body, EventBody::ProcessStopped(_));
            let stream = self.streams.entry(event.stream).or_default();
            stream.last = Some((event.seq, LeafHash(leaf_hash(leaf.entry)), stopped));
            self.events.push((event.stream, leaf));
        } else if let Ok(seal) = SealLeaf::parse(leaf.entry) {
            if leaf.signature != NO_SIGNATURE {
                return Err("a seal has no signature".to_owned());
            }
            for stream in &seal.idle {
                self.streams.entry(*stream).or_default().idle = true;
            }
            for finding in &seal.findings {
                let stream = self.streams.entry(finding.stream).or_default();
                stream.found = stream.found.max(Some(finding.seq.map_or(0, |seq| seq.0)));
            }
            self.seals.push(seal);
        } else {
            let (registration, _) =
                parse_registration(leaf.entry).map_err(|_| "no event, registration or seal")?;
            let stream = self.streams.entry(registration.stream).or_default();
            stream.registration = Some((leaf.index, registration.public_key));
        }
        Ok(())
    }

    /// Whether the new leaves give a reason for a state.
    fn check_state(&self, staged: &StagedSeal, state: &SealedStream) -> Result<(), String> {
        let size = staged.newer.size;
        if state.tree_size != size {
            let found = state.tree_size;
            return Err(format!(
                "it is of a tree of {found} leaves, expected {size}"
            ));
        }
        let said = self
            .streams
            .get(&state.stream)
            .ok_or("nothing says that it changed")?;
        let registered = match state.standing {
            Standing::Registered { index, public_key } => Some((index, public_key)),
            Standing::Refused => None,
        };
        if said.registration.is_some() && said.registration != registered {
            return Err("its registration is another".to_owned());
        }
        if said.registration.is_none() && registered.is_some_and(|(at, _)| at >= staged.older.size)
        {
            return Err("its registration is not at that leaf".to_owned());
        }
        if registered.is_none() {
            let nothing = said.last.is_none() && !said.idle && state.next_seq == 0;
            let empty = nothing && state.head.is_none() && state.end.is_none();
            return if empty && said.found.is_some() {
                Ok(())
            } else {
                Err("nothing vouches for it, but it goes on".to_owned())
            };
        }
        let highest = said.found.max(said.last.map(|(seq, ..)| seq));
        if highest.map_or(state.next_seq > 0 && !said.idle, |seq| {
            state.next_seq > seq + 1
        }) {
            return Err(format!(
                "nothing says that position {} is next",
                state.next_seq
            ));
        }
        match said.last {
            Some((seq, leaf, stopped)) => {
                let head = (state.next_seq == seq.saturating_add(1)).then_some(leaf);
                let end = stopped.then_some(StreamEnd::Stopped);
                if state.next_seq <= seq || state.head != head || state.end != end {
                    return Err(format!("it does not follow from event {seq}"));
                }
            }
            None if said.idle && state.end != Some(StreamEnd::Idle) => {
                return Err("it is not closed, but a seal says so".to_owned());
            }
            None => {}
        }
        let written = said.last.is_some() || said.registration.is_some();
        let sealed = rfc3339(state.last_sealed_us);
        if written && !self.seals.iter().any(|seal| seal.time == sealed) {
            return Err(format!("no seal is of {sealed}"));
        }
        Ok(())
    }
}

fn check_signatures(
    said: &Said<'_>,
    states: &BTreeMap<StreamId, &SealedStream>,
) -> Result<(), String> {
    let mut keys: BTreeMap<StreamId, VerifyingKey> = BTreeMap::new();
    for (stream, state) in states {
        if let Standing::Registered { public_key, .. } = state.standing {
            let key = VerifyingKey::from_bytes(&public_key.0)
                .map_err(|_| format!("the state of stream {stream}: its key is none"))?;
            keys.insert(*stream, key);
        }
    }
    for (stream, leaf) in &said.events {
        let signature = Signature::from_bytes(&leaf.signature);
        let key = keys.get(stream);
        let wrong = |key: &VerifyingKey| key.verify_strict(leaf.entry, &signature).is_err();
        if key.is_none_or(wrong) {
            return Err(format!(
                "leaf {}: the key of stream {stream} did not sign the event",
                leaf.index
            ));
        }
    }
    Ok(())
}
