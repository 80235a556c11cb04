//! What a data directory holds after its process is gone, and what is wrong with it is noticed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use domain::ports::{AuditAppender, AuditReader, Claim, ClaimKey, ReleaseWriter, RequestClaims};
use domain::{PrincipalId, RequestId, Sha256Digest, StoreError};
use store_embedded::{
    EmbeddedStore, ExportError, FileAudit, FileReleases, LocalKeys, OpenError, RedbClaims,
    export_stream, list_streams,
};
use testkit::build::{TestStream, release, release_id, verify};

fn stream_path(data: &Path, test: &TestStream) -> PathBuf {
    data.join(format!("audit/{}.jsonl", test.stream.id()))
}

fn append_raw(path: &Path, bytes: &[u8]) {
    OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

#[tokio::test]
async fn a_torn_last_line_is_cut_and_the_rest_verifies() {
    let data = tempfile::tempdir().unwrap();
    let mut test = TestStream::fresh();
    let records = test.records(300);
    let audit = FileAudit::open(data.path()).unwrap();
    audit.register(&test.registration).await.unwrap();
    audit.append(records.clone()).await.unwrap();
    drop(audit);
    let path = stream_path(data.path(), &test);
    let whole = std::fs::read(&path).unwrap();
    let last = audit::export::record_line(&test.record("torn"));
    for torn in [1, last.len() / 2, last.len() - 1] {
        append_raw(&path, &last[..torn]);
        // Before the repair, too, nobody sees the torn line.
        let mut exported = Vec::new();
        export_stream(data.path(), test.stream.id(), &mut exported).unwrap();
        assert_eq!(exported, whole);
        let audit = FileAudit::open(data.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "{torn} bytes");
        let read = audit.read(test.stream.id(), 0, 1000).await.unwrap();
        assert_eq!(verify(&test.registration, &read).unwrap().events, 300);
        assert_eq!(
            audit.registration(test.stream.id()).await.unwrap(),
            test.registration
        );
    }
}

#[tokio::test]
async fn a_living_process_is_not_repaired_under() {
    let data = tempfile::tempdir().unwrap();
    let mut test = TestStream::fresh();
    let alive = FileAudit::open(data.path()).unwrap();
    alive.register(&test.registration).await.unwrap();
    alive.append(test.records(2)).await.unwrap();
    let path = stream_path(data.path(), &test);
    append_raw(&path, b"{\"entry\":");
    let torn = std::fs::read(&path).unwrap();
    let second = FileAudit::open(data.path()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), torn);
    assert_eq!(second.read(test.stream.id(), 0, 10).await.unwrap().len(), 2);
    assert_eq!(alive.read(test.stream.id(), 0, 10).await.unwrap().len(), 2);
    drop((alive, second));
    FileAudit::open(data.path()).unwrap();
    assert!(std::fs::read(&path).unwrap().len() < torn.len());
}

#[tokio::test]
async fn an_old_stream_is_read_but_never_continued() {
    let data = tempfile::tempdir().unwrap();
    let mut test = TestStream::fresh();
    let first = FileAudit::open(data.path()).unwrap();
    first.register(&test.registration).await.unwrap();
    first.append(test.records(1)).await.unwrap();
    drop(first);
    let second = FileAudit::open(data.path()).unwrap();
    assert_eq!(
        second.register(&test.registration).await,
        Ok(()),
        "the same registration is a success"
    );
    assert!(second.append(test.records(1)).await.is_err());
    assert_eq!(second.read(test.stream.id(), 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_registration_whose_reply_was_lost_can_still_be_used() {
    let data = tempfile::tempdir().unwrap();
    let mut test = TestStream::fresh();
    FileAudit::open(data.path())
        .unwrap()
        .register(&test.registration)
        .await
        .unwrap();
    let second = FileAudit::open(data.path()).unwrap();
    second.register(&test.registration).await.unwrap();
    second.append(test.records(1)).await.unwrap();
    assert_eq!(second.read(test.stream.id(), 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_changed_line_is_corrupt_and_its_place_is_named() {
    let data = tempfile::tempdir().unwrap();
    let mut test = TestStream::fresh();
    let records = test.records(3);
    let audit = FileAudit::open(data.path()).unwrap();
    audit.register(&test.registration).await.unwrap();
    audit.append(records.clone()).await.unwrap();
    let path = stream_path(data.path(), &test);
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let swapped = [lines[0], lines[2], lines[1], lines[3]].concat();
    std::fs::write(&path, swapped).unwrap();
    let error = audit.read(test.stream.id(), 0, 10).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(why) if why.contains("expected event 0, found event 1"))
    );
    std::fs::write(&path, whole.replace("\"sig\"", "\"gis\"")).unwrap();
    assert!(matches!(
        audit.read(test.stream.id(), 1, 10).await,
        Err(StoreError::Corrupt(_))
    ));
    assert!(matches!(
        audit.registration(test.stream.id()).await,
        Err(StoreError::Corrupt(_))
    ));
}

#[tokio::test]
async fn a_stream_that_was_cut_under_its_process_is_corrupt() {
    let data = tempfile::tempdir().unwrap();
    let mut test = TestStream::fresh();
    let audit = FileAudit::open(data.path()).unwrap();
    audit.register(&test.registration).await.unwrap();
    audit.append(test.records(3)).await.unwrap();
    let file = OpenOptions::new()
        .write(true)
        .open(stream_path(data.path(), &test))
        .unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let error = audit.read(test.stream.id(), 0, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}

#[tokio::test]
async fn streams_are_listed_and_exported_without_a_store() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(list_streams(data.path()).unwrap(), []);
    let mut test = TestStream::fresh();
    let records = test.records(2);
    let audit = FileAudit::open(data.path()).unwrap();
    audit.register(&test.registration).await.unwrap();
    audit.append(records.clone()).await.unwrap();
    assert_eq!(list_streams(data.path()).unwrap(), [test.stream.id()]);
    let mut exported = Vec::new();
    let bytes = export_stream(data.path(), test.stream.id(), &mut exported).unwrap();
    assert_eq!(bytes, exported.len() as u64);
    let mut lines = exported.split_inclusive(|byte| *byte == b'\n');
    let registration = audit::export::parse_registration_line(lines.next().unwrap()).unwrap();
    let read: Vec<_> = lines
        .map(|line| audit::export::parse_record_line(line).unwrap())
        .collect();
    assert_eq!((registration, read), (test.registration, records));
    let unknown = TestStream::fresh().stream.id();
    let error = export_stream(data.path(), unknown, Vec::new()).unwrap_err();
    assert!(matches!(error, ExportError::NotFound(stream) if stream == unknown));
}

#[tokio::test]
async fn a_data_directory_is_open_once_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    let error = EmbeddedStore::open(data.path()).unwrap_err();
    assert!(
        matches!(&error, OpenError::InUse(path) if path.ends_with("state.redb")),
        "{error}"
    );
    assert!(error.to_string().contains("stop that process"), "{error}");
    // What the command line needs meanwhile.
    LocalKeys::open(&data.path().join("keys")).unwrap();
    let releases = FileReleases::open(data.path()).unwrap();
    ReleaseWriter::create(&releases, &release(1)).await.unwrap();
    assert_eq!(
        store.release_reader().get(release_id(1)).await,
        Ok(release(1))
    );
    drop(store);
    EmbeddedStore::open(data.path()).unwrap();
}

#[tokio::test]
async fn a_store_without_keys_is_not_opened_and_nothing_is_made() {
    let data = tempfile::tempdir().unwrap();
    let error = EmbeddedStore::open(data.path()).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_changed_release_or_alias_is_corrupt() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    for number in [1, 2] {
        store
            .release_writer()
            .create(&release(number))
            .await
            .unwrap();
    }
    let dir = data.path().join("releases");
    std::fs::copy(dir.join("r-000001.json"), dir.join("r-000002.json")).unwrap();
    let error = store.release_reader().get(release_id(2)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("holds release r-000001")),
        "{error}"
    );

    store
        .alias_writer()
        .compare_and_swap("live", 0, release_id(1))
        .await
        .unwrap();
    let path = data.path().join("aliases/live.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for changed in [
        text.replace("/v1", "/v2"),
        text.replace("revision", "version"),
        String::new(),
    ] {
        std::fs::write(&path, changed).unwrap();
        let error = store.alias_reader().get("live").await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        let error = store
            .alias_writer()
            .compare_and_swap("live", 1, release_id(1))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    }
}

#[tokio::test]
async fn an_alias_cannot_name_another_file() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    for name in [
        "",
        "../keys/x",
        "a/b",
        ".lock",
        "Live",
        "a.b",
        &"a".repeat(65),
    ] {
        let error = store.alias_reader().get(name).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Conflict(text) if text.contains("expected 1 to 64")),
            "{error}"
        );
        assert!(
            store
                .alias_writer()
                .compare_and_swap(name, 0, release_id(1))
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_damaged_artifact_is_corrupt_and_an_oversized_one_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    let (name, version) = (
        testkit::build::fresh_name("m"),
        testkit::build::version("1.0.0"),
    );
    let mut files = testkit::build::artifact_files("a");
    let small = std::mem::replace(&mut files.sidecar, vec![b' '; 32 * 1024 + 1]);
    let error = store
        .artifact_writer()
        .create(&name, &version, &files)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::Conflict(text) if text.contains("key.json of 32769 bytes")),
        "{error}"
    );
    assert_eq!(
        store.artifact_reader().versions(&name).await,
        Ok(Vec::new())
    );

    let large = std::mem::replace(&mut files.sidecar, small);
    store
        .artifact_writer()
        .create(&name, &version, &files)
        .await
        .unwrap();
    assert!(
        store
            .artifact_writer()
            .replace_sidecar(&name, &version, &large)
            .await
            .is_err()
    );
    let dir = data.path().join(format!("artifacts/{name}/{version}"));
    std::fs::write(dir.join("key.json"), &large).unwrap();
    let error = store
        .artifact_reader()
        .read(&name, &version)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("larger than 32768")),
        "{error}"
    );
    std::fs::remove_file(dir.join("key.json")).unwrap();
    let error = store
        .artifact_reader()
        .read(&name, &version)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("key.json: missing")),
        "{error}"
    );
}

fn key(number: usize) -> ClaimKey {
    ClaimKey {
        principal: PrincipalId::parse("anna").unwrap(),
        request: RequestId::parse(&format!("request-{number}")).unwrap(),
    }
}

#[tokio::test]
async fn answers_survive_a_restart_and_claims_do_not() {
    const NOW: u64 = 1_000_000;
    let data = tempfile::tempdir().unwrap();
    let payload = Sha256Digest::of(b"payload");
    let claims = RedbClaims::open(data.path()).unwrap();
    let Claim::Won(token) = claims.claim(&key(1), payload, NOW, 100).await.unwrap() else {
        panic!()
    };
    claims
        .answer(&key(1), token, b"answer", NOW + 1000)
        .await
        .unwrap();
    let Claim::Won(lost) = claims.claim(&key(2), payload, NOW, u64::MAX).await.unwrap() else {
        panic!()
    };
    drop(claims);

    let claims = RedbClaims::open(data.path()).unwrap();
    let answered = Claim::Answered(b"answer".to_vec());
    assert_eq!(claims.claim(&key(1), payload, NOW, 100).await, Ok(answered));
    assert_eq!(
        claims.answer(&key(1), token, b"answer", NOW + 1000).await,
        Ok(()),
        "a lost reply, sent again"
    );
    assert!(matches!(
        claims.answer(&key(2), lost, b"x", NOW).await,
        Err(StoreError::Conflict(_))
    ));
    let Claim::Won(token) = claims.claim(&key(2), payload, NOW, 100).await.unwrap() else {
        panic!()
    };
    assert_ne!(token, lost);
    claims.close();
    assert!(matches!(
        claims.answer(&key(2), token, b"x", NOW).await,
        Err(StoreError::Unavailable(_))
    ));
}

#[tokio::test]
async fn a_purge_removes_what_expired_and_only_that() {
    const COUNT: usize = 5000;
    let data = tempfile::tempdir().unwrap();
    let claims = RedbClaims::open(data.path()).unwrap();
    let payload = Sha256Digest::of(b"payload");
    let answer = async |number: usize, now: u64, expires: u64| {
        let Claim::Won(token) = claims.claim(&key(number), payload, now, 100).await.unwrap() else {
            panic!()
        };
        claims
            .answer(&key(number), token, b"answer", expires)
            .await
            .unwrap();
    };
    // Answer n expires at n; the last ones much later.
    futures::future::join_all((0..COUNT).map(|number| answer(number, 0, number as u64 + 1))).await;
    answer(COUNT, 0, 1_000_000).await;
    // Expired, and answered anew before any purge.
    answer(0, 10, 1_000_000).await;
    assert_eq!(claims.purge_expired(0).await, Ok(0));
    assert_eq!(
        claims.purge_expired(COUNT as u64 + 1).await,
        Ok(COUNT as u64 - 1)
    );
    assert_eq!(claims.purge_expired(COUNT as u64 + 1).await, Ok(0));
    for kept in [0, COUNT] {
        let result = claims.claim(&key(kept), payload, 10, 100).await;
        assert_eq!(
            result,
            Ok(Claim::Answered(b"answer".to_vec())),
            "answer {kept}"
        );
    }
    // A time at which the removed ones were valid: they are gone for good.
    assert!(matches!(
        claims.claim(&key(7), payload, 0, 100).await,
        Ok(Claim::Won(_))
    ));
}

#[tokio::test]
async fn a_lapsed_claim_keeps_its_payload_until_it_is_forgotten() {
    const HOUR: u64 = 3_600_000_000;
    let data = tempfile::tempdir().unwrap();
    let claims = RedbClaims::open(data.path()).unwrap();
    let (payload, other) = (Sha256Digest::of(b"payload"), Sha256Digest::of(b"other"));
    assert!(matches!(
        claims.claim(&key(1), payload, 0, 100).await,
        Ok(Claim::Won(_))
    ));
    assert_eq!(
        claims.claim(&key(1), other, 200, 100).await,
        Ok(Claim::Mismatch)
    );
    claims.purge_expired(HOUR).await.unwrap();
    assert_eq!(
        claims.claim(&key(1), other, HOUR, 100).await,
        Ok(Claim::Mismatch)
    );
    claims.purge_expired(HOUR + 100).await.unwrap();
    assert!(matches!(
        claims.claim(&key(1), other, HOUR + 100, 100).await,
        Ok(Claim::Won(_))
    ));
}
