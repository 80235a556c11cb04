//! Local keys: their files, their modes, and what is trusted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use artifact::{PublicKey, Sha256Digest, signature};
use domain::ports::KeyContext;
use store_embedded::{EmbeddedStore, LocalKeys, OpenError};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Every file and directory below `dir`.
fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn nobody_else_may_read_anything_of_a_data_directory() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let store = EmbeddedStore::create(&data).unwrap();
    let (name, version) = (
        testkit::build::fresh_name("m"),
        testkit::build::version("1.0.0"),
    );
    store
        .artifact_writer()
        .create(&name, &version, &testkit::build::artifact_files("a"))
        .await
        .unwrap();
    store
        .release_writer()
        .create(&testkit::build::release(1))
        .await
        .unwrap();
    store
        .alias_writer()
        .compare_and_swap("live", 0, testkit::build::release_id(1))
        .await
        .unwrap();
    store
        .audit_appender()
        .register(&testkit::build::TestStream::fresh().registration)
        .await
        .unwrap();
    let paths = walk(&data);
    for path in &paths {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    for name in [
        "state.redb",
        "live.json",
        "r-000001.json",
        "model.onnx.sealed",
        "master-0001.json",
    ] {
        assert!(paths.iter().any(|path| path.ends_with(name)), "{name}");
    }
    assert!(
        paths
            .iter()
            .any(|path| path.extension().is_some_and(|end| end == "jsonl"))
    );
}

#[test]
fn a_key_file_that_others_may_read_is_refused_by_name_and_mode() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("keys");
    LocalKeys::create(&dir).unwrap();
    for name in [
        "model-signing.pem",
        "stream-registration.pem",
        "master-0001.json",
    ] {
        let path = dir.join(name);
        for wide in [0o640, 0o604, 0o660, 0o700] {
            set_mode(&path, wide);
            let error = LocalKeys::open(&dir).unwrap_err();
            assert!(
                matches!(&error, OpenError::Mode { path: found, mode } if *found == path && *mode == wide)
            );
            let text = error.to_string();
            assert!(
                text.contains(name) && text.contains(&format!("{wide:04o}")),
                "{text}"
            );
        }
        set_mode(&path, 0o400);
        LocalKeys::open(&dir).unwrap();
        set_mode(&path, 0o600);
    }
}

#[test]
fn keys_are_never_overwritten() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("keys");
    let keys = LocalKeys::create(&dir).unwrap();
    let error = LocalKeys::create(&dir).unwrap_err();
    assert!(matches!(error, OpenError::Exists(path) if path == dir));
    let again = LocalKeys::open(&dir).unwrap();
    assert_eq!(again.model_signer().key_id(), keys.model_signer().key_id());
    assert_eq!(
        std::fs::read_dir(data.path()).unwrap().count(),
        1,
        "nothing unfinished is left"
    );
    assert!(EmbeddedStore::create(data.path()).is_err());
}

#[test]
fn a_missing_or_foreign_key_file_is_named() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("keys");
    let error = LocalKeys::open(&dir).unwrap_err().to_string();
    assert!(
        error.contains("model-signing.pem does not exist"),
        "{error}"
    );
    LocalKeys::create(&dir).unwrap();
    std::fs::copy(
        dir.join("stream-registration.pem"),
        dir.join("model-signing.pem"),
    )
    .unwrap();
    let error = LocalKeys::open(&dir).unwrap_err().to_string();
    assert!(
        error.contains("model-signing.pem: expected a P-256 private key"),
        "{error}"
    );
}

#[test]
fn a_public_key_of_another_private_key_is_noticed() {
    let data = tempfile::tempdir().unwrap();
    let (a, b) = (data.path().join("a"), data.path().join("b"));
    LocalKeys::create(&a).unwrap();
    LocalKeys::create(&b).unwrap();
    for name in ["model-signing.pub.pem", "stream-registration.pub.pem"] {
        let own = std::fs::read(a.join(name)).unwrap();
        std::fs::copy(b.join(name), a.join(name)).unwrap();
        let error = LocalKeys::open(&a).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        std::fs::write(a.join(name), own).unwrap();
    }
    LocalKeys::open(&a).unwrap();
}

#[tokio::test]
async fn earlier_public_keys_stay_trusted() {
    let data = tempfile::tempdir().unwrap();
    let (old, new) = (data.path().join("old"), data.path().join("new"));
    let before = LocalKeys::create(&old).unwrap();
    LocalKeys::create(&new).unwrap();
    for name in ["model-signing", "stream-registration"] {
        let file = old.join(format!("{name}.pub.pem"));
        std::fs::copy(file, new.join(format!("{name}.2025.pub.pem"))).unwrap();
    }
    let keys = LocalKeys::open(&new).unwrap();
    assert_eq!(
        (
            keys.trusted_model_keys().len(),
            keys.trusted_stream_keys().len()
        ),
        (2, 2)
    );
    assert!(
        keys.trusted_model_keys()
            .contains(&before.trusted_model_keys()[0])
    );
    assert!(
        keys.trusted_stream_keys()
            .contains(&before.trusted_stream_keys()[0])
    );
    assert_ne!(
        keys.stream_signer().key_id(),
        before.stream_signer().key_id()
    );
}

#[tokio::test]
async fn what_the_model_key_signs_verifies_under_the_trusted_keys() {
    let data = tempfile::tempdir().unwrap();
    let keys = LocalKeys::create(&data.path().join("keys")).unwrap();
    let other = LocalKeys::create(&data.path().join("other")).unwrap();
    let signer = keys.model_signer();
    let public = PublicKey::from_pem(&signer.public_key_pem().await.unwrap()).unwrap();
    let files = [("manifest.json", Sha256Digest::of(b"manifest"))];
    let unsigned = signature::state("m@1.0.0", &files, &[]).unwrap();
    let der = signer.sign(unsigned.pae()).await.unwrap();
    let bundle = unsigned.into_bundle(&der, &public).unwrap();
    signature::verify(&bundle, &keys.trusted_model_keys(), 0).unwrap();
    assert!(signature::verify(&bundle, &other.trusted_model_keys(), 0).is_err());
}

#[tokio::test]
async fn data_keys_outlive_the_master_key_that_wrapped_them() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("keys");
    let keys = LocalKeys::create(&dir).unwrap();
    let context = KeyContext::from([("model".to_owned(), "m".to_owned())]);
    let (key, wrapped) = keys
        .wrapper()
        .generate(keys.master_key_id(), &context)
        .await
        .unwrap();
    for _ in 0..11 {
        let newest = LocalKeys::add_master_key(&dir).unwrap();
        assert_eq!(LocalKeys::open(&dir).unwrap().master_key_id(), newest);
    }
    let later = LocalKeys::open(&dir).unwrap();
    let again = later
        .unwrapper()
        .unwrap(keys.master_key_id(), &wrapped, &context)
        .await
        .unwrap();
    assert_eq!(again.expose(), key.expose());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("keys");
    let keys = LocalKeys::create(&dir).unwrap();
    let text = format!("{keys:?}");
    let file = std::fs::read_to_string(dir.join("master-0001.json")).unwrap();
    let secret = file.split('"').rev().find(|part| part.len() == 44).unwrap();
    assert!(
        !text.contains(secret) && text.contains(keys.master_key_id()),
        "{text}"
    );
}
