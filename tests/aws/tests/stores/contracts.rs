//! Every contract suite against the AWS stores, on every emulator that speaks for the service.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::ObjectLockMode;
use aws_tests::emulators::Emulator::{DynamodbLocal, Ministack, Roto};
use aws_tests::emulators::{connect, connect_keys, connect_tables};
use aws_tests::{fixtures, tables};
use domain::ports::{
    AliasReader, AliasWriter, AuditAppender, AuditReader, Claim, ClaimKey, KeyContext,
    KeyUnwrapper, KeyWrapper, LogWriter, RequestClaims, RoutingReader, SealIndexReader, Signer,
};
use domain::{LogPath, PrincipalId, RequestId, Sha256Digest, StoreError};
use store_aws::SigningAlgorithm;
use testkit::build::{TestStream, random, release_id};
use testkit::contract::{
    SignerKind, alias_contract, artifact_contract, audit_contract, claims_contract,
    heartbeat_contract, key_contract, log_lock_contract, log_store_contract, release_contract,
    routing_contract, seal_index_contract, search_contract, signer_contract, stage_contract,
};

/// How long what is logged is kept.
const YEAR: Duration = Duration::from_hours(365 * 24);

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_keep_the_contract() {
    let bucket = fixtures::create_bucket().await;
    let artifacts = connect().await.artifacts(&bucket);
    artifact_contract(&*artifacts, &*artifacts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_keep_the_contract() {
    for emulator in [DynamodbLocal, Ministack] {
        let table = tables::create_registry(emulator).await;
        let releases = connect_tables(emulator).await.releases(&table);
        release_contract(&*releases, &*releases).await;
        release_contract(&*releases, &*releases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_streams_keep_the_contract_in_dynamodb_local() {
    let table = tables::create_audit(DynamodbLocal).await;
    let audit = connect_tables(DynamodbLocal).await.audit(&table);
    audit_contract(&*audit, &*audit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_streams_keep_the_contract_in_ministack() {
    let table = tables::create_audit(Ministack).await;
    let audit = connect_tables(Ministack).await.audit(&table);
    audit_contract(&*audit, &*audit).await;
}

#[tokio::test]
async fn what_one_process_appends_another_reads() {
    let table = tables::create_audit(DynamodbLocal).await;
    let (one, other) = (
        connect_tables(DynamodbLocal).await.audit(&table),
        connect_tables(DynamodbLocal).await.audit(&table),
    );
    audit_contract(&*one, &*other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searching_keeps_the_contract() {
    for emulator in [DynamodbLocal, Ministack] {
        let table = tables::create_audit(emulator).await;
        let audit = connect_tables(emulator).await.audit(&table);
        search_contract(&*audit, &*audit).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_contract() {
    let (bucket, log_bucket) = (
        fixtures::create_bucket().await,
        fixtures::create_log_bucket().await,
    );
    for (bucket, retention) in [(bucket, None), (log_bucket, Some(YEAR))] {
        let log = connect().await.log_objects(&bucket, retention);
        log_store_contract(&*log, &*log, &*log).await;
        stage_contract(&*log, &*log, &*log, true).await;
    }
}

#[tokio::test]
async fn what_is_logged_is_retained_and_what_is_staged_is_not() {
    let bucket = fixtures::create_log_bucket().await;
    let log = connect().await.log_objects(&bucket, Some(YEAR));
    let client = fixtures::s3().await;
    for (path, retained) in [("tile/0/000", true), ("stage/1", false)] {
        let path = LogPath::parse(path).unwrap();
        log.create(&path, b"bytes").await.unwrap();
        let head = client.head_object().bucket(&bucket).key(path.as_str());
        let head = head.send().await.unwrap();
        let until = head.object_lock_retain_until_date().map(DateTime::secs);
        let in_a_year = SystemTime::now() + YEAR - Duration::from_mins(1);
        let in_a_year = DateTime::from(in_a_year).secs();
        assert_eq!(until.is_some_and(|until| until > in_a_year), retained);
        let mode = head.object_lock_mode().map(ObjectLockMode::as_str);
        assert_eq!(mode, retained.then_some("COMPLIANCE"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_the_log_keeps_the_contract() {
    for emulator in [DynamodbLocal, Ministack] {
        let table = tables::create_log(emulator).await;
        let connection = connect_tables(emulator).await;
        // Two logs may share the table: positions are each one's own, streams never are.
        let index = connection.seal_index(&table, "log.example/a");
        seal_index_contract(&*index, &*index).await;
        let other = connection.seal_index(&table, "log.example/b");
        assert_eq!(other.position().await.unwrap().tree_size, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_locks_by_itself_keeps_the_contract_and_decides_how_long() {
    let bucket = fixtures::create_locking_bucket(365).await;
    let log = connect().await.locked_log_objects(&bucket);
    log_store_contract(&*log, &*log, &*log).await;
    let client = fixtures::s3().await;
    for (path, days) in [("tile/0/000", 365), ("stage/1", 30)] {
        let path = LogPath::parse(path).unwrap();
        log.create(&path, b"bytes").await.unwrap();
        let head = client.head_object().bucket(&bucket).key(path.as_str());
        let head = head.send().await.unwrap();
        let until = head.object_lock_retain_until_date().map(DateTime::secs);
        let expected = SystemTime::now() + Duration::from_hours(24 * days);
        let off = until.unwrap() - DateTime::from(expected).secs();
        assert!(off.abs() < 60, "{path}: {off} s off");
        let mode = head.object_lock_mode().map(ObjectLockMode::as_str);
        assert_eq!(mode, Some("COMPLIANCE"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_the_log_keeps_the_contract() {
    for emulator in [DynamodbLocal, Ministack] {
        let table = tables::create_registry(emulator).await;
        let connection = connect_tables(emulator).await;
        log_lock_contract(&*connection.log_lock(&table, "log.example/a")).await;
        // Another log in the same table is another lock.
        log_lock_contract(&*connection.log_lock(&table, "log.example/b")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_keep_the_contract() {
    for emulator in [DynamodbLocal, Ministack] {
        let table = tables::create_requests(emulator).await;
        claims_contract(&*connect_tables(emulator).await.claims(&table)).await;
    }
}

#[tokio::test]
async fn heartbeats_keep_the_contract() {
    for emulator in [DynamodbLocal, Ministack] {
        let table = tables::create_requests(emulator).await;
        let heartbeats = connect_tables(emulator).await.heartbeats(&table);
        heartbeat_contract(&*heartbeats, &*heartbeats).await;
    }
}

#[tokio::test]
async fn data_keys_keep_the_contract() {
    let (key, other) = (
        fixtures::create_data_key(Roto).await,
        fixtures::create_data_key(Roto).await,
    );
    let keys = Unprefixed(connect_keys(Roto).await.data_keys());
    key_contract(&keys, &keys, &key, &other).await;
}

/// roto looks for the key that the first bytes of a ciphertext name, and where they were changed it says that there is
/// no such key; KMS says that the ciphertext is invalid. The key that was asked for is always there, except where
/// a test asks for `no-such-key`.
struct Unprefixed(std::sync::Arc<store_aws::KmsDataKeys>);

#[async_trait::async_trait]
impl KeyUnwrapper for Unprefixed {
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        context: &KeyContext,
    ) -> Result<artifact::DataKey, StoreError> {
        match self.0.unwrap(key_id, wrapped, context).await {
            Err(StoreError::NotFound(text)) if key_id != "no-such-key" => {
                Err(StoreError::Corrupt(text))
            }
            result => result,
        }
    }
}

#[async_trait::async_trait]
impl KeyWrapper for Unprefixed {
    async fn generate(
        &self,
        key_id: &str,
        context: &KeyContext,
    ) -> Result<(artifact::DataKey, Vec<u8>), StoreError> {
        self.0.generate(key_id, context).await
    }
}

#[tokio::test]
async fn a_data_key_under_a_disabled_key_is_not_found() {
    let key = fixtures::create_data_key(Roto).await;
    let connection = connect_keys(Roto).await;
    let keys = connection.data_keys();
    let context = KeyContext::from([("model".to_owned(), "m".to_owned())]);
    let (_, wrapped) = keys.generate(&key, &context).await.unwrap();
    let disable = fixtures::kms(Roto).await.disable_key();
    disable.key_id(&key).send().await.unwrap();
    let unwrapped = keys.unwrap(&key, &wrapped, &context).await;
    assert!(
        matches!(unwrapped, Err(StoreError::NotFound(_))),
        "{unwrapped:?}"
    );
    let found = connection.key_dependency("data-key", &key).check().await;
    assert!(matches!(found, Err(StoreError::NotFound(_))), "{found:?}");
}

#[tokio::test]
async fn signers_keep_the_contract() {
    let connection = connect_keys(Ministack).await;
    let stream = fixtures::create_stream_key().await;
    let signer = connection.signer(&stream, SigningAlgorithm::Ed25519);
    signer_contract(&*signer, SignerKind::Ed25519).await;
    let model = fixtures::create_model_signing_key().await;
    let signer = connection.signer(&model, SigningAlgorithm::P256);
    signer_contract(&*signer, SignerKind::P256).await;
}

#[tokio::test]
async fn a_message_longer_than_kms_signs_is_refused_or_digested() {
    let connection = connect_keys(Ministack).await;
    let key = fixtures::create_stream_key().await;
    let refused = connection
        .signer(&key, SigningAlgorithm::Ed25519)
        .sign(&[7; 4097])
        .await;
    let Err(StoreError::TooLarge(text)) = refused else {
        panic!("expected too large, found {refused:?}")
    };
    assert!(
        text.contains("4097 bytes") && text.contains("at most 4096"),
        "{text}"
    );
    let key = fixtures::create_model_signing_key().await;
    let signer = connection.signer(&key, SigningAlgorithm::P256);
    assert!(signer.sign(&vec![7; 100_000]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_keep_the_contract() {
    let function = fixtures::create_function().await;
    let aliases = connect().await.aliases(&function);
    alias_contract(&*aliases, &*aliases).await;
}

#[tokio::test]
async fn routing_keeps_the_contract() {
    let function = fixtures::create_function().await;
    let aliases = connect().await.aliases(&function);
    routing_contract(&*aliases, &*aliases).await;
}

#[tokio::test]
async fn an_activation_keeps_the_environment_and_publishes_its_release() {
    let function = fixtures::create_function().await;
    let aliases = connect().await.aliases(&function);
    aliases
        .compare_and_swap("live", 0, release_id(1))
        .await
        .unwrap();
    aliases
        .compare_and_swap("live", 1, release_id(2))
        .await
        .unwrap();
    for (version, release) in [("1", "r-000001"), ("2", "r-000002")] {
        let get = fixtures::lambda().await.get_function_configuration();
        let configuration = get
            .function_name(&function)
            .qualifier(version)
            .send()
            .await
            .unwrap();
        let environment = configuration.environment.unwrap().variables.unwrap();
        assert_eq!(environment["SEALCAST_RELEASE"], release);
        assert_eq!(environment["KEPT"], "as it is");
    }
    let routing = aliases.routing("live").await.unwrap();
    assert_eq!(routing.targets[0].version, "2");
}

#[tokio::test]
async fn an_alias_that_the_template_made_was_never_activated_and_can_be() {
    let function = fixtures::create_function().await;
    let lambda = fixtures::lambda().await;
    let publish = lambda.publish_version().function_name(&function);
    let version = publish.send().await.unwrap().version.unwrap();
    let create = lambda.create_alias().function_name(&function).name("live");
    let create = create
        .function_version(&version)
        .description("never moved by the template");
    create.send().await.unwrap();

    let aliases = connect().await.aliases(&function);
    assert_eq!(aliases.get("live").await, Ok(None));
    let routing = aliases.routing("live").await.unwrap();
    assert_eq!((routing.alias, routing.targets.len()), (None, 1));
    let alias = aliases
        .compare_and_swap("live", 0, release_id(3))
        .await
        .unwrap();
    assert_eq!(aliases.get("live").await, Ok(Some(alias)));

    // Somebody moves it by hand: what serves is no longer what was released.
    let update = lambda.update_alias().function_name(&function).name("live");
    update.function_version(&version).send().await.unwrap();
    for result in [
        aliases.get("live").await.map(|_| ()),
        aliases.routing("live").await.map(|_| ()),
        aliases
            .compare_and_swap("live", 1, release_id(4))
            .await
            .map(|_| ()),
    ] {
        assert!(matches!(result, Err(StoreError::Corrupt(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_function_that_does_not_exist_is_not_found() {
    let aliases = connect().await.aliases(&fixtures::fresh("nobody"));
    let routing = aliases.routing("live").await;
    assert!(
        matches!(routing, Err(StoreError::NotFound(_))),
        "{routing:?}"
    );
    let swapped = aliases.compare_and_swap("live", 0, release_id(1)).await;
    assert!(
        matches!(swapped, Err(StoreError::NotFound(_))),
        "{swapped:?}"
    );
}

#[tokio::test]
async fn dependencies_tell_what_is_there_and_what_is_not() {
    let connection = connect_keys(Ministack).await;
    let table = tables::create_registry(DynamodbLocal).await;
    let bucket = fixtures::create_bucket().await;
    let key = fixtures::create_stream_key().await;
    let gone = fixtures::fresh("gone");
    let unknown_key = key.replace(key.rsplit('/').next().unwrap(), "0000-unknown");
    for (dependency, there) in [
        (connection.table_dependency("registry", &table, "REL"), true),
        (connection.table_dependency("registry", &gone, "REL"), false),
        (connection.bucket_dependency("models", &bucket), true),
        (connection.bucket_dependency("models", &gone), false),
        (connection.key_dependency("stream-key", &key), true),
        (connection.key_dependency("stream-key", &unknown_key), false),
    ] {
        let found = dependency.check().await;
        let name = dependency.name();
        if there {
            assert_eq!(found, Ok(()), "{name}");
        } else {
            assert!(
                matches!(found, Err(StoreError::NotFound(_))),
                "{name}: {found:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_registered_at_once_do_not_disturb_each_other() {
    let table = tables::create_audit(DynamodbLocal).await;
    let audit = connect_tables(DynamodbLocal).await.audit(&table);
    let streams: Vec<_> = (0..64).map(|_| TestStream::fresh()).collect();
    let registered =
        futures::future::join_all(streams.iter().map(|s| audit.register(&s.registration))).await;
    assert!(registered.iter().all(Result::is_ok), "{registered:?}");
    let mut expected: Vec<_> = streams.iter().map(|s| s.stream.id()).collect();
    expected.sort_unstable();
    assert_eq!(audit.streams(None, 1000).await, Ok(expected.clone()));
    let page = audit.streams(Some(expected[9]), 5).await.unwrap();
    assert_eq!(page, expected[10..15]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_no_transaction_holds_is_written_in_order() {
    let table = tables::create_audit(DynamodbLocal).await;
    let audit = connect_tables(DynamodbLocal).await.audit(&table);
    let mut test = TestStream::fresh();
    audit.register(&test.registration).await.unwrap();
    // 120 records of 60 kB: 7.2 MB, where a transaction takes 100 and 4 MB; then 250 small ones.
    let large: Vec<_> = (0..120).map(|_| test.record(&"x".repeat(60_000))).collect();
    let small = test.records(250);
    assert_eq!(audit.append(large.clone()).await, Ok(()));
    assert_eq!(audit.append(small.clone()).await, Ok(()));
    let stored = audit.read(test.stream.id(), 0, 1000).await.unwrap();
    assert_eq!(stored, [large, small].concat());
}

#[tokio::test]
async fn an_answer_that_no_row_holds_is_too_large_and_the_claim_stands() {
    let table = tables::create_requests(DynamodbLocal).await;
    let claims = connect_tables(DynamodbLocal).await.claims(&table);
    let key = ClaimKey {
        principal: PrincipalId::parse("anna").unwrap(),
        request: RequestId::parse("id-1").unwrap(),
    };
    let payload = Sha256Digest::of(b"payload");
    let claim = async || {
        claims
            .claim(&key, payload, 1_000_000, 1_000_000)
            .await
            .unwrap()
    };
    let Claim::Won(token) = claim().await else {
        panic!("the id is fresh")
    };
    let noise: Vec<u8> = (0..50).flat_map(|_| random::<10_000>()).collect();
    let answered = claims.answer(&key, token, &noise, 9_000_000).await;
    assert!(
        matches!(answered, Err(StoreError::TooLarge(_))),
        "{answered:?}"
    );
    assert_eq!(claim().await, Claim::InProgress);
    // The longest that a row holds, so the limit is DynamoDB's own and not beyond it.
    let fits = &noise[..389_000];
    assert_eq!(claims.answer(&key, token, fits, 9_000_000).await, Ok(()));
    assert_eq!(claim().await, Claim::Answered(fits.to_vec()));
}
