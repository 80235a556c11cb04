//! Probes: how often the stores are asked, by what clock, and what is recorded of it.

use std::time::{Duration, Instant};

use audit::EventBody;
use axum::body::Body;
use domain::StoreError;
use futures::future::join_all;
use http::{Request, StatusCode};

use crate::fakes::Answer;
use crate::support::{NOW, SECOND, failing, fleet, limits, said, serving};

#[tokio::test]
async fn a_process_that_lives_says_so_whatever_else_is_broken() {
    let fleet = fleet();
    fleet.routing.play(Answer::Never);
    for dependency in &fleet.dependencies {
        dependency.answer.play(Answer::Never);
    }
    let began = Instant::now();
    let reply = fleet.get("/healthz").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.json, serde_json::json!({"status": "alive"}));
    assert!(began.elapsed() < limits().ask, "nothing was waited for");
    assert_eq!(fleet.routing.calls(), 0);
    assert!(fleet.dependencies.iter().all(|it| it.answer.calls() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_probes_at_once_asks_each_store_once() {
    let fleet = fleet();
    for dependency in &fleet.dependencies {
        dependency
            .answer
            .play(Answer::After(Duration::from_millis(50), Ok(())));
    }
    let replies = join_all((0..200).map(|_| fleet.get("/readyz"))).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    assert_eq!(fleet.routing.calls(), 1);
    assert_eq!(fleet.heartbeats.calls(), 1);
    assert!(fleet.dependencies.iter().all(|it| it.answer.calls() == 1));
}

#[tokio::test]
async fn what_was_seen_is_shown_again_for_a_while_and_then_seen_anew() {
    let fleet = fleet();
    assert_eq!(fleet.get("/readyz").await.status, StatusCode::OK);
    fleet.heartbeats.set(said([("7", failing(NOW, "a.code"))]));
    fleet.clock.set(NOW + limits().keep_us - 1);
    assert_eq!(fleet.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(fleet.status().await["status"], "ok");
    fleet.clock.set(NOW + limits().keep_us);
    assert_eq!(
        fleet.get("/readyz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(fleet.routing.calls(), 2);
    // A failure is kept no longer and no shorter.
    fleet
        .heartbeats
        .set(said([("7", serving(NOW + 3 * SECOND, 2))]));
    fleet.clock.set(NOW + 2 * limits().keep_us - 1);
    assert_eq!(
        fleet.get("/readyz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    fleet.clock.set(NOW + 2 * limits().keep_us);
    assert_eq!(fleet.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_slow_once_is_waited_for_before_the_first_probe_and_not_held_against_it() {
    let fleet = fleet();
    let slow = Answer::After(limits().ask * 2, Ok(()));
    fleet.dependency("audit").answer.play(slow);
    fleet.health.warm_up(limits().ask * 4).await;
    assert!(fleet.dependencies.iter().all(|it| it.answer.calls() == 1));
    fleet.dependency("audit").answer.set(Ok(()));
    assert_eq!(fleet.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(fleet.routing.calls(), 2, "nothing was kept");

    fleet.dependency("audit").answer.play(Answer::Never);
    let began = Instant::now();
    fleet.health.warm_up(limits().ask).await;
    assert!(began.elapsed() < 2 * limits().ask);
}

#[tokio::test]
async fn a_clock_that_goes_back_keeps_nothing_old_and_makes_nothing_stale() {
    let fleet = fleet();
    fleet.health.look(NOW).await;
    let before = fleet.health.look(NOW - 60 * SECOND).await;
    assert_eq!(fleet.routing.calls(), 2, "what was seen later is not shown");
    assert_eq!(before.at_us, NOW - 60 * SECOND);
    assert!(before.is_ready() && before.reasons.is_empty(), "{before:?}");
    let at_the_beginning = fleet.health.look(0).await;
    assert!(
        at_the_beginning.is_ready(),
        "a heartbeat of the far future proves nothing and breaks nothing"
    );
    assert_eq!(at_the_beginning.reasons[0].code.as_str(), "heartbeat.stale");
    fleet.health.look(1).await;
    assert_eq!(fleet.routing.calls(), 3);
}

#[tokio::test]
async fn probes_leave_no_record_however_they_end() {
    let fleet = fleet();
    fleet.get("/healthz").await;
    fleet.get("/readyz").await;
    fleet
        .dependency("audit")
        .answer
        .set(Err(StoreError::Unavailable("told by a test".to_owned())));
    fleet.clock.advance(3 * SECOND);
    let reply = fleet.get("/readyz").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    fleet.status().await;
    assert_eq!(fleet.log.events(), []);
}

#[tokio::test]
async fn a_probe_that_hangs_up_leaves_the_next_one_its_turn() {
    let fleet = fleet();
    fleet
        .dependency("audit")
        .answer
        .play(Answer::After(Duration::from_millis(200), Ok(())));
    let hasty = tokio::time::timeout(Duration::from_millis(20), fleet.get("/readyz")).await;
    assert!(hasty.is_err());
    assert_eq!(fleet.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_method_or_a_path_that_is_not_there_is_refused_like_anywhere() {
    let fleet = fleet();
    for (request, code) in [
        (Request::post("/readyz"), "route.method_not_allowed"),
        (Request::delete("/v1/status"), "route.method_not_allowed"),
        (Request::get("/readyz/x"), "route.unknown"),
    ] {
        let reply = fleet.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.json["code"], code);
        let Some(EventBody::Refusal(refusal)) = fleet.log.events().pop().map(|event| event.body)
        else {
            panic!("the refusal is recorded");
        };
        assert_eq!(refusal.code, code);
    }
}
