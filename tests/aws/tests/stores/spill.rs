//! The spill in S3, the restoring of streams in `DynamoDB`, and the function in both modes while the audit table is gone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use audit::{EventBody, Receipt};
use aws_tests::emulators::Emulator::{DynamodbLocal, Ministack};
use aws_tests::emulators::{connect, connect_tables};
use aws_tests::proxy::Fault;
use aws_tests::served::{Reply, body, serve, serve_available};
use aws_tests::{fixtures, tables};
use domain::StoreError;
use domain::ports::{AuditReader, AuditRestorer, SpillReader, SpillWriter};
use domain::spill::SpillItem;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use testkit::build::{TestStream, verify};
use testkit::contract::{restore_contract, spill_contract};

use crate::operation::proxied;

#[tokio::test(flavor = "multi_thread")]
async fn the_spill_keeps_the_contract() {
    let bucket = fixtures::create_bucket().await;
    let spill = connect().await.spill(&bucket);
    spill_contract(&*spill, &*spill, &*spill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_keeps_the_contract() {
    for emulator in [DynamodbLocal, Ministack] {
        let table = tables::create_audit(emulator).await;
        let audit = connect_tables(emulator).await.audit(&table);
        restore_contract(&*audit, &*audit, &*audit).await;
        let other = connect_tables(emulator).await.audit(&table);
        restore_contract(&*other, &*audit, &*audit).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_whose_acknowledgement_is_lost_is_there_once() {
    let bucket = fixtures::create_bucket().await;
    let (proxy, aws) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let spill = aws.spill(&bucket);
    let mut test = TestStream::fresh();
    for fault in [
        Fault::Swallow,
        Fault::ResetAfter,
        Fault::ResetBefore,
        Fault::SLOW_DOWN,
    ] {
        let item = SpillItem::of_records(test.records(2)).unwrap();
        proxy.next(1, "PUT", fault);
        assert_eq!(spill.put(&item).await, Ok(()));
        let name = item.name().to_string();
        assert_eq!(spill.read(&name).await, Ok(item.to_bytes()));
    }
    proxy.assert_all_took_place();
    // No attempt is ever answered: what is there decides.
    proxy.always("PUT", Fault::ResetAfter);
    let item = SpillItem::of_records(test.records(2)).unwrap();
    assert_eq!(spill.put(&item).await, Ok(()));
    assert_eq!(spill.list("", 10).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_items_than_s3_lists_at_once_are_listed() {
    let bucket = fixtures::create_bucket().await;
    let spill = connect().await.spill(&bucket);
    let records = TestStream::fresh().records(1003);
    let put = async |record| {
        spill
            .put(&SpillItem::of_records(vec![record]).unwrap())
            .await
    };
    let puts = stream::iter(records).map(put).buffer_unordered(16);
    let results: Vec<_> = puts.collect().await;
    assert!(results.iter().all(Result::is_ok));
    for limit in [1003, 5000] {
        let names = spill.list("", limit).await.unwrap();
        assert_eq!(names.len(), 1003, "at most {limit}");
        assert!(names.is_sorted_by(|a, b| a < b));
    }
    assert_eq!(spill.list("", 1002).await.unwrap().len(), 1002);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_put_spills_all_the_same() {
    let bucket = fixtures::create_bucket().await;
    let (proxy, aws) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let spill = aws.spill(&bucket);
    let denied =
        "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    proxy.always("GET", Fault::Answer(403, denied));
    let item = SpillItem::of_records(TestStream::fresh().records(2)).unwrap();
    proxy.next(1, "PUT", Fault::ResetAfter);
    // Sent again, it meets itself, and may not look.
    assert_eq!(spill.put(&item).await, Ok(()));
    // What met another's object without having been sent before is no success.
    assert!(spill.put(&item).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_refuses_within_its_time() {
    let (proxy, aws) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let spill = aws.spill("no-such-bucket-of-ours");
    let item = SpillItem::of_records(TestStream::fresh().records(1)).unwrap();
    let refused = spill.put(&item).await;
    assert!(refused.is_err(), "there is no such bucket");
    proxy.go_away().await;
    let began = Instant::now();
    let refused = spill.put(&item).await;
    // A connection that ends under the first attempt leaves a doubt.
    assert!(
        matches!(
            refused,
            Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
        ),
        "{refused:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_record_whose_acknowledgement_is_lost_is_there_once() {
    let table = tables::create_audit(DynamodbLocal).await;
    let (proxy, aws) = proxied(DynamodbLocal, |endpoints| &mut endpoints.dynamodb).await;
    let audit = aws.audit(&table);
    let mut test = TestStream::fresh();
    let records = test.records(30);
    proxy.next(1, "TransactWriteItems", Fault::ResetAfter);
    assert_eq!(audit.restore_registration(&test.registration).await, Ok(()));
    proxy.next(1, "TransactWriteItems", Fault::Swallow);
    assert_eq!(audit.restore(&records[..29]).await, Ok(()));
    proxy.next(1, "PutItem", Fault::Swallow);
    assert_eq!(audit.restore(&records[29..]).await, Ok(()));
    proxy.assert_all_took_place();
    let stored = audit.read(test.stream.id(), 0, 100).await.unwrap();
    assert_eq!(verify(&test.registration, &stored).unwrap().events, 30);
}

fn receipt_of(reply: &Reply) -> Receipt {
    serde_json::from_value(reply.json["receipt"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_audit_table_strict_refuses_and_available_answers_from_the_spill() {
    let strict = serve().await;
    let available = serve_available().await;
    for served in [&strict, &available] {
        assert_eq!(served.predict(&body(0, None)).await.status, 200);
        let audit = served.names.audit.clone();
        served.tables.always(&audit, Fault::ResetBefore);
    }
    let reply = strict.predict(&body(0, Some("id-1"))).await;
    assert_eq!(
        (reply.status, &reply.json["code"]),
        (503, &json!("audit.unavailable"))
    );

    let mut given: HashMap<usize, Receipt> = HashMap::new();
    for (row, id) in [(0, None), (1, Some("id-1")), (2, None)] {
        let began = Instant::now();
        let reply = available.predict(&body(row, id)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json["audit"], json!({"durability": "spilled"}));
        if row == 2 {
            assert!(
                began.elapsed() < Duration::from_secs(4),
                "the table is left alone"
            );
        }
        given.insert(row, receipt_of(&reply));
    }
    let refused = available.predict(&json!({"symbol": 7})).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(available.predictions().await, 1, "what was there before");

    available.tables.heal();
    let report = available.replay_spill().await;
    assert!(report.complete && report.findings.is_empty(), "{report:?}");
    assert_eq!(available.spilled().await, Vec::<String>::new());
    let events = available.events().await;
    for receipt in given.values() {
        let is = |e: &&audit::Event| e.stream == receipt.stream && e.seq == receipt.seq;
        assert_eq!(events.iter().filter(is).count(), 1);
    }
    assert_eq!(available.predictions().await, 4);
    let refusals = events
        .iter()
        .filter(|e| matches!(e.body, EventBody::Refusal(_)));
    assert_eq!(refusals.count(), 1);
    // The first answer is given again as it was.
    let again = available.predict(&body(1, Some("id-1"))).await;
    assert_eq!(receipt_of(&again), given[&1]);
    assert_eq!(available.replay_spill().await.failed, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_swallows_answers_leaves_each_spilled_event_once() {
    let available = serve_available().await;
    let audit = available.names.audit.clone();
    available
        .tables
        .always(&format!("PutItem {audit}"), Fault::Swallow);
    let reply = available.predict(&body(0, None)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let durability = &reply.json["audit"]["durability"];
    assert_eq!(
        durability,
        &Value::from("spilled"),
        "applied, and nobody knew"
    );
    available.tables.heal();
    available.replay_spill().await;
    assert!(available.is_recorded(&reply).await);
    assert_eq!(available.predictions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_table_and_bucket_the_event_goes_to_the_process_log() {
    let available = serve_available().await;
    available
        .tables
        .always(&available.names.audit, Fault::ResetBefore);
    available.bucket.go_away().await;
    let reply = available.predict(&body(0, None)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json["audit"], json!({"durability": "logged"}));
    available.tables.heal();
    available.bucket.heal();
    // What an operator finds in the log and imports.
    assert_eq!(available.import_lines().await, 1);
    available.replay_spill().await;
    assert!(available.is_recorded(&reply).await);
}
