//! What a replay does with what it finds.

use std::sync::Arc;

use audit::Record;
use domain::ports::{
    AuditAppender, AuditReader, AuditRestorer, SpillReader, SpillRemover, SpillWriter,
};
use domain::spill::{MAX_ITEM_BYTES, ReplayPorts, SpillItem, SpillSummary, replay, summarize};
use testkit::build::TestStream;
use testkit::{Fault, Faulty};

use crate::support::{World, down};

async fn spill(world: &World, records: &[Record]) -> String {
    let item = SpillItem::of_records(records.to_vec()).unwrap();
    world.spill.put(&item).await.unwrap();
    item.name().to_string()
}

/// A stream whose first `logged` of `count` records are in the log.
async fn stream(world: &World, count: usize, logged: usize) -> (TestStream, Vec<Record>) {
    let mut test = TestStream::fresh();
    let records = test.records(count);
    world.log.register(&test.registration).await.unwrap();
    let head = records[..logged].to_vec();
    world.log.append(head).await.unwrap();
    (test, records)
}

async fn in_log(world: &World, test: &TestStream) -> usize {
    let records = world.log.read(test.stream.id(), 0, 1000).await.unwrap();
    testkit::build::verify(&test.registration, &records).unwrap();
    records.len()
}

#[tokio::test]
async fn overlapping_items_are_replayed_once() {
    let world = World::new();
    let (test, records) = stream(&world, 10, 4).await;
    for range in [2..5, 4..6, 4..8, 6..10] {
        spill(&world, &records[range]).await;
    }
    let report = world.replay().await;
    assert_eq!((report.items, report.complete), (4, true));
    assert_eq!(in_log(&world, &test).await, 10);
    assert_eq!(world.replay().await.items, 0);
}

#[tokio::test]
async fn what_misses_something_before_it_waits_and_holds_up_nobody() {
    let world = World::new();
    let (test, records) = stream(&world, 10, 4).await;
    let (other, theirs) = stream(&world, 5, 1).await;
    spill(&world, &records[5..7]).await;
    spill(&world, &records[7..]).await;
    spill(&world, &theirs[1..]).await;
    // Neither registration nor record 0.
    let mut lost = TestStream::fresh();
    spill(&world, &lost.records(2)).await;
    let report = world.replay().await;
    assert_eq!(report.items, 1);
    assert_eq!(in_log(&world, &other).await, 5);
    let mut waiting: Vec<_> = report.waiting.iter().map(|w| (w.stream, w.first)).collect();
    waiting.sort();
    let mut expected = vec![(test.stream.id(), 5), (lost.stream.id(), 0)];
    expected.sort();
    assert_eq!(waiting, expected, "each stream is named once");
    assert!(report.findings.is_empty() && report.complete);
    // The missing one comes, and the registration.
    spill(&world, &records[4..5]).await;
    let registration = SpillItem::of_registration(&lost.registration).unwrap();
    world.spill.put(&registration).await.unwrap();
    let report = world.replay().await;
    assert!(report.waiting.is_empty(), "{report:?}");
    assert_eq!(in_log(&world, &test).await, 10);
    assert_eq!(in_log(&world, &lost).await, 2);
}

#[tokio::test]
async fn what_is_damaged_or_foreign_is_set_aside_and_said() {
    let world = World::new();
    let (test, records) = stream(&world, 6, 1).await;
    let name = spill(&world, &records[1..3]).await;
    let bytes = world.spill.bytes(&name).unwrap();
    world.spill.plant(&name, &bytes[..bytes.len() - 7]);
    world.spill.plant("readme.txt", b"not ours");
    let (sound, theirs) = stream(&world, 3, 1).await;
    spill(&world, &theirs[1..]).await;
    let report = world.replay().await;
    let mut found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.code, f.subject.as_str()))
        .collect();
    found.sort_unstable();
    let mut expected = vec![
        ("spill.item_unreadable", name.as_str()),
        ("spill.item_unreadable", "readme.txt"),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(world.spill.set_aside_names().len(), 2);
    assert_eq!(
        (in_log(&world, &test).await, in_log(&world, &sound).await),
        (1, 3)
    );
    // The true item comes again, from a copy.
    spill(&world, &records[1..3]).await;
    assert_eq!(world.replay().await.items, 1);
    assert_eq!(in_log(&world, &test).await, 3);
}

#[tokio::test]
async fn what_was_set_aside_keeps_its_place_when_others_come_under_its_name() {
    let world = World::new();
    for bytes in [&b"one"[..], b"another", b"one"] {
        world.spill.plant("readme.txt", bytes);
        assert_eq!(world.replay().await.findings.len(), 1);
    }
    assert_eq!(world.spill.set_aside_names().len(), 2, "each once");
}

#[tokio::test]
async fn a_record_that_the_streams_key_did_not_sign_takes_no_place() {
    let world = World::new();
    let (test, records) = stream(&world, 3, 1).await;
    let mut forged = records[1].clone();
    let entry = String::from_utf8(forged.entry).unwrap();
    forged.entry = entry.replace("subject 1", "subject 9").into_bytes();
    let name = spill(&world, &[forged]).await;
    let report = world.replay().await;
    assert_eq!(report.findings[0].code, "spill.signature_invalid");
    assert_eq!(report.findings[0].subject, name);
    spill(&world, &records[1..]).await;
    world.replay().await;
    assert_eq!(in_log(&world, &test).await, 3);
}

#[tokio::test]
async fn a_second_history_is_set_aside_and_changes_nothing() {
    let world = World::new();
    let id = [3; 16];
    let (mut test, mut fork) = (TestStream::of(id, "host"), TestStream::of(id, "host"));
    let records = test.records(2);
    world.log.register(&test.registration).await.unwrap();
    world.log.append(records.clone()).await.unwrap();
    spill(&world, &[fork.record("another history")]).await;
    let other = TestStream::of(id, "another host").registration;
    let other = SpillItem::of_registration(&other).unwrap();
    world.spill.put(&other).await.unwrap();
    let report = world.replay().await;
    let codes: Vec<_> = report.findings.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["spill.registration_taken", "spill.position_taken"]);
    assert_eq!(in_log(&world, &test).await, 2);
    assert!(world.spill.names().is_empty());
}

#[tokio::test]
async fn a_log_that_is_gone_ends_the_run_early_and_nothing_is_removed() {
    let world = World::new();
    for _ in 0..20 {
        let (_, records) = stream(&world, 2, 1).await;
        spill(&world, &records[1..]).await;
    }
    let restorer = Arc::new(Faulty::new(world.log.clone() as Arc<dyn AuditRestorer>));
    restorer.fail_always("AuditRestorer::restore", down());
    let ports = ReplayPorts {
        restorer: restorer.clone(),
        ..world.ports()
    };
    let report = replay(&ports, 100, u64::MAX).await;
    assert_eq!((report.items, report.complete), (0, false));
    let asked = report.failed.len();
    assert!(
        (3..=8).contains(&asked),
        "{asked}: a few were enough to tell"
    );
    assert_eq!(world.spill.names().len(), 20);
    restorer.heal("AuditRestorer::restore");
    let report = replay(&ports, 15, u64::MAX).await;
    assert_eq!(
        (report.items, report.complete),
        (15, false),
        "no more than the limit"
    );
    let before = replay(&ports, 15, 0).await;
    assert_eq!((before.items, before.complete), (0, false), "time is up");
    let report = replay(&ports, 15, u64::MAX).await;
    assert_eq!((report.items, report.complete), (5, true));
}

/// Cuts a replay short after each of its calls, and before each takes effect.
#[tokio::test]
async fn a_replay_that_is_killed_between_any_two_steps_is_repeated_without_effect() {
    for fault in [down(), Fault::After] {
        for (call, times) in [
            ("AuditRestorer::restore_registration", 1..=1),
            ("AuditRestorer::restore", 1..=1),
            ("SpillRemover::remove", 1..=4),
            ("SpillReader::read", 1..=4),
        ] {
            for number in times {
                let world = World::new();
                let mut test = TestStream::fresh();
                let records = test.records(9);
                let registration = SpillItem::of_registration(&test.registration).unwrap();
                world.spill.put(&registration).await.unwrap();
                for part in records.chunks(3) {
                    spill(&world, part).await;
                }
                let restorer = Arc::new(Faulty::new(world.log.clone() as Arc<dyn AuditRestorer>));
                let remover = Arc::new(Faulty::new(world.spill.clone() as Arc<dyn SpillRemover>));
                let reader = Arc::new(Faulty::new(world.spill.clone() as Arc<dyn SpillReader>));
                match call.split("::").next().unwrap() {
                    "AuditRestorer" => drop(restorer.fail_nth(call, number, fault.clone())),
                    "SpillRemover" => drop(remover.fail_nth(call, number, fault.clone())),
                    _ => drop(reader.fail_nth(call, number, fault.clone())),
                }
                let ports = ReplayPorts {
                    reader: reader.clone(),
                    remover: remover.clone(),
                    restorer: restorer.clone(),
                    ..world.ports()
                };
                replay(&ports, 100, u64::MAX).await;
                restorer.assert_all_took_place();
                remover.assert_all_took_place();
                reader.assert_all_took_place();
                let report = world.replay().await;
                assert!(report.findings.is_empty(), "{call} {number}: {report:?}");
                assert_eq!(in_log(&world, &test).await, 9, "{call} {number}");
                assert!(world.spill.names().is_empty(), "{call} {number}");
            }
        }
    }
}

#[tokio::test]
async fn items_of_one_record_each_are_written_together() {
    let world = World::new();
    let (test, records) = stream(&world, 1200, 1).await;
    for record in &records[1..] {
        spill(&world, std::slice::from_ref(record)).await;
    }
    let restorer = Arc::new(Faulty::new(world.log.clone() as Arc<dyn AuditRestorer>));
    let ports = ReplayPorts {
        restorer: restorer.clone(),
        ..world.ports()
    };
    // A host may replay on any thread.
    let task = tokio::spawn(async move { replay(&ports, 10_000, u64::MAX).await });
    let report = task.await.unwrap();
    assert_eq!((report.items, report.events), (1199, 1199));
    let writes = restorer.calls("AuditRestorer::restore");
    assert!(writes < 20, "{writes} writes");
    let stored = world.log.read(test.stream.id(), 0, 2000).await.unwrap();
    let verified = testkit::build::verify(&test.registration, &stored).unwrap();
    assert_eq!(verified.events, 1200);
}

#[tokio::test]
async fn a_bad_item_among_many_is_the_only_one_that_is_set_aside() {
    let world = World::new();
    let (test, records) = stream(&world, 30, 1).await;
    for (at, record) in records.iter().enumerate().skip(1) {
        let mut record = record.clone();
        if at == 17 {
            record.signature[5] ^= 1;
        }
        spill(&world, &[record]).await;
    }
    let report = world.replay().await;
    assert_eq!(report.items, 16);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].code, "spill.signature_invalid");
    assert_eq!(report.waiting[0].first, 18, "what follows waits for it");
    assert_eq!(in_log(&world, &test).await, 17);
    spill(&world, &records[17..18]).await;
    assert_eq!(world.replay().await.items, 13);
    assert_eq!(in_log(&world, &test).await, 30);
}

#[tokio::test]
async fn what_is_in_the_spill_is_counted_without_reading_it() {
    let world = World::new();
    let (test, records) = stream(&world, 10, 4).await;
    let registration = SpillItem::of_registration(&test.registration).unwrap();
    world.spill.put(&registration).await.unwrap();
    spill(&world, &records[4..7]).await;
    spill(&world, &records[7..]).await;
    let summary = summarize(&*world.spill, 1000).await.unwrap();
    let expected = SpillSummary {
        items: 3,
        events: 6,
        set_aside: 0,
    };
    assert_eq!(summary, expected);
    // Names that anybody may write say what they like.
    for stream in ["00", "ff"].map(|digits| digits.repeat(16)) {
        let (first, last) = ("0".repeat(20), u64::MAX);
        world
            .spill
            .plant(&format!("{stream}-tail-{first}-{last}.jsonl"), b"");
    }
    let summary = summarize(&*world.spill, 1000).await.unwrap();
    assert_eq!((summary.items, summary.events), (5, u64::MAX));
}

#[tokio::test]
async fn an_item_that_is_longer_than_one_may_be_is_set_aside_unread() {
    let world = World::new();
    let (test, records) = stream(&world, 6, 1).await;
    let name = spill(&world, &records[1..3]).await;
    let long = vec![b' '; usize::try_from(MAX_ITEM_BYTES).unwrap() + 1];
    world.spill.plant(&name, &long);
    let report = world.replay().await;
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.code, &*f.subject))
        .collect();
    assert_eq!(found, [("spill.item_unreadable", &*name)]);
    assert!(report.failed.is_empty() && report.complete, "{report:?}");
    assert_eq!(world.spill.set_aside_names(), [format!("{name}.unread")]);
    assert_eq!(in_log(&world, &test).await, 1);
}

#[tokio::test]
async fn an_overlapping_item_that_says_something_else_is_set_aside_and_not_removed() {
    let world = World::new();
    let (test, records) = stream(&world, 6, 1).await;
    spill(&world, &records[1..4]).await;
    let mut other = records[3..5].to_vec();
    other[0].signature[5] ^= 1;
    let name = spill(&world, &other).await;
    let report = world.replay().await;
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.code, &*f.subject))
        .collect();
    assert_eq!(found, [("spill.signature_invalid", &*name)]);
    assert_eq!(world.spill.set_aside_names().len(), 1);
    assert_eq!(in_log(&world, &test).await, 4);
}

#[tokio::test]
async fn one_write_takes_no_more_than_a_few_megabytes() {
    let world = World::new();
    let mut test = TestStream::fresh();
    world.log.register(&test.registration).await.unwrap();
    let long = "x".repeat(60_000);
    let records: Vec<Record> = (0..90).map(|_| test.record(&long)).collect();
    for record in &records {
        spill(&world, std::slice::from_ref(record)).await;
    }
    let restorer = Arc::new(Faulty::new(world.log.clone() as Arc<dyn AuditRestorer>));
    let ports = ReplayPorts {
        restorer: restorer.clone(),
        ..world.ports()
    };
    assert_eq!(replay(&ports, 1000, u64::MAX).await.items, 90);
    assert_eq!(restorer.calls("AuditRestorer::restore"), 2);
    assert_eq!(in_log(&world, &test).await, 90);
}

#[tokio::test]
async fn streams_that_wait_are_named_once_and_take_nothing_of_a_runs_limit() {
    let world = World::new();
    // More items than are listed at once, and others.
    for (first, count) in [(1, 620), (2, 5), (3, 5), (4, 5)] {
        let mut waiting = TestStream::of([first; 16], "test");
        world.log.register(&waiting.registration).await.unwrap();
        for record in &waiting.records(count)[1..] {
            spill(&world, std::slice::from_ref(record)).await;
        }
    }
    let mut sound = TestStream::of([0xff; 16], "test");
    world.log.register(&sound.registration).await.unwrap();
    spill(&world, &sound.records(1)).await;
    let report = replay(&world.ports(), 10, u64::MAX).await;
    assert_eq!(report.waiting.len(), 4, "{report:?}");
    assert_eq!((report.items, report.complete), (1, true));
}
