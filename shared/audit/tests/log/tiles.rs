//! Paths, bundles and reads of tiles.

use std::collections::BTreeMap;

use audit::tiles::{
    OrFull, ParseTileError, ReadTileError, TileId, TileKind, TileReader, TreeReader,
    consistency_tiles, encode_entries, encode_hashes, first_entries, first_hashes,
    first_signatures, inclusion_tiles, parse_entries, parse_hashes, parse_signatures,
    read_frontier, tiles_added,
};
use audit::tree::{Frontier, Hash, node_hash};
use proptest::prelude::*;

/// The tiles of a tree as the log would have them.
pub(crate) struct Tiles(BTreeMap<TileId, Vec<u8>>);

impl TileReader for &Tiles {
    type Error = &'static str;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Self::Error> {
        self.0.get(&tile).cloned().ok_or("not found")
    }
}

pub(crate) fn tiles_of(leaves: &[Hash]) -> Tiles {
    let mut frontier = Frontier::new();
    let mut tiles = BTreeMap::new();
    for leaf in leaves {
        let filled = frontier.append(*leaf);
        tiles.extend(
            filled
                .into_iter()
                .map(|(tile, hashes)| (tile, encode_hashes(&hashes))),
        );
    }
    let partials = frontier.partials();
    tiles.extend(partials.map(|(tile, hashes)| (tile, encode_hashes(hashes))));
    Tiles(tiles)
}

fn paths(tiles: &[TileId]) -> Vec<String> {
    tiles.iter().map(TileId::to_string).collect()
}

#[test]
fn paths_are_written_as_c2sp_writes_them() {
    let tile = |kind, index, size| TileId::in_tree(kind, index, size).unwrap().to_string();
    let huge = u64::MAX;
    assert_eq!(tile(TileKind::Hashes(0), 0, 256), "tile/0/000");
    assert_eq!(tile(TileKind::Hashes(0), 0, 8), "tile/0/000.p/8");
    assert_eq!(
        tile(TileKind::Hashes(0), 1_234_067, huge),
        "tile/0/x001/x234/067"
    );
    assert_eq!(tile(TileKind::Entries, 1000, huge), "tile/entries/x001/000");
    assert_eq!(
        tile(TileKind::Signatures, 999, 256 * 999 + 255),
        "tile/signatures/999.p/255"
    );
    assert_eq!(tile(TileKind::Hashes(7), 0, huge), "tile/7/000.p/255");
    assert_eq!(TileId::in_tree(TileKind::Hashes(0), 1, 256), None);
    assert_eq!(TileId::in_tree(TileKind::Hashes(8), 0, huge), None);
}

#[test]
fn other_paths_are_refused() {
    let wrong = [
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/8/000",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/08",
        "tile/0/000.p/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/-1/000",
        "tile/0/+01",
        "tile/data/000",
        "tile/0/x001/x001/x001/x001/x001/x001/x001/x001/001",
        "tile//000",
        "",
    ];
    for path in wrong {
        assert_eq!(TileId::parse(path), None, "{path}");
    }
}

#[test]
fn a_tree_of_70_000_leaves_has_the_tiles_that_the_specification_counts() {
    let tiles = tiles_added(0, 70_000);
    let of = |kind| tiles.iter().filter(move |tile| tile.kind() == kind);
    assert_eq!(
        of(TileKind::Hashes(0))
            .filter(|tile| tile.is_full())
            .count(),
        273
    );
    assert_eq!(
        of(TileKind::Hashes(0)).next_back().unwrap().to_string(),
        "tile/0/273.p/112"
    );
    let above: Vec<TileId> = tiles
        .iter()
        .copied()
        .filter(|tile| matches!(tile.kind(), TileKind::Hashes(1..)))
        .collect();
    assert_eq!(
        paths(&above),
        ["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
    assert_eq!(of(TileKind::Entries).count(), 274);
    assert_eq!(
        paths(&tiles_added(255, 256)),
        [
            "tile/0/000",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/signatures/000"
        ]
    );
    assert_eq!(paths(&tiles_added(256, 257)).len(), 3);
    assert!(tiles_added(70_000, 70_000).is_empty());
}

#[test]
fn bundles_read_back_as_they_were_written() {
    let entries = [b"".to_vec(), b"a".to_vec(), vec![7; 65_535]];
    let bytes = encode_entries(&entries).unwrap();
    assert_eq!(bytes[..5], [0, 0, 0, 1, b'a']);
    assert_eq!(parse_entries(&bytes, 3).unwrap(), entries);
    assert_eq!(
        parse_entries(&bytes, 2),
        Err(ParseTileError::Trailing(65_537))
    );
    let truncated = ParseTileError::Truncated {
        entry: 3,
        expected: 4,
        length: bytes.len(),
    };
    assert_eq!(parse_entries(&bytes, 4), Err(truncated));
    assert_eq!(encode_entries(&[vec![0; 65_536]]), None);
}

/// A tree whose leaves are all the same, of any size, without being held.
pub(crate) struct Uniform;

impl Uniform {
    pub(crate) fn subtree(level: u8) -> Hash {
        (0..8 * u32::from(level)).fold([5; 32], |hash, _| node_hash(&hash, &hash))
    }
}

impl TileReader for Uniform {
    type Error = &'static str;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Self::Error> {
        match tile.kind() {
            TileKind::Hashes(level) => Ok(Self::subtree(level).repeat(tile.width())),
            _ => Err("not found"),
        }
    }
}

#[test]
fn a_proof_takes_few_reads_at_any_size() {
    for (size, most) in [
        (1_000, 3),
        (1_000_000, 5),
        (100_000_000, 7),
        (u64::MAX / 2, 15),
    ] {
        for index in [0, size / 3, size - 1] {
            let mut tree = TreeReader::new(size, Uniform);
            let proof = tree.prove_inclusion(index).unwrap();
            assert!(tree.reads() <= most, "{} reads at {size}", tree.reads());
            assert_eq!(tree.reads(), inclusion_tiles(size, index).len() as u64);
            let root = TreeReader::new(size, Uniform).root().unwrap();
            audit::tree::verify_inclusion(size, index, &[5; 32], &proof, &root).unwrap();
        }
        let mut tree = TreeReader::new(size, Uniform);
        tree.prove_consistency(size / 3).unwrap();
        assert_eq!(tree.reads(), consistency_tiles(size / 3, size).len() as u64);
    }
}

#[test]
fn a_tile_of_another_length_is_refused_by_its_path() {
    let short = |tile: TileId| -> Result<Vec<u8>, String> { Ok(vec![0; 32 * tile.width() - 1]) };
    let error = TreeReader::new(300, short).prove_inclusion(7).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tile/0/000: expected 256 times 32 bytes, found 8191 bytes"
    );
    let beyond = TreeReader::new(300, Uniform).prove_inclusion(300);
    assert_eq!(
        beyond,
        Err(ReadTileError::Beyond {
            asked: 300,
            size: 300
        })
    );
}

#[test]
fn a_partial_tile_may_be_answered_by_a_wider_one() {
    let wide = |tile: TileId| {
        let TileKind::Hashes(level) = tile.kind() else {
            return Err("none");
        };
        Ok(Uniform::subtree(level).repeat(256))
    };
    let proof = TreeReader::new(300, wide).prove_inclusion(299).unwrap();
    assert_eq!(
        proof,
        TreeReader::new(300, Uniform).prove_inclusion(299).unwrap()
    );
}

#[test]
fn of_a_wider_tile_the_beginning_is_read_and_nothing_that_is_no_tile() {
    let hashes = vec![7; 32 * 300];
    for (bytes, width, holds) in [
        (32 * 5, 5, true),
        (32 * 6, 5, true),
        (32 * 256, 5, true),
        (32 * 256, 256, true),
        (32 * 4, 5, false),
        (32 * 257, 5, false),
        (32 * 6 - 1, 5, false),
    ] {
        assert_eq!(first_hashes(&hashes[..bytes], width).is_ok(), holds);
        assert_eq!(
            first_signatures(&hashes.repeat(2)[..bytes * 2], width).is_ok(),
            holds
        );
    }
    let entries: Vec<Vec<u8>> = (0..256).map(|n| vec![n as u8; n]).collect();
    let bundle = |count: usize| encode_entries(&entries[..count]).unwrap();
    for (count, width, holds) in [(5, 5, true), (6, 5, true), (256, 5, true), (4, 5, false)] {
        let bytes = bundle(count);
        let read = first_entries(&bytes, width);
        assert_eq!(read.is_ok(), holds, "{count} of {width}");
        if let Ok(read) = read {
            assert_eq!(read, entries[..width]);
        }
    }
    let long = [bundle(256), bundle(1)].concat();
    assert_eq!(
        first_entries(&long, 5),
        Err(ParseTileError::Trailing(long.len() - bundle(5).len()))
    );
    let cut = bundle(6);
    assert!(matches!(
        first_entries(&cut[..cut.len() - 1], 5),
        Err(ParseTileError::Trailing(_))
    ));
}

#[test]
fn the_full_tile_is_asked_for_where_the_partial_one_is_gone() {
    let mut asked = Vec::new();
    let only_full = |tile: TileId| {
        asked.push(tile.to_string());
        if tile.is_full() {
            Uniform.read_tile(tile).map_err(|_| "none")
        } else {
            Err("deleted")
        }
    };
    let proof = TreeReader::new(300, OrFull(only_full)).prove_inclusion(299);
    assert_eq!(
        proof,
        Ok(TreeReader::new(300, Uniform).prove_inclusion(299).unwrap())
    );
    assert_eq!(asked[..2], ["tile/0/001.p/44", "tile/0/001"]);
    let neither = |tile: TileId| -> Result<Vec<u8>, &str> {
        Err(if tile.is_full() { "full" } else { "partial" })
    };
    let tile = TileId::parse("tile/0/001.p/44").unwrap();
    assert_eq!(OrFull(neither).read_tile(tile), Err("partial"));
    assert_eq!(OrFull(neither).read_tile(tile.widened()), Err("full"));
}

proptest! {
    #[test]
    fn a_path_names_its_tile(level in 0_u8..8, index: u64, size: u64) {
        for kind in [TileKind::Hashes(level), TileKind::Entries, TileKind::Signatures] {
            if let Some(tile) = TileId::in_tree(kind, index >> (8 * level), size) {
                prop_assert_eq!(TileId::parse(&tile.to_string()), Some(tile));
            }
        }
    }

    #[test]
    fn growth_in_any_steps_writes_the_tiles_of_the_tree(steps in prop::collection::vec(1_u64..400, 1..6)) {
        let mut size = 0;
        let mut written = std::collections::BTreeSet::new();
        for step in steps {
            written.extend(tiles_added(size, size + step));
            size += step;
            for tile in tiles_added(0, size) {
                prop_assert!(written.contains(&tile), "{tile} at {size}");
            }
        }
    }

    #[test]
    fn the_edge_is_read_back(size in 0_u64..70_000) {
        let leaves = vec![[5; 32]; size as usize];
        let mut frontier = Frontier::new();
        for leaf in leaves {
            frontier.append(leaf);
        }
        prop_assert_eq!(read_frontier(size, &mut Uniform).unwrap(), frontier);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>, width in 0_usize..300, path: String) {
        let _ = parse_entries(&bytes, width);
        let _ = parse_hashes(&bytes, width);
        let _ = parse_signatures(&bytes, width);
        prop_assert_eq!(TileId::parse(&path), None);
    }
}
