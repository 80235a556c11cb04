//! The whole function on the AWS stores while they misbehave: no answer without its record, no record twice, and a
//! request that is sent again gets the answer that it was given.

use std::time::{Duration, Instant};

use audit::EventBody;
use aws_tests::emulators::Emulator::{DynamodbLocal, Roto};
use aws_tests::proxy::Fault;
use aws_tests::served::{Reply, body, prepare, serve};
use aws_tests::{fixtures, tables};
use serde_json::json;
use testkit::build::release_id;

/// What a request without an id may take when the table is gone: one append.
const BUDGET: Duration = Duration::from_secs(5);

fn assert_refused(reply: &Reply, code: &str) {
    assert_eq!(
        (reply.status, &reply.json["code"]),
        (503, &json!(code)),
        "{reply:?}"
    );
    assert!(reply.json.get("receipt").is_none(), "no answer: {reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_carries_the_receipt_of_its_record() {
    let served = serve().await;
    let reply = served.predict(&body(0, Some("id-1"))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(served.is_recorded(&reply).await);
    assert_eq!(served.predictions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_tables_are_gone_nothing_is_answered_and_then_it_goes_on() {
    let served = serve().await;
    assert_eq!(served.predict(&body(0, None)).await.status, 200);
    served.tables.go_away().await;
    let began = Instant::now();
    assert_refused(&served.predict(&body(0, None)).await, "audit.unavailable");
    assert!(began.elapsed() < BUDGET * 2, "{:?}", began.elapsed());
    served.tables.heal();
    let reply = served.predict(&body(1, None)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(served.is_recorded(&reply).await);
    assert_eq!(served.predictions().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_table_nothing_is_answered() {
    let served = serve().await;
    tables::remove(DynamodbLocal, &served.names.audit).await;
    for request in [body(0, None), body(0, Some("id-1"))] {
        assert_refused(&served.predict(&request).await, "audit.unavailable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_table_makes_a_slow_answer_with_its_record() {
    let served = serve().await;
    let slow = Fault::Delay(Duration::from_secs(2));
    served.tables.always(&served.names.audit, slow);
    let began = Instant::now();
    let reply = served.predict(&body(0, Some("id-1"))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!((Duration::from_secs(2)..BUDGET).contains(&began.elapsed()));
    served.tables.heal();
    assert!(served.is_recorded(&reply).await);
    assert_eq!(served.predictions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_acknowledgement_is_lost_is_there_once() {
    for fault in [Fault::Swallow, Fault::ResetAfter, Fault::FAILED] {
        let served = serve().await;
        served
            .tables
            .next(1, &format!("PutItem {}", served.names.audit), fault);
        let reply = served.predict(&body(0, None)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        served.tables.assert_all_took_place();
        assert!(served.is_recorded(&reply).await);
        assert_eq!(served.predictions().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_gets_the_answer_that_it_was_given() {
    let served = serve().await;
    let first = served.predict(&body(0, Some("id-1"))).await;
    // The client never saw it.
    let again = served.predict(&body(0, Some("id-1"))).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.json, again.json);
    let other = served.predict(&body(1, Some("id-1"))).await;
    assert_eq!(
        (other.status, &other.json["code"]),
        (409, &json!("request.id_reused"))
    );
    assert_eq!(served.predictions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_keeping_is_in_doubt_is_the_one_that_is_given_again() {
    // Of the two writes to the table of requests the second keeps the answer.
    for (times, status) in [(1, 200), (100, 503)] {
        let served = serve().await;
        let keeping = format!("PutItem {}", served.names.requests);
        served.tables.after(1, times, &keeping, Fault::Swallow);
        let first = served.predict(&body(0, Some("id-1"))).await;
        assert_eq!(first.status, status, "{first:?}");
        served.tables.heal();
        let again = served.predict(&body(0, Some("id-1"))).await;
        assert_eq!(again.status, 200, "{again:?}");
        if first.status == 200 {
            assert_eq!(first.json, again.json);
        }
        assert!(served.is_recorded(&again).await);
        assert_eq!(served.predictions().await, 1, "answered once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_acknowledgement_is_lost_is_still_ours() {
    let served = serve().await;
    let claiming = format!("PutItem {}", served.names.requests);
    served.tables.next(1, &claiming, Fault::Swallow);
    let reply = served.predict(&body(0, Some("id-1"))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    served.tables.assert_all_took_place();
    assert_eq!(served.predictions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_that_arrive_at_once_get_one_answer_on_one_record() {
    let served = serve().await;
    let request = body(0, Some("id-1"));
    let replies = futures::future::join_all((0..16).map(|_| served.predict(&request))).await;
    for reply in &replies {
        assert_eq!((reply.status, &reply.json), (200, &replies[0].json));
    }
    assert_eq!(served.predictions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_bucket_and_a_slow_key_only_delay_the_load() {
    let served = prepare().await;
    let slow = Fault::Delay(Duration::from_secs(2));
    served.bucket.always("model.onnx.sealed", slow.clone());
    served.keys.always("Decrypt", slow);
    served.predict.activate(release_id(1)).await.unwrap();
    assert_eq!(served.predict(&body(0, None)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_says_why_and_the_next_one_serves() {
    let served = prepare().await;
    for (what, code) in [
        ("bucket", "artifact.unavailable"),
        ("keys", "key.unavailable"),
    ] {
        let proxy = if what == "bucket" {
            &served.bucket
        } else {
            &served.keys
        };
        proxy.go_away().await;
        let error = served.predict.activate(release_id(1)).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_refused(&served.predict(&body(0, None)).await, "model.not_ready");
        proxy.heal();
    }
    served.predict.activate(release_id(1)).await.unwrap();
    assert_eq!(served.predict(&body(0, None)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_tampered_with_is_not_served_and_is_a_security_event() {
    let s3 = fixtures::s3().await;
    for (file, code) in [
        ("model.onnx.sealed", "artifact."),
        ("manifest.json", "artifact."),
        ("model.sig", "artifact."),
        ("key.json", ""),
    ] {
        let served = prepare().await;
        let key = format!("models/spx-direction/1.0.0/{file}");
        let bucket = &served.names.bucket;
        let stored = s3
            .get_object()
            .bucket(bucket)
            .key(&key)
            .send()
            .await
            .unwrap();
        let mut bytes = stored.body.collect().await.unwrap().to_vec();
        // A digit or letter becomes another one, so that JSON stays JSON.
        let position = bytes.len() / 2;
        bytes[position] = if bytes[position] == b'a' { b'b' } else { b'a' };
        let put = s3.put_object().bucket(bucket).key(&key).body(bytes.into());
        put.send().await.unwrap();

        let error = served.predict.activate(release_id(1)).await.unwrap_err();
        assert!(error.code().starts_with(code), "{file}: {}", error.code());
        assert_refused(&served.predict(&body(0, None)).await, "model.not_ready");
        let events = served.events().await;
        let security = events
            .iter()
            .any(|event| matches!(event.body, EventBody::Security(_)));
        assert!(security, "{file}: {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_is_not_used_and_is_a_security_event() {
    let served = prepare().await;
    let disable = fixtures::kms(Roto).await.disable_key();
    disable.key_id(&served.names.data_key).send().await.unwrap();
    let error = served.predict.activate(release_id(1)).await.unwrap_err();
    assert_eq!(error.code(), "key.unknown", "{error}");
    let events = served.events().await;
    assert!(
        events
            .iter()
            .any(|event| matches!(event.body, EventBody::Security(_)))
    );
}
