//! Ports whose answers a test sets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{
    Dependency, Heartbeat, HeartbeatReader, ReleaseReader, Routing, RoutingReader,
};
use domain::{Release, ReleaseId, StoreError};

/// How a port answers: after a while, or never.
#[derive(Debug, Clone)]
pub(crate) enum Answer<T> {
    At(T),
    After(Duration, T),
    Never,
}

/// An answer that a test sets, and how often it was asked for.
pub(crate) struct Fake<T> {
    answer: Mutex<Answer<T>>,
    calls: AtomicU64,
}

impl<T: Clone> Fake<T> {
    pub(crate) fn new(answer: T) -> Self {
        Self {
            answer: Mutex::new(Answer::At(answer)),
            calls: AtomicU64::new(0),
        }
    }

    pub(crate) fn set(&self, answer: T) {
        self.play(Answer::At(answer));
    }

    pub(crate) fn play(&self, answer: Answer<T>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    async fn ask(&self) -> T {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::At(answer) => answer,
            Answer::After(delay, answer) => {
                tokio::time::sleep(delay).await;
                answer
            }
            Answer::Never => std::future::pending().await,
        }
    }
}

pub(crate) type FakeRouting = Fake<Result<Routing, StoreError>>;

#[async_trait]
impl RoutingReader for FakeRouting {
    async fn routing(&self, alias: &str) -> Result<Routing, StoreError> {
        assert_eq!(alias, "live");
        self.ask().await
    }
}

pub(crate) type Said = Result<Option<Heartbeat>, StoreError>;
pub(crate) type FakeHeartbeats = Fake<BTreeMap<String, Said>>;

#[async_trait]
impl HeartbeatReader for FakeHeartbeats {
    async fn newest(&self, version: &str) -> Said {
        self.ask().await.remove(version).unwrap_or(Ok(None))
    }
}

pub(crate) type FakeReleases = Fake<BTreeMap<ReleaseId, Release>>;

#[async_trait]
impl ReleaseReader for FakeReleases {
    async fn get(&self, id: ReleaseId) -> Result<Release, StoreError> {
        self.ask()
            .await
            .remove(&id)
            .ok_or_else(|| StoreError::NotFound(format!("release {id}")))
    }

    async fn newest(&self) -> Result<Option<ReleaseId>, StoreError> {
        Ok(self.ask().await.into_keys().next_back())
    }
}

pub(crate) struct FakeDependency {
    name: &'static str,
    pub(crate) answer: Fake<Result<(), StoreError>>,
}

impl FakeDependency {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            answer: Fake::new(Ok(())),
        }
    }
}

#[async_trait]
impl Dependency for FakeDependency {
    fn name(&self) -> &str {
        self.name
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.answer.ask().await
    }
}
