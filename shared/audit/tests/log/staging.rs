//! The staged record: a run that died goes on from it alone.

use std::sync::LazyLock;

use audit::checkpoint::{Checkpoint, OpenCheckpointError, TrustedLog};
use audit::note::SignedNote;
use audit::seal::{
    LogEdge, ParseStageError, SealedStream, StageError, StagedSeal, Standing, StreamEnd,
};
use audit::tiles::TileId;
use audit::{LeafHash, PublicKey, StreamId};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{Log, MINUTE_US, Written, sign, trusted, trusted_log, verifier, written};

fn staged() -> (Log, StagedSeal) {
    let mut log = Log::new();
    log.seal(&[written(1, 250)]);
    let plan = log.plan(&[written(1, 300), written(2, 20)], 1000);
    let note = sign(plan.text());
    (log, plan.stage(note).unwrap())
}

#[test]
fn a_staged_record_reads_back_as_it_was_written() {
    let (_, staged) = staged();
    let bytes = staged.to_bytes().unwrap();
    assert!(bytes.starts_with(b"sealcast.stage/v1\n"));
    assert_eq!(StagedSeal::parse(&bytes), Ok(staged));
}

#[test]
fn a_run_that_died_is_carried_out_by_its_staged_record() {
    let (mut log, staged) = staged();
    // Dying between any two writes of tiles changes nothing: the same bytes are written again.
    let replayed = StagedSeal::parse(&staged.to_bytes().unwrap()).unwrap();
    let mut partly = staged.clone();
    partly.tiles.pop_last();
    partly.ranges.clear();
    partly.streams.clear();
    log.write(&partly);
    log.write(&replayed);
    let report = log.verify();
    assert!(report.is_complete(), "{report:?}");
}

#[test]
fn only_the_plan_s_own_signed_checkpoint_is_staged() {
    let log = Log::new();
    let plan = log.plan(&[written(1, 3)], 100);
    let other = sign(
        &Checkpoint {
            size: 6,
            ..plan.newer.clone()
        }
        .to_string(),
    );
    assert_eq!(plan.clone().stage(other), Err(StageError::OtherText));
    let unsigned: SignedNote = plan.unsigned();
    assert_eq!(plan.stage(unsigned), Err(StageError::Unsigned));
}

#[test]
fn records_that_are_not_whole_or_do_not_fit_are_refused() {
    let (_, staged) = staged();
    let bytes = staged.to_bytes().unwrap();
    assert_eq!(
        StagedSeal::parse(b"sealcast.stage/v2\n"),
        Err(ParseStageError::Version)
    );
    assert_eq!(
        StagedSeal::parse(&bytes[..bytes.len() - 1]),
        Err(ParseStageError::Checksum)
    );
    assert_eq!(
        StagedSeal::parse(&bytes[..20]),
        Err(ParseStageError::Checksum)
    );
    let again = |change: &dyn Fn(&mut StagedSeal)| {
        let mut changed = staged.clone();
        change(&mut changed);
        StagedSeal::parse(&changed.to_bytes().unwrap())
    };
    assert!(matches!(
        again(&|s| {
            s.tiles.pop_first();
        }),
        Err(ParseStageError::Head(_))
    ));
    // A checkpoint that claims more leaves than any tiles can hold.
    let huge = Checkpoint {
        size: u64::MAX,
        ..staged.newer.clone()
    };
    assert!(matches!(
        again(&|s| s.note = sign(&huge.to_string())),
        Err(ParseStageError::Head(_))
    ));
    assert!(matches!(
        again(&|s| s.older.size = 10_000),
        Err(ParseStageError::Head(_))
    ));
    let mut long = bytes[..bytes.len() - 32].to_vec();
    long.push(0);
    let checksum = Sha256::digest(&long);
    long.extend_from_slice(&checksum);
    assert!(matches!(
        StagedSeal::parse(&long),
        Err(ParseStageError::Head(_))
    ));
}

#[test]
fn every_state_names_the_tree_of_its_run_and_another_is_refused() {
    let (_, staged) = staged();
    let size = staged.newer.size;
    assert_eq!(staged.streams.len(), 2);
    assert!(staged.streams.iter().all(|state| state.tree_size == size));
    let mut older = staged.clone();
    older.streams[1].tree_size = size - 1;
    let stream = older.streams[1].stream;
    assert_eq!(
        StagedSeal::parse(&older.to_bytes().unwrap()),
        Err(ParseStageError::Differs(format!(
            "the state of stream {stream}: it is of a tree of {} leaves, expected {size}",
            size - 1
        )))
    );
}

/// The record read again after a change, with a checksum that fits.
fn changed(staged: &StagedSeal, change: impl FnOnce(&mut StagedSeal)) -> String {
    let mut changed = staged.clone();
    change(&mut changed);
    match StagedSeal::parse(&changed.to_bytes().unwrap()) {
        Ok(_) => "accepted".to_owned(),
        Err(ParseStageError::Differs(reason)) => reason,
        Err(other) => other.to_string(),
    }
}

#[test]
fn whatever_contradicts_the_signed_checkpoint_is_named() {
    let (_, staged) = staged();
    let tile = |path: &str| TileId::parse(path).unwrap();
    let last = tile(&format!("tile/0/001.p/{}", staged.newer.size - 256));
    let target = staged.streams[0].stream;
    let flip = |path: TileId, byte: usize| {
        changed(&staged, |s| s.tiles.get_mut(&path).unwrap()[byte] ^= 1)
    };
    assert_eq!(
        flip(tile("tile/0/000"), 0),
        "the tiles do not lead to the root of the tree of 252 leaves before"
    );
    assert_eq!(
        flip(tile("tile/0/000"), 32 * 255),
        "tile/0/000: not the hashes of the entries"
    );
    assert_eq!(
        flip(last, 5),
        format!("{last}: not the hashes of the entries")
    );
    assert_eq!(
        flip(tile("tile/1/000.p/1"), 5),
        "tile/1/000.p/1: not the hashes of the entries"
    );
    assert_eq!(
        flip(tile("tile/entries/000"), 7),
        "leaf 0: not the entry of the tree before"
    );
    let entries = last.to_string().replace("tile/0", "tile/entries");
    assert_eq!(
        flip(tile(&entries), 7),
        "the entries do not lead to the checkpoint's root"
    );
    let signatures = tile(&last.to_string().replace("tile/0", "tile/signatures"));
    assert_eq!(
        flip(signatures, 3),
        format!("leaf 256: the key of stream {target} did not sign the event")
    );
    assert_eq!(
        flip(signatures, signatures.width() * 64 - 1),
        format!("leaf {}: a seal has no signature", staged.newer.size - 1)
    );
    let ranges = "the ranges are not those of the events";
    assert_eq!(changed(&staged, |s| s.ranges[0].index += 1), ranges);
    assert_eq!(changed(&staged, |s| s.ranges[1].count -= 1), ranges);
    assert_eq!(changed(&staged, |s| s.ranges.clear()), ranges);
    assert_eq!(
        changed(&staged, |s| s.kept.push(LeafHash([0; 32]))),
        "1 roots of what stays as it was, expected 0"
    );
    let state = |change: &dyn Fn(&mut SealedStream)| {
        changed(&staged, |s| change(&mut s.streams[0]))
            .strip_prefix(&format!("the state of stream {target}: "))
            .map(str::to_owned)
            .unwrap()
    };
    let follows = "it does not follow from event 299";
    assert_eq!(state(&|s| s.next_seq -= 1), follows);
    assert_eq!(state(&|s| s.head = Some(LeafHash([1; 32]))), follows);
    assert_eq!(state(&|s| s.end = Some(StreamEnd::Stopped)), follows);
    assert_eq!(
        state(&|s| s.next_seq += 1),
        "nothing says that position 301 is next"
    );
    assert_eq!(
        state(&|s| s.standing = Standing::Refused),
        "nothing vouches for it, but it goes on"
    );
    assert!(state(&|s| s.last_sealed_us += 1).starts_with("no seal is of "));
    assert_eq!(
        changed(&staged, |s| {
            s.streams.pop();
        }),
        format!(
            "no state of stream {}, which changed",
            staged.streams[1].stream
        )
    );
    assert_eq!(
        changed(&staged, |s| s.streams.swap(0, 1)),
        format!("the state of stream {target} is not in order")
    );
    let mut foreign = staged.streams[1].clone();
    foreign.stream = StreamId([9; 16]);
    assert_eq!(
        changed(&staged, |s| s.streams.push(foreign)),
        "the state of stream 09090909090909090909090909090909: nothing says that it changed"
    );
    let registration = |change: &dyn Fn(&mut u64, &mut PublicKey)| {
        changed(&staged, |s| {
            if let Standing::Registered { index, public_key } = &mut s.streams[1].standing {
                change(index, public_key);
            }
        })
    };
    let another = format!(
        "the state of stream {}: its registration is another",
        staged.streams[1].stream
    );
    assert_eq!(registration(&|index, _| *index += 1), another);
    assert_eq!(registration(&|_, key| key.0[0] ^= 1), another);
    let later = staged.newer.size - 1;
    let earlier_stream = changed(&staged, |s| {
        if let Standing::Registered { index, .. } = &mut s.streams[0].standing {
            *index = later;
        }
    });
    assert_eq!(
        earlier_stream,
        format!("the state of stream {target}: its registration is not at that leaf")
    );
}

#[test]
fn seals_are_of_the_log_that_the_checkpoint_names() {
    let (_, staged) = staged();
    let other = Checkpoint {
        origin: "example.com/other".to_owned(),
        ..staged.newer.clone()
    };
    let origin = staged.newer.origin.clone();
    assert_eq!(
        changed(&staged, |s| s.note = sign(&other.to_string())),
        format!("a seal is of {origin:?}")
    );
}

#[test]
fn what_stays_as_it_was_is_part_of_both_roots() {
    let mut log = Log::new();
    let stream = written(1, 900);
    for (before, after) in [(0, 10), (300, 310), (511, 520), (700, 900)] {
        let mut early = stream.clone();
        early.records.truncate(before);
        log.seal(&[early]);
        let mut late = stream.clone();
        late.records.truncate(after);
        let plan = log.plan(&[late], 10_000);
        let note = sign(plan.text());
        let staged = plan.stage(note).unwrap();
        assert_eq!(
            StagedSeal::parse(&staged.to_bytes().unwrap()),
            Ok(staged.clone())
        );
        assert_eq!(staged.check_beginning(&log.edge()), Ok(()));
        let kept = staged.kept.len();
        assert_eq!(
            kept > 0,
            staged.newer.size / 256 == staged.older.size / 256 && before > 256
        );
        for at in 0..kept {
            assert_eq!(
                changed(&staged, |s| s.kept[at].0[0] ^= 1),
                format!(
                    "the tiles do not lead to the root of the tree of {} leaves before",
                    staged.older.size
                )
            );
        }
    }
}

#[test]
fn who_signed_and_what_was_before_is_held_against_what_is_known() {
    let (log, staged) = staged();
    let bytes = staged.to_bytes().unwrap();
    let open = |bytes: &[u8]| StagedSeal::open(bytes, &trusted_log(), &trusted());
    assert_eq!(open(&bytes).as_ref(), Ok(&staged));
    let other = TrustedLog::by_keys("example.com/other", vec![verifier()]);
    assert!(matches!(
        StagedSeal::open(&bytes, &other, &trusted()),
        Err(ParseStageError::Checkpoint(
            OpenCheckpointError::OtherOrigin { .. }
        ))
    ));
    assert!(matches!(
        StagedSeal::open(&bytes, &trusted_log(), &[]),
        Err(ParseStageError::Differs(reason)) if reason.contains("no trusted key signed the registration of stream 0202")
    ));
    assert_eq!(staged.check_beginning(&log.edge()), Ok(()));
    assert!(staged.check_beginning(&LogEdge::new()).is_err());
    let mut forged = staged.clone();
    let first = TileId::parse("tile/signatures/000").unwrap();
    forged.tiles.get_mut(&first).unwrap()[64] ^= 1;
    // Nothing in the record vouches for a signature of the run before.
    let forged = open(&forged.to_bytes().unwrap()).unwrap();
    assert_eq!(
        forged.check_beginning(&log.edge()),
        Err(ParseStageError::Differs(
            "leaf 1: entry or signature is not the log's".to_owned()
        ))
    );
    let stored = &log.states[&staged.streams[0].stream];
    assert!(staged.streams[0].follows(stored));
    assert!(stored.follows(stored) && !stored.follows(&staged.streams[0]));
    let mut back = staged.streams[0].clone();
    back.next_seq = stored.next_seq - 1;
    assert!(!back.follows(stored), "a stream does not go back");
    let mut other = stored.clone();
    other.last_sealed_us += 1;
    assert!(!other.follows(stored), "a run writes one state of a stream");
    let mut other_key = staged.streams[0].clone();
    other_key.standing = Standing::Registered {
        index: 0,
        public_key: PublicKey([3; 32]),
    };
    assert!(!other_key.follows(stored));
    assert!(!staged.streams[1].follows(stored));
}

#[test]
fn staged_findings_idle_streams_and_refusals_are_read_back() {
    let mut log = Log::new();
    let mut bad = [
        written(1, 40),
        written(2, 40),
        written(3, 40),
        written(4, 40),
    ];
    bad[0].records.drain(5..9);
    bad[1].records[39].signature[0] ^= 1;
    bad[2].registration.signature[0] ^= 1;
    let check = |log: &mut Log, streams: &[Written]| {
        let plan = log.plan(streams, 10_000);
        let note = sign(plan.text());
        let staged = plan.stage(note).unwrap();
        let bytes = staged.to_bytes().unwrap();
        assert_eq!(
            StagedSeal::open(&bytes, &trusted_log(), &trusted()),
            Ok(staged.clone())
        );
        log.write(&staged);
        staged
    };
    check(&mut log, &bad[..3]);
    log.now_us += 11 * MINUTE_US;
    let idle = check(&mut log, &bad);
    assert!(
        idle.streams
            .iter()
            .any(|state| state.end == Some(StreamEnd::Idle))
    );
    let target = idle.streams[0].stream;
    assert_eq!(
        changed(&idle, |s| s.streams[0].end = None),
        format!("the state of stream {target}: it is not closed, but a seal says so")
    );
    bad[2].registration = written(3, 0).registration;
    check(&mut log, &bad);
    check(&mut log, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_flipped_bit_of_a_record_is_carried_out(place: prop::sample::Index, bit in 0_u8..8) {
        static STAGED: LazyLock<(Log, StagedSeal)> = LazyLock::new(staged);
        let (log, staged) = &*STAGED;
        let mut bytes = staged.to_bytes().unwrap();
        let end = bytes.len() - 32;
        let place = place.index(end);
        bytes[place] ^= 1 << bit;
        prop_assert_eq!(StagedSeal::parse(&bytes).is_err(), true);
        let checksum = Sha256::digest(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum);
        if let Ok(read) = StagedSeal::open(&bytes, &trusted_log(), &trusted()) {
            let follow = read.streams.iter().all(|state| {
                log.states.get(&state.stream).is_none_or(|stored| state.follows(stored))
            });
            prop_assert!(read == *staged || read.check_beginning(&log.edge()).is_err() || !follow, "byte {place}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(StagedSeal::parse(&bytes).is_err());
        let mut record = [b"sealcast.stage/v1\n".as_slice(), &bytes].concat();
        prop_assert!(StagedSeal::parse(&record).is_err());
        let checksum = Sha256::digest(&record);
        record.extend_from_slice(&checksum);
        prop_assert!(StagedSeal::parse(&record).is_err());
    }
}
