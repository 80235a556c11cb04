use std::time::{Duration, Instant};

use audit::StreamId;
use domain::{EventPage, EventPosition, StoreError};
use testkit::Fault;
use testkit::build::{event, prediction};

use crate::events::{RANGE, filled};
use crate::support::{NOW, SECOND, limits, site_with};

fn down() -> Fault {
    Fault::Before(StoreError::Unavailable("down".to_owned()))
}

fn denied() -> Fault {
    Fault::Before(StoreError::Denied("no".to_owned()))
}

const UNAVAILABLE: (u16, &str) = (503, "store.unavailable");

#[tokio::test]
async fn a_store_that_is_gone_is_503_and_nothing_else_is_said() {
    let site = filled().await;
    site.seal().await;
    let stream = "01".repeat(16);
    let one = format!("/v1/audit/events/{stream}/0");
    let registration = format!("/v1/audit/streams/{stream}/registration");
    let list = format!("/v1/audit/events?{RANGE}&symbol=SPX");
    let leaves = site
        .ok("/v1/audit/checkpoint")
        .await
        .header("sealcast-tree-size")
        .to_owned();
    let tile = format!("/v1/audit/tile/0/000.p/{leaves}");
    for fault in [down(), denied(), Fault::After] {
        let check = async |path: &str| {
            let reply = site.get(path).await;
            let (status, code) = reply.error();
            assert_eq!((status, &*code), UNAVAILABLE, "{path} {fault:?}");
            assert_eq!(reply.header("retry-after"), "1");
        };
        site.search.fail_next("AuditSearch::search", fault.clone());
        check(&list).await;
        for path in [&list, &one] {
            site.streams.fail_next("AuditReader::read", fault.clone());
            check(path).await;
            site.index
                .fail_next("SealIndexReader::leaf_index", fault.clone());
            check(path).await;
            site.log.fail_next("LogReader::checkpoint", fault.clone());
            check(path).await;
            site.log.fail_next("LogReader::read", fault.clone());
            check(path).await;
        }
        site.streams
            .fail_next("AuditReader::registration", fault.clone());
        check(&registration).await;
        site.log.fail_next("LogReader::read", fault.clone());
        check(&tile).await;
        site.log.fail_next("LogReader::checkpoint", fault.clone());
        check("/v1/audit/checkpoint").await;
        site.ok(&list).await;
    }
    let queries = site.queries().await;
    assert_eq!(queries.len(), 3, "only what was answered");
    assert!(
        site.refusals()
            .await
            .iter()
            .all(|refusal| refusal.code == "store.unavailable")
    );
    assert_eq!(site.security().await, []);
}

#[tokio::test]
async fn the_logs_key_is_asked_for_until_it_is_there_and_then_no_more() {
    let site = filled().await;
    site.seal().await;
    site.log_key.fail_next("Signer::public_key_pem", down());
    let (status, code) = site.get("/v1/audit/log.vkey").await.error();
    assert_eq!((status, &*code), UNAVAILABLE);
    site.ok("/v1/audit/log.vkey").await;
    site.ok("/v1/audit/checkpoint").await;
    assert_eq!(site.log_key.calls("Signer::public_key_pem"), 2);
    assert_eq!(site.log_key.calls("Signer::sign"), 0);
}

#[tokio::test]
async fn an_index_that_does_not_get_on_is_503() {
    let site = filled().await;
    let next = EventPosition {
        time_us: NOW,
        stream: StreamId([1; 16]),
        seq: 0,
    };
    site.find_only(EventPage {
        events: Vec::new(),
        next: Some(next),
    });
    let (status, code) = site.get("/v1/audit/events").await.error();
    assert_eq!((status, &*code), UNAVAILABLE);
    assert_eq!(site.search.calls("AuditSearch::search"), 2);
}

#[tokio::test]
async fn a_finding_that_could_not_be_recorded_is_recorded_when_it_is_found_again() {
    let site = filled().await;
    site.seal().await;
    let path = "/v1/audit/checkpoint";
    site.change_object("checkpoint", Some(b"x"));
    for method in ["AuditAppender::append", "AuditAppender::register"] {
        site.appender.fail_always(method, down());
    }
    let error = site.get(path).await.error();
    assert_eq!(error, (503, "audit.unavailable".to_owned()));
    for method in ["AuditAppender::append", "AuditAppender::register"] {
        site.appender.heal(method);
    }
    for _ in 0..2 {
        let error = site.get(path).await.error();
        assert_eq!(error, (503, "audit.checkpoint_invalid".to_owned()));
    }
    let finding = ("audit.checkpoint_invalid", "sealcast.test");
    let finding = (finding.0.to_owned(), finding.1.to_owned());
    assert_eq!(site.security().await, [finding]);
}

#[tokio::test]
async fn an_index_that_says_nothing_in_time_is_503_and_says_how_to_narrow_the_question() {
    let site = site_with(audit_query::Limits {
        find: Duration::from_millis(100),
        ..limits()
    });
    let slow = Fault::Delay(Duration::from_secs(5));
    site.search.fail_next("AuditSearch::search", slow);
    let began = Instant::now();
    let reply = site.get("/v1/audit/events").await;
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(reply.error(), (503, "query.timeout".to_owned()));
    assert!(
        reply.json()["error"]
            .as_str()
            .unwrap()
            .contains("narrower range")
    );
}

#[tokio::test]
async fn a_store_that_says_nothing_in_time_is_503() {
    let site = site_with(audit_query::Limits {
        ask: Duration::from_millis(100),
        ..limits()
    });
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    site.append(&mut test, event("x"), 0).await;
    let slow = Fault::Delay(Duration::from_secs(5));
    site.streams.fail_next("AuditReader::read", slow);
    let began = Instant::now();
    let (status, code) = site.get("/v1/audit/events").await.error();
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!((status, &*code), UNAVAILABLE);
}

#[tokio::test]
async fn a_stream_of_lines_whose_store_fails_on_the_way_is_not_whole() {
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    let site = site_with(audit_query::Limits {
        answer_bytes: 1000,
        ..limits()
    });
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    for number in 0..200 {
        site.append(&mut test, prediction("a", &["SPX"]), number)
            .await;
    }
    // The first batch is read in one go, the second in another.
    let made = site.streams.calls("AuditReader::read");
    site.streams.fail_nth("AuditReader::read", made + 2, down());
    let request = crate::support::auditors("/v1/audit/events?symbol=SPX&limit=200&format=ndjson");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = site.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        response.into_body().collect().await.is_err(),
        "the body ends without its end"
    );
    site.streams.assert_all_took_place();
}

#[tokio::test]
async fn questions_beyond_those_that_are_answered_at_once_are_refused() {
    let site = site_with(audit_query::Limits {
        at_once: 1,
        ..limits()
    });
    let slow = Fault::Delay(Duration::from_millis(600));
    site.search.fail_next("AuditSearch::search", slow);
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        site.get("/v1/audit/events").await
    };
    let (first, second) = tokio::join!(site.get("/v1/audit/events"), later);
    assert_eq!(first.status, 200);
    assert_eq!(second.error(), (503, "server.overloaded".to_owned()));
    site.ok("/v1/audit/events").await;
}
