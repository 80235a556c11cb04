//! What a version of the function says of itself, and that nobody waits for that.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::ports::{Heartbeat, HeartbeatWriter, KeyUnwrapper, StoreError};
use testkit::{Fault, Faulty, ManualClock};

use crate::support::{Ports, Served, example_members, prepare, v1};

/// Keeps the heartbeats; slow and failing where told to.
#[derive(Default)]
struct Heard {
    beats: Mutex<Vec<Heartbeat>>,
    trouble: Mutex<Option<Duration>>,
}

#[async_trait]
impl HeartbeatWriter for Heard {
    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        self.beats.lock().unwrap().push(heartbeat.clone());
        let trouble = *self.trouble.lock().unwrap();
        if let Some(delay) = trouble {
            tokio::time::sleep(delay).await;
            return Err(StoreError::Unavailable("gone".to_owned()));
        }
        Ok(())
    }
}

impl Heard {
    /// The heartbeats so far, once those under way have begun.
    async fn beats(&self) -> Vec<Heartbeat> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.beats.lock().unwrap().clone()
    }
}

struct Fixture {
    served: Served,
    heard: Arc<Heard>,
    clock: Arc<ManualClock>,
    unwrapper: Arc<Faulty<dyn KeyUnwrapper>>,
}

async fn fixture() -> Fixture {
    let (heard, clock) = (Arc::new(Heard::default()), Arc::new(ManualClock::default()));
    let mut faulty = None;
    let served = prepare(example_members(), |store| {
        let unwrapper: Arc<Faulty<dyn KeyUnwrapper>> = Arc::new(Faulty::new(store.key_unwrapper()));
        faulty = Some(unwrapper.clone());
        Ports {
            heartbeats: Some(heard.clone()),
            unwrapper: Some(unwrapper),
            clock: Some(clock.clone()),
            pinned: Some(1),
            ..Ports::default()
        }
    })
    .await;
    Fixture {
        served,
        heard,
        clock,
        unwrapper: faulty.unwrap(),
    }
}

#[tokio::test]
async fn a_load_says_what_came_of_it() {
    let it = fixture().await;
    let tampered = Fault::Before(StoreError::Corrupt("tampered".to_owned()));
    it.unwrapper.fail_next("KeyUnwrapper::unwrap", tampered);
    it.served.predict.load_pinned(None).await;
    let beat = it.heard.beats().await.pop().unwrap();
    assert_eq!((&*beat.version, beat.release), ("7", None));
    assert_eq!(beat.reason.as_deref(), Some("key.unwrap_refused"));
    assert!(beat.newest_event_us.is_some(), "the failure is on record");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    it.served.predict.load_pinned(None).await;
    let beat = it.heard.beats().await.pop().unwrap();
    assert_eq!(beat.release.unwrap().to_string(), "r-000001");
    assert_eq!(beat.reason, None);
}

#[tokio::test]
async fn requests_bring_one_heartbeat_in_ten_seconds() {
    let it = fixture().await;
    it.served.predict.load_pinned(None).await;
    let body = v1(0).to_string();
    let ask = || it.served.post("/v1/predict", body.clone());
    let _ = tokio::join!(ask(), ask(), ask());
    assert_eq!(it.heard.beats().await.len(), 1, "that of the load");
    it.clock.advance(9_999_999);
    ask().await;
    assert_eq!(it.heard.beats().await.len(), 1);
    it.clock.advance(1);
    let _ = tokio::join!(ask(), ask(), ask());
    let beats = it.heard.beats().await;
    assert_eq!(beats.len(), 2);
    assert!(beats[1].newest_event_us > beats[0].newest_event_us);
    assert_eq!(beats[1].at_us - beats[0].at_us, 10_000_000);
}

#[tokio::test]
async fn a_heartbeat_that_hangs_and_fails_delays_and_fails_nothing() {
    let it = fixture().await;
    *it.heard.trouble.lock().unwrap() = Some(Duration::from_secs(30));
    let began = Instant::now();
    it.served.predict.load_pinned(None).await;
    it.clock.advance(60_000_000);
    let reply = it.served.post("/v1/predict", v1(0).to_string()).await;
    assert_eq!(reply.status, 200);
    assert!(began.elapsed() < Duration::from_secs(25));
    assert_eq!(it.heard.beats().await.len(), 2);
}
