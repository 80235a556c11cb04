//! Every use of S3, KMS and Lambda while the service is slow, throttles, fails, breaks off, loses answers, or is gone.

use std::sync::Arc;
use std::time::Instant;

use aws_tests::emulators::Emulator::{Ministack, Roto};
use aws_tests::emulators::connect;
use aws_tests::fixtures;
use aws_tests::proxy::Fault;
use domain::ports::{
    AliasReader, AliasWriter, ArtifactReader, ArtifactWriter, KeyContext, KeyUnwrapper, KeyWrapper,
    LogPublisher, LogReader, LogWriter, Signer,
};
use domain::{LogPath, StoreError};
use store_aws::SigningAlgorithm;
use testkit::build::{artifact_files, fresh_name, release_id, version};

use crate::operation::{BUDGET, Operation, SLOW, Use, proxied};

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_read_whole_or_not() {
    let bucket = &fixtures::create_bucket().await;
    let (name, version, files) = &(fresh_name("m"), version("1.0.0"), artifact_files("a"));
    let artifacts = connect().await.artifacts(bucket);
    artifacts.create(name, version, files).await.unwrap();
    Operation {
        emulator: Ministack,
        place: |endpoints| &mut endpoints.s3,
        about: "model.onnx.sealed",
        throttled: Fault::SLOW_DOWN,
        writes: false,
        calls: 1,
    }
    .outcomes(|connection| async move {
        let artifacts = connection.artifacts(bucket);
        let (name, version, files) = (name.clone(), version.clone(), files.clone());
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
    let bucket = &fixtures::create_bucket().await;
    Operation {
        emulator: Ministack,
        place: |endpoints| &mut endpoints.s3,
        // The marker, which makes the version exist.
        about: "complete.json",
        throttled: Fault::SLOW_DOWN,
        writes: true,
        // It is written, and after a doubt read.
        calls: 2,
    }
    .outcomes(|connection| async move {
        let (name, version, files) = (fresh_name("m"), version("1.0.0"), artifact_files("a"));
        let writer = connection.artifacts(bucket);
        let reader = Arc::clone(&writer);
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
    let key = &fixtures::create_data_key(Roto).await;
    let context = &KeyContext::from([("model".to_owned(), "m".to_owned())]);
    let keys = connect().await.data_keys();
    let (plain, wrapped) = &keys.generate(key, context).await.unwrap();
    Operation {
        emulator: Roto,
        place: |endpoints| &mut endpoints.kms,
        about: "Decrypt",
        throttled: Fault::THROTTLED,
        writes: false,
        calls: 1,
    }
    .outcomes(|connection| async move {
        let (keys, key, context) = (connection.data_keys(), key.clone(), context.clone());
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
    let key = &fixtures::create_stream_key().await;
    Operation {
        emulator: Ministack,
        place: |endpoints| &mut endpoints.kms,
        about: "Sign",
        throttled: Fault::THROTTLED,
        writes: false,
        calls: 1,
    }
    .outcomes(|connection| async move {
        let signer = connection.signer(key, SigningAlgorithm::Ed25519);
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
    proxy.go_away().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_the_log_is_created_once_or_not() {
    let bucket = &fixtures::create_bucket().await;
    Operation {
        emulator: Ministack,
        place: |endpoints| &mut endpoints.s3,
        about: "/tile/",
        throttled: Fault::SLOW_DOWN,
        writes: true,
        // It is written, and after a doubt read.
        calls: 2,
    }
    .outcomes(|connection| async move {
        let path = LogPath::parse(&format!("tile/0/{}", fresh_name("t"))).unwrap();
        let log = connection.log_objects(bucket, None);
        let (reader, written) = (Arc::clone(&log), path.clone());
        Use::new(
            async move { log.create(&path, b"hashes").await },
            async move {
                match reader.read(&written, 100).await {
                    Ok(stored) if stored == b"hashes" => 1,
                    Err(StoreError::NotFound(_)) => 0,
                    other => panic!("{other:?}"),
                }
            },
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_whose_publication_lost_its_answer_is_published() {
    for fault in [Fault::Swallow, Fault::ResetAfter, Fault::FAILED] {
        let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
        let log = connection.log_objects(&fixtures::create_bucket().await, None);
        assert_eq!(log.publish(None, b"one").await, Ok(()));
        // The first request reads what is there.
        proxy.after(1, 1, "/checkpoint", fault);
        assert_eq!(log.publish(Some(b"one"), b"two").await, Ok(()));
        proxy.assert_all_took_place();
        assert_eq!(log.checkpoint().await, Ok(Some(b"two".to_vec())));
    }
}
