//! Asks everything that answers depend on, all at once, each under its own time limit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::ports::{
    Dependency, Heartbeat, HeartbeatReader, ReleaseReader, Routing, RoutingReader, SpillReader,
    Target,
};
use domain::spill::{SpillSummary, summarize};
use domain::{Release, StoreError};
use futures::future::{join, join_all, join3};
use tokio::time::{Instant, timeout_at};

/// Items of the spill that are counted, at most.
pub const MOST_SPILLED: usize = 1000;

/// What is asked.
#[derive(Clone)]
pub struct Ports {
    /// Where the alias sends requests.
    pub routing: Arc<dyn RoutingReader>,
    /// What the versions say of themselves.
    pub heartbeats: Arc<dyn HeartbeatReader>,
    /// The releases.
    pub releases: Arc<dyn ReleaseReader>,
    /// What else is needed.
    pub dependencies: Vec<Needed>,
    /// What the audit log did not take, where there is such a place.
    pub spill: Option<Arc<dyn SpillReader>>,
}

/// What a dependency is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every answer: without it no request is answered.
    Answer,
    /// Starting only, to load a release or to open a stream: what runs already answers without it.
    Start,
}

/// A dependency and what it is needed for.
#[derive(Clone)]
pub struct Needed {
    dependency: Arc<dyn Dependency>,
    need: Need,
}

impl Needed {
    /// Every answer needs it.
    pub fn to_answer(dependency: Arc<dyn Dependency>) -> Self {
        let need = Need::Answer;
        Self { dependency, need }
    }

    /// Only what starts needs it.
    pub fn to_start(dependency: Arc<dyn Dependency>) -> Self {
        let need = Need::Start;
        Self { dependency, need }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The store said so.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It said nothing within the time limit.
    #[error("no answer within the time limit")]
    Timeout,
}

/// An answer, or why there is none.
pub type Asked<T> = Result<T, AskError>;

/// Everything that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Where the alias sends requests; only versions that take some.
    pub routing: Asked<Routing>,
    /// The release that the alias points to; `None` where it points to none.
    pub release: Option<Asked<Release>>,
    /// What each version of `routing` said last, in the same order.
    pub heartbeats: Vec<Asked<Option<Heartbeat>>>,
    /// Each dependency's answer.
    pub dependencies: Vec<DependencyAnswer>,
    /// What is in the spill, up to [`MOST_SPILLED`] items; `None` where there is no spill.
    pub spill: Option<Asked<SpillSummary>>,
}

/// What a dependency answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyAnswer {
    /// Its name.
    pub name: String,
    /// What it is needed for.
    pub need: Need,
    /// Whether it can be used.
    pub answer: Asked<()>,
    /// How long it took.
    pub latency: Duration,
}

/// Asks everything; ready after `limit` at the latest, because whatever has not answered by then has not answered.
pub async fn survey(ports: &Ports, alias: &str, limit: Duration) -> Survey {
    let deadline = Instant::now() + limit;
    let dependencies = ports
        .dependencies
        .iter()
        .map(|dependency| ask_dependency(dependency, deadline));
    let spill = async {
        let reader = ports.spill.as_ref()?;
        Some(ask(deadline, summarize(&**reader, MOST_SPILLED)).await)
    };
    let (fleet, dependencies, spill) = join3(
        ask_fleet(ports, alias, deadline),
        join_all(dependencies),
        spill,
    )
    .await;
    let (routing, release, heartbeats) = fleet;
    Survey {
        routing,
        release,
        heartbeats,
        dependencies,
        spill,
    }
}

type Fleet = (
    Asked<Routing>,
    Option<Asked<Release>>,
    Vec<Asked<Option<Heartbeat>>>,
);

async fn ask_fleet(ports: &Ports, alias: &str, deadline: Instant) -> Fleet {
    let routing = match ask(deadline, ports.routing.routing(alias)).await {
        Ok(routing) => routing,
        Err(error) => return (Err(error), None, Vec::new()),
    };
    let routing = Routing {
        targets: routing.targets.into_iter().filter(takes_requests).collect(),
        ..routing
    };
    let release = async {
        let id = routing.alias.as_ref()?.release;
        Some(ask(deadline, ports.releases.get(id)).await)
    };
    let heartbeats = join_all(
        routing
            .targets
            .iter()
            .map(|target| ask(deadline, ports.heartbeats.newest(&target.version))),
    );
    let (release, heartbeats) = join(release, heartbeats).await;
    (Ok(routing), release, heartbeats)
}

/// Whether any request goes there.
fn takes_requests(target: &Target) -> bool {
    target.weight.is_finite() && target.weight > 0.0
}

async fn ask_dependency(needed: &Needed, deadline: Instant) -> DependencyAnswer {
    let began = Instant::now();
    let answer = ask(deadline, needed.dependency.check()).await;
    DependencyAnswer {
        name: needed.dependency.name().to_owned(),
        need: needed.need,
        answer,
        latency: began.elapsed(),
    }
}

async fn ask<T>(deadline: Instant, work: impl Future<Output = Result<T, StoreError>>) -> Asked<T> {
    match timeout_at(deadline, work).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(AskError::Timeout),
    }
}
