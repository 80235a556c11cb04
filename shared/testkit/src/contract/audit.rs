use audit::{Record, StreamId};
use domain::ports::{AuditAppender, AuditReader};
use futures::future::join_all;

use super::{assert_conflict, assert_not_found};
use crate::build::{TestStream, random, verify};

/// Microseconds of an hour.
const HOUR_US: u64 = 3_600_000_000;

/// What [`AuditAppender`] and [`AuditReader`] promise, over streams of its own.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn audit_contract(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    check_registration(appender, reader).await;
    check_listing(appender, reader).await;
    check_listing_by_hour(appender, reader).await;
    check_reading(appender, reader).await;
    check_sending_again(appender, reader).await;
    check_what_ends_a_stream(appender, reader).await;
    check_order_of_calls(appender, reader).await;
    check_many_at_once(appender, reader).await;
}

async fn open(appender: &dyn AuditAppender) -> TestStream {
    let test = TestStream::fresh();
    assert_eq!(
        appender.register(&test.registration).await,
        Ok(()),
        "a new stream is registered"
    );
    test
}

/// The whole stream, read in pages of 100.
async fn read_all(reader: &dyn AuditReader, stream: StreamId) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let page = reader
            .read(stream, all.len() as u64, 100)
            .await
            .expect("a page");
        if page.is_empty() {
            return all;
        }
        assert!(page.len() <= 100, "at most `limit` records are read");
        all.extend(page);
    }
}

async fn check_registration(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    let id = random();
    let mut test = TestStream::of(id, "host");
    let stream = test.stream.id();
    assert_not_found(
        &reader.registration(stream).await,
        "a stream that nobody registered",
    );
    let record = test.record("early");
    assert!(
        appender.append(vec![record]).await.is_err(),
        "a stream is registered before its first record"
    );

    assert_eq!(appender.register(&test.registration).await, Ok(()));
    assert_eq!(
        appender.register(&test.registration).await,
        Ok(()),
        "the same registration again is a success"
    );
    let other = TestStream::of(id, "another host").registration;
    assert_conflict(
        &appender.register(&other).await,
        "another registration of a stream",
    );
    assert_eq!(
        reader.registration(stream).await,
        Ok(test.registration),
        "what is read is what was registered"
    );
}

async fn check_listing(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(open(appender).await.stream.id());
    }
    let all = reader.streams(None, usize::MAX).await.expect("streams");
    assert!(
        all.is_sorted_by(|a, b| a < b),
        "streams ascend and none is named twice"
    );
    assert!(
        ids.iter().all(|id| all.contains(id)),
        "every registered stream is listed"
    );
    let mut paged = Vec::new();
    loop {
        let page = reader
            .streams(paged.last().copied(), 2)
            .await
            .expect("streams");
        assert!(page.len() <= 2, "at most `limit` streams are listed");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert!(
        ids.iter().all(|id| paged.contains(id)),
        "pages leave nothing out"
    );
    assert!(paged.is_sorted_by(|a, b| a < b), "pages do not overlap");
}

async fn check_listing_by_hour(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    let mut random_hour: [u8; 8] = random();
    random_hour[..6].fill(0);
    // Far from every hour of others: 1981 to 1988.
    let hour = 100_000 + u64::from_be_bytes(random_hour);
    let (start_us, last_us) = (hour * HOUR_US, (hour + 1) * HOUR_US - 1);
    let mut ids = Vec::new();
    for time_us in [start_us, start_us + 1, last_us, last_us, start_us] {
        let test = TestStream::opened_at(random(), "host", time_us);
        assert_eq!(appender.register(&test.registration).await, Ok(()));
        ids.push(test.stream.id());
    }
    ids.sort_unstable();
    for time_us in [start_us - 1, last_us + 1] {
        let test = TestStream::opened_at(random(), "host", time_us);
        assert_eq!(appender.register(&test.registration).await, Ok(()));
    }
    let hours = reader.registration_hours().await.expect("hours");
    assert!(
        hours.is_sorted_by(|a, b| a < b),
        "each hour once, ascending"
    );
    assert!([hour - 1, hour, hour + 1].iter().all(|h| hours.contains(h)));
    assert_eq!(
        reader.registered_in(hour, None, usize::MAX).await.as_ref(),
        Ok(&ids),
        "the streams of the hour and no others"
    );
    let mut paged: Vec<StreamId> = Vec::new();
    loop {
        let after = paged.last().copied();
        let page = reader.registered_in(hour, after, 2).await.expect("streams");
        assert!(page.len() <= 2, "at most `limit` streams are listed");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, ids, "pages leave nothing out and do not overlap");
    for empty in [hour + 70_000, u64::MAX] {
        let none = reader.registered_in(empty, None, 10).await;
        assert_eq!(none, Ok(Vec::new()), "an hour without streams");
    }
}

async fn check_reading(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    let mut test = open(appender).await;
    let stream = test.stream.id();
    assert_eq!(
        reader.read(stream, 0, 10).await,
        Ok(Vec::new()),
        "a stream without records"
    );
    let records = test.records(600);
    for part in records.chunks(7) {
        assert_eq!(appender.append(part.to_vec()).await, Ok(()));
    }
    assert_eq!(
        read_all(reader, stream).await,
        records,
        "what is read is what was appended"
    );
    for (from, limit) in [(0, 1), (1, 2), (255, 3), (256, 1), (511, 5), (599, 9)] {
        let end = (from + limit).min(records.len());
        let page = reader.read(stream, from as u64, limit).await;
        assert_eq!(
            page.as_deref(),
            Ok(&records[from..end]),
            "from {from}, at most {limit}"
        );
    }
    for (from, limit) in [(600, 5), (u64::MAX, 5), (0, 0)] {
        assert_eq!(
            reader.read(stream, from, limit).await,
            Ok(Vec::new()),
            "from {from}, at most {limit}"
        );
    }
}

async fn check_sending_again(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    let mut test = open(appender).await;
    let records = test.records(5);
    assert_eq!(appender.append(records[..3].to_vec()).await, Ok(()));
    assert_eq!(
        appender.append(records[..3].to_vec()).await,
        Ok(()),
        "the same records again are a success"
    );
    assert_eq!(
        appender.append(vec![records[1].clone()]).await,
        Ok(()),
        "one of them again, too"
    );
    assert_eq!(
        appender.append(records[2..].to_vec()).await,
        Ok(()),
        "known records may precede new ones"
    );
    // Sent again before the first attempt is answered.
    let next = test.records(1);
    let (first, again) = (appender.append(next.clone()), appender.append(next.clone()));
    assert_eq!((first.await, again.await), (Ok(()), Ok(())));
    let expected = [records, next].concat();
    assert_eq!(
        read_all(reader, test.stream.id()).await,
        expected,
        "nothing is stored twice"
    );
    assert_eq!(
        verify(&test.registration, &expected).map(|report| report.events),
        Ok(6)
    );
}

async fn check_what_ends_a_stream(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    // A gap.
    let mut test = open(appender).await;
    let records = test.records(3);
    assert_eq!(appender.append(records[..1].to_vec()).await, Ok(()));
    assert_conflict(&appender.append(records[2..].to_vec()).await, "a gap");
    assert!(
        appender.append(records[1..2].to_vec()).await.is_err(),
        "after a failure the stream has ended"
    );
    assert!(
        appender.append(records[1..].to_vec()).await.is_err(),
        "and stays so"
    );
    assert_eq!(
        read_all(reader, test.stream.id()).await,
        records[..1],
        "what failed left nothing"
    );

    // A position that other bytes have.
    let id = random();
    let (mut test, mut fork) = (TestStream::of(id, "host"), TestStream::of(id, "host"));
    assert_eq!(appender.register(&test.registration).await, Ok(()));
    let records = test.records(2);
    assert_eq!(appender.append(records[..1].to_vec()).await, Ok(()));
    assert_conflict(
        &appender.append(vec![fork.record("other")]).await,
        "a position that is taken",
    );
    assert!(
        appender.append(records[1..].to_vec()).await.is_err(),
        "after a failure the stream has ended"
    );
    assert_eq!(
        read_all(reader, test.stream.id()).await,
        records[..1],
        "a conflict changes nothing"
    );

    // All or none: the first record would fit, the second does not.
    let mut test = open(appender).await;
    let records = test.records(3);
    let torn = vec![records[0].clone(), records[2].clone()];
    assert_conflict(&appender.append(torn).await, "a gap inside one append");
    assert_eq!(read_all(reader, test.stream.id()).await, [], "all or none");

    // A failure comes in its place: what was queued before it stands.
    let mut test = open(appender).await;
    let records = test.records(4);
    let good = appender.append(records[..2].to_vec());
    let bad = appender.append(records[3..].to_vec());
    let late = appender.append(records[2..3].to_vec());
    assert_eq!(good.await, Ok(()), "an append is not harmed by a later one");
    assert_conflict(&bad.await, "a gap");
    assert!(late.await.is_err(), "after a failure the stream has ended");
    assert_eq!(read_all(reader, test.stream.id()).await, records[..2]);
}

async fn check_order_of_calls(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    let mut test = open(appender).await;
    let records = test.records(3);
    let mut calls: Vec<_> = records
        .iter()
        .map(|record| appender.append(vec![record.clone()]))
        .collect();
    let last = calls.pop().expect("three calls");
    // Callers that went away: their records keep their places.
    drop(calls);
    assert_eq!(
        last.await,
        Ok(()),
        "the call takes the place, not the first poll"
    );
    assert_eq!(read_all(reader, test.stream.id()).await, records);
}

async fn check_many_at_once(appender: &dyn AuditAppender, reader: &dyn AuditReader) {
    let mut streams = vec![
        open(appender).await,
        open(appender).await,
        open(appender).await,
    ];
    let mut calls = Vec::new();
    for _ in 0..100 {
        for test in &mut streams {
            calls.push(appender.append(test.records(2)));
        }
    }
    // Polled in the reverse order.
    calls.reverse();
    assert!(
        join_all(calls).await.iter().all(Result::is_ok),
        "appends to several streams do not disturb"
    );
    for test in &streams {
        let records = read_all(reader, test.stream.id()).await;
        let report = verify(&test.registration, &records).expect("a stream that verifies");
        assert_eq!(report.events, 200);
    }
}
