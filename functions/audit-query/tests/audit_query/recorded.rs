use std::collections::BTreeMap;

use audit::EventBody;
use audit::event::{Prediction, RecordedTensor};
use domain::StoreError;
use serde_json::{Value, json};
use testkit::Fault;
use testkit::build::prediction;

use crate::events::{RANGE, filled};
use crate::support::{SECOND, auditors, site};

fn filters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

#[tokio::test]
async fn every_question_is_an_event_that_says_who_asked_what_and_how_much_was_given() {
    let site = filled().await;
    site.seal().await;
    let request = auditors(&format!("/v1/audit/events?{RANGE}&symbol=NDX&limit=4"));
    let request = request
        .header("x-request-id", "q-1")
        .body(axum::body::Body::empty());
    let reply = site.send(request.unwrap()).await;
    let leaves = reply.json()["as_of"]["size"].as_u64().unwrap();
    let record = site.queries().await.pop().unwrap();
    assert_eq!((&*record.principal, &*record.request_id), ("anna", "q-1"));
    assert_eq!((record.returned, record.tree_size), (4, leaves));
    assert_eq!(record.route, "GET /v1/audit/events");
    let asked = [
        ("format", "json"),
        ("from", "2026-01-01T00:00:00.000000Z"),
        ("limit", "4"),
        ("symbol", "NDX"),
        ("until", "2026-01-01T00:10:00.000000Z"),
    ];
    assert_eq!(record.filters, filters(&asked));

    let stream = "01".repeat(16);
    for (path, route, asked, returned) in [
        (
            format!("/v1/audit/events/{stream}/3"),
            "/v1/audit/events/{stream}/{seq}",
            vec![("seq", "3"), ("stream", &*stream)],
            1,
        ),
        (
            format!("/v1/audit/events/{stream}/3/proof"),
            "/v1/audit/events/{stream}/{seq}/proof",
            vec![("seq", "3"), ("stream", &*stream)],
            1,
        ),
        (
            format!("/v1/audit/streams/{stream}/registration"),
            "/v1/audit/streams/{stream}/registration",
            vec![("stream", &*stream)],
            1,
        ),
        (
            format!("/v1/audit/tile/entries/000.p/{leaves}"),
            "/v1/audit/tile/{*path}",
            vec![("tile", &*format!("tile/entries/000.p/{leaves}"))],
            leaves,
        ),
    ] {
        site.ok(&path).await;
        let record = site.queries().await.pop().unwrap();
        assert_eq!(record.route, format!("GET {route}"));
        assert_eq!(record.filters, filters(&asked), "{path}");
        assert_eq!(
            (record.returned, record.tree_size),
            (returned, leaves),
            "{path}"
        );
    }
    let before = site.queries().await.len();
    for path in [
        "/v1/audit/checkpoint",
        "/v1/audit/log.vkey",
        &format!("/v1/audit/tile/0/000.p/{leaves}"),
    ] {
        site.ok(path).await;
    }
    assert_eq!(
        site.queries().await.len(),
        before,
        "these say nothing of any event"
    );
    // The questions are events like others.
    let found = site
        .ok("/v1/audit/events?kind=query&until=2026-01-01T02:00:00Z")
        .await
        .json();
    assert_eq!(found["events"].as_array().unwrap().len(), before);
    let own = site
        .ok("/v1/audit/events?request_id=q-1&until=2026-01-01T02:00:00Z")
        .await
        .json();
    assert_eq!(own["events"][0]["entry"]["kind"], "query");
}

#[tokio::test]
async fn nothing_is_answered_that_could_not_be_recorded() {
    for path in [
        "/v1/audit/events".to_owned(),
        format!("/v1/audit/events/{}/0", "01".repeat(16)),
        format!("/v1/audit/events/{}/0/proof", "01".repeat(16)),
        format!("/v1/audit/streams/{}/registration", "01".repeat(16)),
        "/v1/audit/tile/entries/000.p/28".to_owned(),
    ] {
        let site = filled().await;
        site.seal().await;
        site.ok(&path).await;
        let before = site.queries().await.len();
        let down = Fault::Before(StoreError::Unavailable("down".to_owned()));
        site.appender
            .fail_always("AuditAppender::append", down.clone());
        site.appender.fail_always("AuditAppender::register", down);
        let reply = site.get(&path).await;
        assert_eq!(
            reply.error(),
            (503, "audit.unavailable".to_owned()),
            "{path}"
        );
        assert_eq!(reply.header("retry-after"), "1");
        assert!(!reply.text().contains("entry"));
        site.appender.heal("AuditAppender::append");
        site.appender.heal("AuditAppender::register");
        site.ok(&path).await;
        assert_eq!(site.queries().await.len(), before + 1);
        let streams = site.store.audit_reader().streams(None, 100).await.unwrap();
        assert_eq!(streams.len(), 5, "the recorder opened another stream");
    }
}

#[tokio::test]
async fn what_the_manifest_marks_as_personal_is_in_no_answer() {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    let EventBody::Prediction(body) = prediction("a", &["SPX"]) else {
        unreachable!();
    };
    // As `predict` records a column of `personal_data`.
    let inputs = vec![RecordedTensor {
        data: vec![json!(1.5), Value::Null],
        datatype: "FP32".to_owned(),
        name: "x".to_owned(),
        offset: 0,
        redacted: vec!["income".to_owned()],
        shape: vec![1, 2],
    }];
    let body = EventBody::Prediction(Box::new(Prediction { inputs, ..*body }));
    let record = site.append(&mut test, body, 0).await;
    site.seal().await;
    let path = format!("/v1/audit/events/{}/{}", record.stream, record.seq);
    for path in ["/v1/audit/events?kind=prediction", &path] {
        let json = site.ok(path).await.json();
        let event = if path == "/v1/audit/events?kind=prediction" {
            &json["events"][0]
        } else {
            &json
        };
        let input = &event["entry"]["data"]["inputs"][0];
        assert_eq!(input["data"], json!([1.5, null]));
        assert_eq!(input["redacted"], json!(["income"]));
    }
}
