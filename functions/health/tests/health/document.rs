//! What the `OpenAPI` document says of these routes is what they answer.

use axum::body::Body;
use domain::StoreError;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::fakes::Answer;
use crate::support::{Fleet, NOW, failing, fleet, routing, said, serving};

const DOCUMENT: &str = include_str!("../../../predict/openapi.json");

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// The schema of a JSON response.
fn response_schema<'a>(document: &'a Value, path: &str, status: StatusCode) -> &'a Value {
    let responses = &document["paths"][path]["get"]["responses"];
    let response = &responses[status.as_str()];
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "GET {path} {status} is not described");
    schema
}

/// Holds a value against the part of JSON Schema that the document uses for these routes.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#')).unwrap();
        return check(document, found, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |schema| check(document, schema, value, at).is_ok();
        return any
            .iter()
            .any(fits)
            .then_some(())
            .ok_or(format!("{at}: fits none of anyOf"));
    }
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().map(|it| it.as_str().unwrap()).collect(),
        one => vec![
            one.as_str()
                .unwrap_or_else(|| panic!("{at}: the schema has no type")),
        ],
    };
    if !types.contains(&found) {
        return Err(format!("{at}: found {found}, expected {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{at}: {value} is none of {allowed:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    for item in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], item, &format!("{at}[]"))?;
    }
    let Some(members) = value.as_object() else {
        return Ok(());
    };
    assert_eq!(schema["additionalProperties"], false, "{at}");
    for (name, member) in members {
        let described = schema["properties"].get(name);
        let described = described.ok_or(format!("{at}.{name} is not described"))?;
        check(document, described, member, &format!("{at}.{name}"))?;
    }
    for name in schema["required"].as_array().unwrap() {
        if !members.contains_key(name.as_str().unwrap()) {
            return Err(format!("{at}.{name} is required and not there"));
        }
    }
    Ok(())
}

async fn assert_described(fleet: &Fleet) {
    let document = document();
    for (_, path) in health::ROUTES {
        let reply = fleet.get_as(path, &[domain::Role::Auditor]).await;
        let schema = response_schema(&document, path, reply.status);
        check(&document, schema, &reply.json, path).unwrap_or_else(|fault| {
            panic!("{fault}: {}", reply.json);
        });
    }
}

#[tokio::test]
async fn every_answer_has_the_form_that_the_document_gives() {
    assert_described(&fleet()).await;

    let fleet = fleet();
    fleet.routing.set(Err(StoreError::Corrupt(String::new())));
    fleet.dependency("models").answer.play(Answer::Never);
    assert_described(&fleet).await;

    let fleet = crate::support::fleet();
    fleet
        .routing
        .set(Ok(routing(2, &[("7", 0.5), ("8", 0.25), ("9", 0.25)])));
    fleet.heartbeats.set(said([
        ("7", serving(NOW, 1)),
        ("8", failing(NOW, "a.code")),
    ]));
    assert_described(&fleet).await;
}

#[tokio::test]
async fn an_answer_of_another_form_does_not_pass() {
    let document = document();
    let schema = response_schema(&document, "/v1/status", StatusCode::OK);
    let good = fleet().status().await;
    assert_eq!(check(&document, schema, &good, ""), Ok(()));
    for (pointer, bad) in [
        ("/status", Value::from("fine")),
        ("/score/value", Value::from("100")),
        ("/dependencies/0/latency_ms", Value::Null),
        ("/versions/0/state", Value::from("asleep")),
    ] {
        let mut bad_answer = good.clone();
        *bad_answer.pointer_mut(pointer).unwrap() = bad;
        assert!(
            check(&document, schema, &bad_answer, "").is_err(),
            "{pointer}"
        );
    }
    let mut more = good.clone();
    more["more"] = Value::from(1);
    assert!(check(&document, schema, &more, "").is_err());
    let mut less = good;
    less.as_object_mut().unwrap().remove("alias");
    assert!(check(&document, schema, &less, "").is_err());
}

#[tokio::test]
async fn the_document_names_every_code() {
    let document = document();
    let listed = &document["components"]["schemas"]["HealthReason"]["properties"]["code"]["enum"];
    let listed: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    let codes: Vec<_> = health::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(listed, codes);
}

#[tokio::test]
async fn nobody_keeps_what_a_probe_was_told() {
    for (_, path) in health::ROUTES {
        let fleet = fleet();
        let request =
            Request::get(path).extension(crate::support::principal(&[domain::Role::Auditor]));
        let response =
            tower::ServiceExt::oneshot(fleet.router, request.body(Body::empty()).unwrap())
                .await
                .unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    }
}
