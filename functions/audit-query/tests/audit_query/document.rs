//! What the `OpenAPI` document says of these routes is what they answer.

use axum::body::Body;
use http::Request;
use serde_json::Value;
use testkit::build::event;
use testkit::openapi::{check, response_schema};

use crate::events::filled;
use crate::support::{Change, Reply, SECOND, limits, principal, site_with};

const DOCUMENT: &str = include_str!("../../../predict/openapi.json");

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

fn assert_described(document: &Value, route: &str, reply: &Reply) {
    let status = reply.status.as_u16();
    let json = reply.header("content-type").starts_with("application/json");
    let mut response = &document["paths"][route]["get"]["responses"][status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(&reference[1..]).unwrap();
    }
    let media_type = reply.header("content-type").split(';').next().unwrap();
    assert!(
        response["content"][media_type].is_object(),
        "{route} {status} {media_type} is not described"
    );
    for name in [
        "cache-control",
        "sealcast-tree-size",
        "sealcast-root",
        "sealcast-next",
        "sealcast-expired-before",
        "retry-after",
    ] {
        let described = response["headers"][name].is_object();
        assert!(
            described || reply.header(name).is_empty(),
            "{route}: the header {name} is not described"
        );
    }
    if !json {
        return;
    }
    if status == 200 {
        let schema = response_schema(document, route, status);
        let checked = check(document, schema, &reply.json(), route);
        assert_eq!(checked, Ok(()), "{}", reply.json());
        return;
    }
    let schema = &response["content"]["application/json"]["schema"]["allOf"][1];
    let codes = schema["properties"]["code"]["enum"].as_array().unwrap();
    assert!(
        codes.contains(&reply.json()["code"]),
        "{route} {status}: {}",
        reply.json()
    );
}

#[tokio::test]
async fn every_answer_has_the_form_that_the_document_gives() {
    let document = document();
    let stream = "01".repeat(16);
    let path_of = |route: &str, leaves: &str| {
        let tile = format!("0/000.p/{leaves}");
        route
            .replace("{stream}", &stream)
            .replace("{seq}", "3")
            .replace("{path}", &tile)
    };
    for sealed in [false, true] {
        let site = filled().await;
        let mut leaves = "1".to_owned();
        if sealed {
            site.seal().await;
            leaves = site
                .ok("/v1/audit/checkpoint")
                .await
                .header("sealcast-tree-size")
                .to_owned();
        }
        for (method, route) in audit_query::ROUTES {
            assert_eq!(method, "get");
            let path = path_of(route, &leaves);
            let reply = site.get(&path).await;
            assert_ne!(reply.error_code(), "route.unknown", "{path}");
            assert_described(&document, route, &reply);
            assert_described(&document, route, &site.get(&format!("{path}?x=1")).await);
            let anonymous = Request::get(&path).body(Body::empty()).unwrap();
            assert_described(&document, route, &site.send(anonymous).await);
            let nobody = Request::get(&path)
                .extension(principal(&[]))
                .body(Body::empty());
            assert_described(&document, route, &site.send(nobody.unwrap()).await);
        }
        for query in [
            "limit=2",
            "format=ndjson&limit=2",
            "format=csv",
            "kind=x",
            "cursor=1",
            "from=1",
        ] {
            let reply = site.get(&format!("/v1/audit/events?{query}")).await;
            assert_described(&document, "/v1/audit/events", &reply);
        }
    }
}

#[tokio::test]
async fn an_answer_that_says_what_is_wrong_has_the_form_that_the_document_gives() {
    let document = document();
    for damage in [
        Change::Entry(b"{}".to_vec()),
        Change::Signature([7; 64]),
        Change::Gone,
    ] {
        let site = site_with(audit_query::Limits {
            kept_us: Some(1),
            ..limits()
        });
        let mut test = site.stream(1).await;
        let sealed = site.append(&mut test, event("x"), 0).await;
        site.seal().await;
        let later = site.append(&mut test, event("y"), 1).await;
        site.clock.advance(SECOND);
        site.ok("/v1/audit/events?kind=security").await;
        site.change(&sealed, damage.clone());
        site.change(&later, damage);
        let list = site.ok("/v1/audit/events?kind=security").await;
        assert_eq!(list.places().len(), 2);
        assert!(list.text().contains("\"fault\":"), "{}", list.text());
        assert_described(&document, "/v1/audit/events", &list);
        let route = "/v1/audit/events/{stream}/{seq}";
        for record in [&sealed, &later] {
            let path = format!("/v1/audit/events/{}/{}", record.stream, record.seq);
            assert_described(&document, route, &site.get(&path).await);
            let proof = site.get(&format!("{path}/proof")).await;
            assert_described(&document, &format!("{route}/proof"), &proof);
        }
        let expired = "/v1/audit/events?from=2025-12-31T23:00:00Z&until=2025-12-31T23:30:00Z";
        let expired = site.get(expired).await;
        assert_eq!(expired.error_code(), "query.range_expired");
        assert_described(&document, "/v1/audit/events", &expired);
    }
}

#[tokio::test]
async fn the_document_names_every_parameter_and_every_kind() {
    let document = document();
    let parameters = document["paths"]["/v1/audit/events"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let named: Vec<&str> = parameters
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    let reply = filled().await.get("/v1/audit/events?x=1").await;
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    let listed = error.split("expected one of ").nth(1).unwrap();
    assert_eq!(named.join(", "), listed);
    let kind = parameters.iter().find(|it| it["name"] == "kind").unwrap();
    let kinds: Vec<&str> = kind["schema"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(kinds, audit::EventBody::KINDS);
}
