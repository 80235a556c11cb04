//! The recorder over the embedded store, with failures before and after an append.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use audit::StreamVerifier;
use domain::ports::AuditAppender;
use domain::recorder::NotRecordedError;
use domain::{Recorder, StoreError};
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
        let first = setup.recorder.record(event("one")).await.unwrap();
        setup.recorder.record(event("two")).await.unwrap_err();
        let second = setup.recorder.record(event("three")).await.unwrap();
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
