//! Logs of which a part is verified, or of which a part is not there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use audit::checkpoint::Checkpoint;
use audit::seal::{Exact, Finding, FindingKind, LogEdge, SealFormat, SealLeaf};
use audit::tiles::{OrFull, TileId, TileKind, TileReader};
use audit::tree::Frontier;
use audit::whole_log::{EntryVerifier, LogFault, LogReport, verify_log, verify_part};
use audit::{LeafHash, SignedRegistration, StreamId};
use proptest::prelude::*;

use crate::support::{
    Log, MINUTE_US, ORIGIN, START_US, Written, body, open, stopped, trusted, written,
};

/// A log of several runs with everything that can lawfully be in one: gaps, records left out, an idle stream with a
/// late event, a closed stream, streams that begin late.
static RICH: LazyLock<(Log, Vec<Written>)> = LazyLock::new(|| {
    let mut log = Log::new();
    let mut whole: Vec<Written> = (1..6).map(|id| written(id, 260)).collect();
    whole[1].records.drain(30..33);
    whole[1].records.drain(100..101);
    whole[2].records[50].signature[3] ^= 1;
    whole[2].records[200].entry = b"{}".to_vec();
    whole[3].records[120].seq = 1 << 40;
    let (mut closing, registration) = open(9);
    let mut records: Vec<_> = (0..70)
        .map(|n| closing.record(body(n), START_US + n as u64).unwrap())
        .collect();
    records.push(closing.record(stopped(), START_US).unwrap());
    whole.push(Written {
        id: closing.id(),
        registration,
        records,
    });
    for count in [10, 35, 36, 90, 180, 400] {
        let mut early = whole.clone();
        for stream in &mut early {
            stream.records.truncate(count);
        }
        early.truncate(3 + count / 30);
        log.seal(&early);
        if count == 90 {
            log.now_us += 11 * MINUTE_US;
            log.seal(&early);
        }
    }
    let report = log.verify();
    assert!(report.is_complete(), "{report:?}");
    assert!(report.reported.len() > 4, "{:?}", report.reported);
    (log, whole)
});

fn part(
    log: &Log,
    part: Range<u64>,
    registrations: &BTreeMap<StreamId, SignedRegistration>,
) -> LogReport {
    verify_part(
        &log.checkpoint(),
        part,
        &trusted(),
        &mut |stream| registrations.get(&stream).cloned(),
        &mut log.reader(),
        &mut |_| {},
    )
}

fn registrations(whole: &[Written]) -> BTreeMap<StreamId, SignedRegistration> {
    let registration = |stream: &Written| (stream.id, stream.registration.clone());
    whole.iter().map(registration).collect()
}

#[test]
fn a_part_is_verified_with_what_is_known_of_its_streams() {
    let (log, whole) = &*RICH;
    let size = log.checkpoint().size;
    let known = registrations(whole);
    let report = part(log, 300..700, &known);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.from, report.until, report.size), (300, 700, size));
    assert_eq!((report.entries, report.keys_missing), (400, 0));
    // One for each stream that began before and goes on.
    let taken_up = report
        .streams
        .values()
        .filter(|stream| stream.registration.is_none())
        .count() as u64;
    assert!(taken_up > 2);
    // The part ends before the seal that says why an event is left out.
    assert_eq!(report.unjoined, taken_up + 1);
    assert_eq!(part(log, 300..size, &known).unjoined, taken_up);
    let report = part(log, 300..700, &BTreeMap::new());
    assert!(report.is_sound() && !report.is_complete());
    assert_eq!(
        report.signatures + report.keys_missing + report.seals,
        report.entries
    );
    assert!(report.streams.values().all(|stream| {
        stream.host.is_some() == stream.registration.is_some() && stream.events <= stream.next_seq
    }));
    assert_eq!(part(log, 0..u64::MAX, &BTreeMap::new()), log.verify());
    assert_eq!(part(log, 7..7, &known).entries, 0);
    let beyond = part(log, size + 5..size + 9, &known);
    assert_eq!((beyond.from, beyond.until), (size, size));
}

#[test]
fn a_registration_from_elsewhere_has_to_be_the_stream_s_and_signed() {
    let (log, whole) = &*RICH;
    let mut known = registrations(whole);
    let target = whole[0].id;
    known.insert(target, whole[1].registration.clone());
    let report = part(log, 300..700, &known);
    assert!(report.is_sound() && report.keys_missing > 0);
    let missing = &report.missing[0];
    assert_eq!(missing.what, format!("registration of stream {target}"));
    assert_eq!(
        missing.reason,
        format!("it is that of stream {}", whole[1].id)
    );
    let mut unsigned = whole[0].registration.clone();
    unsigned.signature[0] ^= 1;
    known.insert(target, unsigned);
    let report = part(log, 300..700, &known);
    assert_eq!(report.missing[0].reason, "no trusted key signed it");
}

#[test]
fn progress_of_a_part_reaches_its_length() {
    let (log, _) = &*RICH;
    let mut seen = Vec::new();
    verify_part(
        &log.checkpoint(),
        300..700,
        &trusted(),
        &mut |_| None,
        &mut log.reader(),
        &mut |done| seen.push(done),
    );
    assert_eq!(seen, [212, 400]);
}

#[test]
fn what_is_wrong_in_a_part_is_found_by_its_place_and_what_is_outside_is_not_looked_at() {
    let (log, whole) = &*RICH;
    let known = registrations(whole);
    let flip = |path: &str, byte: usize| {
        let mut worn = log.clone();
        worn.tiles.get_mut(path).unwrap()[byte] ^= 1;
        part(&worn, 300..500, &known)
    };
    let report = flip("tile/0/001", 17);
    assert_eq!(
        report.faults,
        [LogFault::TileSwapped {
            path: "tile/0/001".to_owned()
        }]
    );
    // The entries lead to the root themselves.
    assert!(report.root_verified && report.entries == 200);
    let report = flip("tile/entries/001", 50_000);
    assert!(
        matches!(
            report.faults[..],
            [LogFault::Entry {
                index: 256..512,
                ..
            }]
        ),
        "{:?}",
        report.faults
    );
    assert!(flip("tile/entries/000", 9).is_complete());
    assert!(flip("tile/0/000", 9).is_complete());
    let above = TileId::in_tree(TileKind::Hashes(1), 0, log.checkpoint().size).unwrap();
    let report = flip(&above.to_string(), 3);
    assert_eq!(report.faults[0].code(), "audit.root_differs");
    assert_eq!((report.entries, report.entries_missing), (0, 200));
}

#[test]
fn a_bundle_of_which_only_the_root_is_there_is_passed_over() {
    let (log, whole) = &*RICH;
    let mut worn = log.clone();
    for kind in ["0", "entries", "signatures"] {
        worn.tiles.remove(&format!("tile/{kind}/001"));
    }
    for report in [worn.verify(), part(&worn, 100..800, &registrations(whole))] {
        assert!(report.is_sound() && report.root_verified, "{report:?}");
        assert_eq!((report.entries_missing, report.missing_count), (256, 3));
        assert_eq!(report.entries, report.until - report.from - 256);
        assert!(report.unjoined > 0);
    }
}

#[test]
fn a_late_event_does_not_excuse_one_that_is_missing() {
    let stream = written(1, 4);
    let verify = |kind: FindingKind| {
        let finding = Finding {
            detail: String::new(),
            kind,
            leaf_hash: None,
            seq: Some(Exact(2)),
            stream: stream.id,
            until: (kind == FindingKind::Gap).then_some(Exact(3)),
        };
        let seal = SealLeaf {
            findings: vec![finding],
            format: SealFormat::V1,
            idle: Vec::new(),
            origin: ORIGIN.to_owned(),
            previous_root: LeafHash(LogEdge::new().root()),
            previous_size: 0,
            runs: [(0, 2), (3, 1)]
                .map(|(first, count)| audit::seal::EventRun {
                    count,
                    first,
                    stream: stream.id,
                })
                .to_vec(),
            time: "2026-11-22T13:00:00.000000Z".to_owned(),
        };
        let trusted = trusted();
        let mut verifier = EntryVerifier::new(ORIGIN, &trusted);
        verifier.entry(
            &stream.registration.registration,
            &stream.registration.signature,
        );
        for seq in [0, 1, 3] {
            verifier.entry(&stream.records[seq].entry, &stream.records[seq].signature);
        }
        verifier.entry(&seal.to_bytes().unwrap(), &[0; 64]);
        verifier.grown_to(&Frontier::new());
        verifier.finish().faults
    };
    assert_eq!(verify(FindingKind::Gap), []);
    assert_eq!(verify(FindingKind::Signature), []);
    assert_eq!(
        verify(FindingKind::Late),
        [LogFault::OutOfOrder {
            index: 3,
            stream: stream.id,
            expected: 2,
            found: 3
        }]
    );
}

#[test]
fn an_older_checkpoint_is_verified_by_the_tiles_of_the_grown_log() {
    let mut log = Log::new();
    let whole: Vec<Written> = (1..4).map(|id| written(id, 300)).collect();
    let mut early = whole.clone();
    for stream in &mut early {
        stream.records.truncate(40);
    }
    log.seal(&early);
    let older = log.checkpoint();
    log.seal(&whole);
    let newer = log.checkpoint();
    assert!(older.size < 256 && newer.size > 768);
    // C2SP: partial tiles may be deleted once the full one is there.
    log.tiles.retain(|path, _| {
        path.starts_with("tile/1") || !path.contains(&format!("000.p/{}", older.size))
    });
    let check = |older: &Checkpoint,
                 mut reader: &mut dyn FnMut(TileId) -> Result<Vec<u8>, String>| {
        let whole = verify_log(older, &trusted(), &mut reader, &mut |_| {});
        assert!(whole.is_complete(), "{whole:?}");
        let end = older.size - 30..older.size;
        let part = verify_part(
            older,
            end,
            &trusted(),
            &mut |_| None,
            &mut reader,
            &mut |_| {},
        );
        assert!(part.is_sound() && part.entries == 30, "{part:?}");
        assert_eq!(
            LogEdge::read(older, &mut reader).unwrap().size(),
            older.size
        );
    };
    let mut full = OrFull(log.reader());
    check(&older, &mut |tile| full.read_tile(tile));
    // A partial tile of the later tree in the place of one of the earlier.
    let (mut log, stream) = (Log::new(), written(1, 90));
    let mut first = stream.clone();
    first.records.truncate(33);
    log.seal(&[first]);
    let (older, size) = (log.checkpoint(), 93);
    log.seal(&[stream]);
    let mut reader = log.reader();
    check(&older, &mut |tile| {
        reader(TileId::in_tree(tile.kind(), tile.index(), size).unwrap())
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_log_with_any_files_missing_is_not_complete_and_never_accused(
        gone in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
        from in 0_u64..1300, length in 1_u64..1300, given: bool,
    ) {
        let (log, whole) = &*RICH;
        let size = log.checkpoint().size;
        let now: Vec<String> = log.tiles.keys().filter(|path| {
            let tile = TileId::parse(path).unwrap();
            TileId::in_tree(tile.kind(), tile.index(), size) == Some(tile)
        }).cloned().collect();
        let mut worn = log.clone();
        for path in gone {
            worn.tiles.remove(path.get(&now));
        }
        let report = worn.verify();
        prop_assert!(report.is_sound() && !report.is_complete(), "{report:?}");
        prop_assert_eq!(report.entries + report.entries_missing, size);
        let known = if given { registrations(whole) } else { BTreeMap::new() };
        let report = part(&worn, from..from + length, &known);
        prop_assert!(report.is_sound(), "{report:?}");
        prop_assert_eq!(report.entries + report.entries_missing, report.until - report.from);
    }

    #[test]
    fn any_part_of_a_good_log_is_complete_where_the_registrations_are_known(from in 0_u64..1300, length in 1_u64..1300) {
        let (log, whole) = &*RICH;
        let report = part(log, from..from + length, &registrations(whole));
        prop_assert!(report.is_complete(), "{report:?}");
        prop_assert_eq!(report.entries, report.until - report.from);
    }

    #[test]
    fn no_flipped_bit_of_a_part_goes_unnoticed(at in 0_u64..1200, bit in 0_usize..8, byte: prop::sample::Index) {
        let (log, whole) = &*RICH;
        let size = log.checkpoint().size;
        let at = at % size;
        let tile = TileId::in_tree(TileKind::Entries, at / 256, size).unwrap();
        let mut worn = log.clone();
        let bytes = worn.tiles.get_mut(&tile.to_string()).unwrap();
        let place = byte.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let whole_bundle = at / 256 * 256..(at / 256 + 1) * 256;
        let report = part(&worn, whole_bundle, &registrations(whole));
        prop_assert!(!report.is_sound(), "{} byte {}: {:?}", tile, place, report);
    }
}
