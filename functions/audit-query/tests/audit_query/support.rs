//! A log that is written and sealed as a test says, the function over it, and requests to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use audit::event::{Query, Refusal, Security};
use audit::note::{KeyName, VerifierKey};
use audit::seal::{LogEdge, SealRules, StreamPage, plan_seal};
use audit::{Event, EventBody, Record, SignedRegistration, StreamId};
use audit_query::{AuditQuery, Limits, Ports};
use axum::Router;
use axum::body::Body;
use domain::ports::{
    AuditAppender, AuditReader, AuditSearch, LogPublisher, LogReader, LogWriter, SealIndexReader,
    SealIndexWriter, Signer,
};
use domain::{EventPage, EventQuery, LogPath, Principal, PrincipalId, Recorder, Role, StoreError};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use store_embedded::EmbeddedStore;
use testkit::build::TestStream;
use testkit::{Faulty, FixedClock, ManualClock, SeededEntropy, TestSigner};
use tower::ServiceExt;
use web::Edge;

pub(crate) const ORIGIN: &str = "sealcast.test";

/// When every test begins, in microseconds since 1970: 2026-01-01T00:00:00Z.
pub(crate) const NOW: u64 = FixedClock(1_767_225_600_000_000).0;

pub(crate) const SECOND: u64 = 1_000_000;

/// Short enough for tests, long enough for a busy machine.
pub(crate) fn limits() -> Limits {
    Limits {
        find: Duration::from_secs(2),
        ask: Duration::from_secs(2),
        ..Limits::STREAMED
    }
}

/// What became of a stored row.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Its entry is another one.
    Entry(Vec<u8>),
    /// Its signature is another one.
    Signature([u8; 64]),
    /// It is gone.
    Gone,
    /// It cannot be read, and so neither can any run of rows that it is in.
    Corrupt,
}

/// Streams of which somebody changed rows.
pub(crate) struct Tampered {
    inner: Arc<dyn AuditReader>,
    changes: Mutex<BTreeMap<(StreamId, u64), Change>>,
    registrations: Mutex<BTreeMap<StreamId, Change>>,
}

#[async_trait]
impl AuditReader for Tampered {
    async fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        self.inner.streams(after, limit).await
    }

    async fn registered_in(
        &self,
        hour: u64,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, StoreError> {
        self.inner.registered_in(hour, after, limit).await
    }

    async fn registration_hours(&self) -> Result<Vec<u64>, StoreError> {
        self.inner.registration_hours().await
    }

    async fn registration(&self, stream: StreamId) -> Result<SignedRegistration, StoreError> {
        let mut signed = self.inner.registration(stream).await?;
        match self.registrations.lock().unwrap().get(&stream) {
            None => {}
            Some(Change::Entry(entry)) => signed.registration.clone_from(entry),
            Some(Change::Signature(signature)) => signed.signature = *signature,
            Some(Change::Gone) => return Err(StoreError::NotFound(stream.to_string())),
            Some(Change::Corrupt) => {
                return Err(StoreError::Corrupt("a row is no row".to_owned()));
            }
        }
        Ok(signed)
    }

    async fn read(
        &self,
        stream: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.inner.read(stream, from, limit).await?;
        let changes = self.changes.lock().unwrap();
        let mut kept = Vec::new();
        for mut record in records {
            match changes.get(&(stream, record.seq)) {
                None => kept.push(record),
                Some(Change::Entry(entry)) => {
                    record.entry.clone_from(entry);
                    kept.push(record);
                }
                Some(Change::Signature(signature)) => {
                    record.signature = *signature;
                    kept.push(record);
                }
                Some(Change::Gone) => {}
                Some(Change::Corrupt) => {
                    return Err(StoreError::Corrupt("a row is no row".to_owned()));
                }
            }
        }
        Ok(kept)
    }
}

/// An index of events that gives one page only, where a test says so.
pub(crate) struct Stuck {
    inner: Arc<dyn AuditSearch>,
    page: Mutex<Option<EventPage>>,
}

#[async_trait]
impl AuditSearch for Stuck {
    async fn search(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let page = self.page.lock().unwrap().clone();
        match page {
            Some(page) => Ok(page),
            None => self.inner.search(query).await,
        }
    }
}

pub(crate) struct Site {
    dir: tempfile::TempDir,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) search: Arc<Faulty<dyn AuditSearch>>,
    pub(crate) streams: Arc<Faulty<dyn AuditReader>>,
    pub(crate) index: Arc<Faulty<dyn SealIndexReader>>,
    pub(crate) log: Arc<Faulty<dyn LogReader>>,
    pub(crate) log_key: Arc<Faulty<dyn Signer>>,
    pub(crate) appender: Arc<Faulty<dyn AuditAppender>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
    tampered: Arc<Tampered>,
    stuck: Arc<Stuck>,
    edge: Mutex<LogEdge>,
}

pub(crate) fn site() -> Site {
    site_with(limits())
}

pub(crate) fn site_with(limits: Limits) -> Site {
    build(ORIGIN, limits, 9, Vec::new())
}

/// A site over a log with another name.
pub(crate) fn site_named(origin: &str) -> Site {
    build(origin, limits(), 9, Vec::new())
}

/// A site whose log has another key by now than the one that its checkpoints are signed with.
pub(crate) fn site_trusting(earlier_keys: Vec<VerifierKey>) -> Site {
    build(ORIGIN, limits(), 8, earlier_keys)
}

fn build(origin: &str, limits: Limits, key: u8, earlier_keys: Vec<VerifierKey>) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::create(dir.path()).unwrap());
    let appender: Arc<Faulty<dyn AuditAppender>> = Arc::new(Faulty::new(store.audit_appender()));
    let tampered = Arc::new(Tampered {
        inner: store.audit_reader(),
        changes: Mutex::default(),
        registrations: Mutex::default(),
    });
    let streams: Arc<Faulty<dyn AuditReader>> =
        Arc::new(Faulty::new(tampered.clone() as Arc<dyn AuditReader>));
    let stuck = Arc::new(Stuck {
        inner: store.audit_search(),
        page: Mutex::default(),
    });
    let search: Arc<Faulty<dyn AuditSearch>> =
        Arc::new(Faulty::new(stuck.clone() as Arc<dyn AuditSearch>));
    let index: Arc<Faulty<dyn SealIndexReader>> =
        Arc::new(Faulty::new(store.seal_index() as Arc<dyn SealIndexReader>));
    let log: Arc<Faulty<dyn LogReader>> = Arc::new(Faulty::new(store.log() as Arc<dyn LogReader>));
    let log_key: Arc<Faulty<dyn Signer>> = Arc::new(Faulty::new(
        Arc::new(TestSigner::new(key)) as Arc<dyn Signer>
    ));
    let clock = Arc::new(ManualClock::default());
    let recorder = Arc::new(Recorder::new(
        "test".to_owned(),
        appender.clone(),
        Arc::new(TestSigner::new(1)),
        clock.clone(),
        Arc::new(SeededEntropy::new(1)),
    ));
    let ports = Ports {
        search: search.clone(),
        streams: streams.clone(),
        index: index.clone(),
        log: log.clone(),
        log_key: log_key.clone(),
    };
    let query = AuditQuery::new(
        ports,
        limits,
        origin.to_owned(),
        Arc::clone(&recorder),
        clock.clone(),
    );
    let query = query.trusting(earlier_keys);
    let router = Edge::new(recorder).surround(audit_query::router(Arc::new(query)));
    Site {
        dir,
        store,
        search,
        streams,
        index,
        log,
        log_key,
        appender,
        clock,
        router,
        tampered,
        stuck,
        edge: Mutex::new(LogEdge::new()),
    }
}

/// The key that checkpoints are verified with.
pub(crate) fn vkey() -> VerifierKey {
    let (_, key) = TestSigner::new(9).trusted();
    VerifierKey::ed25519(KeyName::parse(ORIGIN).unwrap(), &key).unwrap()
}

pub(crate) fn principal(roles: &[Role]) -> Principal {
    Principal {
        id: PrincipalId::parse("anna").unwrap(),
        roles: roles.iter().copied().collect(),
    }
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of an error.
    pub(crate) fn error(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap().to_owned();
        (self.status.as_u16(), code)
    }

    /// Code of an error; nothing where it is none.
    pub(crate) fn error_code(&self) -> String {
        let json: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        json["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Stream and position of every event.
    pub(crate) fn places(&self) -> Vec<(StreamId, u64)> {
        let json = self.json();
        let events = json["events"].as_array().unwrap();
        events.iter().map(place_of).collect()
    }
}

pub(crate) fn place_of(event: &Value) -> (StreamId, u64) {
    let stream = StreamId::parse(event["stream"].as_str().unwrap()).unwrap();
    (stream, event["seq"].as_u64().unwrap())
}

impl Site {
    /// A stream with a registration that is stored.
    pub(crate) async fn stream(&self, first: u8) -> TestStream {
        let test = TestStream::of([first; 16], "test");
        let appender = self.store.audit_appender();
        appender.register(&test.registration).await.unwrap();
        test
    }

    /// Records the event in the stream, `at_us` after the test's beginning.
    pub(crate) async fn append(
        &self,
        test: &mut TestStream,
        body: EventBody,
        at_us: u64,
    ) -> Record {
        let record = test.stream.record(body, NOW + at_us).unwrap();
        let append = self.store.audit_appender().append(vec![record.clone()]);
        append.await.unwrap();
        record
    }

    /// Seals everything that is recorded, as the sealer does.
    pub(crate) async fn seal(&self) {
        self.seal_without_publishing().await;
        let note = self.signed();
        let published = self.store.log().checkpoint().await.unwrap();
        let note = note.into_bytes();
        self.store
            .log()
            .publish(published.as_deref(), &note)
            .await
            .unwrap();
    }

    fn signed(&self) -> String {
        let checkpoint = self.edge.lock().unwrap().checkpoint(ORIGIN).to_string();
        let mut note = audit::note::SignedNote::new(checkpoint).unwrap();
        let signature = TestSigner::new(9).sign_now(note.text().as_bytes());
        note.add(&vkey(), signature.to_vec()).unwrap();
        note.to_string()
    }

    /// As [`seal`](Self::seal), up to the step before the last: the index knows what no checkpoint says yet.
    pub(crate) async fn seal_without_publishing(&self) {
        let (streams, index) = (self.store.audit_reader(), self.store.seal_index());
        let mut pages = Vec::new();
        for stream in streams.streams(None, 1000).await.unwrap() {
            let known = index.state(stream).await.unwrap();
            let next = known.as_ref().map_or(0, |known| known.next_seq);
            pages.push(StreamPage {
                stream,
                known,
                registration: Some(streams.registration(stream).await.unwrap()),
                records: streams.read(stream, next, 100_000).await.unwrap(),
            });
        }
        let trusted = [TestSigner::new(1).trusted()];
        let rules = SealRules {
            commands_only: &[],
            trusted: &trusted,
            idle_after_us: u64::MAX,
            max_leaves: 1 << 20,
        };
        let edge = self.edge.lock().unwrap().clone();
        let plan = plan_seal(ORIGIN, edge, pages, &rules, NOW).unwrap();
        assert_eq!(plan.findings, []);
        let log = self.store.log();
        for (tile, bytes) in &plan.tiles {
            let path = LogPath::parse(&tile.to_string()).unwrap();
            log.create(&path, bytes).await.unwrap();
        }
        index.put(&plan.streams, &plan.ranges).await.unwrap();
        *self.edge.lock().unwrap() = plan.edge;
    }

    /// Lets the row be other than it was written.
    pub(crate) fn change(&self, record: &Record, change: Change) {
        let mut changes = self.tampered.changes.lock().unwrap();
        changes.insert((record.stream, record.seq), change);
    }

    /// Lets every search give this page.
    pub(crate) fn find_only(&self, page: EventPage) {
        *self.stuck.page.lock().unwrap() = Some(page);
    }

    /// Lets the registration be other than it was written.
    pub(crate) fn change_registration(&self, stream: StreamId, change: Change) {
        let mut changes = self.tampered.registrations.lock().unwrap();
        changes.insert(stream, change);
    }

    /// Puts other bytes in the place of an object of the log; `None` removes it.
    pub(crate) fn change_object(&self, path: &str, bytes: Option<&[u8]>) {
        let path = self.dir.path().join("log").join(path);
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        #[expect(
            clippy::permissions_set_readonly_false,
            reason = "a file of the test's own"
        )]
        permissions.set_readonly(false);
        std::fs::set_permissions(&path, permissions).unwrap();
        match bytes {
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    /// As an auditor.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(auditors(path).body(Body::empty()).unwrap()).await
    }

    /// The same, for what must succeed.
    pub(crate) async fn ok(&self, path: &str) -> Reply {
        let reply = self.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {reply:?}");
        reply
    }

    /// Every event that is recorded, in the order of streams.
    pub(crate) async fn recorded(&self) -> Vec<EventBody> {
        let streams = self.store.audit_reader();
        let mut events = Vec::new();
        for stream in streams.streams(None, 1000).await.unwrap() {
            for record in streams.read(stream, 0, 100_000).await.unwrap() {
                let event: Event = serde_json::from_slice(&record.entry).unwrap();
                events.push(event.body);
            }
        }
        events
    }

    pub(crate) async fn queries(&self) -> Vec<Query> {
        let events = self.recorded().await.into_iter();
        let query = |event| match event {
            EventBody::Query(query) => Some(query),
            _ => None,
        };
        events.filter_map(query).collect()
    }

    pub(crate) async fn refusals(&self) -> Vec<Refusal> {
        let events = self.recorded().await.into_iter();
        let refusal = |event| match event {
            EventBody::Refusal(refusal) => Some(refusal),
            _ => None,
        };
        events.filter_map(refusal).collect()
    }

    /// Security events of the function, as (code, subject).
    pub(crate) async fn security(&self) -> Vec<(String, String)> {
        let events = self.recorded().await.into_iter();
        let security = |event| match event {
            EventBody::Security(Security { code, subject, .. }) if code != "test.event" => {
                Some((code, subject))
            }
            _ => None,
        };
        events.filter_map(security).collect()
    }
}

/// A request of an auditor's.
pub(crate) fn auditors(path: &str) -> http::request::Builder {
    Request::get(path).extension(principal(&[Role::Auditor]))
}
