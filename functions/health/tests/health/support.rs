//! A fleet, the function that looks at it, and requests to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use audit::EventBody;
use audit::event::Security;
use axum::Router;
use axum::body::Body;
use domain::ports::{Alias, Dependency, Heartbeat, Routing, Target};
use domain::{Principal, PrincipalId, Recorder, Role};
use health::{Health, Limits, Needed, Ports, Report, Versions};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use testkit::build::{release, release_id};
use testkit::{
    Faulty, FixedClock, ManualClock, MemoryAudit, MemorySpill, SeededEntropy, TestSigner,
};
use tower::ServiceExt;
use web::Edge;

use crate::fakes::{FakeDependency, FakeHeartbeats, FakeReleases, FakeRouting, Said};

/// When every test begins, in microseconds since 1970.
pub(crate) const NOW: u64 = FixedClock(1_767_225_600_000_000).0;

pub(crate) const SECOND: u64 = 1_000_000;

/// What a deployed fleet depends on.
pub(crate) const DEPENDENCIES: [&str; 6] = [
    "registry",
    "audit",
    "requests",
    "models",
    "data-key",
    "stream-key",
];

/// Those without which no request is answered.
pub(crate) const NEEDED_TO_ANSWER: [&str; 2] = ["audit", "requests"];

/// A fleet that is well, until a test changes that: version 7 takes all requests and serves release 2.
pub(crate) struct Fleet {
    pub(crate) routing: Arc<FakeRouting>,
    pub(crate) heartbeats: Arc<FakeHeartbeats>,
    pub(crate) stored: Arc<FakeReleases>,
    pub(crate) releases: Arc<Faulty<FakeReleases>>,
    pub(crate) dependencies: Vec<Arc<FakeDependency>>,
    pub(crate) spilled: Arc<MemorySpill>,
    pub(crate) spill: Arc<Faulty<MemorySpill>>,
    pub(crate) log: Arc<MemoryAudit>,
    pub(crate) appender: Arc<Faulty<MemoryAudit>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) health: Arc<Health>,
    pub(crate) router: Router,
}

/// Short enough for tests, long enough for a busy machine.
pub(crate) fn limits() -> Limits {
    Limits {
        ask: Duration::from_millis(400),
        ..Limits::default()
    }
}

pub(crate) fn fleet() -> Fleet {
    fleet_of(Versions::Pinned)
}

pub(crate) fn fleet_of(versions: Versions) -> Fleet {
    let releases = [1, 2].map(|number| (release_id(number), release(number)));
    let stored = Arc::new(FakeReleases::new(releases.into()));
    let releases = Arc::new(Faulty::new(Arc::clone(&stored)));
    let routing = Arc::new(FakeRouting::new(Ok(routing(2, &[("7", 1.0)]))));
    let heartbeats = Arc::new(FakeHeartbeats::new(said([("7", serving(NOW, 2))])));
    let dependencies: Vec<_> = DEPENDENCIES
        .iter()
        .map(|name| Arc::new(FakeDependency::new(name)))
        .collect();
    let log = Arc::new(MemoryAudit::new());
    let appender = Arc::new(Faulty::new(Arc::clone(&log)));
    let clock = Arc::new(ManualClock::new(NOW));
    let spilled = Arc::new(MemorySpill::new());
    let spill = Arc::new(Faulty::new(Arc::clone(&spilled)));
    let recorder = Arc::new(Recorder::new(
        "test".to_owned(),
        appender.clone(),
        Arc::new(TestSigner::new(1)),
        clock.clone(),
        Arc::new(SeededEntropy::new(1)),
    ));
    let ports = Ports {
        spill: Some(spill.clone()),
        routing: routing.clone(),
        heartbeats: heartbeats.clone(),
        releases: releases.clone(),
        dependencies: dependencies
            .iter()
            .map(|dependency| {
                let to_answer = NEEDED_TO_ANSWER.contains(&dependency.name());
                let dependency: Arc<dyn Dependency> = dependency.clone();
                if to_answer {
                    Needed::to_answer(dependency)
                } else {
                    Needed::to_start(dependency)
                }
            })
            .collect(),
    };
    let health = Arc::new(Health::new(
        ports,
        versions,
        limits(),
        Arc::clone(&recorder),
        clock.clone(),
    ));
    let router = Edge::new(recorder).surround(health::router(Arc::clone(&health)));
    Fleet {
        routing,
        heartbeats,
        stored,
        releases,
        dependencies,
        spilled,
        spill,
        log,
        appender,
        clock,
        health,
        router,
    }
}

/// The alias at this release, in its third revision, with these versions and shares.
pub(crate) fn routing(number: u64, targets: &[(&str, f64)]) -> Routing {
    Routing {
        alias: Some(Alias {
            release: release_id(number),
            revision: 3,
        }),
        targets: targets
            .iter()
            .map(|(version, weight)| Target {
                version: (*version).to_owned(),
                weight: *weight,
            })
            .collect(),
    }
}

pub(crate) fn said<const N: usize>(heartbeats: [(&str, Heartbeat); N]) -> BTreeMap<String, Said> {
    heartbeats
        .into_iter()
        .map(|(version, heartbeat)| {
            let version = version.to_owned();
            let heartbeat = Heartbeat {
                version: version.clone(),
                ..heartbeat
            };
            (version, Ok(Some(heartbeat)))
        })
        .collect()
}

pub(crate) fn serving(at_us: u64, number: u64) -> Heartbeat {
    Heartbeat {
        version: String::new(),
        at_us,
        release: Some(release_id(number)),
        reason: None,
        newest_event_us: Some(at_us),
    }
}

pub(crate) fn failing(at_us: u64, reason: &str) -> Heartbeat {
    Heartbeat {
        version: String::new(),
        at_us,
        release: None,
        reason: Some(reason.to_owned()),
        newest_event_us: None,
    }
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) json: Value,
}

pub(crate) fn principal(roles: &[Role]) -> Principal {
    Principal {
        id: PrincipalId::parse("desk-1").unwrap(),
        roles: roles.iter().copied().collect(),
    }
}

impl Fleet {
    pub(crate) fn dependency(&self, name: &str) -> &FakeDependency {
        let at = DEPENDENCIES.iter().position(|it| *it == name).unwrap();
        &self.dependencies[at]
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.headers["content-type"], "application/json");
        Reply {
            status: parts.status,
            json: serde_json::from_slice(&bytes).unwrap(),
        }
    }

    /// Without credentials.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn get_as(&self, path: &str, roles: &[Role]) -> Reply {
        let request = Request::get(path).extension(principal(roles));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// `/v1/status` as an auditor.
    pub(crate) async fn status(&self) -> Value {
        let reply = self.get_as("/v1/status", &[Role::Auditor]).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.json
    }

    /// Looks when nothing that was seen before is shown again.
    pub(crate) async fn look_anew(&self) -> Arc<Report> {
        self.clock.advance(limits().keep_us);
        self.health.look_now().await
    }

    /// Every security event so far, as (code, subject).
    pub(crate) fn security(&self) -> Vec<(String, String)> {
        self.security_events()
            .into_iter()
            .map(|event| (event.code, event.subject))
            .collect()
    }

    pub(crate) fn security_events(&self) -> Vec<Security> {
        let events = self.log.events().into_iter();
        events
            .filter_map(|event| match event.body {
                EventBody::Security(event) => Some(event),
                _ => None,
            })
            .collect()
    }
}

/// The codes of a body's `reasons`, with what they are about.
pub(crate) fn reasons(body: &Value) -> Vec<(String, String)> {
    let text = |reason: &Value, name: &str| reason[name].as_str().unwrap().to_owned();
    body["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| (text(reason, "code"), text(reason, "subject")))
        .collect()
}

/// The same from texts.
pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(code, subject)| ((*code).to_owned(), (*subject).to_owned()))
        .collect()
}
