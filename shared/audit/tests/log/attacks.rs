//! What can be done to a sealed log: each attack is found, and the finding names the place.

use audit::StreamId;
use audit::checkpoint::{CheckGrowthError, Checkpoint, check_growth};
use audit::seal::ReadEdgeError;
use audit::tiles::{
    TileId, TileKind, consistency_tiles, encode_entries, growth_tiles, parse_entries,
};
use audit::tree::Frontier;
use audit::whole_log::{LogFault, LogReport, Missing, verify_log};
use proptest::prelude::*;

use crate::support::{Log, ORIGIN, Written, public, sign, trusted, written};

const TARGET: StreamId = StreamId([2; 16]);

/// Three streams in two runs, more than a tile of entries.
fn sealed() -> (Log, Vec<Written>) {
    let mut log = Log::new();
    let whole: Vec<Written> = (1..4).map(|id| written(id, 150)).collect();
    let mut early = whole.clone();
    for stream in &mut early {
        stream.records.truncate(40);
    }
    log.seal(&early);
    log.seal(&whole);
    assert!(log.verify().is_complete());
    (log, whole)
}

/// Changes the entries of a bundle, keeping their number or not.
fn change_bundle(log: &mut Log, index: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let tile = TileId::in_tree(TileKind::Entries, index / 256, log.checkpoint().size).unwrap();
    let bytes = log.tiles.get_mut(&tile.to_string()).unwrap();
    let read = parse_entries(bytes, tile.width()).unwrap();
    let mut entries: Vec<Vec<u8>> = read.into_iter().map(<[u8]>::to_vec).collect();
    change(&mut entries);
    *bytes = encode_entries(&entries).unwrap();
}

/// The indexes of entries that are not the ones that were sealed.
fn altered(report: &LogReport) -> Vec<u64> {
    let index = |fault: &LogFault| match fault {
        LogFault::Entry { index, .. } => Some(*index),
        _ => None,
    };
    report.faults.iter().filter_map(index).collect()
}

#[test]
fn an_altered_event_is_found_by_its_index() {
    let (mut log, _) = sealed();
    let index = log.index_of(TARGET, 100);
    change_bundle(&mut log, index, |entries| {
        let entry = &mut entries[index as usize % 256];
        *entry = String::from_utf8(entry.clone())
            .unwrap()
            .replace("subject 1", "subject 9")
            .into_bytes();
    });
    let report = log.verify();
    assert!(!report.is_complete() && report.root_verified);
    assert_eq!(altered(&report), [index]);
    assert!(
        report.faults[0]
            .to_string()
            .contains(&format!("event 100 of stream {TARGET}")),
        "{}",
        report.faults[0]
    );
    // What follows in the stream cannot be joined to it: that is counted, and is no fault of its own.
    assert_eq!((report.fault_count, report.unjoined), (1, 1));
    assert_eq!((report.entries_missing, report.missing_count), (1, 0));
}

#[test]
fn an_altered_event_whose_hash_and_tiles_are_made_to_fit_is_found_by_root_signature_and_chain() {
    let (mut log, _) = sealed();
    let (index, size) = (log.index_of(TARGET, 100), log.checkpoint().size);
    change_bundle(&mut log, index, |entries| {
        let entry = &mut entries[index as usize % 256];
        *entry = String::from_utf8(entry.clone())
            .unwrap()
            .replace("subject 1", "subject 9")
            .into_bytes();
    });
    rewrite_hashes(&mut log, size);
    let report = log.verify();
    let codes: Vec<&str> = report.faults.iter().map(LogFault::code).collect();
    assert_eq!(
        report.faults[0],
        LogFault::Signature {
            index,
            stream: TARGET,
            seq: 100
        }
    );
    assert_eq!(
        report.faults[1],
        LogFault::Chain {
            index: index + 1,
            stream: TARGET,
            seq: 101
        }
    );
    assert_eq!(
        codes,
        [
            "audit.event_signature_invalid",
            "audit.chain_broken",
            "audit.root_differs"
        ]
    );
    assert!(!report.root_verified);
}

/// Makes all hash tiles anew from the entries, as whoever holds the bucket could.
fn rewrite_hashes(log: &mut Log, size: u64) -> [u8; 32] {
    let mut frontier = Frontier::new();
    let mut tiles = Vec::new();
    for tile in (0..).map_while(|index| TileId::in_tree(TileKind::Entries, index, size)) {
        let bytes = log.tiles[&tile.to_string()].clone();
        for entry in parse_entries(&bytes, tile.width()).unwrap() {
            tiles.extend(frontier.append(audit::canonical::leaf_hash(entry)));
        }
    }
    tiles.extend(
        frontier
            .partials()
            .map(|(tile, hashes)| (tile, hashes.to_vec())),
    );
    for (tile, hashes) in tiles {
        log.tiles.insert(tile.to_string(), hashes.concat());
    }
    frontier.root()
}

#[test]
fn a_deleted_event_in_the_middle_is_found() {
    let (mut log, _) = sealed();
    let index = log.index_of(TARGET, 20);
    change_bundle(&mut log, index, |entries| {
        entries.remove(index as usize % 256);
    });
    let report = log.verify();
    assert!(report.faults.iter().any(
        |fault| matches!(fault, LogFault::TileUnreadable { path, .. } if path == "tile/entries/000")
    ));
    assert_eq!(report.entries_missing, 256);
    assert!(report.root_verified && !report.is_complete());
}

#[test]
fn a_deleted_tail_is_found() {
    let (mut log, _) = sealed();
    let size = log.checkpoint().size;
    let last = TileId::in_tree(TileKind::Entries, (size - 1) / 256, size).unwrap();
    log.tiles.remove(&last.to_string());
    let report = log.verify();
    let gone = Missing {
        what: last.to_string(),
        reason: "not found".to_owned(),
    };
    assert_eq!(report.missing, [gone]);
    assert!(report.is_sound() && !report.is_complete());
    assert_eq!(report.entries_missing, last.width() as u64);
    log.tiles.insert(last.to_string(), Vec::new());
    let report = log.verify();
    assert_eq!(report.faults[0].code(), "audit.tile_unreadable");
}

#[test]
fn a_deleted_stream_is_found_by_the_seal_that_counts_it() {
    let (mut log, whole) = sealed();
    let without: Vec<Written> = whole
        .iter()
        .filter(|stream| stream.id != TARGET)
        .cloned()
        .collect();
    let mut other = Log::new();
    other.seal(&without);
    // The log's own entries, with the whole stream cut out and everything made to fit but the seals.
    let entries: Vec<Vec<u8>> = all_entries(&log)
        .into_iter()
        .filter(|entry| {
            !String::from_utf8_lossy(entry).contains(&format!("\"stream\":\"{TARGET}\",\"time\""))
        })
        .collect();
    let size = entries.len() as u64;
    log.tiles.clear();
    for tile in (0..).map_while(|index| TileId::in_tree(TileKind::Entries, index, size)) {
        let start = tile.index() as usize * 256;
        log.tiles.insert(
            tile.to_string(),
            encode_entries(&entries[start..start + tile.width()]).unwrap(),
        );
    }
    let root = rewrite_hashes(&mut log, size);
    log.note = Some(sign(
        &Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root,
        }
        .to_string(),
    ));
    let report = log.verify();
    assert!(report.root_verified);
    let seals = report
        .faults
        .iter()
        .filter(|fault| matches!(fault, LogFault::Seal { field: "runs", .. }))
        .count();
    assert_eq!(seals, 2, "{:?}", report.faults);
}

fn all_entries(log: &Log) -> Vec<Vec<u8>> {
    let size = log.checkpoint().size;
    let tiles = (0..).map_while(|index| TileId::in_tree(TileKind::Entries, index, size));
    let read = |tile: TileId| {
        let bytes = log.tiles[&tile.to_string()].clone();
        parse_entries(&bytes, tile.width())
            .unwrap()
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    tiles.flat_map(read).collect()
}

#[test]
fn inserted_reordered_and_replayed_events_are_found_by_their_index() {
    let (log, whole) = sealed();
    let index = log.index_of(TARGET, 60) as usize;
    let at = index % 256;
    let attack = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut attacked = log.clone();
        change_bundle(&mut attacked, index as u64, change);
        altered(&attacked.verify())
    };
    let foreign = whole[0].records[149].entry.clone();
    assert_eq!(
        attack(&|entries| entries[at] = foreign.clone()),
        [index as u64]
    );
    assert_eq!(
        attack(&|entries| entries.swap(at, at + 1)),
        [index as u64, index as u64 + 1]
    );
    assert_eq!(
        attack(&|entries| entries[at + 1] = entries[at].clone()),
        [index as u64 + 1]
    );
}

#[test]
fn a_swapped_tile_is_found_by_its_path() {
    let (log, _) = sealed();
    let size = log.checkpoint().size;
    let mut swapped = log.clone();
    let (first, second) = (
        "tile/0/000".to_owned(),
        TileId::in_tree(TileKind::Hashes(0), 1, size)
            .unwrap()
            .to_string(),
    );
    let (a, b) = (log.tiles[&first].clone(), log.tiles[&second].clone());
    swapped.tiles.insert(second.clone(), a[..b.len()].to_vec());
    // The entries lead to the root, and the tile does not: the entries are not accused.
    let report = swapped.verify();
    assert_eq!(report.faults, [LogFault::TileSwapped { path: second }]);
    assert!(report.root_verified);
    assert_eq!((report.entries, report.entries_missing), (size, 0));
}

#[test]
fn one_altered_hash_of_a_leaf_is_a_fault_of_its_tile_and_not_of_the_entry() {
    let (mut log, _) = sealed();
    let path = "tile/0/000".to_owned();
    log.tiles.get_mut(&path).unwrap()[32] ^= 1;
    let report = log.verify();
    assert_eq!(report.faults, [LogFault::TileSwapped { path }]);
    assert!(report.root_verified);
    assert_eq!(report.entries, log.checkpoint().size);
}

#[test]
fn an_altered_entry_stays_accused_where_the_tile_above_is_made_to_fit() {
    let (mut log, _) = sealed();
    change_bundle(&mut log, 100, |entries| entries[100][30] ^= 1);
    let mut frontier = Frontier::new();
    for entry in parse_entries(&log.tiles["tile/entries/000"], 256).unwrap() {
        frontier.append(audit::canonical::leaf_hash(entry));
    }
    let above = "tile/1/000.p/1".to_owned();
    log.tiles.insert(above.clone(), frontier.root().to_vec());
    let report = log.verify();
    assert_eq!(altered(&report), [100]);
    assert!(
        report
            .faults
            .contains(&LogFault::TileHash { path: above, at: 0 })
    );
    assert!(report.root_verified);
}

#[test]
fn a_changed_hash_above_the_leaves_is_found_and_stops_the_sealer() {
    let (mut log, _) = sealed();
    log.tiles.get_mut("tile/1/000.p/1").unwrap()[0] ^= 1;
    let report = log.verify();
    assert_eq!(
        report.faults,
        [LogFault::TileHash {
            path: "tile/1/000.p/1".to_owned(),
            at: 0
        }]
    );
    let size = log.checkpoint().size;
    let edge = audit::seal::LogEdge::read(&log.checkpoint(), &mut log.reader());
    assert_eq!(edge, Err(ReadEdgeError::Root(size)));
}

#[test]
fn an_altered_entry_at_the_edge_stops_the_sealer_by_its_index() {
    let (mut log, _) = sealed();
    let index = log.index_of(StreamId([3; 16]), 149);
    change_bundle(&mut log, index, |entries| {
        entries[index as usize % 256][30] ^= 1;
    });
    let edge = audit::seal::LogEdge::read(&log.checkpoint(), &mut log.reader());
    assert_eq!(edge, Err(ReadEdgeError::Entry(index)));
}

#[test]
fn a_forked_checkpoint_and_a_rolled_back_lock_are_found_by_their_sizes() {
    let (log, whole) = sealed();
    let seen = log.checkpoint();
    let mut fork = Log::new();
    let mut other = whole.clone();
    other[1].records.truncate(149);
    fork.seal(&other);
    fork.seal(&whole);
    let forked = fork.checkpoint();
    // Both are signed by the log's key; each for itself verifies.
    assert!(fork.verify().is_complete());
    assert_eq!(seen.size, forked.size);
    assert_eq!(
        check_growth(&seen, &forked, fork.reader()),
        Err(CheckGrowthError::Forked {
            older: seen.size,
            newer: forked.size
        })
    );
    let mut longer = whole.clone();
    longer.push(written(4, 9));
    fork.seal(&longer);
    assert_eq!(
        check_growth(&forked, &fork.checkpoint(), fork.reader()),
        Ok(())
    );
    assert_eq!(
        check_growth(&seen, &fork.checkpoint(), fork.reader()),
        Err(CheckGrowthError::Forked {
            older: seen.size,
            newer: fork.checkpoint().size
        })
    );
    let rolled_back = CheckGrowthError::RolledBack {
        from: fork.checkpoint().size,
        to: forked.size,
    };
    assert_eq!(rolled_back.code(), "audit.log_rolled_back");
    assert_eq!(
        check_growth(&fork.checkpoint(), &forked, fork.reader()),
        Err(rolled_back)
    );
}

#[test]
fn a_damaged_tile_is_told_from_a_fork() {
    let whole: Vec<Written> = (1..4).map(|id| written(id, 300)).collect();
    for count in [1, 40, 83, 84, 200] {
        let mut early = whole.clone();
        for stream in &mut early {
            stream.records.truncate(count);
        }
        let mut log = Log::new();
        log.seal(&early);
        let older = log.checkpoint();
        log.seal(&whole);
        let newer = log.checkpoint();
        let forked = Checkpoint {
            root: [1; 32],
            ..older.clone()
        };
        let sizes = (older.size, newer.size);
        let fork = Err(CheckGrowthError::Forked {
            older: sizes.0,
            newer: sizes.1,
        });
        assert_eq!(check_growth(&forked, &newer, log.reader()), fork);
        let mut asked = Vec::new();
        let mut reader = log.reader();
        let damaged = CheckGrowthError::Damaged {
            older: sizes.0,
            newer: sizes.1,
        };
        assert_eq!(damaged.code(), "audit.tile_differs");
        let noted = |tile: TileId| {
            asked.push(tile);
            reader(tile)
        };
        check_growth(&forked, &newer, noted).unwrap_err();
        let named = growth_tiles(older.size, newer.size);
        assert!(asked.iter().all(|tile| named.contains(tile)), "{asked:?}");
        // Whichever byte is wrong of what the proof is made of: nobody is accused of a fork.
        let mut found = 0;
        for tile in consistency_tiles(older.size, newer.size) {
            for byte in (0..tile.width() * 32).step_by(32) {
                let mut worn = log.clone();
                worn.tiles.get_mut(&tile.to_string()).unwrap()[byte] ^= 1;
                match check_growth(&older, &newer, worn.reader()) {
                    Ok(()) => {}
                    Err(error) => {
                        assert_eq!(error, damaged, "{tile} byte {byte}");
                        found += 1;
                    }
                }
            }
        }
        assert!(found > 0);
        let other_root = Checkpoint {
            root: [1; 32],
            ..older.clone()
        };
        assert!(matches!(
            check_growth(&older, &other_root, log.reader()),
            Err(CheckGrowthError::Forked { .. })
        ));
    }
}

#[test]
fn entries_after_the_last_seal_and_a_seal_that_lies_are_found() {
    let (log, _) = sealed();
    let lie = |from: &str, to: &str| {
        let mut lying = log.clone();
        let last = lying.checkpoint().size - 1;
        change_bundle(&mut lying, last, |entries| {
            let seal = entries.last_mut().unwrap();
            *seal = String::from_utf8(seal.clone())
                .unwrap()
                .replacen(from, to, 1)
                .into_bytes();
        });
        let size = lying.checkpoint().size;
        let root = rewrite_hashes(&mut lying, size);
        lying.note = Some(sign(
            &Checkpoint {
                root,
                ..lying.checkpoint()
            }
            .to_string(),
        ));
        lying.verify().faults
    };
    let index = log.checkpoint().size - 1;
    assert_eq!(
        lie("\"count\":110", "\"count\":109"),
        [LogFault::Seal {
            index,
            field: "runs"
        }]
    );
    assert_eq!(
        lie("\"previous_size\":1", "\"previous_size\":9"),
        [LogFault::Seal {
            index,
            field: "previous_size"
        }]
    );
    assert_eq!(
        lie("\"previous_root\":\"", "\"previous_root\":\"0"),
        lie("\"previous_root\":\"", "\"previous_root\":\"1")
    );
    assert_eq!(
        lie(ORIGIN, "example.com/other"),
        [LogFault::Seal {
            index,
            field: "origin"
        }]
    );
    assert!(matches!(
        lie("seal/v1", "seal/v9")[..],
        [LogFault::Unreadable { .. }, LogFault::Unsealed { .. }]
    ));
}

#[test]
fn without_the_signatures_the_rest_is_verified_and_the_report_says_so() {
    let (mut log, _) = sealed();
    log.tiles
        .retain(|path, _| !path.starts_with("tile/signatures/"));
    let report = log.verify();
    assert!(report.root_verified && !report.is_complete());
    assert_eq!((report.signatures, report.signatures_missing), (0, 453));
    assert_eq!(report.entries, log.checkpoint().size);
}

#[test]
fn a_registration_by_a_stranger_is_found() {
    let (log, _) = sealed();
    let stranger = public(&ed25519_dalek::SigningKey::from_bytes(&[8; 32]));
    let others = [("registration-1".to_owned(), stranger)];
    let report = verify_log(&log.checkpoint(), &others, &mut log.reader(), &mut |_| {});
    let strangers = report
        .faults
        .iter()
        .filter(|fault| matches!(fault, LogFault::Registration { .. }))
        .count();
    assert_eq!((strangers, report.fault_count), (3, 3));
}

#[test]
fn where_no_key_is_trusted_registrations_are_not_verified_and_nobody_is_accused() {
    let (log, _) = sealed();
    let report = verify_log(&log.checkpoint(), &[], &mut log.reader(), &mut |_| {});
    assert_eq!((report.keys_missing, report.fault_count), (3, 0));
    assert!(!report.is_complete());
}

#[test]
fn progress_reaches_the_size() {
    let (log, _) = sealed();
    let mut seen = Vec::new();
    let size = log.checkpoint().size;
    verify_log(
        &log.checkpoint(),
        &trusted(),
        &mut log.reader(),
        &mut |done| seen.push(done),
    );
    assert_eq!(seen, [256, size]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_flipped_bit_of_any_file_goes_unnoticed(file: prop::sample::Index, bit: prop::sample::Index) {
        let mut log = Log::new();
        log.seal(&[written(1, 20), written(2, 5)]);
        let path = file.get(&log.tiles.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = log.tiles.get_mut(&path).unwrap();
        let place = bit.index(bytes.len() * 8);
        bytes[place / 8] ^= 1 << (place % 8);
        let report = log.verify();
        // A seal has no signature: bits of what stands in its place mean nothing.
        let seal_only = path.starts_with("tile/signatures/") && place / 8 >= 64 * (log.checkpoint().size as usize - 1);
        prop_assert_eq!(report.is_complete(), seal_only, "{} bit {}: {:?}", path, place, report);
    }

    #[test]
    fn any_entries_are_verified_without_a_panic(entries in prop::collection::vec(any::<Vec<u8>>(), 1..300), root: [u8; 32]) {
        let bundle = encode_entries(&entries[..entries.len().min(256)]).unwrap();
        let size = entries.len().min(256) as u64;
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
        let mut reader = |tile: TileId| match tile.kind() {
            TileKind::Entries => Ok(bundle.clone()),
            _ => Err("not found"),
        };
        let report = verify_log(&checkpoint, &trusted(), &mut reader, &mut |_| {});
        prop_assert!(!report.root_verified);
        prop_assert!(report.fault_count >= size);
    }
}

#[test]
fn a_claimed_size_beyond_what_is_there_ends_at_the_first_missing_bundle() {
    let (log, _) = sealed();
    let claimed = Checkpoint {
        size: u64::MAX,
        ..log.checkpoint()
    };
    let report = verify_log(&claimed, &trusted(), &mut log.reader(), &mut |_| {});
    assert!(!report.root_verified);
    assert_eq!(report.entries_missing, u64::MAX - 256);
}
