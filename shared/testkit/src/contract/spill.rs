use audit::Record;
use domain::ports::{
    AuditAppender, AuditReader, AuditRestorer, SpillReader, SpillRemover, SpillWriter,
};
use domain::spill::SpillItem;
use futures::future::join_all;

use super::{assert_conflict, assert_not_found};
use crate::build::{TestStream, random, verify};

/// What [`SpillWriter`], [`SpillReader`] and [`SpillRemover`] promise, on an empty spill of their own.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn spill_contract(
    writer: &dyn SpillWriter,
    reader: &dyn SpillReader,
    remover: &dyn SpillRemover,
) {
    assert_eq!(reader.list("", 10).await, Ok(vec![]), "an empty spill");
    assert_eq!(reader.set_aside_count(10).await, Ok(0));
    check_putting(writer, reader).await;
    check_listing(writer, reader, remover).await;
    check_setting_aside(writer, reader, remover).await;
}

/// The registration and a tail of a stream that nothing else has, in the order of replay.
fn items() -> Vec<SpillItem> {
    let mut test = TestStream::fresh();
    let records = test.records(12);
    let tail = |range: std::ops::Range<usize>| {
        SpillItem::of_records(records[range].to_vec()).expect("consecutive records")
    };
    vec![
        SpillItem::of_registration(&test.registration).expect("a registration"),
        tail(0..3),
        tail(3..10),
        tail(3..11),
        tail(10..12),
    ]
}

async fn list_all(reader: &dyn SpillReader, page: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().map_or("", String::as_str);
        let names = reader.list(after, page).await.expect("a list");
        assert!(names.len() <= page, "at most `limit` are listed");
        if names.is_empty() {
            assert!(all.is_sorted_by(|a, b| a < b), "ascending, none twice");
            return all;
        }
        all.extend(names);
    }
}

async fn check_putting(writer: &dyn SpillWriter, reader: &dyn SpillReader) {
    for item in items() {
        let name = item.name().to_string();
        assert_not_found(&reader.read(&name).await, "before it is put");
        assert_eq!(writer.put(&item).await, Ok(()));
        assert_eq!(
            reader.read(&name).await,
            Ok(item.to_bytes()),
            "byte for byte"
        );
        assert_eq!(
            writer.put(&item).await,
            Ok(()),
            "the same item again is a success"
        );
    }
    // Another registration of the same stream has the same name.
    let id = random();
    let of = |host| SpillItem::of_registration(&TestStream::of(id, host).registration);
    let (one, other) = (of("one").expect("an item"), of("another").expect("an item"));
    assert_eq!(writer.put(&one).await, Ok(()));
    assert_conflict(&writer.put(&other).await, "other bytes under the name");
    let name = one.name().to_string();
    let kept = reader.read(&name).await;
    assert_eq!(kept, Ok(one.to_bytes()), "a conflict changes nothing");
    let twins = items();
    let twins = join_all([&twins[1], &twins[1], &twins[1]].map(|item| writer.put(item))).await;
    assert!(twins.iter().all(Result::is_ok), "the same item at once");
}

async fn check_listing(
    writer: &dyn SpillWriter,
    reader: &dyn SpillReader,
    remover: &dyn SpillRemover,
) {
    let stale = list_all(reader, 100).await;
    for name in &stale {
        let name = domain::spill::SpillName::parse(name).expect("an item's name");
        assert_eq!(remover.remove(&name).await, Ok(()));
        assert_eq!(remover.remove(&name).await, Ok(()), "it is gone already");
        assert_not_found(&reader.read(&name.to_string()).await, "what was removed");
    }
    assert_eq!(reader.list("", 10).await, Ok(vec![]), "all were removed");
    let (one, two) = (items(), items());
    let mut names: Vec<String> = Vec::new();
    // Written in the reverse order.
    for item in one.iter().chain(&two).rev() {
        assert_eq!(writer.put(item).await, Ok(()));
        names.push(item.name().to_string());
    }
    names.sort();
    for page in [1, 3, 100] {
        assert_eq!(list_all(reader, page).await, names, "pages of {page}");
    }
    let after = names[4].clone();
    let rest = reader.list(&after, 100).await;
    assert_eq!(rest.as_deref(), Ok(&names[5..]), "after one that is there");
    assert_eq!(remover.remove(&one[1].name()).await, Ok(()));
    names.retain(|name| *name != one[1].name().to_string());
    assert_eq!(list_all(reader, 4).await, names);
}

async fn check_setting_aside(
    writer: &dyn SpillWriter,
    reader: &dyn SpillReader,
    remover: &dyn SpillRemover,
) {
    let item = &items()[1];
    let name = item.name().to_string();
    for (round, tag) in ["a1", "b2", "b2"].iter().enumerate() {
        assert_eq!(writer.put(item).await, Ok(()));
        assert_eq!(remover.set_aside(&name, tag).await, Ok(()));
        assert_not_found(&reader.read(&name).await, "what was set aside");
        assert!(!list_all(reader, 100).await.contains(&name));
        let count = reader.set_aside_count(10).await;
        assert_eq!(count, Ok((round + 1).min(2)), "one for each tag");
    }
    assert_eq!(reader.set_aside_count(1).await, Ok(1), "up to the limit");
    let gone = remover.set_aside(&name, "c3").await;
    assert_eq!(gone, Ok(()), "it is gone already");
    assert_eq!(reader.set_aside_count(10).await, Ok(2));
}

/// What [`AuditRestorer`] promises, over streams of its own.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn restore_contract(
    restorer: &dyn AuditRestorer,
    appender: &dyn AuditAppender,
    reader: &dyn AuditReader,
) {
    check_whole_stream(restorer, reader).await;
    check_tail(restorer, appender, reader).await;
    check_refusals(restorer, appender, reader).await;
    check_restoring_at_once(restorer, reader).await;
}

async fn read_all(reader: &dyn AuditReader, test: &TestStream) -> Vec<Record> {
    let all = reader.read(test.stream.id(), 0, 10_000).await;
    let all = all.expect("records");
    verify(&test.registration, &all).expect("a stream that verifies");
    all
}

async fn check_whole_stream(restorer: &dyn AuditRestorer, reader: &dyn AuditReader) {
    let mut test = TestStream::fresh();
    let records = test.records(130);
    let early = restorer.restore(&records[..2]).await;
    assert_not_found(&early, "before the registration");
    for _ in 0..2 {
        let registered = restorer.restore_registration(&test.registration).await;
        assert_eq!(registered, Ok(()), "the same registration again, too");
    }
    let gap = restorer.restore(&records[2..4]).await;
    assert_not_found(&gap, "before what comes before");
    assert_eq!(restorer.restore(&[]).await, Ok(()));
    for part in records.chunks(60) {
        assert_eq!(restorer.restore(part).await, Ok(()), "also after refusals");
    }
    for part in [&records[..], &records[5..9], &records[129..]] {
        assert_eq!(restorer.restore(part).await, Ok(()), "the same again");
    }
    assert_eq!(read_all(reader, &test).await, records, "each once");
}

async fn check_tail(
    restorer: &dyn AuditRestorer,
    appender: &dyn AuditAppender,
    reader: &dyn AuditReader,
) {
    let mut test = TestStream::fresh();
    let records = test.records(9);
    assert_eq!(appender.register(&test.registration).await, Ok(()));
    assert_eq!(appender.append(records[..4].to_vec()).await, Ok(()));
    // The log failed: the stream ends there, for whoever appended to it.
    let gap = appender.append(records[6..7].to_vec()).await;
    assert!(gap.is_err(), "a gap ends the stream");
    assert_not_found(&restorer.restore(&records[5..]).await, "a gap");
    // Some of it is in the log already.
    assert_eq!(restorer.restore(&records[2..6]).await, Ok(()));
    assert_eq!(restorer.restore(&records[6..]).await, Ok(()));
    assert_eq!(read_all(reader, &test).await, records);
    let late = reader.read(test.stream.id(), 8, 10).await;
    assert_eq!(late.as_deref(), Ok(&records[8..]), "from any position");
}

async fn check_refusals(
    restorer: &dyn AuditRestorer,
    appender: &dyn AuditAppender,
    reader: &dyn AuditReader,
) {
    let id = random();
    let (mut test, mut fork) = (TestStream::of(id, "host"), TestStream::of(id, "host"));
    let records = test.records(3);
    let other = vec![fork.record("another history"), fork.record("of it")];
    assert_eq!(appender.register(&test.registration).await, Ok(()));
    assert_eq!(appender.append(records[..1].to_vec()).await, Ok(()));
    let gap = appender.append(records[2..].to_vec()).await;
    assert!(gap.is_err(), "a gap ends the stream");
    assert_conflict(&restorer.restore(&other).await, "another history");
    let registration = TestStream::of(id, "another host").registration;
    let registered = restorer.restore_registration(&registration).await;
    assert_conflict(&registered, "another registration");
    let torn = vec![records[1].clone(), records[1].clone()];
    assert_conflict(&restorer.restore(&torn).await, "not consecutive");
    assert_eq!(read_all(reader, &test).await, records[..1]);
    assert_eq!(restorer.restore(&records[1..]).await, Ok(()));
    assert_eq!(read_all(reader, &test).await, records);
}

async fn check_restoring_at_once(restorer: &dyn AuditRestorer, reader: &dyn AuditReader) {
    let mut test = TestStream::fresh();
    let records = test.records(40);
    let registered = restorer.restore_registration(&test.registration).await;
    assert_eq!(registered, Ok(()));
    let calls = (0..4).map(|_| restorer.restore(&records));
    let results = join_all(calls).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(read_all(reader, &test).await, records, "each once");
}
