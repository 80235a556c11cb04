//! The watch over an audit log that fails on cue.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use audit::EventBody;
use audit_watch::watch::Failed;
use audit_watch::{Changes, Looked, Watch};
use domain::Recorder;
use domain::ports::AuditAppender;
use domain::system::SystemEntropy;
use serde_json::{Value, json};
use testkit::{Fault, Faulty, FixedClock, MemoryAudit, TestSigner};

fn change(name: &str, number: &str) -> Value {
    json!({
        "eventName": name,
        "dynamodb": {
            "Keys": {"pk": {"S": "S#a1"}, "sk": {"S": number}},
            "SequenceNumber": number,
        },
    })
}

fn changes(records: Vec<Value>) -> Changes {
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

struct Stand {
    log: Arc<MemoryAudit>,
    faulty: Arc<Faulty<dyn AuditAppender>>,
    watch: Watch,
}

fn stand() -> Stand {
    let log = Arc::new(MemoryAudit::new());
    let inner: Arc<dyn AuditAppender> = log.clone();
    let faulty = Arc::new(Faulty::new(inner));
    let recorder = Arc::new(Recorder::new(
        "test".to_owned(),
        faulty.clone(),
        Arc::new(TestSigner::new(1)),
        Arc::new(FixedClock::default()),
        Arc::new(SystemEntropy),
    ));
    Stand {
        log,
        faulty,
        watch: Watch::new(recorder),
    }
}

impl Stand {
    /// Codes and subjects, in the order in which they were recorded.
    fn recorded(&self) -> Vec<(String, String)> {
        let events = self.log.events().into_iter();
        events
            .map(|event| match event.body {
                EventBody::Security(security) => (security.code, security.subject),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(code, subject): &(&str, &str)| ((*code).to_owned(), (*subject).to_owned());
    expected.iter().map(owned).collect()
}

fn failed_at(number: &str) -> Looked {
    Looked {
        failures: vec![Failed {
            sequence_number: number.to_owned(),
        }],
    }
}

#[tokio::test]
async fn every_change_of_a_row_is_recorded_in_its_order_and_new_rows_are_not() {
    let stand = stand();
    let batch = vec![
        change("INSERT", "1"),
        change("MODIFY", "2"),
        change("REMOVE", "3"),
        change("INSERT", "4"),
    ];
    assert_eq!(stand.watch.look(changes(batch)).await, Looked::default());
    let expected = [
        ("audit.row_changed", "S#a1 2"),
        ("audit.row_removed", "S#a1 3"),
    ];
    assert_eq!(stand.recorded(), pairs(&expected));
}

#[tokio::test]
async fn new_rows_alone_open_no_stream() {
    let stand = stand();
    stand.watch.look(changes(vec![change("INSERT", "1")])).await;
    stand.watch.look(changes(vec![])).await;
    assert_eq!(stand.faulty.calls("AuditAppender::register"), 0);
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_comes_again_with_all_after_it() {
    let stand = stand();
    let down = domain::StoreError::Unavailable("told by a test".to_owned());
    stand
        .faulty
        .fail_nth("AuditAppender::append", 2, Fault::Before(down));
    let batch = || (1..=3).map(|number| change("REMOVE", &number.to_string()));
    let looked = stand.watch.look(changes(batch().collect())).await;
    assert_eq!(looked, failed_at("2"));
    assert_eq!(stand.recorded(), pairs(&[("audit.row_removed", "S#a1 1")]));
    let looked = stand.watch.look(changes(batch().skip(1).collect())).await;
    assert_eq!(looked, Looked::default());
    assert_eq!(stand.recorded().len(), 3);
}

#[tokio::test]
async fn a_change_whose_reply_was_lost_is_recorded_at_least_once() {
    let stand = stand();
    stand
        .faulty
        .fail_nth("AuditAppender::append", 1, Fault::After);
    let batch = || changes(vec![change("REMOVE", "1")]);
    assert_eq!(stand.watch.look(batch()).await, failed_at("1"));
    assert_eq!(stand.watch.look(batch()).await, Looked::default());
    assert!(!stand.recorded().is_empty());
    assert!(
        stand
            .recorded()
            .iter()
            .all(|(_, subject)| subject == "S#a1 1")
    );
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_recorded_and_holds_nothing_up() {
    let stand = stand();
    let mut odd = change("REMOVE", "1");
    odd["dynamodb"]["Keys"] = json!({});
    let batch = vec![odd, json!({}), change("REMOVE", "2")];
    assert_eq!(stand.watch.look(changes(batch)).await, Looked::default());
    let expected = [
        ("audit.row_change_unreadable", "change 1"),
        ("audit.row_change_unreadable", "change "),
        ("audit.row_removed", "S#a1 2"),
    ];
    assert_eq!(stand.recorded(), pairs(&expected));
}

#[test]
fn lambda_is_told_in_its_own_words_where_to_go_on() {
    let told = serde_json::to_value(failed_at("7")).unwrap();
    assert_eq!(
        told,
        json!({"batchItemFailures": [{"itemIdentifier": "7"}]})
    );
}
