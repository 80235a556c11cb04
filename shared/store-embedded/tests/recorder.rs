//! The recorder over the embedded store, with failures before and after an append.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use audit::{Record, SignedRegistration, StreamVerifier};
use domain::ports::{AuditAppender, Signer};
use domain::recorder::NotRecordedError;
use domain::{Recorder, StoreError};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use store_embedded::EmbeddedStore;
use testkit::build::event;
use testkit::{Fault, Faulty, ManualClock, SeededEntropy};

struct Setup {
    _data: tempfile::TempDir,
    store: EmbeddedStore,
    faulty: Arc<Faulty<dyn AuditAppender>>,
    recorder: Arc<Recorder>,
}

fn set_up() -> Setup {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    let faulty = Arc::new(Faulty::new(store.audit_appender()));
    let recorder = Recorder::new(
        "test".to_owned(),
        Arc::clone(&faulty) as Arc<dyn AuditAppender>,
        store.stream_signer(),
        Arc::new(ManualClock::default()),
        Arc::new(SeededEntropy::new(1)),
    );
    Setup {
        _data: data,
        store,
        faulty,
        recorder: Arc::new(recorder),
    }
}

/// Events of each stream, all verified, in the order of their first events' subjects.
async fn verified(store: &EmbeddedStore) -> Vec<u64> {
    let reader = store.audit_reader();
    let mut counts = Vec::new();
    for stream in reader.streams(None, 100).await.unwrap() {
        let registration = reader.registration(stream).await.unwrap();
        let mut verifier =
            StreamVerifier::new(&registration, &store.keys().trusted_stream_keys()).unwrap();
        for record in reader.read(stream, 0, 1000).await.unwrap() {
            verifier.check(&record).unwrap();
        }
        counts.push(verifier.report().events);
    }
    counts.sort_unstable();
    counts
}

fn down() -> StoreError {
    StoreError::Unavailable("down".to_owned())
}

#[tokio::test]
async fn a_failed_append_ends_the_stream_and_the_next_event_opens_another() {
    // Not applied: the first stream keeps 1 event. Applied with a lost reply: it keeps 2.
    for (fault, expected) in [(Fault::Before(down()), [1, 3]), (Fault::After, [2, 3])] {
        let setup = set_up();
        setup.faulty.fail_nth("AuditAppender::append", 2, fault);
        let first = setup.recorder.record(event("one")).await.unwrap().receipt;
        setup.recorder.record(event("two")).await.unwrap_err();
        let second = setup.recorder.record(event("three")).await.unwrap().receipt;
        assert_ne!(first.stream, second.stream);
        assert_eq!(second.seq, 0);
        setup
            .recorder
            .record_all(vec![event("four"), event("five")])
            .await
            .unwrap();
        setup.faulty.assert_all_took_place();
        assert_eq!(verified(&setup.store).await, expected);
    }
}

#[tokio::test]
async fn events_queued_behind_a_failure_fail_and_leave_no_hole() {
    let setup = set_up();
    setup.recorder.record(event("first")).await.unwrap();
    setup
        .faulty
        .fail_nth("AuditAppender::append", 4, Fault::Before(down()));
    let calls = (0..20).map(|number| {
        let recorder = Arc::clone(&setup.recorder);
        async move { recorder.record(event(&format!("event {number}"))).await }
    });
    let results = futures::future::join_all(calls).await;
    let recorded = results.iter().filter(|result| result.is_ok()).count() as u64;
    assert!((2..20).contains(&recorded), "{results:?}");
    setup.recorder.record(event("last")).await.unwrap();
    assert_eq!(
        verified(&setup.store).await.iter().sum::<u64>(),
        recorded + 2
    );
}

#[tokio::test]
async fn a_store_that_comes_back_is_used_again() {
    let setup = set_up();
    let calls = ["AuditAppender::register", "AuditAppender::append"];
    for call in calls {
        setup.faulty.fail_always(call, Fault::Before(down()));
    }
    for _ in 0..3 {
        let error = setup.recorder.record(event("lost")).await.unwrap_err();
        assert_eq!(error, NotRecordedError::Store(down()));
    }
    for call in calls {
        setup.faulty.heal(call);
    }
    setup.recorder.record(event("kept")).await.unwrap();
    assert_eq!(verified(&setup.store).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_events_form_one_chain() {
    let setup = set_up();
    let tasks = (0..64).map(|number| {
        let recorder = Arc::clone(&setup.recorder);
        tokio::spawn(async move {
            for _ in 0..20 {
                recorder
                    .record(event(&format!("task {number}")))
                    .await
                    .unwrap();
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    let reader = setup.store.audit_reader();
    let streams = reader.streams(None, 10).await.unwrap();
    assert_eq!(streams.len(), 1);
    let registration = reader.registration(streams[0]).await.unwrap();
    let trusted = setup.store.keys().trusted_stream_keys();
    let mut verifier = StreamVerifier::new(&registration, &trusted).unwrap();
    for record in reader.read(streams[0], 0, 2000).await.unwrap() {
        verifier.check(&record).unwrap();
    }
    assert_eq!(verifier.report().events, 64 * 20);
}

#[tokio::test]
async fn a_closed_log_refuses_and_keeps_what_it_took() {
    let setup = set_up();
    setup.recorder.record(event("one")).await.unwrap();
    setup.store.close();
    setup.store.close();
    let error = setup.recorder.record(event("two")).await.unwrap_err();
    assert!(
        matches!(error, NotRecordedError::Store(StoreError::Unavailable(_))),
        "{error}"
    );
    assert_eq!(verified(&setup.store).await, [1]);
}

/// Says whether an append fails.
type Reply = oneshot::Receiver<bool>;

/// An audit log whose appends take their place at once, and end when a test says so.
struct Held {
    inner: Arc<dyn AuditAppender>,
    replies: Mutex<VecDeque<Reply>>,
}

#[async_trait]
impl AuditAppender for Held {
    async fn register(&self, registration: &SignedRegistration) -> Result<(), StoreError> {
        self.inner.register(registration).await
    }

    fn append(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Some(reply) = self.replies.lock().unwrap().pop_front() else {
            return self.inner.append(records);
        };
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            if reply.await.unwrap() {
                return Err(down());
            }
            inner.append(records).await
        })
    }
}

/// Records one event; its caller goes away while the append is under way, which then fails or not. Gives what the next
/// caller gets, and the events of each stream.
async fn record_after_a_caller_went_away(fails: bool) -> (audit::Receipt, Vec<u64>) {
    let setup = set_up();
    let (tell, reply) = oneshot::channel();
    let held = Held {
        inner: setup.store.audit_appender(),
        replies: Mutex::new(VecDeque::from([reply])),
    };
    let recorder = Recorder::new(
        "test".to_owned(),
        Arc::new(held),
        setup.store.stream_signer(),
        Arc::new(ManualClock::default()),
        Arc::new(SeededEntropy::new(1)),
    );
    recorder.open_stream().await.unwrap();
    let abandoned = recorder.record(event("abandoned"));
    assert_eq!(abandoned.now_or_never(), None, "it is under way");
    tell.send(fails).unwrap();
    tokio::task::yield_now().await;
    let receipt = recorder.record(event("next")).await.unwrap().receipt;
    (receipt, verified(&setup.store).await)
}

#[tokio::test]
async fn an_append_that_fails_after_its_caller_went_away_fails_nobody_else() {
    let (receipt, streams) = record_after_a_caller_went_away(true).await;
    assert_eq!(receipt.seq, 0, "in a stream of its own");
    assert_eq!(streams, [0, 1]);
}

#[tokio::test]
async fn an_append_that_succeeds_after_its_caller_went_away_keeps_the_stream() {
    let (receipt, streams) = record_after_a_caller_went_away(false).await;
    assert_eq!(receipt.seq, 1);
    assert_eq!(streams, [2]);
}

/// A signer that takes its time and then refuses.
#[derive(Default)]
struct SlowlyRefusing(AtomicU64);

#[async_trait]
impl Signer for SlowlyRefusing {
    fn key_id(&self) -> &'static str {
        "key"
    }

    async fn public_key_pem(&self) -> Result<String, StoreError> {
        Err(down())
    }

    async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(down())
    }
}

#[tokio::test]
async fn whoever_waits_for_a_stream_that_cannot_be_opened_waits_once() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    let signer = Arc::new(SlowlyRefusing::default());
    let recorder = Recorder::new(
        "test".to_owned(),
        store.audit_appender(),
        Arc::clone(&signer) as Arc<dyn Signer>,
        Arc::new(ManualClock::default()),
        Arc::new(SeededEntropy::new(1)),
    );
    let records = (0..10).map(|_| recorder.record(event("one")));
    for outcome in futures::future::join_all(records).await {
        assert_eq!(outcome, Err(NotRecordedError::Store(down())));
    }
    assert_eq!(signer.0.load(Ordering::Relaxed), 1, "all share one attempt");
    recorder.record(event("two")).await.unwrap_err();
    assert_eq!(
        signer.0.load(Ordering::Relaxed),
        2,
        "whoever comes later tries"
    );
}
