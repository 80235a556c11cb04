//! The files of a log: tiles of hashes, bundles of entries and of signatures, as C2SP tlog-tiles lays them out.
//!
//! | Path | Bytes |
//! |---|---|
//! | `checkpoint` | the newest checkpoint, a signed note |
//! | `tile/<L>/<N>[.p/<W>]` | up to 256 hashes of subtrees of `256^L` leaves, 32 bytes each |
//! | `tile/entries/<N>[.p/<W>]` | up to 256 entries, each behind its length in two bytes, big-endian |
//! | `tile/signatures/<N>[.p/<W>]` | up to 256 Ed25519 signatures of 64 bytes, one an entry; zeros where it has none |
//!
//! Everything but `tile/signatures` is C2SP's. Signatures are no part of the tree: they prove themselves.

use std::fmt;

mod bundle;
mod read;

pub use bundle::{
    NO_SIGNATURE, ParseTileError, encode_entries, encode_hashes, encode_signatures, first_entries,
    first_hashes, first_signatures, parse_entries, parse_hashes, parse_signatures,
};
pub use read::{
    OrFull, ReadTileError, TileReader, TreeReader, consistency_tiles, growth_tiles,
    inclusion_tiles, read_frontier,
};

/// Hashes, entries or signatures in a full tile.
pub const TILE_WIDTH: usize = 256;

/// Path of the newest checkpoint.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of subtrees of `256^level` leaves; the level is 0 to 7.
    Hashes(u8),
    /// Entries.
    Entries,
    /// Signatures.
    Signatures,
}

impl TileKind {
    fn leaves_log2(self) -> u32 {
        match self {
            Self::Hashes(level) => 8 * u32::from(level),
            Self::Entries | Self::Signatures => 0,
        }
    }
}

/// Names a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TileId {
    /// The full tile of hashes at an index of a level.
    pub(crate) fn full(level: u8, index: u64) -> Self {
        Self {
            kind: TileKind::Hashes(level),
            index,
            width: TILE_WIDTH as u16,
        }
    }

    /// The partial tile of a level of a tree; `None` where the level ends with a full one.
    pub(crate) fn at_edge(level: u8, size: u64) -> Option<Self> {
        let kind = TileKind::Hashes(level);
        let index = size.checked_shr(kind.leaves_log2() + 8).unwrap_or(0);
        Self::in_tree(kind, index, size).filter(|tile| !tile.is_full())
    }

    /// The tile of that kind and index as a tree of `size` leaves has it; `None` where it has no such tile.
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(kind.leaves_log2())?;
        let before = index.checked_mul(TILE_WIDTH as u64)?;
        let width = hashes.checked_sub(before)?.min(TILE_WIDTH as u64) as u16;
        (width > 0).then_some(Self { kind, index, width })
    }

    /// The full tile of the same place. Once a log has it, it may delete the partial ones (C2SP tlog-tiles): a reader
    /// that does not find a partial tile asks for this.
    #[must_use]
    pub fn widened(self) -> Self {
        Self {
            width: TILE_WIDTH as u16,
            ..self
        }
    }

    /// What it holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its place in its level, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes, entries or signatures it holds, 1 to 256.
    pub fn width(&self) -> usize {
        usize::from(self.width)
    }

    /// True where it holds 256.
    pub fn is_full(&self) -> bool {
        self.width() == TILE_WIDTH
    }

    /// Reads a path as C2SP writes it; `None` for anything else.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            "signatures" => TileKind::Signatures,
            level => TileKind::Hashes(parse_decimal(level).filter(|level| *level < 8)? as u8),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, parse_decimal(width)?),
            None => (rest, TILE_WIDTH as u64),
        };
        let mut number: u64 = 0;
        for part in index.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            number = number
                .checked_mul(1000)?
                .checked_add(digits.parse().ok()?)?;
        }
        let tile = Self {
            kind,
            index: number,
            width: u16::try_from(width)
                .ok()
                .filter(|w| (1..=256).contains(w))?,
        };
        (tile.to_string() == path).then_some(tile)
    }
}

/// The path below the log's prefix, for example `tile/0/x001/x234/067.p/8`.
impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Signatures => f.write_str("tile/signatures/")?,
        }
        let (mut above, mut groups) = (self.index / 1000, Vec::new());
        while above > 0 {
            groups.push(above % 1000);
            above /= 1000;
        }
        for group in groups.iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() {
            Ok(())
        } else {
            write!(f, ".p/{}", self.width)
        }
    }
}

/// An ASCII decimal without sign and leading zeros, at least one digit.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

/// The tiles that a tree of `newer` leaves has and the same tree at `older` leaves had not: of each level the full
/// ones and then the partial one, from level 0 up, and at last the bundles of entries and signatures.
pub fn tiles_added(older: u64, newer: u64) -> Vec<TileId> {
    let levels = (0..8).map(TileKind::Hashes);
    levels
        .chain([TileKind::Entries, TileKind::Signatures])
        .flat_map(|kind| {
            let shift = kind.leaves_log2();
            let (before, after) = (older >> shift, newer >> shift);
            let first = before / TILE_WIDTH as u64;
            let end = if after > before {
                after.div_ceil(TILE_WIDTH as u64)
            } else {
                first
            };
            (first..end).filter_map(move |index| TileId::in_tree(kind, index, newer))
        })
        .collect()
}
