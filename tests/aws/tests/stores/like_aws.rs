//! What AWS does and no emulator here does.

use aws_tests::emulators::Emulator::{Ministack, Roto};
use aws_tests::fixtures;
use aws_tests::proxy::Fault;
use domain::StoreError;
use domain::ports::{ArtifactReader, ArtifactWriter, KeyContext, KeyUnwrapper, KeyWrapper};
use testkit::build::{artifact_files, fresh_name, version};

use crate::operation::proxied;

const DENIED_BY_S3: Fault = Fault::Answer(
    403,
    "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
);
const SKEWED: Fault = Fault::Answer(
    403,
    "<?xml version=\"1.0\"?><Error><Code>RequestTimeTooSkewed</Code><Message>clock</Message></Error>",
);
const DENIED_BY_KMS: Fault =
    Fault::Answer(400, r#"{"__type":"AccessDeniedException","message":"no"}"#);

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_told_from_a_broken_clock_without_permission_to_list() {
    let (proxy, connection) = proxied(Ministack, |endpoints| &mut endpoints.s3).await;
    let artifacts = connection.artifacts(&fixtures::create_bucket().await);
    let (name, version, files) = (fresh_name("m"), version("1.0.0"), artifact_files("a"));
    artifacts.create(&name, &version, &files).await.unwrap();

    proxy.next(1, "complete.json", DENIED_BY_S3);
    let found = artifacts.read(&name, &version).await;
    assert!(matches!(found, Err(StoreError::NotFound(_))), "{found:?}");

    proxy.next(1, "model.onnx.sealed", DENIED_BY_S3);
    let found = artifacts.read(&name, &version).await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");

    for file in ["complete.json", "model.onnx.sealed"] {
        proxy.next(1, file, SKEWED);
        let found = artifacts.read(&name, &version).await;
        assert!(
            matches!(found, Err(StoreError::Unavailable(_))),
            "{file}: {found:?}"
        );
    }
    proxy.assert_all_took_place();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_role_may_not_use_is_denied() {
    let (proxy, connection) = proxied(Roto, |endpoints| &mut endpoints.kms).await;
    let keys = connection.data_keys();
    let key = fixtures::create_data_key(Roto).await;
    let context = KeyContext::from([("model".to_owned(), "m".to_owned())]);
    let (_, wrapped) = keys.generate(&key, &context).await.unwrap();
    proxy.next(1, "Decrypt", DENIED_BY_KMS);
    let unwrapped = keys.unwrap(&key, &wrapped, &context).await;
    assert!(
        matches!(unwrapped, Err(StoreError::Denied(_))),
        "{unwrapped:?}"
    );
    proxy.assert_all_took_place();
}
