//! `/v1/status`: everything that is known, for callers with a role.

use audit::EventBody;
use axum::body::Body;
use domain::ports::Heartbeat;
use domain::{ReleaseRole, Role, StoreError};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use testkit::build::{release, release_id};
use web::AuthFailure;

use crate::fakes::Answer;
use crate::support::{NOW, SECOND, failing, fleet, reasons, routing, said, serving};

const ROLES: [Role; 6] = [
    Role::Predictor,
    Role::Releaser,
    Role::Approver,
    Role::Operator,
    Role::Auditor,
    Role::PrivacyOfficer,
];

#[tokio::test]
async fn every_role_may_ask_and_nobody_else() {
    let fleet = fleet();
    for role in ROLES {
        let reply = fleet.get_as("/v1/status", &[role]).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", role.name());
    }
    assert_eq!(fleet.log.events(), [], "an answer leaves no record");

    let none = fleet.get_as("/v1/status", &[]).await;
    let missing = fleet.get("/v1/status").await;
    let wrong = Request::get("/v1/status").extension(AuthFailure);
    let wrong = fleet.send(wrong.body(Body::empty()).unwrap()).await;
    for (reply, status, code) in [
        (none, 403, "auth.role_missing"),
        (missing, 401, "auth.missing"),
        (wrong, 401, "auth.invalid"),
    ] {
        assert_eq!(reply.status.as_u16(), status);
        assert_eq!(reply.json["code"], code);
        let refused = |event: &audit::Event| matches!(&event.body, EventBody::Refusal(it) if it.code == code && it.route == "GET /v1/status");
        assert!(fleet.log.events().iter().any(refused), "{code} is recorded");
    }
}

#[tokio::test]
async fn a_fleet_that_is_well_shows_what_serves() {
    let fleet = fleet();
    fleet.clock.advance(1_500_000);
    let status = fleet.status().await;
    let digest = release(2).models[0].digest.to_string();
    let latencies: Vec<_> = status["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["latency_ms"].as_u64().unwrap())
        .collect();
    let dependency = |(name, latency): (&str, &u64)| json!({"name": name, "ok": true, "code": null, "latency_ms": latency});
    let dependencies: Vec<Value> = crate::support::DEPENDENCIES
        .into_iter()
        .zip(&latencies)
        .map(dependency)
        .collect();
    assert_eq!(
        status,
        json!({
            "status": "ok",
            "checked_at": "2026-01-01T00:00:01.500000Z",
            "score": {"value": 100, "parts": [
                {"name": "routing", "weight": 20, "points": 20},
                {"name": "versions", "weight": 40, "points": 40},
                {"name": "dependencies", "weight": 40, "points": 40},
            ]},
            "reasons": [],
            "alias": {"name": "live", "release": "r-000002", "revision": 3},
            "release": {"id": "r-000002", "created_at": "2026-01-01T00:00:00Z", "models": [
                {"name": "spx-direction", "version": "1.0.0", "role": "live", "digest": digest},
            ]},
            "versions": [{"version": "7", "weight": 1.0, "state": "serving", "heartbeat":
                {"release": "r-000002", "ready": true, "reason": null, "age_ms": 1500}}],
            "dependencies": dependencies,
            "newest_event_age_ms": 1500,
            "spill": {"items": 0, "events": 0, "set_aside": 0},
        })
    );
}

#[tokio::test]
async fn a_fallback_model_is_shown_with_the_model_that_it_stands_in_for() {
    let fleet = fleet();
    let mut with_fallback = release(3);
    let mut fallback = with_fallback.models[0].clone();
    fallback.role = ReleaseRole::FallbackFor(fallback.name.clone());
    fallback.version = testkit::build::version("0.9.0");
    with_fallback.models.push(fallback);
    fleet.routing.set(Ok(routing(3, &[("7", 1.0)])));
    fleet.stored.set([(with_fallback.id, with_fallback)].into());
    let status = fleet.status().await;
    let shown = &status["release"]["models"][1];
    assert_eq!(shown["role"], "fallback");
    assert_eq!(shown["fallback_for"], "spx-direction");
    assert_eq!(shown["version"], "0.9.0");
}

#[tokio::test]
async fn a_fleet_that_is_down_still_shows_everything_that_is_known() {
    let fleet = fleet();
    let gone = Err(StoreError::NotFound("key-1 is disabled".to_owned()));
    fleet.dependency("data-key").answer.set(gone);
    fleet.dependency("models").answer.play(Answer::Never);
    fleet
        .heartbeats
        .set(said([("7", failing(NOW - SECOND, "key.not_found"))]));
    let status = fleet.status().await;
    assert_eq!(status["status"], "down");
    assert_eq!(status["score"]["value"], 20 + 26);
    assert_eq!(status["release"]["id"], "r-000002");
    assert_eq!(
        status["versions"][0],
        json!({"version": "7", "weight": 1.0, "state": "not_serving", "heartbeat":
            {"release": null, "ready": false, "reason": "key.not_found", "age_ms": 1000}})
    );
    let data_key = &status["dependencies"][4];
    assert_eq!(data_key["ok"], false);
    assert_eq!(data_key["code"], "dependency.gone");
    assert_eq!(status["dependencies"][3]["ok"], false);
    assert_eq!(status["dependencies"][3]["code"], "dependency.timeout");
    assert!(status["dependencies"][3]["latency_ms"].as_u64().unwrap() >= 390);
    assert_eq!(status["newest_event_age_ms"], Value::Null);
    assert!(
        !status.to_string().contains("key-1"),
        "a store's own words stay inside"
    );
}

#[tokio::test]
async fn a_slow_dependency_is_ok_and_says_that_it_is_slow() {
    let fleet = fleet();
    let slow = crate::support::limits().ask * 3 / 4;
    fleet
        .dependency("registry")
        .answer
        .play(Answer::After(slow, Ok(())));
    let status = fleet.status().await;
    assert_eq!(status["status"], "degraded");
    assert_eq!(status["dependencies"][0]["ok"], true);
    assert_eq!(status["dependencies"][0]["code"], "dependency.slow");
    assert_eq!(status["score"]["value"], 96);
}

#[tokio::test]
async fn two_versions_are_shown_with_their_shares_and_weigh_by_them() {
    let fleet = fleet();
    fleet
        .routing
        .set(Ok(routing(2, &[("7", 0.75), ("8", 0.25)])));
    let impaired = Heartbeat {
        reason: Some("release.not_found".to_owned()),
        newest_event_us: Some(NOW - 2 * SECOND),
        ..serving(NOW - 5 * SECOND, 2)
    };
    let next = Heartbeat {
        newest_event_us: Some(NOW - 3 * SECOND),
        release: Some(release_id(1)),
        ..serving(NOW, 1)
    };
    fleet.heartbeats.set(said([("7", impaired), ("8", next)]));
    let status = fleet.status().await;
    let shown: Vec<_> = status["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| {
            (
                version["version"].as_str().unwrap(),
                version["weight"].as_f64().unwrap(),
                version["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("7", 0.75, "impaired"), ("8", 0.25, "other_release")]
    );
    assert_eq!(status["newest_event_age_ms"], 2000, "the newest of the two");
    // 40 * (0.75 * 3/4 + 0.25 * 1/2) = 27.5
    assert_eq!(status["score"]["parts"][1]["points"], 27);
    assert_eq!(status["status"], "degraded");
}

#[tokio::test]
async fn an_age_is_never_negative() {
    let fleet = fleet();
    fleet
        .heartbeats
        .set(said([("7", serving(NOW + SECOND, 2))]));
    let status = fleet.status().await;
    assert_eq!(status["versions"][0]["heartbeat"]["age_ms"], 0);
    assert_eq!(status["newest_event_age_ms"], 0);
    assert_eq!(reasons(&status), []);
}
