//! Every operation while its service is slow, throttles, fails, breaks off, loses answers, or is gone: each has a
//! defined outcome, and nothing happens twice.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_tests::emulators::Emulator::{DynamodbLocal, Ministack, Roto};
use aws_tests::emulators::{Emulator, connect, endpoints};
use aws_tests::proxy::{Fault, Proxy};
use aws_tests::{fixtures, tables};
use domain::StoreError;
use domain::ports::{
    AliasReader, AliasWriter, ArtifactReader, ArtifactWriter, AuditAppender, AuditReader, Claim,
    ClaimKey, KeyContext, KeyUnwrapper, KeyWrapper, ReleaseReader, ReleaseWriter, RequestClaims,
    Signer,
};
use domain::{PrincipalId, RequestId, Sha256Digest};
use futures::future::{BoxFuture, FutureExt};
use store_aws::{Connection, Endpoints, SigningAlgorithm};
use testkit::build::{
    TestStream, artifact_files, fresh_name, random, release, release_id, version,
};

/// What any one call may take: its budget of 4 s, and what a busy machine adds.
const BUDGET: Duration = Duration::from_millis(4500);
const SLOW: Duration = Duration::from_secs(2);

/// One use of an operation: the call, and a look at how often its effect is in the store then.
struct Use {
    call: BoxFuture<'static, Result<(), StoreError>>,
    effects: BoxFuture<'static, usize>,
}

impl Use {
    fn new(
        call: impl Future<Output = Result<(), StoreError>> + Send + 'static,
        effects: impl Future<Output = usize> + Send + 'static,
    ) -> Self {
        Self {
            call: call.boxed(),
            effects: effects.boxed(),
        }
    }

    /// A call that only reads.
    fn reading(call: impl Future<Output = Result<(), StoreError>> + Send + 'static) -> Self {
        Self::new(call, async { 0 })
    }
}

/// An operation behind a proxy.
struct Operation {
    proxy: Arc<Proxy>,
    /// The requests that are harmed.
    about: &'static str,
    /// How the service throttles.
    throttled: Fault,
    writes: bool,
    /// How many calls in a row may each use up their budget.
    calls: u32,
}

impl Operation {
    async fn run(&self, what: &str, used: Use) -> Result<(), StoreError> {
        let began = Instant::now();
        let result = used.call.await;
        let took = began.elapsed();
        assert!(took < BUDGET * self.calls, "{what}: {took:?}");
        self.proxy.assert_all_took_place();
        self.proxy.heal().await;
        let effects = used.effects.await;
        if self.writes {
            match &result {
                Ok(()) => assert_eq!(effects, 1, "{what}"),
                Err(StoreError::OutcomeUnknown(_)) => assert!(effects <= 1, "{what}"),
                Err(_) => assert_eq!(effects, 0, "{what}: {result:?}"),
            }
        }
        result
    }

    /// Slow, throttling, failing, breaking off and losing an answer end well; gone and dumb do not.
    async fn outcomes<F: Future<Output = Use>>(&self, prepare: impl Fn() -> F) {
        let used = prepare().await;
        self.proxy.always(self.about, Fault::Delay(SLOW));
        assert_eq!(self.run("slow", used).await, Ok(()));

        for (what, times, fault) in [
            ("throttled", 4, self.throttled.clone()),
            ("failing", 2, Fault::FAILED),
            ("broken off before", 1, Fault::ResetBefore),
            ("broken off after", 1, Fault::ResetAfter),
            ("broken off in the middle", 1, Fault::CutBody),
            ("an answer lost", 1, Fault::Swallow),
        ] {
            let used = prepare().await;
            self.proxy.next(times, self.about, fault);
            assert_eq!(self.run(what, used).await, Ok(()), "{what}");
        }

        let used = prepare().await;
        self.proxy.go_away();
        let result = self.run("gone", used).await;
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "gone: {result:?}"
        );

        let used = prepare().await;
        self.proxy.always(self.about, self.throttled.clone());
        let result = self.run("throttled for good", used).await;
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "throttled for good: {result:?}"
        );

        let used = prepare().await;
        self.proxy.always(self.about, Fault::Swallow);
        let result = self.run("dumb", used).await;
        let defined = if self.writes {
            matches!(result, Err(StoreError::OutcomeUnknown(_)))
        } else {
            matches!(result, Err(StoreError::Unavailable(_)))
        };
        assert!(defined, "dumb: {result:?}");
    }
}

async fn proxied(
    emulator: Emulator,
    place: impl Fn(&mut Endpoints) -> &mut Option<String>,
) -> (Arc<Proxy>, Connection) {
    let proxy = Arc::new(Proxy::to(&emulator.url()).await);
    let mut endpoints = endpoints();
    *place(&mut endpoints) = Some(proxy.url());
    (proxy, Connection::to(&endpoints).await)
}

async fn proxied_tables() -> (Arc<Proxy>, Connection) {
    proxied(DynamodbLocal, |endpoints| &mut endpoints.dynamodb).await
}

/// An operation that writes to a table.
fn to_tables(proxy: Arc<Proxy>, about: &'static str) -> Operation {
    Operation {
        proxy,
        about,
        throttled: Fault::THROTTLED_TABLE,
        writes: true,
        calls: 1,
    }
}

/// How appends of `count` records at once end.
async fn append_outcomes(about: &'static str, count: usize) {
    let (proxy, connection) = proxied_tables().await;
    let audit = connection.audit(&tables::create_audit(DynamodbLocal).await);
    to_tables(proxy, about)
        .outcomes(|| async {
            let (audit, mut test) = (Arc::clone(&audit), TestStream::fresh());
            let (stream, records) = (test.stream.id(), test.records(count));
            audit.register(&test.registration).await.unwrap();
            let (reader, sent) = (Arc::clone(&audit), records.clone());
            Use::new(async move { audit.append(sent).await }, async move {
                let stored = reader.read(stream, 0, 1000).await.unwrap();
                assert!(stored.is_empty() || stored == records, "all or none");
                stored.len() / count
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_appended_once_or_not() {
    append_outcomes("PutItem", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_appended_together_once_or_not() {
    append_outcomes("TransactWriteItems", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_registered_once_or_not() {
    let (proxy, connection) = proxied_tables().await;
    let audit = connection.audit(&tables::create_audit(DynamodbLocal).await);
    to_tables(proxy, "TransactWriteItems")
        .outcomes(|| async {
            let (test, writer, reader) =
                (TestStream::fresh(), Arc::clone(&audit), Arc::clone(&audit));
            let (stream, registration) = (test.stream.id(), test.registration);
            Use::new(
                async move { writer.register(&registration).await },
                async move {
                    let streams = reader.streams(None, 1000).await.unwrap();
                    let listed = streams.iter().filter(|s| **s == stream).count();
                    assert_eq!(reader.registration(stream).await.is_ok(), listed == 1);
                    listed
                },
            )
        })
        .await;
}

fn claim_key() -> ClaimKey {
    ClaimKey {
        principal: PrincipalId::parse("anna").unwrap(),
        request: RequestId::parse(&hex::encode(random::<8>())).unwrap(),
    }
}

const LEASE_US: u64 = 1_000_000;
const NOW_US: u64 = 1_767_225_600_000_000;

async fn claim(claims: &dyn RequestClaims, key: &ClaimKey) -> Result<Claim, StoreError> {
    let payload = Sha256Digest::of(b"payload");
    claims.claim(key, payload, NOW_US, LEASE_US).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_won_once_or_not() {
    let (proxy, connection) = proxied_tables().await;
    let claims = connection.claims(&tables::create_requests(DynamodbLocal).await);
    to_tables(proxy, "PutItem")
        .outcomes(|| async {
            let (key, twin) = (claim_key(), Arc::clone(&claims));
            let (claims, again) = (Arc::clone(&claims), key.clone());
            Use::new(
                async move {
                    let won = claim(&*claims, &key).await?;
                    assert!(matches!(won, Claim::Won(_)), "{won:?}");
                    Ok(())
                },
                async move {
                    match claim(&*twin, &again).await.unwrap() {
                        Claim::InProgress => 1,
                        Claim::Won(_) => 0,
                        other => panic!("{other:?}"),
                    }
                },
            )
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_once_or_not() {
    let (proxy, connection) = proxied_tables().await;
    let claims = connection.claims(&tables::create_requests(DynamodbLocal).await);
    to_tables(proxy, "PutItem")
        .outcomes(|| async {
            let (key, twin) = (claim_key(), Arc::clone(&claims));
            let (claims, again) = (Arc::clone(&claims), key.clone());
            let Claim::Won(token) = claim(&*claims, &key).await.unwrap() else {
                panic!("the id is fresh")
            };
            Use::new(
                async move { claims.answer(&key, token, b"answer", NOW_US * 2).await },
                async move {
                    match claim(&*twin, &again).await.unwrap() {
                        Claim::Answered(answer) if answer == b"answer" => 1,
                        Claim::InProgress => 0,
                        other => panic!("{other:?}"),
                    }
                },
            )
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_created_once_or_not() {
    let (proxy, connection) = proxied_tables().await;
    let releases = connection.releases(&tables::create_registry(DynamodbLocal).await);
    to_tables(proxy, "TransactWriteItems")
        .outcomes(|| async {
            let (writer, reader) = (Arc::clone(&releases), Arc::clone(&releases));
            let newest = releases.newest().await.unwrap();
            let next = release(newest.map_or(1, |id| id.number() + 1));
            let expected = next.clone();
            Use::new(async move { writer.create(&next).await }, async move {
                match reader.get(expected.id).await {
                    Ok(stored) => {
                        assert_eq!(stored, expected);
                        assert_eq!(reader.newest().await, Ok(Some(expected.id)));
                        1
                    }
                    Err(StoreError::NotFound(_)) => 0,
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_read_whole_or_not() {
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let artifacts = connection.artifacts(&fixtures::create_bucket().await);
    let (name, version, files) = (fresh_name("m"), version("1.0.0"), artifact_files("a"));
    artifacts.create(&name, &version, &files).await.unwrap();
    Operation {
        proxy,
        about: "model.onnx.sealed",
        throttled: Fault::SLOW_DOWN,
        writes: false,
        calls: 1,
    }
    .outcomes(|| async {
        let (artifacts, name, version) = (Arc::clone(&artifacts), name.clone(), version.clone());
        let files = files.clone();
        Use::reading(async move {
            let read = artifacts.read(&name, &version).await?;
            assert_eq!(read, files);
            Ok(())
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_created_whole_or_not() {
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let artifacts = connection.artifacts(&fixtures::create_bucket().await);
    // The marker, which makes the version exist.
    let operation = Operation {
        proxy,
        about: "complete.json",
        throttled: Fault::SLOW_DOWN,
        writes: true,
        // It is written, and after a doubt read.
        calls: 2,
    };
    operation
        .outcomes(|| async {
            let (name, version, files) = (fresh_name("m"), version("1.0.0"), artifact_files("a"));
            let (reader, writer) = (Arc::clone(&artifacts), Arc::clone(&artifacts));
            let (id, expected) = ((name.clone(), version.clone()), files.clone());
            Use::new(
                async move { writer.create(&name, &version, &files).await },
                async move {
                    match reader.read(&id.0, &id.1).await {
                        Ok(stored) if stored == expected => 1,
                        Err(StoreError::NotFound(_)) => 0,
                        other => panic!("{other:?}"),
                    }
                },
            )
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_is_unwrapped_or_not() {
    let (proxy, connection) = proxied(Roto, |endpoints| &mut endpoints.kms).await;
    let (keys, key) = (
        connection.data_keys(),
        fixtures::create_data_key(Roto).await,
    );
    let context = KeyContext::from([("model".to_owned(), "m".to_owned())]);
    let (plain, wrapped) = keys.generate(&key, &context).await.unwrap();
    Operation {
        proxy,
        about: "Decrypt",
        throttled: Fault::THROTTLED,
        writes: false,
        calls: 1,
    }
    .outcomes(|| async {
        let (keys, key, context) = (Arc::clone(&keys), key.clone(), context.clone());
        let (plain, wrapped) = (plain.clone(), wrapped.clone());
        Use::reading(async move {
            let unwrapped = keys.unwrap(&key, &wrapped, &context).await?;
            assert_eq!(unwrapped.expose(), plain.expose());
            Ok(())
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_signed_or_not() {
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.kms).await;
    let key = fixtures::create_stream_key().await;
    let signer = connection.signer(&key, SigningAlgorithm::Ed25519);
    Operation {
        proxy,
        about: "Sign",
        throttled: Fault::THROTTLED,
        writes: false,
        calls: 1,
    }
    .outcomes(|| async {
        let signer = Arc::clone(&signer);
        Use::reading(async move {
            assert_eq!(signer.sign(b"registration").await?.len(), 64);
            Ok(())
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_moved_once_or_not() {
    let function = fixtures::create_function().await;
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.lambda).await;
    let aliases = connection.aliases(&function);
    let direct = connect().await.aliases(&function);
    let too_many = Fault::Answer(
        429,
        r#"{"Type":"User","message":"Rate exceeded","Reason":"CallerRateLimitExceeded"}"#,
    );
    let mut revision = 0;
    // Each of the three changes: the configuration, the version, the alias.
    for about in ["/configuration", "/versions", "/aliases"] {
        let change = |verb: &str| format!("{verb} /2015-03-31/functions/{function}{about}");
        let verb = if about == "/versions" { "POST" } else { "PUT" };
        // The first activation makes the alias.
        let verb = if about == "/aliases" && revision == 0 {
            "POST"
        } else {
            verb
        };
        for (times, fault) in [
            (1, Fault::Delay(SLOW)),
            (3, too_many.clone()),
            (2, Fault::FAILED),
            (1, Fault::ResetBefore),
            (1, Fault::ResetAfter),
            (1, Fault::Swallow),
        ] {
            proxy.next(times, &change(verb), fault.clone());
            let wanted = release_id(revision + 1);
            let moved = aliases.compare_and_swap("live", revision, wanted).await;
            revision += 1;
            let alias = moved.unwrap_or_else(|error| panic!("{about} {fault:?}: {error}"));
            assert_eq!((alias.release, alias.revision), (wanted, revision));
            assert_eq!(direct.get("live").await, Ok(Some(alias)));
            proxy.assert_all_took_place();
        }
    }
    let began = Instant::now();
    proxy.go_away();
    let gone = aliases
        .compare_and_swap("live", revision, release_id(1))
        .await;
    assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    assert!(began.elapsed() < BUDGET);
    let now = direct.get("live").await.unwrap().unwrap();
    assert_eq!(now.revision, revision, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_whose_replacement_lost_its_answer_is_the_new_one() {
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let artifacts = connection.artifacts(&fixtures::create_bucket().await);
    let (name, version, files) = (fresh_name("m"), version("1.0.0"), artifact_files("a"));
    artifacts.create(&name, &version, &files).await.unwrap();
    proxy.after(1, 1, "key.json", Fault::Swallow);
    let replaced = artifacts.replace_sidecar(&name, &version, b"new").await;
    assert_eq!(replaced, Ok(()));
    proxy.assert_all_took_place();
    let read = artifacts.read(&name, &version).await.unwrap();
    assert_eq!(read.sidecar, b"new");
}
