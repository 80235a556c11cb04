//! `/readyz`: 200 only where the fleet can answer.

use std::time::{Duration, Instant};

use domain::StoreError;
use domain::ports::{Heartbeat, Routing};
use health::Versions;
use http::StatusCode;
use testkit::Fault;
use testkit::build::release_id;

use crate::fakes::Answer;
use crate::support::{
    DEPENDENCIES, Fleet, NEEDED_TO_ANSWER, NOW, SECOND, failing, fleet, fleet_of, limits, pairs,
    reasons, routing, said, serving,
};

/// Every way in which a store fails, with the kind of reason that it becomes.
fn errors() -> [(StoreError, &'static str); 6] {
    let text = || "told by a test".to_owned();
    [
        (StoreError::NotFound(text()), "gone"),
        (StoreError::Corrupt(text()), "corrupt"),
        (StoreError::Unavailable(text()), "unavailable"),
        (StoreError::Conflict(text()), "unavailable"),
        (StoreError::OutcomeUnknown(text()), "unavailable"),
        (StoreError::TooLarge(text()), "unavailable"),
    ]
}

async fn assert_ready(fleet: &Fleet, status: &str, expected: &[(&str, &str)]) {
    let reply = fleet.get("/readyz").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    assert_eq!(reply.json["ready"], true);
    assert_eq!(reply.json["status"], status);
    assert_eq!(reasons(&reply.json), pairs(expected));
}

async fn assert_not_ready(fleet: &Fleet, expected: &[(&str, &str)]) {
    let reply = fleet.get("/readyz").await;
    assert_eq!(
        reply.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        reply.json
    );
    assert_eq!(reply.json["ready"], false);
    assert_eq!(reply.json["status"], "down");
    assert_eq!(reasons(&reply.json), pairs(expected));
}

#[tokio::test]
async fn a_fleet_that_is_well_is_ready_without_a_reason() {
    assert_ready(&fleet(), "ok", &[]).await;
}

#[tokio::test]
async fn every_dependency_that_fails_in_any_way_is_named_with_its_code() {
    for name in DEPENDENCIES {
        for (error, kind) in errors() {
            let fleet = fleet();
            fleet.dependency(name).answer.set(Err(error));
            let code = format!("dependency.{kind}");
            let expected = [(&*code, name)];
            if kind != "unavailable" || NEEDED_TO_ANSWER.contains(&name) {
                assert_not_ready(&fleet, &expected).await;
            } else {
                assert_ready(&fleet, "degraded", &expected).await;
            }
        }
    }
}

#[tokio::test]
async fn a_reason_says_itself_whether_it_blocks() {
    let fleet = fleet();
    for name in DEPENDENCIES {
        let error = StoreError::Unavailable("told by a test".to_owned());
        fleet.dependency(name).answer.set(Err(error));
    }
    let reply = fleet.get("/readyz").await;
    let named = |blocking: bool| -> Vec<_> {
        let reasons = reply.json["reasons"].as_array().unwrap().iter();
        reasons
            .filter(|reason| reason["blocking"] == blocking)
            .map(|reason| reason["subject"].as_str().unwrap())
            .collect()
    };
    assert_eq!(named(true), NEEDED_TO_ANSWER);
    assert_eq!(
        named(false),
        ["registry", "models", "data-key", "stream-key"]
    );
}

#[tokio::test]
async fn a_dependency_that_never_answers_delays_a_probe_by_its_limit_and_no_more() {
    let fleet = fleet();
    for name in DEPENDENCIES {
        fleet.dependency(name).answer.play(Answer::Never);
    }
    let began = Instant::now();
    // Nobody knows whether it is slow or dead, and the audit log of a request has more time than a probe.
    let expected = DEPENDENCIES.map(|name| ("dependency.timeout", name));
    assert_ready(&fleet, "degraded", &expected).await;
    let took = began.elapsed();
    assert!(took >= limits().ask, "{took:?}");
    assert!(took < 2 * limits().ask, "{took:?}");
}

#[tokio::test]
async fn a_chain_of_slow_reads_shares_one_limit() {
    let fleet = fleet();
    let slow = limits().ask * 3 / 4;
    fleet
        .routing
        .play(Answer::After(slow, Ok(routing(2, &[("7", 1.0)]))));
    fleet.heartbeats.play(Answer::After(slow, said([])));
    fleet
        .releases
        .fail_always("ReleaseReader::get", Fault::Delay(slow));
    let began = Instant::now();
    assert_ready(
        &fleet,
        "degraded",
        &[
            ("release.unreadable", "r-000002"),
            ("heartbeat.unreadable", "7"),
        ],
    )
    .await;
    assert!(began.elapsed() < 2 * limits().ask);
}

#[tokio::test]
async fn a_dependency_that_is_slow_degrades_and_does_not_stop() {
    let fleet = fleet();
    let slow = limits().ask * 3 / 4;
    fleet
        .dependency("audit")
        .answer
        .play(Answer::After(slow, Ok(())));
    assert_ready(&fleet, "degraded", &[("dependency.slow", "audit")]).await;
}

#[tokio::test]
async fn before_the_first_activation_nothing_is_ready() {
    let fleet = fleet();
    fleet.routing.set(Ok(Routing {
        alias: None,
        ..routing(2, &[("1", 1.0)])
    }));
    fleet.heartbeats.set(said([]));
    assert_not_ready(
        &fleet,
        &[("alias.not_activated", "live"), ("heartbeat.none", "1")],
    )
    .await;
    assert_eq!(fleet.security(), [], "it is nobody's fault");
}

#[tokio::test]
async fn an_alias_that_fails_in_any_way_is_named_with_its_code() {
    for (error, kind) in errors() {
        let fleet = fleet();
        fleet.routing.set(Err(error));
        match kind {
            "gone" => assert_not_ready(&fleet, &[("alias.missing", "live")]).await,
            "corrupt" => assert_not_ready(&fleet, &[("alias.moved", "live")]).await,
            _ => assert_ready(&fleet, "degraded", &[("alias.unreadable", "live")]).await,
        }
    }
    let fleet = fleet();
    fleet.routing.play(Answer::Never);
    assert_ready(&fleet, "degraded", &[("alias.unreadable", "live")]).await;
}

#[tokio::test]
async fn a_release_that_fails_in_any_way_is_named_with_its_code() {
    for (error, kind) in errors() {
        let fleet = fleet();
        fleet
            .releases
            .fail_always("ReleaseReader::get", Fault::Before(error));
        let id = "r-000002";
        match kind {
            "gone" => assert_not_ready(&fleet, &[("release.missing", id)]).await,
            "corrupt" => assert_not_ready(&fleet, &[("release.corrupt", id)]).await,
            _ => assert_ready(&fleet, "degraded", &[("release.unreadable", id)]).await,
        }
    }
}

#[tokio::test]
async fn no_heartbeat_yet_is_unknown_and_not_dead() {
    let fleet = fleet();
    fleet.heartbeats.set(said([]));
    assert_ready(&fleet, "degraded", &[("heartbeat.none", "7")]).await;
}

#[tokio::test]
async fn heartbeats_that_cannot_be_read_are_unknown_and_not_dead() {
    let fleet = fleet();
    let error = StoreError::Unavailable("told by a test".to_owned());
    fleet
        .heartbeats
        .set([("7".to_owned(), Err(error))].into_iter().collect());
    assert_ready(&fleet, "degraded", &[("heartbeat.unreadable", "7")]).await;
}

#[tokio::test]
async fn a_stale_heartbeat_is_unknown_and_not_dead() {
    let fleet = fleet();
    let fresh_us = limits().fresh_us;
    fleet
        .heartbeats
        .set(said([("7", serving(NOW - fresh_us, 2))]));
    assert_ready(&fleet, "ok", &[]).await;
    fleet.clock.advance(limits().keep_us);
    assert_ready(&fleet, "degraded", &[("heartbeat.stale", "7")]).await;
}

#[tokio::test]
async fn the_last_word_of_a_version_that_does_not_serve_holds_until_the_next() {
    let fleet = fleet();
    let down = [("fleet.not_serving", "live"), ("version.not_serving", "7")];
    fleet
        .heartbeats
        .set(said([("7", failing(NOW, "artifact.signature_invalid"))]));
    assert_not_ready(&fleet, &down).await;
    fleet.clock.advance(3600 * SECOND);
    assert_not_ready(&fleet, &down).await;
    fleet
        .heartbeats
        .set(said([("7", serving(NOW + 3603 * SECOND, 2))]));
    fleet.clock.advance(3 * SECOND);
    assert_ready(&fleet, "ok", &[]).await;
}

#[tokio::test]
async fn of_two_versions_one_that_serves_is_enough() {
    let fleet = fleet();
    fleet.routing.set(Ok(routing(2, &[("7", 0.9), ("8", 0.1)])));
    fleet.heartbeats.set(said([
        ("7", serving(NOW, 2)),
        ("8", failing(NOW, "artifact.digest_mismatch")),
    ]));
    assert_ready(&fleet, "degraded", &[("version.not_serving", "8")]).await;

    fleet.heartbeats.set(said([
        ("7", failing(NOW, "artifact.digest_mismatch")),
        ("8", failing(NOW, "artifact.digest_mismatch")),
    ]));
    fleet.clock.advance(3 * SECOND);
    assert_not_ready(
        &fleet,
        &[
            ("fleet.not_serving", "live"),
            ("version.not_serving", "7"),
            ("version.not_serving", "8"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_second_version_may_serve_the_next_release() {
    let fleet = fleet();
    fleet.routing.set(Ok(routing(1, &[("7", 0.9), ("8", 0.1)])));
    fleet
        .heartbeats
        .set(said([("7", serving(NOW, 1)), ("8", serving(NOW, 2))]));
    assert_ready(&fleet, "degraded", &[("version.other_release", "8")]).await;
    assert_eq!(fleet.security(), []);
}

#[tokio::test]
async fn a_version_without_a_share_of_the_requests_counts_for_nothing() {
    let fleet = fleet();
    fleet.routing.set(Ok(routing(
        2,
        &[("7", 1.0), ("8", 0.0), ("9", f64::NAN), ("10", -1.0)],
    )));
    fleet.heartbeats.set(said([
        ("7", serving(NOW, 2)),
        ("8", failing(NOW, "artifact.digest_mismatch")),
    ]));
    assert_ready(&fleet, "ok", &[]).await;

    fleet.routing.set(Ok(routing(2, &[("7", 0.0)])));
    fleet.clock.advance(3 * SECOND);
    assert_not_ready(&fleet, &[("fleet.not_serving", "live")]).await;
}

#[tokio::test]
async fn a_published_version_that_serves_another_release_is_not_ready() {
    let fleet = fleet();
    fleet.heartbeats.set(said([("7", serving(NOW, 1))]));
    assert_not_ready(
        &fleet,
        &[
            ("fleet.not_serving", "live"),
            ("alias.mismatch", "live"),
            ("version.other_release", "7"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_server_that_is_loading_the_next_release_stays_ready() {
    let fleet = fleet_of(Versions::Following);
    fleet.heartbeats.set(said([("7", serving(NOW, 1))]));
    assert_ready(&fleet, "degraded", &[("version.other_release", "7")]).await;
    assert_eq!(fleet.security(), []);
}

#[tokio::test]
async fn a_server_whose_release_does_not_load_is_not_ready_although_the_one_before_goes_on() {
    let fleet = fleet_of(Versions::Following);
    let heartbeat = Heartbeat {
        release: Some(release_id(1)),
        ..failing(NOW, "artifact.signature_invalid")
    };
    fleet.heartbeats.set(said([("7", heartbeat)]));
    assert_not_ready(
        &fleet,
        &[("fleet.not_serving", "live"), ("version.not_serving", "7")],
    )
    .await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once_and_what_blocks_comes_first() {
    let fleet = fleet();
    fleet
        .dependency("audit")
        .answer
        .play(Answer::After(Duration::from_millis(300), Ok(())));
    fleet
        .dependency("models")
        .answer
        .set(Err(StoreError::NotFound("told by a test".to_owned())));
    fleet.heartbeats.set(said([]));
    fleet.releases.fail_always(
        "ReleaseReader::get",
        Fault::Before(StoreError::Corrupt(String::new())),
    );
    assert_not_ready(
        &fleet,
        &[
            ("dependency.gone", "models"),
            ("release.corrupt", "r-000002"),
            ("dependency.slow", "audit"),
            ("heartbeat.none", "7"),
        ],
    )
    .await;
}
