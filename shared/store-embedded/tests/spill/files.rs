//! The spill's folder, and streams that are restored, where files are not as a store leaves them.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use domain::StoreError;
use domain::ports::{AuditAppender, SpillReader, SpillWriter};
use domain::spill::{MAX_ITEM_BYTES, SpillItem};
use store_embedded::{EmbeddedStore, FileAudit, FileSpill};
use testkit::build::{TestStream, verify};

#[tokio::test]
async fn an_item_that_is_too_long_is_corrupt_and_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let spill = FileSpill::open(dir.path()).unwrap();
    let item = SpillItem::of_records(TestStream::fresh().records(1)).unwrap();
    let path = dir.path().join(item.name().to_string());
    File::create(path)
        .unwrap()
        .set_len(MAX_ITEM_BYTES + 1)
        .unwrap();
    let read = spill.read(&item.name().to_string()).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    let put = spill.put(&item).await;
    assert!(matches!(put, Err(StoreError::Conflict(_))), "{put:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_tidied_up_while_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let spill = FileSpill::open(dir.path()).unwrap();
    let unfinished = dir.path().join(".tmp-00");
    std::fs::write(&unfinished, "half").unwrap();
    let lock = File::open(dir.path().join(".lock")).unwrap();
    lock.lock_shared().unwrap();
    FileSpill::open(dir.path()).unwrap();
    assert!(unfinished.exists(), "another process is writing it");
    lock.unlock().unwrap();
    FileSpill::open(dir.path()).unwrap();
    assert!(!unfinished.exists());

    lock.lock().unwrap();
    let item = SpillItem::of_records(TestStream::fresh().records(1)).unwrap();
    let mut put = tokio::spawn(async move { spill.put(&item).await });
    let early = tokio::time::timeout(Duration::from_millis(100), &mut put).await;
    assert!(early.is_err(), "nothing is written while it is tidied up");
    lock.unlock().unwrap();
    assert_eq!(put.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn an_incomplete_last_line_makes_room_for_what_is_restored() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    let mut test = TestStream::fresh();
    let records = test.records(5);
    let other = FileAudit::open(data.path()).unwrap();
    other.register(&test.registration).await.unwrap();
    other.append(records[..2].to_vec()).await.unwrap();
    drop(other);
    let path = format!("audit/{}.jsonl", test.stream.id());
    let mut file = OpenOptions::new()
        .append(true)
        .open(data.path().join(path))
        .unwrap();
    file.write_all(br#"{"entry":{"data":"#).unwrap();
    store.audit_restorer().restore(&records[2..]).await.unwrap();
    let reader = store.audit_reader();
    let stored = reader.read(test.stream.id(), 0, 10).await.unwrap();
    assert_eq!(stored, records);
    verify(&test.registration, &stored).unwrap();
}

#[tokio::test]
async fn a_stream_that_is_open_goes_on_after_what_was_restored() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(data.path()).unwrap();
    let mut test = TestStream::fresh();
    let records = test.records(6);
    let appender = store.audit_appender();
    appender.register(&test.registration).await.unwrap();
    appender.append(records[..2].to_vec()).await.unwrap();
    store
        .audit_restorer()
        .restore(&records[1..4])
        .await
        .unwrap();
    // The same again, and then what follows.
    appender.append(records[3..].to_vec()).await.unwrap();
    let stored = store.audit_reader().read(test.stream.id(), 0, 10).await;
    assert_eq!(stored.unwrap(), records);
}
