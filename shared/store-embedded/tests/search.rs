//! Events are found beside others that cannot be read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use audit::{Record, StreamId};
use domain::ports::{AuditAppender, AuditSearch, Clock};
use domain::{EventQuery, Lookup, Symbol};
use store_embedded::EmbeddedStore;
use testkit::FixedClock;
use testkit::build::{TestStream, event, prediction};

const SECOND: u64 = 1_000_000;

fn start() -> u64 {
    FixedClock::default().now_us()
}

async fn fill(appender: &dyn AuditAppender, first: u8, count: u64) -> Vec<Record> {
    let mut test = TestStream::of([first; 16], "test");
    appender.register(&test.registration).await.unwrap();
    let mut records = Vec::new();
    for number in 0..count {
        let body = if number % 2 == 0 {
            prediction("a", &["SPX"])
        } else {
            event("x")
        };
        let record = test.stream.record(body, start() + number * SECOND);
        records.push(record.unwrap());
    }
    appender.append(records.clone()).await.unwrap();
    records
}

async fn found(
    search: &dyn AuditSearch,
    lookup: Lookup,
    kind: Option<&str>,
) -> Vec<(u8, u64, u64)> {
    let query = EventQuery {
        lookup,
        kind: kind.map(str::to_owned),
        from_us: start(),
        until_us: start() + 3600 * SECOND,
        after: None,
        limit: 100_000,
    };
    let page = search.search(&query).await.unwrap();
    assert_eq!(page.next, None);
    let mut places: Vec<(u8, u64, u64)> = page
        .events
        .iter()
        .map(|at| (at.stream.0[0], at.seq, (at.time_us - start()) / SECOND))
        .collect();
    places.sort_unstable();
    places
}

/// Puts other bytes of the same length into the line of an event.
fn spoil(data: &Path, record: &Record) {
    let path = data.join("audit").join(format!("{}.jsonl", record.stream));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = &mut lines[record.seq as usize + 1];
    *line = line.replace("\"entry\"", "\"extry\"");
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_found_where_the_one_before_it_was_and_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(dir.path()).unwrap();
    let records = fill(&*store.audit_appender(), 1, 6).await;
    fill(&*store.audit_appender(), 2, 2).await;
    store.close();
    drop(store);
    for seq in [0, 3, 5] {
        spoil(dir.path(), &records[seq]);
    }
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let search = store.audit_search();
    let all = [
        (1, 0, 0),
        (1, 1, 1),
        (1, 2, 2),
        (1, 3, 2),
        (1, 4, 4),
        (1, 5, 4),
        (2, 0, 0),
        (2, 1, 1),
    ];
    assert_eq!(found(&*search, Lookup::Everything, None).await, all);
    let kind = found(&*search, Lookup::Everything, Some("prediction")).await;
    let may_be = [
        (1, 0, 0),
        (1, 2, 2),
        (1, 3, 2),
        (1, 4, 4),
        (1, 5, 4),
        (2, 0, 0),
    ];
    assert_eq!(kind, may_be, "what cannot be read may be of any kind");
    let symbol = Lookup::Symbol(Symbol::parse("SPX").unwrap());
    let spx = found(&*search, symbol, None).await;
    assert_eq!(spx, [(1, 2, 2), (1, 4, 4), (2, 0, 0)]);
    let unreadable = store.audit_reader().read(StreamId([1; 16]), 3, 1).await;
    assert!(unreadable.is_err());
}

#[tokio::test]
async fn a_stream_of_which_nothing_can_be_read_hides_no_other_stream() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(dir.path()).unwrap();
    let records = fill(&*store.audit_appender(), 1, 40).await;
    fill(&*store.audit_appender(), 2, 2).await;
    store.close();
    drop(store);
    for record in &records {
        spoil(dir.path(), record);
    }
    let store = EmbeddedStore::open(dir.path()).unwrap();
    for _ in 0..2 {
        let all = found(&*store.audit_search(), Lookup::Everything, None).await;
        assert_eq!(all, [(2, 0, 0), (2, 1, 1)]);
    }
}
