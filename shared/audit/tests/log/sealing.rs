//! What the sealer appends, and what it reports.

use std::num::NonZeroUsize;

use audit::canonical::leaf_hash;
use audit::checkpoint::OriginError;
use audit::seal::{
    EventRun, FindingKind, LogEdge, MAX_FINDINGS, PlanSealError, SealLeaf, SealRules, Standing,
    StreamEnd, plan_seal, plan_seal_on,
};
use audit::stream::MAX_ENTRY_BYTES;
use audit::tiles::{TileId, TileKind, parse_entries, tiles_added};
use audit::{LeafHash, Record, SignedRegistration, Stream, StreamId};
use ed25519_dalek::Signer as _;
use proptest::prelude::*;

use crate::support::{
    Log, MINUTE_US, ORIGIN, START_US, Written, body, open, registrar, stopped, trusted, written,
};

/// All entries of a log.
fn entries(log: &Log) -> Vec<Vec<u8>> {
    let size = log.checkpoint().size;
    let tiles = (0..).map_while(|index| TileId::in_tree(TileKind::Entries, index, size));
    let read = |tile: TileId| {
        let bytes = &log.tiles[&tile.to_string()];
        parse_entries(bytes, tile.width())
            .unwrap()
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    tiles.flat_map(read).collect()
}

fn seals(log: &Log) -> Vec<SealLeaf> {
    entries(log)
        .iter()
        .filter_map(|entry| SealLeaf::parse(entry).ok())
        .collect()
}

/// Seals, and gives the findings as (kind, stream, seq).
fn findings(log: &mut Log, streams: &[Written]) -> Vec<(FindingKind, u8, Option<u64>)> {
    let plan = log.seal(streams);
    let of = |finding: &audit::seal::Finding| {
        (
            finding.kind,
            finding.stream.0[0],
            finding.seq.map(|seq| seq.0),
        )
    };
    plan.findings.iter().map(of).collect()
}

#[test]
fn a_run_appends_registration_events_and_seal_in_the_order_of_the_streams() {
    let (mut log, streams) = (Log::new(), [written(2, 3), written(1, 2)]);
    let plan = log.seal(&streams);
    let expected: Vec<Vec<u8>> = [&streams[1], &streams[0]]
        .into_iter()
        .flat_map(|stream| {
            let events = stream.records.iter().map(|record| record.entry.clone());
            std::iter::once(stream.registration.registration.clone()).chain(events)
        })
        .collect();
    let all = entries(&log);
    assert_eq!(all[..7], expected);
    let seal = SealLeaf::parse(&all[7]).unwrap();
    let run = |id: u8, count| EventRun {
        count,
        first: 0,
        stream: StreamId([id; 16]),
    };
    // A run of no events stands for the registration, which its events continue.
    assert_eq!(seal.runs, [run(1, 2), run(2, 3)]);
    assert_eq!(
        (seal.previous_size, seal.previous_root),
        (0, LeafHash(LogEdge::new().root()))
    );
    assert_eq!(seal.time, "2023-11-14T22:13:20.000000Z");
    assert_eq!((plan.older.size, plan.newer.size, all.len()), (0, 8, 8));
    assert_eq!(log.index_of(StreamId([2; 16]), 1), 5);
    let head = streams[0].records[2].receipt().leaf_hash;
    assert_eq!(log.states[&StreamId([2; 16])].head, Some(head));
    assert!(log.verify().is_complete(), "{:?}", log.verify());
}

#[test]
fn later_runs_continue_the_streams_and_the_tree() {
    let mut log = Log::new();
    let whole = written(1, 900);
    for count in [0, 1, 255, 256, 257, 600, 900] {
        let mut stream = whole.clone();
        stream.records.truncate(count);
        let before = log.checkpoint();
        let plan = log.seal(&[stream]);
        assert_eq!(plan.older, before);
        let tiles: Vec<TileId> = plan.tiles.keys().copied().collect();
        let mut expected = tiles_added(before.size, plan.newer.size);
        expected.sort_unstable();
        assert_eq!(tiles, expected);
        assert_eq!(plan.edge, log.edge());
    }
    let report = log.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.streams[&whole.id].events, 900);
    assert_eq!(
        (report.seals, report.entries, report.signatures),
        (7, 908, 901)
    );
    let plan = log.plan(&[whole], 1000);
    assert!(plan.is_idle());
    assert_eq!(plan.newer.size, 909);
}

#[test]
fn a_run_takes_no_more_leaves_than_it_may_and_the_next_goes_on() {
    let (mut log, streams) = (Log::new(), [written(1, 10), written(2, 10)]);
    let mut sizes = Vec::new();
    loop {
        let plan = log.seal_at_most(&streams, 7);
        sizes.push(plan.newer.size - plan.older.size);
        if plan.waiting == 0 {
            break;
        }
    }
    assert_eq!(sizes, [7, 7, 7, 5]);
    let report = log.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(
        report
            .streams
            .values()
            .map(|stream| stream.events)
            .sum::<u64>(),
        20
    );
}

fn sealed_of(log: &Log) -> Vec<u64> {
    log.states.values().map(|state| state.next_seq).collect()
}

#[test]
fn each_stream_gets_its_share_of_a_run_that_is_full() {
    let mut log = Log::new();
    let streams = [(1, 300), (2, 3), (3, 300), (4, 10)].map(|(id, count)| written(id, count));
    let plan = log.seal_at_most(&streams, 61);
    // Of 60 leaves 3 are set aside: 4 and 11 for the small ones, 21 for each of the others, with the registration.
    assert_eq!(sealed_of(&log), [20, 3, 20, 10]);
    assert_eq!((plan.newer.size, plan.waiting), (58, 560));
    while log.seal_at_most(&streams, 61).waiting > 0 {}
    assert_eq!(sealed_of(&log), [300, 3, 300, 10]);
    assert!(log.verify().is_complete());
}

#[test]
fn a_stream_full_of_faults_takes_no_leaf_of_the_last_stream_s_share() {
    let mut log = Log::new();
    let mut streams = [written(1, 400), written(2, 400), written(9, 400)];
    for bad in &mut streams[..2] {
        // Each other event is missing, and each third of the rest is not signed.
        let mut number = 0;
        bad.records.retain(|record| record.seq % 2 == 1);
        for record in &mut bad.records {
            number += 1;
            record.signature[0] ^= u8::from(number % 3 == 0);
        }
    }
    log.seal_at_most(&streams, 100);
    assert_eq!(log.states[&StreamId([9; 16])].next_seq, 30);
}

#[test]
fn where_there_are_more_streams_than_leaves_those_come_first_that_waited_longest() {
    let mut log = Log::new();
    let streams: Vec<Written> = (1..51).map(|id| written(id, 3)).collect();
    let mut runs = 0;
    loop {
        let before = log.states.clone();
        let plan = log.seal_at_most(&streams, 11);
        runs += 1;
        assert!(plan.newer.size - plan.older.size <= 11);
        // Nobody has a second turn before everybody had the first one.
        let had = |turns: u64| {
            let streams = log.states.values();
            streams.filter(|state| state.next_seq + 1 >= turns).count()
        };
        assert!(
            (2..5).all(|turn| had(turn) == 0 || had(turn - 1) == 50),
            "{before:?}"
        );
        if plan.waiting == 0 {
            break;
        }
    }
    assert_eq!(runs, 20);
    let report = log.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.signatures, 200);
}

#[test]
fn more_streams_than_a_seal_can_count_take_several_seals() {
    let mut log = Log::new();
    let streams: Vec<Written> = (0..600_u16)
        .map(|n| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_be_bytes());
            let (mut stream, registration) =
                audit::Stream::open(id, &[1; 32], "test", START_US).unwrap();
            let registration = registration.to_bytes().unwrap();
            let signature =
                ed25519_dalek::Signer::sign(&crate::support::registrar(), &registration).to_bytes();
            Written {
                id: stream.id(),
                records: vec![stream.record(body(1), START_US).unwrap()],
                registration: audit::SignedRegistration {
                    registration,
                    key_id: "registration-1".to_owned(),
                    signature,
                },
            }
        })
        .collect();
    log.seal(&streams);
    assert_eq!(
        seals(&log)
            .iter()
            .map(|seal| seal.runs.len())
            .collect::<Vec<_>>(),
        // A full seal parts two streams from their registrations.
        [256, 256, 90]
    );
    assert!(log.verify().is_complete());
}

#[test]
fn the_same_arguments_give_the_same_plan() {
    let (log, streams) = (Log::new(), [written(1, 300), written(2, 5)]);
    let (a, b) = (log.plan(&streams, 1000), log.plan(&streams, 1000));
    assert_eq!((a.tiles, a.streams, a.newer), (b.tiles, b.streams, b.newer));
}

#[test]
fn threads_change_nothing_of_a_plan() {
    let log = Log::new();
    let mut streams: Vec<Written> = (1..30)
        .map(|id| written(id, 40 + usize::from(id)))
        .collect();
    for stream in &mut streams {
        let at = stream.records.len() / 2;
        stream.records[at].signature[0] ^= 1;
        stream.records.remove(7);
    }
    streams.push(written(77, 900));
    let trusted = trusted();
    for max_leaves in [100, 1000, 100_000] {
        let rules = SealRules {
            commands_only: &[],
            trusted: &trusted,
            idle_after_us: 1 << 40,
            max_leaves,
        };
        let plan = |threads| {
            let pages = log.pages(&streams);
            let plan = plan_seal_on(threads, ORIGIN, LogEdge::new(), pages, &rules, START_US);
            let plan = plan.unwrap();
            (
                plan.newer.clone(),
                plan.waiting,
                plan.findings.clone(),
                plan.tiles,
            )
        };
        let alone = plan(NonZeroUsize::MIN);
        for threads in [2, 3, 64] {
            assert!(
                plan(NonZeroUsize::new(threads).unwrap()) == alone,
                "{threads} threads"
            );
        }
    }
}

#[test]
fn a_missing_event_is_reported_once_and_the_rest_is_sealed() {
    let (mut log, mut bad) = (Log::new(), written(1, 6));
    bad.records.drain(2..4);
    let streams = [bad, written(2, 3)];
    assert_eq!(
        findings(&mut log, &streams),
        [(FindingKind::Gap, 1, Some(2))]
    );
    assert_eq!(seals(&log)[0].findings[0].until.unwrap().0, 4);
    assert_eq!(findings(&mut log, &streams), []);
    let report = log.verify();
    assert_eq!(report.streams[&StreamId([1; 16])].events, 4);
    assert_eq!(report.streams[&StreamId([2; 16])].events, 3);
    assert_eq!(
        (report.fault_count, report.reported["audit.event_missing"]),
        (0, 1)
    );
}

#[test]
fn an_altered_event_is_left_out_with_its_hash_and_the_rest_is_sealed() {
    let (mut log, mut bad) = (Log::new(), written(1, 6));
    let altered = String::from_utf8(bad.records[2].entry.clone())
        .unwrap()
        .replace("subject 2", "subject 7");
    bad.records[2].entry = altered.into_bytes();
    let hash = LeafHash(leaf_hash(&bad.records[2].entry));
    let streams = [bad, written(2, 3)];
    assert_eq!(
        findings(&mut log, &streams),
        [(FindingKind::Signature, 1, Some(2))]
    );
    assert_eq!(seals(&log)[0].findings[0].leaf_hash, Some(hash));
    let report = log.verify();
    assert_eq!(report.fault_count, 0, "{report:?}");
    assert_eq!(report.streams[&StreamId([1; 16])].events, 5);
    assert_eq!(findings(&mut log, &streams), []);
}

#[test]
fn each_kind_of_fault_is_found_and_placed() {
    let mut log = Log::new();
    let change = |id: u8, change: &dyn Fn(&mut Written)| {
        let mut stream = written(id, 5);
        change(&mut stream);
        stream
    };
    let (mut fork, _) = open(4);
    fork.record(body(99), START_US).unwrap();
    let other_history = fork.record(body(98), START_US).unwrap();
    let (mut closing, closing_registration) = open(6);
    let mut closed: Vec<Record> = vec![closing.record(stopped(), START_US).unwrap()];
    closed.push(closing.record(body(1), START_US).unwrap());
    let streams = [
        change(1, &|s| s.records[3].signature[5] ^= 1),
        change(2, &|s| s.records[4].entry = b"{}".to_vec()),
        change(3, &|s| {
            s.records[1].entry = written(1, 5).records[1].entry.clone();
        }),
        change(4, &|s| s.records[1] = other_history.clone()),
        change(5, &|s| s.records[2].entry = vec![b' '; MAX_ENTRY_BYTES + 1]),
        Written {
            id: closing.id(),
            registration: closing_registration,
            records: closed,
        },
        change(7, &|s| s.registration.key_id = "unknown".to_owned()),
        change(8, &|s| s.registration.signature[0] ^= 1),
        change(9, &|s| s.registration = written(1, 0).registration),
        change(10, &|s| {
            let again = s.records[1].clone();
            s.records.insert(2, again);
        }),
        change(11, &|s| s.records.swap(1, 2)),
        change(12, &|s| s.records[0].entry.push(b' ')),
        change(13, &|s| s.records[2].seq = 3),
        written(14, 5),
    ];
    assert_eq!(
        findings(&mut log, &streams),
        [
            (FindingKind::Signature, 1, Some(3)),
            (FindingKind::Unreadable, 2, Some(4)),
            (FindingKind::OtherStream, 3, Some(1)),
            (FindingKind::Chain, 4, Some(1)),
            (FindingKind::TooLarge, 5, Some(2)),
            (FindingKind::AfterClose, 6, Some(1)),
            (FindingKind::UnknownRegistration, 7, None),
            (FindingKind::UnknownRegistration, 8, None),
            (FindingKind::UnknownRegistration, 9, None),
            (FindingKind::OutOfOrder, 10, Some(1)),
            (FindingKind::Gap, 11, Some(1)),
            (FindingKind::OutOfOrder, 11, Some(1)),
            (FindingKind::Signature, 12, Some(0)),
            (FindingKind::OutOfOrder, 13, Some(3)),
            (FindingKind::Gap, 13, Some(2)),
        ]
    );
    let report = log.verify();
    assert_eq!(report.faults, []);
    assert!(report.root_verified);
    assert_eq!(report.streams[&StreamId([14; 16])].events, 5);
    assert_eq!(log.states[&StreamId([7; 16])].standing, Standing::Refused);
    assert_eq!(findings(&mut log, &streams[..9]), []);
}

#[test]
fn a_registration_that_becomes_right_lets_its_stream_in() {
    let (mut log, good) = (Log::new(), written(1, 3));
    let mut bad = good.clone();
    bad.registration.key_id = "unknown".to_owned();
    assert_eq!(
        findings(&mut log, &[bad]),
        [(FindingKind::UnknownRegistration, 1, None)]
    );
    assert_eq!(findings(&mut log, std::slice::from_ref(&good)), []);
    assert_eq!(log.verify().streams[&good.id].events, 3);
}

#[test]
fn an_idle_stream_is_closed_and_a_late_event_is_sealed_and_reported() {
    let (mut log, whole) = (Log::new(), written(1, 3));
    let mut early = whole.clone();
    early.records.truncate(2);
    log.seal(&[early.clone()]);
    log.now_us += 11 * MINUTE_US;
    let plan = log.seal(&[early.clone()]);
    assert_eq!(plan.streams[0].end, Some(StreamEnd::Idle));
    assert_eq!(seals(&log)[1].idle, [whole.id]);
    assert!(log.plan(&[early], 100).is_idle());
    assert_eq!(
        findings(&mut log, std::slice::from_ref(&whole)),
        [(FindingKind::Late, 1, Some(2))]
    );
    assert_eq!(log.states[&whole.id].end, None);
    let report = log.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.streams[&whole.id].events, 3);
}

#[test]
fn a_row_put_far_ahead_is_reported_once_and_hides_nothing() {
    let (mut log, mut stream) = (Log::new(), written(1, 3));
    let mut ahead = stream.records[2].clone();
    ahead.seq = 1 << 60;
    stream.records.push(ahead);
    assert_eq!(
        findings(&mut log, std::slice::from_ref(&stream)),
        [(FindingKind::OutOfOrder, 1, Some(1 << 60))]
    );
    assert_eq!(findings(&mut log, std::slice::from_ref(&stream)), []);
    let mut longer = written(1, 6);
    longer.records[4].signature[0] ^= 1;
    longer.records.push(stream.records[3].clone());
    assert_eq!(
        findings(&mut log, &[longer]),
        [(FindingKind::Signature, 1, Some(4))]
    );
}

#[test]
fn more_findings_than_a_seal_can_hold_take_several_seals_of_legal_length() {
    let (mut log, mut stream) = (Log::new(), written(1, 200));
    for record in &mut stream.records {
        record.entry = "{\"kind\":\"\u{1F600}\\\"\\\\\"}".repeat(50).into_bytes();
    }
    let plan = log.seal(&[stream]);
    assert_eq!(plan.findings.len(), 200);
    let seals = seals(&log);
    assert_eq!(
        seals.iter().map(|seal| seal.findings.len()).sum::<usize>(),
        200
    );
    assert!(seals.iter().all(|seal| seal.findings.len() <= MAX_FINDINGS));
    assert_eq!(log.verify().fault_count, 0);
}

#[test]
fn pages_out_of_order_and_foreign_states_are_refused() {
    let log = Log::new();
    let trusted = trusted();
    let rules = SealRules {
        commands_only: &[],
        trusted: &trusted,
        idle_after_us: 1,
        max_leaves: 100,
    };
    let plan = |pages| plan_seal(ORIGIN, LogEdge::new(), pages, &rules, START_US).map(|_| ());
    let mut pages = log.pages(&[written(1, 1), written(2, 1)]);
    pages.swap(0, 1);
    assert_eq!(
        plan(pages),
        Err(PlanSealError::PageOrder(StreamId([1; 16])))
    );
    let mut sealed = Log::new();
    sealed.seal(&[written(1, 1)]);
    let mut pages = sealed.pages(&[written(1, 1)]);
    pages[0].stream = StreamId([2; 16]);
    assert_eq!(
        plan(pages.clone()),
        Err(PlanSealError::State(StreamId([2; 16])))
    );
    for (origin, wrong) in [
        ("", OriginError::Empty),
        ("a\rb", OriginError::Control(1)),
        ("ab\nc", OriginError::Control(2)),
        (&"o".repeat(1025), OriginError::TooLong(1025)),
    ] {
        // Before anything else: the pages are wrong, too.
        let pages = vec![pages[0].clone()];
        let plan = plan_seal(origin, LogEdge::new(), pages, &rules, START_US).map(|_| ());
        assert_eq!(plan, Err(PlanSealError::Origin(wrong)));
    }
    let longest = "\"".repeat(1024);
    let plan = plan_seal(&longest, LogEdge::new(), Vec::new(), &rules, START_US).unwrap();
    let note = audit::note::SignedNote::new(plan.text().to_owned()).unwrap();
    let read = audit::checkpoint::Checkpoint::parse(note.text()).unwrap();
    assert_eq!(read, plan.newer);
}

#[test]
fn a_seal_of_another_form_is_refused() {
    let (mut log, stream) = (Log::new(), written(1, 1));
    log.seal(&[stream]);
    let good = seals(&log)[0].to_bytes().unwrap();
    let text = String::from_utf8(good).unwrap();
    for (from, to) in [
        ("seal/v1", "seal/v2"),
        ("{\"findings\"", "{\"findigns\""),
        (":[]", ": []"),
    ] {
        assert!(
            SealLeaf::parse(text.replacen(from, to, 1).as_bytes()).is_err(),
            "{from}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn however_the_events_arrive_all_are_sealed_once(
        counts in prop::collection::vec(0_usize..60, 1..5),
        parts in prop::collection::vec(0_usize..60, 1..5),
        max in 4_u64..60,
    ) {
        let mut log = Log::new();
        let whole: Vec<Written> = counts.iter().enumerate().map(|(n, count)| written(n as u8 + 1, *count)).collect();
        for part in parts {
            let arrived: Vec<Written> = whole.iter().map(|stream| {
                let mut stream = stream.clone();
                stream.records.truncate(part.max(log.states.get(&stream.id).map_or(0, |s| s.next_seq as usize)));
                stream
            }).collect();
            log.seal_at_most(&arrived, max);
        }
        while log.seal_at_most(&whole, max).waiting > 0 {}
        let report = log.verify();
        prop_assert!(report.is_complete(), "{report:?}");
        let events: Vec<u64> = report.streams.values().map(|stream| stream.events).collect();
        prop_assert_eq!(events, counts.iter().map(|count| *count as u64).collect::<Vec<_>>());
        for stream in &whole {
            for record in &stream.records {
                let proof = log.prove(log.index_of(stream.id, record.seq));
                prop_assert!(proof.verify(&record.entry, &crate::support::trusted_log()).is_ok());
            }
        }
    }
}

#[test]
fn a_registration_that_no_log_can_hold_is_a_finding_and_stops_nothing() {
    let (mut stream, registration) =
        Stream::open([7; 16], &[7; 32], &"h".repeat(70_000), START_US).unwrap();
    let registration = registration.to_bytes().unwrap();
    let signature = registrar().sign(&registration).to_bytes();
    let long = Written {
        id: stream.id(),
        records: vec![stream.record(body(1), START_US).unwrap()],
        registration: SignedRegistration {
            registration,
            key_id: "registration-1".to_owned(),
            signature,
        },
    };
    let plan = Log::new().plan(&[written(1, 3), long], 10_000);
    let [finding] = plan.findings.as_slice() else {
        panic!("{:?}", plan.findings);
    };
    assert_eq!(finding.kind, FindingKind::UnknownRegistration);
    let detail = "the registration is longer than 65535 bytes";
    assert_eq!(finding.detail, detail);
    let sealed: u64 = plan.ranges.iter().map(|range| range.count).sum();
    assert_eq!(sealed, 3);
}
