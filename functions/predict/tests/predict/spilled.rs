//! The mode `available`: while the audit log is gone every answer is given, marked, and comes into the log by replay.

use std::sync::Arc;

use audit::EventBody;
use domain::ports::{AuditAppender, SpillWriter, StoreError};
use domain::spill::{ReplayPorts, replay};
use domain::system::SystemClock;
use serde_json::{Value, json};
use testkit::{Fault, Faulty, MemorySpill};

use crate::support::{Ports, Reply, Served, example_members, prepare, v1, v2};

const CALLS: [&str; 2] = ["AuditAppender::append", "AuditAppender::register"];

struct Available {
    served: Served,
    log: Arc<Faulty<dyn AuditAppender>>,
    spill: Arc<MemorySpill>,
    store: Arc<Faulty<dyn SpillWriter>>,
    lines: Arc<Faulty<dyn SpillWriter>>,
}

fn gone() -> Fault {
    Fault::Before(StoreError::Unavailable("gone".to_owned()))
}

/// The example, not loaded yet, in the mode `available`.
async fn prepare_available() -> Available {
    let spill = Arc::new(MemorySpill::new());
    let store = Arc::new(Faulty::new(spill.clone() as Arc<dyn SpillWriter>));
    let lines = Arc::new(Faulty::new(
        Arc::new(MemorySpill::new()) as Arc<dyn SpillWriter>
    ));
    let (mut log, into, last) = (None, store.clone(), lines.clone());
    let served = prepare(example_members(), |embedded| {
        let appender: Arc<Faulty<dyn AuditAppender>> =
            Arc::new(Faulty::new(embedded.audit_appender()));
        log = Some(appender.clone());
        Ports {
            appender: Some(appender),
            spill: Some((into, last)),
            ..Ports::default()
        }
    })
    .await;
    let log = log.unwrap();
    Available {
        served,
        log,
        spill,
        store,
        lines,
    }
}

async fn serve_available() -> Available {
    let available = prepare_available().await;
    available.activate().await;
    available
}

impl Available {
    async fn activate(&self) {
        let first = testkit::build::release_id(1);
        self.served.predict.activate(first).await.unwrap();
    }

    fn take_away_log(&self) {
        for call in CALLS {
            self.log.fail_always(call, gone());
        }
    }

    /// The log comes back, and what was spilled is replayed.
    async fn bring_back_log(&self) {
        for call in CALLS {
            self.log.heal(call);
        }
        let store = &self.served.store;
        let ports = ReplayPorts {
            reader: self.spill.clone(),
            remover: self.spill.clone(),
            restorer: store.audit_restorer(),
            log: store.audit_reader(),
            clock: Arc::new(SystemClock),
        };
        let report = replay(&ports, 1000, u64::MAX).await;
        assert!(report.complete && report.findings.is_empty(), "{report:?}");
        assert!(self.spill.names().is_empty());
    }

    async fn is_recorded(&self, receipt: &Value) -> bool {
        let events = self.served.events().await;
        let is = |e: &&audit::Event| {
            json!(e.stream) == receipt["stream"] && json!(e.seq) == receipt["seq"]
        };
        events.iter().filter(is).count() == 1
    }
}

fn mark(reply: &Reply) -> &str {
    reply.header("sealcast-audit")
}

fn with_id(id: &str) -> String {
    let mut body = v1(0);
    body["request_id"] = json!(id);
    body.to_string()
}

#[tokio::test]
async fn while_the_log_is_gone_answers_are_marked_and_then_they_are_in_it() {
    let available = serve_available().await;
    let served = &available.served;
    let before = served.post("/v1/predict", v1(0).to_string()).await;
    assert_eq!((before.status.as_u16(), mark(&before)), (200, ""));
    assert!(before.json().get("audit").is_none(), "nothing to say");
    available.take_away_log();
    let mut receipts = Vec::new();
    for _ in 0..3 {
        let reply = served.post("/v1/predict", v1(0).to_string()).await;
        assert_eq!((reply.status.as_u16(), mark(&reply)), (200, "spilled"));
        assert_eq!(reply.json()["audit"], json!({"durability": "spilled"}));
        receipts.push(reply.json()["receipt"].clone());
    }
    let infer = "/v2/models/spx-direction/infer";
    let reply = served.post(infer, v2(0).to_string()).await;
    assert_eq!((reply.status.as_u16(), mark(&reply)), (200, "spilled"));
    assert_eq!(reply.json()["parameters"]["audit_durability"], "spilled");
    let outcome = json!({"receipt": receipts[0], "outcome": "buy"});
    let reply = served.post("/v1/outcomes", outcome.to_string()).await;
    assert_eq!((reply.status.as_u16(), mark(&reply)), (202, "spilled"));
    assert_eq!(reply.json()["audit"], json!({"durability": "spilled"}));
    receipts.push(reply.json()["receipt"].clone());
    for receipt in &receipts {
        assert!(!available.is_recorded(receipt).await, "not yet");
    }
    available.bring_back_log().await;
    for receipt in &receipts {
        assert!(available.is_recorded(receipt).await);
    }
}

#[tokio::test]
async fn a_refusal_is_spilled_too_and_said_as_it_is() {
    let available = serve_available().await;
    available.take_away_log();
    let reply = available.served.post("/v1/predict", "not json").await;
    assert_eq!((reply.status.as_u16(), mark(&reply)), (400, "spilled"));
    let code = reply.json()["code"].clone();
    assert_ne!(code, "audit.unavailable");
    available.bring_back_log().await;
    assert_eq!(json!(available.served.last_refusal().await.code), code);
}

#[tokio::test]
async fn a_release_is_loaded_while_the_log_is_gone_and_its_loads_are_spilled() {
    let available = prepare_available().await;
    available.take_away_log();
    available.activate().await;
    let reply = available
        .served
        .post("/v1/predict", v1(0).to_string())
        .await;
    assert_eq!((reply.status.as_u16(), mark(&reply)), (200, "spilled"));
    available.bring_back_log().await;
    let events = available.served.events().await;
    let loaded = events.iter().filter(
        |event| matches!(&event.body, EventBody::ModelAccess(access) if access.outcome == "loaded"),
    );
    assert_eq!(loaded.count(), 2, "the model and its fallback");
}

#[tokio::test]
async fn an_answer_given_again_is_the_same_and_says_where_either_record_is() {
    let available = serve_available().await;
    let served = &available.served;
    let first = served.post("/v1/predict", with_id("a")).await;
    assert_eq!(mark(&first), "");
    available.take_away_log();
    let again = served.post("/v1/predict", with_id("a")).await;
    assert_eq!((again.json(), mark(&again)), (first.json(), "spilled"));
    let spilled = served.post("/v1/predict", with_id("b")).await;
    available.bring_back_log().await;
    let again = served.post("/v1/predict", with_id("b")).await;
    assert_eq!(again.json(), spilled.json(), "the answer as it was given");
    assert!(available.is_recorded(&again.json()["receipt"]).await);
}

#[tokio::test]
async fn what_the_spill_refuses_goes_to_the_process_log_and_is_marked_so() {
    let available = serve_available().await;
    available.take_away_log();
    available.store.fail_always("SpillWriter::put", gone());
    let served = &available.served;
    let reply = served.post("/v1/predict", v1(0).to_string()).await;
    assert_eq!((reply.status.as_u16(), mark(&reply)), (200, "logged"));
    assert_eq!(reply.json()["audit"], json!({"durability": "logged"}));
}

#[tokio::test]
async fn where_nothing_takes_the_record_nothing_is_answered() {
    let available = serve_available().await;
    available.take_away_log();
    for place in [&available.store, &available.lines] {
        place.fail_always("SpillWriter::put", gone());
    }
    let served = &available.served;
    let before = served.events().await.len();
    for (route, body) in [
        ("/v1/predict", with_id("a")),
        ("/v1/predict", "not json".to_owned()),
        ("/v2/models/spx-direction/infer", v2(0).to_string()),
        (
            "/v1/outcomes",
            json!({"request_id": "a", "outcome": 1}).to_string(),
        ),
    ] {
        let reply = served.post(route, body).await;
        assert_eq!((reply.status.as_u16(), mark(&reply)), (503, ""), "{route}");
        let members = reply.json();
        let members: Vec<&str> = members
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert!(!members.contains(&"receipt"), "{route}: {members:?}");
    }
    assert_eq!(served.events().await.len(), before);
    // The id is free: asked again, it is answered as soon as one of them takes the record.
    available.lines.heal("SpillWriter::put");
    let reply = served.post("/v1/predict", with_id("a")).await;
    assert_eq!((reply.status.as_u16(), mark(&reply)), (200, "logged"));
}
