//! Every contract suite against the embedded store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::ffi::OsStrExt as _;

use domain::StoreError;
use domain::ports::{SpillReader as _, SpillRemover as _};
use store_embedded::{EmbeddedStore, FileSpill, LocalKeys, MemoryHeartbeats};
use testkit::contract::{
    SignerKind, alias_contract, artifact_contract, audit_contract, claims_contract,
    heartbeat_contract, key_contract, log_lock_contract, log_store_contract, release_contract,
    restore_contract, seal_index_contract, search_contract, signer_contract, spill_contract,
    stage_contract,
};

struct Opened {
    store: EmbeddedStore,
    data: tempfile::TempDir,
}

fn open() -> Opened {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    Opened { store, data }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_keep_the_contract() {
    let opened = open();
    let (reader, writer) = (
        opened.store.artifact_reader(),
        opened.store.artifact_writer(),
    );
    artifact_contract(&*reader, &*writer).await;
    let left = std::fs::read_dir(opened.data.path().join("artifacts/.incoming")).unwrap();
    assert_eq!(left.count(), 0, "whoever lost leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_streams_keep_the_contract() {
    let opened = open();
    let (appender, reader) = (opened.store.audit_appender(), opened.store.audit_reader());
    audit_contract(&*appender, &*reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_appends_another_reads() {
    let opened = open();
    let other = store_embedded::FileAudit::open(opened.data.path()).unwrap();
    audit_contract(&*opened.store.audit_appender(), &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_keeps_the_contract() {
    let opened = open();
    let store = &opened.store;
    let (restorer, appender) = (store.audit_restorer(), store.audit_appender());
    restore_contract(&*restorer, &*appender, &*store.audit_reader()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_what_another_process_appended_keeps_the_contract() {
    let opened = open();
    let other = store_embedded::FileAudit::open(opened.data.path()).unwrap();
    let (restorer, reader) = (opened.store.audit_restorer(), opened.store.audit_reader());
    restore_contract(&*restorer, &other, &*reader).await;
    restore_contract(&other, &*opened.store.audit_appender(), &*reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spill_keeps_the_contract() {
    let data = tempfile::tempdir().unwrap();
    let spill = FileSpill::open(&data.path().join("elsewhere/spill")).unwrap();
    spill_contract(&spill, &spill, &spill).await;
}

#[tokio::test]
async fn whatever_lies_in_the_spill_is_set_aside_but_what_is_its_own() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("spill");
    let spill = FileSpill::open(&dir).unwrap();
    let not_text = std::ffi::OsStr::from_bytes(b"\xff\xfe.jsonl");
    std::fs::write(dir.join(not_text), "").unwrap();
    std::fs::write(dir.join(".tmp-0a"), "half").unwrap();
    std::fs::write(dir.join(".hidden"), "seen").unwrap();
    std::fs::create_dir(dir.join("folder")).unwrap();
    let pipe = dir.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(pipe).status();
    assert!(made.unwrap().success());
    let listed = spill.list("", 10).await.unwrap();
    assert_eq!(listed, [".hidden", "folder", "pipe"]);
    assert_eq!(spill.read(".hidden").await.unwrap(), b"seen");
    for no_file in ["folder", "pipe"] {
        let read = spill.read(no_file).await;
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    }
    for name in &listed {
        spill.set_aside(name, "unread").await.unwrap();
    }
    assert_eq!(spill.set_aside_count(10).await, Ok(3));
    assert!(spill.list("", 10).await.unwrap().is_empty());
    for outside in ["", ".", "..", "../data", ".lock", ".tmp-0a", "aside"] {
        let refused = spill.set_aside(outside, "unread").await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{outside}");
    }
    assert_eq!(std::fs::read(dir.join(".tmp-0a")).unwrap(), b"half");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_keep_the_contract() {
    claims_contract(&*open().store.request_claims()).await;
}

#[tokio::test]
async fn claims_keep_the_contract_on_one_thread() {
    claims_contract(&*open().store.request_claims()).await;
}

#[tokio::test]
async fn heartbeats_keep_the_contract() {
    let heartbeats = MemoryHeartbeats::default();
    heartbeat_contract(&heartbeats, &heartbeats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searching_keeps_the_contract() {
    let opened = open();
    let (appender, search) = (opened.store.audit_appender(), opened.store.audit_search());
    search_contract(&*appender, &*search).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_contract() {
    let opened = open();
    let log = opened.store.log();
    log_store_contract(&*log, &*log, &*log).await;
    stage_contract(&*log, &*log, &*log, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_the_sealed_log_keeps_the_contract() {
    let index = open().store.seal_index();
    seal_index_contract(&*index, &*index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_the_log_keeps_the_contract() {
    let opened = open();
    log_lock_contract(&*opened.store.log()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_keep_the_contract() {
    let opened = open();
    let (reader, writer) = (opened.store.release_reader(), opened.store.release_writer());
    release_contract(&*reader, &*writer).await;
    release_contract(&*reader, &*writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_keep_the_contract() {
    let opened = open();
    alias_contract(&*opened.store.alias_reader(), &*opened.store.alias_writer()).await;
}

#[tokio::test]
async fn keys_keep_the_contract() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("keys");
    let first = LocalKeys::create(&dir).unwrap();
    let second = LocalKeys::add_master_key(&dir).unwrap();
    let keys = LocalKeys::open(&dir).unwrap();
    assert_eq!(keys.master_key_id(), second);
    let (wrapper, unwrapper) = (keys.wrapper(), keys.unwrapper());
    key_contract(&*wrapper, &*unwrapper, first.master_key_id(), &second).await;
    key_contract(&*wrapper, &*unwrapper, &second, first.master_key_id()).await;
}

#[tokio::test]
async fn signers_keep_the_contract() {
    let opened = open();
    signer_contract(&*opened.store.model_signer(), SignerKind::P256).await;
    signer_contract(&*opened.store.stream_signer(), SignerKind::Ed25519).await;
}
