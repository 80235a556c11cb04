//! Security events: once for each change of state, never for each probe.

use std::time::Duration;

use domain::StoreError;
use domain::ports::Heartbeat;
use testkit::Fault;
use testkit::build::release_id;

use crate::fakes::Answer;
use crate::support::{Fleet, NOW, SECOND, fleet, limits, pairs, routing, said, serving};

fn gone() -> StoreError {
    StoreError::NotFound("pending deletion".to_owned())
}

fn moved() -> StoreError {
    StoreError::Corrupt("the description names version 6, the alias points to 9".to_owned())
}

fn down() -> StoreError {
    StoreError::Unavailable("told by a test".to_owned())
}

#[tokio::test]
async fn a_key_about_to_be_deleted_is_recorded_once_however_often_it_is_seen() {
    let fleet = fleet();
    fleet.look_anew().await;
    assert_eq!(fleet.security(), []);
    fleet.dependency("stream-key").answer.set(Err(gone()));
    for _ in 0..5 {
        assert!(!fleet.look_anew().await.is_ready());
    }
    assert_eq!(
        fleet.security(),
        pairs(&[("dependency.gone", "stream-key")])
    );
    assert_eq!(
        fleet.security_events()[0].detail,
        "not found: pending deletion"
    );
}

#[tokio::test]
async fn every_breach_is_recorded_under_the_code_that_the_probe_gives() {
    type Break = fn(&Fleet);
    let breaks: [(Break, &str, &str); 8] = [
        (|it| it.routing.set(Err(gone())), "alias.missing", "live"),
        (|it| it.routing.set(Err(moved())), "alias.moved", "live"),
        (
            |it| it.heartbeats.set(said([("7", serving(NOW, 1))])),
            "alias.mismatch",
            "live",
        ),
        (
            |it| {
                it.releases
                    .fail_always("ReleaseReader::get", Fault::Before(gone()));
            },
            "release.missing",
            "r-000002",
        ),
        (
            |it| {
                it.releases
                    .fail_always("ReleaseReader::get", Fault::Before(moved()));
            },
            "release.corrupt",
            "r-000002",
        ),
        (
            |it| it.dependency("models").answer.set(Err(gone())),
            "dependency.gone",
            "models",
        ),
        (
            |it| it.dependency("registry").answer.set(Err(gone())),
            "dependency.gone",
            "registry",
        ),
        (
            |it| it.dependency("data-key").answer.set(Err(moved())),
            "dependency.corrupt",
            "data-key",
        ),
    ];
    for (break_it, code, subject) in breaks {
        let fleet = fleet();
        break_it(&fleet);
        let report = fleet.look_anew().await;
        assert!(
            report
                .reasons
                .iter()
                .any(|reason| reason.code.as_str() == code && reason.subject == subject),
            "{report:?}"
        );
        fleet.look_anew().await;
        assert_eq!(fleet.security(), pairs(&[(code, subject)]));
    }
}

#[tokio::test]
async fn what_is_merely_out_of_reach_is_no_security_event() {
    let fleet = fleet();
    fleet.routing.set(Err(down()));
    fleet.dependency("audit").answer.set(Err(down()));
    fleet.dependency("models").answer.play(Answer::Never);
    fleet.look_anew().await;
    fleet.routing.set(Ok(routing(2, &[("7", 1.0)])));
    fleet
        .releases
        .fail_next("ReleaseReader::get", Fault::Before(down()));
    fleet.look_anew().await;
    assert_eq!(fleet.log.events(), []);
}

#[tokio::test]
async fn the_end_of_a_breach_is_recorded_and_the_next_one_anew() {
    let fleet = fleet();
    for _ in 0..2 {
        fleet.routing.set(Err(moved()));
        fleet.look_anew().await;
        fleet.routing.set(Ok(routing(2, &[("7", 1.0)])));
        assert!(fleet.look_anew().await.is_ready());
        fleet.look_anew().await;
    }
    let once = [("alias.moved", "live"), ("alias.restored", "live")];
    assert_eq!(fleet.security(), pairs(&[once, once].concat()));
}

#[tokio::test]
async fn a_breach_that_nobody_can_see_for_a_while_is_still_the_same() {
    let fleet = fleet();
    fleet.dependency("data-key").answer.set(Err(gone()));
    fleet.look_anew().await;
    fleet.dependency("data-key").answer.set(Err(down()));
    fleet.look_anew().await;
    fleet.dependency("data-key").answer.set(Err(gone()));
    fleet.look_anew().await;
    assert_eq!(fleet.security(), pairs(&[("dependency.gone", "data-key")]));
}

#[tokio::test]
async fn a_breach_that_becomes_another_is_recorded_again() {
    let fleet = fleet();
    fleet.routing.set(Err(moved()));
    fleet.look_anew().await;
    fleet.routing.set(Err(gone()));
    fleet.look_anew().await;
    assert_eq!(
        fleet.security(),
        pairs(&[("alias.moved", "live"), ("alias.missing", "live")])
    );
}

#[tokio::test]
async fn breaches_of_several_places_are_recorded_each() {
    let fleet = fleet();
    fleet.dependency("models").answer.set(Err(gone()));
    fleet.dependency("data-key").answer.set(Err(gone()));
    fleet.routing.set(Err(moved()));
    fleet.look_anew().await;
    fleet.look_anew().await;
    assert_eq!(
        fleet.security(),
        pairs(&[
            ("dependency.gone", "models"),
            ("dependency.gone", "data-key"),
            ("alias.moved", "live"),
        ])
    );
}

#[tokio::test]
async fn an_event_that_was_not_recorded_is_recorded_when_the_log_is_back() {
    for call in ["AuditAppender::append", "AuditAppender::register"] {
        let fleet = fleet();
        fleet.dependency("data-key").answer.set(Err(gone()));
        fleet.appender.fail_always(call, Fault::Before(down()));
        for _ in 0..3 {
            assert!(!fleet.look_anew().await.is_ready());
        }
        assert_eq!(fleet.security(), []);
        fleet.appender.heal(call);
        fleet.look_anew().await;
        fleet.look_anew().await;
        assert_eq!(fleet.security(), pairs(&[("dependency.gone", "data-key")]));
    }
}

#[tokio::test]
async fn a_log_that_is_slow_delays_a_probe_by_one_limit_and_is_written_once() {
    let fleet = fleet();
    fleet.dependency("data-key").answer.set(Err(gone()));
    let slow = limits().ask * 3;
    fleet
        .appender
        .fail_always("AuditAppender::append", Fault::Delay(slow));
    let began = std::time::Instant::now();
    fleet.look_anew().await;
    let took = began.elapsed();
    assert!(took >= limits().ask && took < 2 * limits().ask, "{took:?}");
    // A look meanwhile neither waits nor records a second time.
    let again = std::time::Instant::now();
    fleet.look_anew().await;
    assert!(again.elapsed() < limits().ask);
    tokio::time::sleep(slow + Duration::from_millis(100)).await;
    fleet.look_anew().await;
    assert_eq!(fleet.security(), pairs(&[("dependency.gone", "data-key")]));
}

#[tokio::test]
async fn a_probe_that_hangs_up_does_not_cut_a_recording_in_half() {
    let fleet = fleet();
    fleet.dependency("data-key").answer.set(Err(gone()));
    fleet.appender.fail_always(
        "AuditAppender::append",
        Fault::Delay(Duration::from_millis(150)),
    );
    let hasty = tokio::time::timeout(Duration::from_millis(50), fleet.look_anew()).await;
    assert!(hasty.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    fleet.look_anew().await;
    assert_eq!(fleet.security(), pairs(&[("dependency.gone", "data-key")]));
}

#[tokio::test]
async fn a_forged_alias_is_recorded_with_what_it_says_and_what_serves() {
    let fleet = fleet();
    fleet.heartbeats.set(said([("7", serving(NOW, 1))]));
    fleet.look_anew().await;
    assert_eq!(
        fleet.security_events()[0].detail,
        "it says r-000002 and points to version 7, which serves r-000001"
    );
    fleet
        .heartbeats
        .set(said([("7", serving(NOW + 6 * SECOND, 2))]));
    fleet.look_anew().await;
    assert_eq!(
        fleet.security(),
        pairs(&[("alias.mismatch", "live"), ("alias.restored", "live")])
    );
}

#[tokio::test]
async fn a_release_that_does_not_load_is_no_breach_of_the_alias() {
    let fleet = fleet();
    let heartbeat = Heartbeat {
        release: Some(release_id(1)),
        reason: Some("artifact.signature_invalid".to_owned()),
        ..serving(NOW, 1)
    };
    fleet.heartbeats.set(said([("7", heartbeat)]));
    fleet.look_anew().await;
    assert_eq!(fleet.security(), []);
}
