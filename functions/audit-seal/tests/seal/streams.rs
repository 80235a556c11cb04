//! What is wrong in streams: each finding has its code and its place, and keeps no other stream's events out.

use audit::Record;
use audit::seal::{Exact, FindingKind};
use domain::ports::{AuditAppender, Clock};
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
