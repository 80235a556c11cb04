//! The recorder on `DynamoDB` while the table misbehaves: no acknowledged record is missing, none is there twice, no
//! stream has a hole, and an outage costs a stream, not the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use audit::{EventBody, Receipt, StreamId};
use aws_tests::emulators::Emulator::DynamodbLocal;
use aws_tests::emulators::connect;
use aws_tests::proxy::{Fault, Proxy};
use aws_tests::tables;
use domain::Recorder;
use domain::ports::AuditReader;
use domain::system::{SystemClock, SystemEntropy};
use store_aws::DynamoAudit;
use testkit::TestSigner;
use testkit::build::{event, verify};

use crate::operation::proxied;

struct Setup {
    proxy: Arc<Proxy>,
    recorder: Arc<Recorder>,
    /// Reads past the proxy.
    reader: Arc<DynamoAudit>,
}

async fn set_up() -> Setup {
    let table = tables::create_audit(DynamodbLocal).await;
    let (proxy, aws) = proxied(DynamodbLocal, |endpoints| &mut endpoints.dynamodb).await;
    let recorder = Recorder::new(
        "test".to_owned(),
        aws.audit(&table),
        Arc::new(TestSigner::new(1)),
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    );
    Setup {
        proxy,
        recorder: Arc::new(recorder),
        reader: connect().await.audit(&table),
    }
}

/// What is on record, each stream verified: the subject and receipt of every event, and how many streams there are.
async fn recorded(reader: &dyn AuditReader) -> (Vec<(String, Receipt)>, usize) {
    let mut events = Vec::new();
    let streams: Vec<StreamId> = reader.streams(None, 1000).await.unwrap();
    for stream in &streams {
        let registration = reader.registration(*stream).await.unwrap();
        let records = reader.read(*stream, 0, 100_000).await.unwrap();
        // Verifies that no position is left out.
        verify(&registration, &records).unwrap();
        for record in records {
            let parsed: audit::Event = serde_json::from_slice(&record.entry).unwrap();
            let EventBody::Security(security) = parsed.body else {
                panic!("only security events were recorded")
            };
            events.push((security.subject, record.receipt()));
        }
    }
    (events, streams.len())
}

/// Records `count` events at once; gives the receipts of those that were acknowledged.
async fn record_many(setup: &Setup, label: &str, count: usize) -> HashMap<String, Receipt> {
    let calls = (0..count).map(|number| {
        let (recorder, subject) = (Arc::clone(&setup.recorder), format!("{label} {number}"));
        tokio::spawn(async move {
            let receipt = recorder.record(event(&subject)).await.ok()?.receipt;
            Some((subject, receipt))
        })
    });
    let results = futures::future::join_all(calls).await;
    results.into_iter().filter_map(Result::unwrap).collect()
}

/// Asserts that every acknowledged record is there as its receipt says, and nothing is there twice.
async fn assert_whole(setup: &Setup, acknowledged: &HashMap<String, Receipt>) -> usize {
    let (events, streams) = recorded(&*setup.reader).await;
    let mut found: HashMap<&str, &Receipt> = HashMap::new();
    for (subject, receipt) in &events {
        assert!(found.insert(subject, receipt).is_none(), "{subject} twice");
    }
    for (subject, receipt) in acknowledged {
        assert_eq!(found.get(subject.as_str()), Some(&receipt), "{subject}");
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn harm_that_passes_costs_no_record_and_no_stream() {
    let setup = set_up().await;
    let mut acknowledged = record_many(&setup, "calm", 20).await;
    for (label, fault) in [
        ("throttled", Fault::THROTTLED_TABLE),
        ("failing", Fault::FAILED),
        ("broken before", Fault::ResetBefore),
        ("broken after", Fault::ResetAfter),
        ("broken within", Fault::CutBody),
        ("lost", Fault::Swallow),
    ] {
        // One record alone is a put, several at once are a transaction.
        setup.proxy.next(1, "PutItem", fault.clone());
        let alone = record_many(&setup, &format!("{label}, alone"), 1).await;
        setup.proxy.assert_all_took_place();
        setup.proxy.next(2, "TransactWriteItems", fault);
        let together = record_many(&setup, &format!("{label}, together"), 150).await;
        setup.proxy.assert_all_took_place();
        assert_eq!((alone.len(), together.len()), (1, 150), "{label}");
        acknowledged.extend(alone);
        acknowledged.extend(together);
    }
    assert_eq!(acknowledged.len(), 20 + 6 * 151);
    let streams = assert_whole(&setup, &acknowledged).await;
    assert_eq!(streams, 1, "one stream held all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_lost_against_another_is_sent_again() {
    let setup = set_up().await;
    let conflict = Fault::Answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"cancelled",
            "CancellationReasons":[{"Code":"TransactionConflict","Message":"busy"},{"Code":"None"}]}"#,
    );
    // The registration's.
    setup.proxy.next(3, "TransactWriteItems", conflict);
    let acknowledged = record_many(&setup, "one", 1).await;
    setup.proxy.assert_all_took_place();
    assert_eq!(acknowledged.len(), 1);
    assert_whole(&setup, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_a_new_stream_goes_on_and_the_old_one_has_no_hole() {
    let setup = set_up().await;
    let mut acknowledged = record_many(&setup, "before", 50).await;
    assert_eq!(acknowledged.len(), 50);
    // Gone while records are under way: some are acknowledged, the others are not.
    let under_way = record_many(&setup, "under way", 300);
    let cut = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        setup.proxy.go_away().await;
    };
    let (under_way, ()) = futures::future::join(under_way, cut).await;
    acknowledged.extend(under_way);
    let during = record_many(&setup, "during", 3).await;
    assert_eq!(
        during.len(),
        0,
        "while the table is gone nothing is acknowledged"
    );
    setup.proxy.heal();
    let after = record_many(&setup, "after", 50).await;
    assert_eq!(after.len(), 50, "and afterwards everything is");
    acknowledged.extend(after);
    let streams = assert_whole(&setup, &acknowledged).await;
    assert_eq!(streams, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_never_answers_leaves_at_most_what_it_applied() {
    let setup = set_up().await;
    let mut acknowledged = record_many(&setup, "before", 5).await;
    setup.proxy.always("PutItem", Fault::Swallow);
    setup.proxy.always("TransactWriteItems", Fault::Swallow);
    let during = record_many(&setup, "during", 3).await;
    assert_eq!(during.len(), 0);
    setup.proxy.heal();
    let after = record_many(&setup, "after", 20).await;
    assert_eq!(after.len(), 20);
    acknowledged.extend(after);
    let streams = assert_whole(&setup, &acknowledged).await;
    assert_eq!(streams, 2);
}
