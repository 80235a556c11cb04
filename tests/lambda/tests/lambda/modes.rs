//! The audit modes in a function as Lambda runs it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::ports::{SpillReader as _, SpillWriter as _};
use domain::spill::{ReplayPorts, items_in, replay};
use domain::system::SystemClock;
use lambda_tests::{Event, Example, Function, RuntimeApi};
use serde_json::{Value, json};
use store_embedded::{EmbeddedStore, FileSpill};

use crate::support::{data, events, start};

fn ask(x: f64) -> String {
    let body = json!({"symbol": "ES", "features": {"x": x}});
    Event::new("POST", "/v1/predict")
        .iam("arn:aws:sts::111122223333:assumed-role/desk/s1")
        .text(&body.to_string())
        .to_json()
}

struct Site {
    data: tempfile::TempDir,
    api: RuntimeApi,
    function: Function,
}

impl Site {
    async fn start(mode: &str) -> Self {
        let data = data(vec![Example::of_one_number("same")]).await;
        let api = RuntimeApi::start().await.unwrap();
        let function = start(&api, data.path(), &[("SEALCAST_AUDIT_MODE", mode)]).await;
        Self {
            data,
            api,
            function,
        }
    }

    fn take_away(&self, store: &str) {
        std::fs::write(self.data.path().join(format!("{store}.gone")), "").unwrap();
    }

    /// Status and mark of the next answer.
    async fn answer(&self, event: String) -> (u64, Option<String>) {
        let answer = self.api.invoke(event).await.json();
        let mark = answer["headers"]["sealcast-audit"].as_str();
        (
            answer["statusCode"].as_u64().unwrap(),
            mark.map(str::to_owned),
        )
    }

    /// Ends the function; gives its log.
    fn stop(&mut self) -> Vec<String> {
        self.function.terminate().unwrap();
        let ended = self.function.wait(Duration::from_secs(10));
        assert!(ended.unwrap().success());
        self.function.log()
    }
}

fn codes(log: &[String]) -> BTreeSet<String> {
    let objects = log
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects
        .filter_map(|line| Some(line["code"].as_str()?.to_owned()))
        .collect()
}

/// Puts what is in the spill, and what is only in the log, where it belongs; gives how many events that were.
async fn bring_back(data: &Path, log: &[String]) -> u64 {
    let store = EmbeddedStore::open(data).unwrap();
    let spill = Arc::new(FileSpill::open(&data.join("spill")).unwrap());
    for item in log.iter().flat_map(|line| items_in(line)) {
        spill.put(&item.unwrap()).await.unwrap();
    }
    let ports = ReplayPorts {
        reader: spill.clone(),
        remover: spill.clone(),
        restorer: store.audit_restorer(),
        log: store.audit_reader(),
        clock: Arc::new(SystemClock),
    };
    let report = replay(&ports, 1000, u64::MAX).await;
    assert!(report.complete && report.findings.is_empty(), "{report:?}");
    assert!(spill.list("", 10).await.unwrap().is_empty(), "{report:?}");
    store.close();
    report.events
}

#[tokio::test]
async fn in_the_mode_strict_nothing_is_answered_without_the_log() {
    let mut site = Site::start("strict").await;
    assert_eq!(site.answer(ask(1.0)).await, (200, None));
    site.take_away("log");
    assert_eq!(site.answer(ask(2.0)).await, (503, None));
    let log = site.stop();
    assert!(codes(&log).is_empty(), "{log:?}");
    assert_eq!(bring_back(site.data.path(), &log).await, 0);
}

#[tokio::test]
async fn in_the_mode_available_events_go_to_the_spill_then_to_standard_output_and_none_is_lost() {
    let mut site = Site::start("available").await;
    assert_eq!(site.answer(ask(1.0)).await, (200, None));
    site.take_away("log");
    let spilled = Some("spilled".to_owned());
    assert_eq!(site.answer(ask(2.0)).await, (200, spilled.clone()));
    let unknown = Event::new("GET", "/nowhere").to_json();
    assert_eq!(site.answer(unknown).await, (404, spilled));
    site.take_away("spill");
    let logged = Some("logged".to_owned());
    assert_eq!(site.answer(ask(3.0)).await, (200, logged));
    let log = site.stop();
    let expected = ["audit.spill_unavailable", "audit.spilled", "audit.spilling"];
    assert_eq!(codes(&log), expected.map(str::to_owned).into());
    // Two in the spill; one prediction and the end in the log.
    assert_eq!(bring_back(site.data.path(), &log).await, 4);
    let events = events(site.data.path()).await;
    let count = |kind: &str| events.iter().filter(|e| e.body.kind() == kind).count();
    assert_eq!(count("prediction"), 3);
    assert_eq!((count("refusal"), count("process_stopped")), (1, 1));
    let streams: BTreeSet<_> = events.iter().map(|event| event.stream).collect();
    assert_eq!(streams.len(), 1, "one stream went all the way");
    // The hash of each stands in the log, wherever the record went.
    let hashes = log
        .iter()
        .filter(|line| line.contains("\"audit.leaf_hash\""));
    assert_eq!(
        hashes.count(),
        events.len() - 2,
        "but of the two that are in it whole"
    );
}

#[tokio::test]
async fn in_the_mode_available_a_function_starts_without_the_log() {
    let data = data(vec![Example::of_one_number("same")]).await;
    std::fs::write(data.path().join("log.gone"), "").unwrap();
    let api = RuntimeApi::start().await.unwrap();
    let function = start(&api, data.path(), &[("SEALCAST_AUDIT_MODE", "available")]).await;
    let mut site = Site {
        data,
        api,
        function,
    };
    let spilled = Some("spilled".to_owned());
    assert_eq!(site.answer(ask(1.0)).await, (200, spilled));
    let log = site.stop();
    // Start, load, prediction, end.
    assert_eq!(bring_back(site.data.path(), &log).await, 4);
    assert_eq!(events(site.data.path()).await.len(), 4);
}
