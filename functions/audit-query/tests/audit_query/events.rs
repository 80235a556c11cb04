use domain::Role;
use http::Request;
use serde_json::{Value, json};
use testkit::build::{event, prediction};

use crate::support::{SECOND, Site, auditors, place_of, principal, site};

/// All of the test's own time: from its beginning, for ten minutes.
pub(crate) const RANGE: &str = "from=2026-01-01T00:00:00Z&until=2026-01-01T00:10:00Z";

/// Three streams with predictions of two symbols and other events.
pub(crate) async fn filled() -> Site {
    let site = site();
    site.clock.advance(3600 * SECOND);
    for first in [1, 0x70, 0xf0] {
        let mut test = site.stream(first).await;
        for number in 0_u64..4 {
            let at = number * 7 * SECOND + u64::from(first);
            let id = format!("request-{first}-{number}");
            let symbols: &[&str] = if number % 2 == 0 {
                &["SPX"]
            } else {
                &["SPX", "NDX"]
            };
            site.append(&mut test, prediction(&id, symbols), at).await;
            site.append(&mut test, event("other"), at + SECOND).await;
        }
    }
    site
}

fn events(json: &Value) -> &Vec<Value> {
    json["events"].as_array().unwrap()
}

#[tokio::test]
async fn events_are_found_by_time_symbol_model_request_and_kind_and_by_several_at_once() {
    let site = filled().await;
    for (filters, count) in [
        ("", 24),
        ("&kind=prediction", 12),
        ("&kind=security", 12),
        ("&kind=outcome", 0),
        ("&symbol=SPX", 12),
        ("&symbol=NDX", 6),
        ("&symbol=DAX", 0),
        ("&model=spx-direction@1.0.0", 12),
        ("&model=spx-direction@1.0.1", 0),
        ("&request_id=request-1-3", 1),
        ("&request_id=request-1-9", 0),
        ("&symbol=NDX&model=spx-direction@1.0.0", 6),
        ("&symbol=NDX&model=spx-direction@1.0.1", 0),
        ("&symbol=NDX&request_id=request-1-3", 1),
        ("&symbol=NDX&request_id=request-1-2", 0),
        (
            "&symbol=SPX&request_id=request-1-2&model=spx-direction@1.0.0&kind=prediction",
            1,
        ),
        ("&symbol=SPX&request_id=request-1-2&kind=security", 0),
    ] {
        let json = site
            .ok(&format!("/v1/audit/events?{RANGE}{filters}"))
            .await
            .json();
        assert_eq!(events(&json).len(), count, "{filters}");
        assert!(json.get("next").is_none(), "{filters}");
        let order: Vec<_> = events(&json)
            .iter()
            .map(|event| {
                (
                    event["entry"]["time"].as_str().unwrap().to_owned(),
                    place_of(event),
                )
            })
            .collect();
        assert!(order.is_sorted(), "{filters}");
    }
}

#[tokio::test]
async fn a_question_may_be_percent_encoded() {
    let site = filled().await;
    for (filters, count) in [
        ("&symbol=S%50X", 12),
        ("&%73ymbol=NDX", 6),
        ("&request_id=request%2D1-3", 1),
        ("&model=spx-direction%401.0.0&kind=%70rediction", 12),
    ] {
        let path = format!("/v1/audit/events?{RANGE}{filters}");
        assert_eq!(site.ok(&path).await.places().len(), count, "{filters}");
    }
    let range = "from=2026-01-01T00%3A00%3A00Z&until=2026-01-01T00%3A10%3A00%2E000001Z";
    site.ok(&format!("/v1/audit/events?{range}")).await;
}

#[tokio::test]
async fn a_range_has_its_beginning_and_not_its_end() {
    let site = site();
    site.clock.advance(3600 * SECOND);
    let mut test = site.stream(1).await;
    for at in [0, 1, 2] {
        site.append(&mut test, event("x"), at * SECOND).await;
    }
    let found = async |range: &str| -> Vec<u64> {
        let reply = site
            .ok(&format!("/v1/audit/events?kind=security{range}"))
            .await;
        reply.places().into_iter().map(|(_, seq)| seq).collect()
    };
    let second = "&from=2026-01-01T00:00:01Z&until=2026-01-01T00:00:02Z";
    assert_eq!(found(second).await, [1]);
    assert_eq!(found("&from=2026-01-01T00:00:00.000001Z").await, [1, 2]);
    // The last hour, of which the first event is the very beginning.
    assert_eq!(found("").await, [0, 1, 2]);
    site.clock.advance(1);
    assert_eq!(found("").await, [1, 2]);
    assert_eq!(found("&until=2026-01-01T00:00:01Z").await, [0]);
}

#[tokio::test]
async fn an_event_is_given_as_it_was_signed_and_says_whether_it_is_sealed_as_of_which_tree() {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    let first = site.append(&mut test, prediction("a", &["SPX"]), 0).await;
    let path = "/v1/audit/events?symbol=SPX";

    let before = site.ok(path).await;
    let json = before.json();
    assert_eq!(json["as_of"]["size"], 0);
    assert_eq!(json["as_of"]["origin"], "sealcast.test");
    // SHA-256 of nothing.
    let empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    assert_eq!(json["as_of"]["root"], empty);
    assert_eq!(before.header("sealcast-tree-size"), "0");
    let event = &events(&json)[0];
    assert_eq!(
        (&event["sealed"], event.get("index")),
        (&json!(false), None)
    );
    assert_eq!(event["leaf_hash"], first.receipt().leaf_hash.to_string());
    let entry = String::from_utf8(first.entry.clone()).unwrap();
    assert!(before.text().contains(&format!("\"entry\":{entry}")));

    site.seal().await;
    let second = site.append(&mut test, prediction("b", &["SPX"]), 1).await;
    let after = site.ok(path).await;
    let json = after.json();
    let leaves = json["as_of"]["size"].as_u64().unwrap();
    assert!(
        leaves >= 3,
        "registration, event, seal, and what else was recorded"
    );
    assert_eq!(after.header("sealcast-tree-size"), leaves.to_string());
    assert_eq!(after.header("sealcast-root"), json["as_of"]["root"]);
    let [sealed, unsealed] = &events(&json)[..] else {
        panic!("{json}");
    };
    assert_eq!(
        (&sealed["sealed"], &unsealed["sealed"]),
        (&json!(true), &json!(false))
    );
    assert!(sealed["index"].as_u64().unwrap() < leaves);
    assert_eq!(unsealed["seq"], second.seq);
}

#[tokio::test]
async fn what_the_index_knows_and_no_checkpoint_says_is_not_sealed() {
    let site = site();
    site.clock.advance(60 * SECOND);
    let mut test = site.stream(1).await;
    site.append(&mut test, prediction("a", &["SPX"]), 0).await;
    site.seal().await;
    let later = site.append(&mut test, prediction("b", &["SPX"]), 1).await;
    site.seal_without_publishing().await;
    let json = site.ok("/v1/audit/events?symbol=SPX").await.json();
    let sealed: Vec<_> = events(&json).iter().map(|event| &event["sealed"]).collect();
    assert_eq!(sealed, [true, false]);
    let proof = format!("/v1/audit/events/{}/{}/proof", later.stream, later.seq);
    assert_eq!(
        site.get(&proof).await.error(),
        (409, "audit.not_sealed".to_owned())
    );
}

#[tokio::test]
async fn who_is_no_auditor_is_told_nothing() {
    let site = filled().await;
    let stream = "01".repeat(16);
    let paths = [
        "/v1/audit/events".to_owned(),
        format!("/v1/audit/events/{stream}/0"),
        format!("/v1/audit/events/{stream}/0/proof"),
        format!("/v1/audit/streams/{stream}/registration"),
        "/v1/audit/checkpoint".to_owned(),
        "/v1/audit/tile/0/000.p/1".to_owned(),
        "/v1/audit/log.vkey".to_owned(),
    ];
    for path in &paths {
        let anonymous = Request::get(path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(
            site.send(anonymous).await.error(),
            (401, "auth.missing".to_owned()),
            "{path}"
        );
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Auditor) {
            let request = Request::get(path).extension(principal(&[role]));
            let reply = site
                .send(request.body(axum::body::Body::empty()).unwrap())
                .await;
            assert_eq!(
                reply.error(),
                (403, "auth.role_missing".to_owned()),
                "{path} {role:?}"
            );
        }
    }
    assert_eq!(site.queries().await, []);
    let refusals = site.refusals().await;
    assert_eq!(refusals.len(), paths.len() * Role::ALL.len());
    assert!(refusals.iter().any(|refusal| {
        refusal.principal.as_deref() == Some("anna")
            && refusal.route == "GET /v1/audit/events/{stream}/{seq}"
    }));
}

#[tokio::test]
async fn head_says_what_get_would_and_is_recorded_as_itself() {
    let site = filled().await;
    let path = format!("/v1/audit/events?{RANGE}&symbol=NDX");
    let request = auditors(&path)
        .method("HEAD")
        .body(axum::body::Body::empty());
    let reply = site.send(request.unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.bytes.len()), (200, 0));
    assert_eq!(reply.header("sealcast-tree-size"), "0");
    assert_eq!(site.queries().await[0].route, "HEAD /v1/audit/events");
}
