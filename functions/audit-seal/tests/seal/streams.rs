//! What is wrong in streams: each finding has its code and its place, and keeps no other stream's events out.

use audit::Record;
use audit::seal::{Exact, FindingKind, SealedStream};
use domain::ports::{AuditAppender, Clock, SealIndexReader};
use testkit::MemorySealIndex;
use testkit::build::{TestStream, random};

use crate::support::{World, block_on, stopped};

/// Stores records past the checks that an honest store makes.
fn store(world: &World, records: Vec<Record>) {
    world.audit.insert_unchecked(records);
}

/// Seals the stream beside an honest one, and gives the finding.
fn finding_of(prepare: impl FnOnce(&World, &mut TestStream)) -> (FindingKind, Option<Exact>, u64) {
    let world = World::new();
    let mut honest = world.open(random());
    world.append(honest.records(3));
    let mut test = world.open(random());
    prepare(&world, &mut test);
    let report = block_on(world.sealer().run(None)).unwrap();
    assert_eq!(report.findings, 1, "one fault, one finding");
    let seal = world.last_seal();
    assert_eq!(seal.findings.len(), 1);
    let verified = world.verify();
    assert!(verified.is_complete(), "{verified:?}");
    assert_eq!(verified.streams[&honest.stream.id()].events, 3);
    assert_eq!(world.seal().findings, 0, "said once");
    let finding = seal.findings[0].clone();
    assert_eq!(finding.stream, test.stream.id());
    (finding.kind, finding.seq, report.events - 3)
}

#[test]
fn every_fault_of_a_stream_has_its_finding_at_its_place() {
    let gap = finding_of(|world, test| {
        let mut records = test.records(5);
        records.remove(2);
        store(world, records);
    });
    assert_eq!(gap, (FindingKind::Gap, Some(Exact(2)), 4));
    let altered = finding_of(|world, test| {
        let mut records = test.records(5);
        let text = String::from_utf8(records[3].entry.clone()).unwrap();
        records[3].entry = text.replace("subject 3", "subject 9").into_bytes();
        store(world, records);
    });
    assert_eq!(altered, (FindingKind::Signature, Some(Exact(3)), 4));
    let swapped = finding_of(|world, test| {
        let mut records = test.records(5);
        records[4] = Record {
            seq: 4,
            ..records[1].clone()
        };
        store(world, records);
    });
    assert_eq!(swapped.0, FindingKind::OutOfOrder);
    assert_eq!(swapped.1, Some(Exact(4)));
    let after_close = finding_of(|world, test| {
        let mut records = test.records(1);
        records.push(stopped(test, world.clock.now_us()));
        records.extend(test.records(1));
        store(world, records);
    });
    assert_eq!(after_close, (FindingKind::AfterClose, Some(Exact(2)), 2));
    let unreadable = finding_of(|world, test| {
        let mut records = test.records(2);
        records[1].entry = b"{}".to_vec();
        store(world, records);
    });
    assert_eq!(unreadable, (FindingKind::Unreadable, Some(Exact(1)), 1));
}

#[test]
fn a_registration_of_another_key_is_a_finding_and_nothing_of_it_is_sealed() {
    let world = World::new();
    let mut honest = world.open(random());
    world.append(honest.records(3));
    let mut test = TestStream::opened_at(random(), "test", world.clock.now_us());
    test.registration.signature[0] ^= 1;
    block_on(world.audit.register(&test.registration)).unwrap();
    world.append(test.records(2));
    let report = block_on(world.sealer().run(None)).unwrap();
    assert_eq!((report.events, report.findings), (3, 1));
    let finding = &world.last_seal().findings[0];
    assert_eq!(finding.kind, FindingKind::UnknownRegistration);
    assert_eq!(finding.kind.code(), "audit.registration_unknown");
    assert!(world.verify().is_complete());
}

#[test]
fn an_index_that_is_made_anew_says_of_every_stream_what_the_lost_one_said() {
    let mut world = World::new();
    // Streams of every kind, sealed over several runs.
    let mut idle = world.open(random());
    world.append(idle.records(2));
    world.seal();
    world.clock.advance(World::rules().idle_after_us + 1);
    let mut ended = world.open(random());
    let mut records = ended.records(3);
    records.push(stopped(&mut ended, world.clock.now_us()));
    world.append(records);
    let mut faulty = world.open(random());
    let mut records = faulty.records(9);
    records.remove(2);
    records[3].signature[0] ^= 1;
    records[7].signature[0] ^= 1;
    store(&world, records);
    let mut ahead = world.open(random());
    let mut records = ahead.records(6);
    // Beyond the next position, and wrong.
    records[5].signature[0] ^= 1;
    records.drain(2..5);
    store(&world, records);
    let mut refused = TestStream::opened_at(random(), "test", world.clock.now_us());
    refused.registration.signature[0] ^= 1;
    block_on(world.audit.register(&refused.registration)).unwrap();
    let silent = world.open(random());
    world.seal();
    store(&world, faulty.records(300));
    world.clock.advance(1_000_000);
    world.seal();

    let lost = std::mem::replace(
        &mut world.index,
        std::sync::Arc::new(MemorySealIndex::new()),
    );
    let size = world.checkpoint().size;
    assert!(world.seal().recovered);
    assert_eq!(world.checkpoint().size, size, "nothing is sealed twice");
    for test in [&idle, &ended, &faulty, &ahead, &refused, &silent] {
        let stream = test.stream.id();
        let before = block_on(lost.state(stream)).unwrap().unwrap();
        let after = block_on(world.index.state(stream)).unwrap().unwrap();
        assert!(after.tree_size >= before.tree_size);
        let tree_size = after.tree_size;
        assert_eq!(
            after,
            SealedStream {
                tree_size,
                ..before
            }
        );
        for seq in 0..400 {
            let before = block_on(lost.leaf_index(stream, seq));
            let after = block_on(world.index.leaf_index(stream, seq));
            assert_eq!(after, before, "event {seq}");
        }
    }
    // Ranges of the lost one that are left are the same rows: they stand in nothing's way.
    world.index = lost;
    assert!(!world.seal().recovered);
}
