//! The sealed log and the search for events, where replies are lost, others write at the same time, and rows are put in.

use std::time::{Duration, Instant};

use audit::StreamId;
use audit::seal::{SealedStream, StreamEnd};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_tests::emulators::Emulator::{DynamodbLocal, Ministack};
use aws_tests::emulators::{connect, connect_tables};
use aws_tests::proxy::Fault;
use aws_tests::{fixtures, tables};
use domain::ports::{
    AuditAppender, AuditSearch, LogLock, LogPublisher, LogReader, LogWriter, SealIndexReader,
    SealIndexWriter,
};
use domain::{EventPosition, EventQuery, LogPath, Lookup, StoreError, Symbol};
use futures::future::join_all;
use testkit::build::{TestStream, fresh_name, open_state, prediction};

use crate::operation::proxied;

const BUSY: Fault = Fault::Answer(
    409,
    "<?xml version=\"1.0\"?><Error><Code>ConditionalRequestConflict</Code><Message>busy</Message></Error>",
);

/// Waits until something is as it should be.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_overtaken_before_it_is_heard_of_is_in_doubt_and_no_conflict() {
    let table = tables::create_registry(DynamodbLocal).await;
    let origin = format!("log.example/{}", fresh_name("o"));
    let (proxy, connection) = proxied(DynamodbLocal, |endpoints| &mut endpoints.dynamodb).await;
    let lock = connection.log_lock(&table, &origin);
    let direct = connect_tables(DynamodbLocal)
        .await
        .log_lock(&table, &origin);
    lock.commit(None, b"one").await.unwrap();
    proxy.next(1, "PutItem", Fault::Swallow);
    let commit = tokio::spawn(async move { lock.commit(Some(b"one"), b"two").await });
    until(|| async { direct.committed().await == Ok(Some(b"two".to_vec())) }).await;
    assert_eq!(direct.commit(Some(b"two"), b"three").await, Ok(()));
    let result = commit.await.unwrap();
    assert!(
        matches!(result, Err(StoreError::OutcomeUnknown(_))),
        "it was committed: {result:?}"
    );
    proxy.assert_all_took_place();
    assert_eq!(direct.committed().await, Ok(Some(b"three".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_overtaken_before_it_is_heard_of_is_in_doubt_and_no_conflict() {
    let bucket = fixtures::create_bucket().await;
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let log = connection.log_objects(&bucket, None);
    let direct = connect().await.log_objects(&bucket, None);
    log.publish(None, b"one").await.unwrap();
    // The first request reads what is there.
    proxy.after(1, 1, "/checkpoint", Fault::Swallow);
    let publish = tokio::spawn(async move { log.publish(Some(b"one"), b"two").await });
    until(|| async { direct.checkpoint().await == Ok(Some(b"two".to_vec())) }).await;
    assert_eq!(direct.publish(Some(b"two"), b"three").await, Ok(()));
    let result = publish.await.unwrap();
    assert!(
        matches!(result, Err(StoreError::OutcomeUnknown(_))),
        "it was published: {result:?}"
    );
    proxy.assert_all_took_place();
    assert_eq!(direct.checkpoint().await, Ok(Some(b"three".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_put_is_under_way_what_is_there_decides() {
    let bucket = fixtures::create_bucket().await;
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let log = connection.log_objects(&bucket, None);
    let direct = connect().await.log_objects(&bucket, None);
    let path = |name: &str| LogPath::parse(&format!("tile/0/{name}")).unwrap();
    direct.create(&path("same"), b"hashes").await.unwrap();
    direct.create(&path("other"), b"others").await.unwrap();
    direct.create(&path("long"), &[7; 4096]).await.unwrap();

    proxy.next(1, "PUT ", BUSY);
    assert_eq!(log.create(&path("soon-free"), b"hashes").await, Ok(()));
    proxy.always("PUT ", BUSY);
    let create = async |name: &str| log.create(&path(name), b"hashes").await;
    let results = join_all(["same", "other", "long", "nothing"].map(create)).await;
    let [same, another, longer, nothing] = results.try_into().unwrap();
    assert_eq!(same, Ok(()));
    for found in [another, longer] {
        assert!(matches!(found, Err(StoreError::Conflict(_))), "{found:?}");
    }
    assert!(
        matches!(nothing, Err(StoreError::Unavailable(_))),
        "nothing is there, and nothing was changed: {nothing:?}"
    );
    proxy.heal();
    direct.publish(None, b"one").await.unwrap();
    proxy.always("PUT ", BUSY);
    let published = log.publish(Some(b"one"), b"two").await;
    assert!(
        matches!(published, Err(StoreError::Unavailable(_))),
        "{published:?}"
    );
    proxy.heal();
    assert_eq!(log.publish(Some(b"one"), b"two").await, Ok(()));
}

const START_US: u64 = 1_767_225_600_000_000;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_altered_or_put_in_hide_no_other_event() {
    let table = tables::create_audit(DynamodbLocal).await;
    let (proxy, connection) = proxied(DynamodbLocal, |endpoints| &mut endpoints.dynamodb).await;
    let audit = connection.audit(&table);
    let mut test = TestStream::fresh();
    audit.register(&test.registration).await.unwrap();
    let mut stored: Vec<EventPosition> = Vec::new();
    for n in 0..40 {
        let body = prediction(&format!("r{n}"), &["AAPL", "MSFT"]);
        let record = test.stream.record(body, START_US + n).unwrap();
        stored.push(EventPosition::of(&record.receipt(), START_US + n));
        audit.append(vec![record]).await.unwrap();
    }
    let client = tables::client(DynamodbLocal).await;
    let row = |seq: u64| {
        let got = client.get_item().table_name(&table);
        let got = got.key("pk", text(&format!("S#{}", test.stream.id())));
        got.key("sk", text(&format!("{seq:020}"))).send()
    };
    let good = row(0).await.unwrap().item.expect("a row");
    let put = |changes: Vec<(&str, Option<AttributeValue>)>| {
        let mut item = good.clone();
        for (name, value) in changes {
            match value {
                Some(value) => item.insert(name.to_owned(), value),
                None => item.remove(name),
            };
        }
        client
            .put_item()
            .table_name(&table)
            .set_item(Some(item))
            .send()
    };
    // More than a page of rows that say nothing, before all others and between them.
    for n in 0..12 {
        let order = format!("{:020}#nonsense{n:02}", START_US + n / 6 * 3);
        let changes = vec![
            ("pk", Some(text("nonsense"))),
            ("sk", Some(text(&n.to_string()))),
            ("y_sk", Some(text(&order))),
            ("t_sk", Some(text(&order))),
        ];
        put(changes).await.unwrap();
    }
    // One without a kind and with an entry that is none: it has a place, and whoever reads it sees what it is.
    let forged = StreamId([0; 16]);
    let order = format!("{:020}#{forged}#{:020}", START_US + 5, 7);
    let changes = vec![
        ("pk", Some(text(&format!("S#{forged}")))),
        ("sk", Some(text(&format!("{:020}", 7)))),
        ("kind", None),
        ("entry", Some(AttributeValue::B(b"{}".to_vec().into()))),
        ("y_sk", Some(text(&order))),
        ("t_sk", Some(text(&order))),
    ];
    put(changes).await.unwrap();
    stored.push(EventPosition {
        time_us: START_US + 5,
        stream: forged,
        seq: 7,
    });
    stored.sort_unstable();
    for limit in [1, 3, 100] {
        let mut query = EventQuery {
            lookup: Lookup::Symbol(Symbol::parse("AAPL").unwrap()),
            kind: Some("prediction".to_owned()),
            from_us: START_US,
            until_us: START_US + 60_000_000,
            after: None,
            limit,
        };
        let mut found = Vec::new();
        loop {
            let page = audit.search(&query).await.unwrap();
            found.extend(page.events);
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        assert_eq!(found, stored, "{limit} a page");
    }
    // Forty events are looked at, not one after the other.
    proxy.always("GetItem", Fault::Delay(Duration::from_millis(200)));
    let query = EventQuery {
        lookup: Lookup::Symbol(Symbol::parse("AAPL").unwrap()),
        kind: None,
        from_us: START_US,
        until_us: START_US + 60_000_000,
        after: None,
        limit: 100,
    };
    let began = Instant::now();
    assert_eq!(audit.search(&query).await.unwrap().events, stored);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    // A store that cannot be asked is another thing than a row that cannot be read.
    proxy.heal();
    proxy.always("GetItem", Fault::THROTTLED_TABLE);
    let refused = audit.search(&query).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_that_is_overtaken_while_it_closes_a_stream_leaves_it_listed() {
    let table = tables::create_log(DynamodbLocal).await;
    let (proxy, connection) = proxied(DynamodbLocal, |endpoints| &mut endpoints.dynamodb).await;
    let slow = connection.seal_index(&table, "log.example");
    let direct = connect_tables(DynamodbLocal).await;
    let direct = direct.seal_index(&table, "log.example");
    let open = open_state(StreamId([7; 16]), 20);
    direct.put(std::slice::from_ref(&open), &[]).await.unwrap();
    let closed = SealedStream {
        end: Some(StreamEnd::Idle),
        tree_size: 25,
        ..open.clone()
    };
    // Its first put is refused, for the stream is open; before the second one another sealer goes on.
    proxy.next(1, "PutItem", Fault::Delay(Duration::from_millis(400)));
    let put = tokio::spawn(async move { slow.put(&[closed], &[]).await });
    until(|| async { proxy.count("PutItem") == 1 }).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let newer = SealedStream {
        tree_size: 30,
        ..open
    };
    direct.put(std::slice::from_ref(&newer), &[]).await.unwrap();
    assert_eq!(put.await.unwrap(), Ok(()), "it is passed over");
    proxy.assert_all_took_place();
    assert_eq!(direct.open_streams(None, 10).await, Ok(vec![newer]));
}
