//! What the audit log did not take is seen, and nobody is turned away for it.

use domain::StoreError;
use domain::ports::{SpillRemover, SpillWriter};
use domain::spill::SpillItem;
use http::StatusCode;
use serde_json::{Value, json};
use testkit::Fault;
use testkit::build::TestStream;

use crate::support::{Fleet, fleet};

/// The codes of all reasons, whether the fleet is ready, and what is said of the spill.
async fn look(fleet: &Fleet) -> (Vec<String>, bool, Value) {
    fleet.look_anew().await;
    let status = fleet.status().await;
    let reasons = status["reasons"].as_array().unwrap();
    let codes = reasons
        .iter()
        .map(|it| it["code"].as_str().unwrap().to_owned());
    let ready = fleet.get("/readyz").await.status == StatusCode::OK;
    (codes.collect(), ready, status["spill"].clone())
}

#[tokio::test]
async fn spilled_events_are_counted_and_degrade_until_they_are_replayed() {
    let fleet = fleet();
    let empty = json!({"items": 0, "events": 0, "set_aside": 0});
    assert_eq!(look(&fleet).await, (vec![], true, empty.clone()));
    let mut test = TestStream::fresh();
    let records = test.records(5);
    let registration = SpillItem::of_registration(&test.registration).unwrap();
    let tail = SpillItem::of_records(records).unwrap();
    for item in [&registration, &tail] {
        fleet.spilled.put(item).await.unwrap();
    }
    let found = json!({"items": 2, "events": 5, "set_aside": 0});
    let codes = vec!["spill.not_empty".to_owned()];
    assert_eq!(look(&fleet).await, (codes, true, found));
    fleet.spilled.remove(&registration.name()).await.unwrap();
    let name = tail.name().to_string();
    fleet.spilled.set_aside(&name, "tag").await.unwrap();
    let aside = json!({"items": 0, "events": 0, "set_aside": 1});
    let codes = vec!["spill.set_aside".to_owned()];
    assert_eq!(look(&fleet).await, (codes, true, aside));
}

#[tokio::test]
async fn a_spill_that_cannot_be_listed_is_said_and_blocks_nobody() {
    let fleet = fleet();
    let denied = Fault::Before(StoreError::Denied("no".to_owned()));
    fleet.spill.fail_always("SpillReader::list", denied);
    let codes = vec!["spill.unreadable".to_owned()];
    assert_eq!(look(&fleet).await, (codes, true, Value::Null));
}
