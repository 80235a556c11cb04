use domain::LogPath;
use domain::ports::{LogLock, LogPublisher, LogReader, LogWriter};
use futures::future::join_all;

use super::{assert_conflict, assert_corrupt, assert_not_found};
use crate::build::random;

/// What [`LogWriter`], [`LogPublisher`] and [`LogReader`] promise, on a log of their own: nothing is published in it.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn log_store_contract(
    writer: &dyn LogWriter,
    publisher: &dyn LogPublisher,
    reader: &dyn LogReader,
) {
    check_creating(writer, reader).await;
    check_creating_at_once(writer, reader).await;
    check_publishing(publisher, reader).await;
}

/// What [`LogLock`] promises, on a lock of its own: nothing is committed in it.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn log_lock_contract(lock: &dyn LogLock) {
    assert_eq!(lock.committed().await, Ok(None), "before the first commit");
    let early = lock.commit(Some(b"zero"), b"one").await;
    assert_conflict(&early, "a commit after one that never was");
    assert_eq!(
        lock.committed().await,
        Ok(None),
        "a conflict changes nothing"
    );

    assert_eq!(lock.commit(None, b"one").await, Ok(()));
    let again = lock.commit(None, b"one").await;
    assert_eq!(again, Ok(()), "the same commit again is a success");
    assert_conflict(&lock.commit(None, b"other").await, "a second first commit");
    assert_eq!(lock.commit(Some(b"one"), b"two").await, Ok(()));
    let again = lock.commit(Some(b"one"), b"two").await;
    assert_eq!(again, Ok(()), "the same commit again is a success");
    let stale = lock.commit(Some(b"one"), b"three").await;
    assert_conflict(&stale, "a commit after one that is not the last");
    let back = lock.commit(None, b"one").await;
    assert_conflict(&back, "a commit that was overtaken");
    assert_eq!(lock.committed().await, Ok(Some(b"two".to_vec())));

    for size in [0, 1, 100_000] {
        let last = lock.committed().await.expect("a commit");
        let next = vec![7; size];
        assert_eq!(lock.commit(last.as_deref(), &next).await, Ok(()), "{size}");
        assert_eq!(lock.committed().await, Ok(Some(next)), "byte for byte");
    }
    check_one_winner(lock).await;
}

async fn check_one_winner(lock: &dyn LogLock) {
    for _ in 0..5 {
        let last = lock.committed().await.expect("a commit");
        let rivals: Vec<[u8; 16]> = (0..8).map(|_| random()).collect();
        let commits = rivals.iter().map(|next| lock.commit(last.as_deref(), next));
        let results = join_all(commits).await;
        let committed = lock.committed().await.expect("a commit");
        for (rival, result) in rivals.iter().zip(&results) {
            if committed.as_deref() == Some(rival) {
                assert_eq!(result, &Ok(()), "the winner is told so");
            } else {
                assert_conflict(result, "a rival that lost");
            }
        }
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "of rivals one wins");
    }
}

fn fresh_path(name: &str) -> LogPath {
    let run: [u8; 8] = random();
    let run = u64::from_be_bytes(run);
    LogPath::parse(&format!("contract/{run:x}/{name}")).expect("a path")
}

async fn check_creating(writer: &dyn LogWriter, reader: &dyn LogReader) {
    for (name, bytes) in [
        ("000", Vec::new()),
        ("x001/234.p/5", vec![0, 10, 255]),
        ("entries/000", vec![9; 3 << 20]),
    ] {
        let path = fresh_path(name);
        let max = bytes.len() as u64;
        assert_not_found(&reader.read(&path, 10).await, "before it is created");
        assert_eq!(writer.create(&path, &bytes).await, Ok(()));
        assert_eq!(
            reader.read(&path, max).await.as_ref(),
            Ok(&bytes),
            "byte for byte"
        );
        let again = writer.create(&path, &bytes).await;
        assert_eq!(again, Ok(()), "the same object again is a success");
        let other = writer.create(&path, b"another object").await;
        assert_conflict(&other, "another object at the same path");
        assert_eq!(
            reader.read(&path, max).await.as_ref(),
            Ok(&bytes),
            "a conflict changes nothing"
        );
        if max > 0 {
            let short = reader.read(&path, max - 1).await;
            assert_corrupt(&short, "an object that is longer than it may be");
        }
    }
    // One object's path may lead through another's.
    let (short, long) = (fresh_path("000"), fresh_path("000.p/7"));
    assert_eq!(writer.create(&short, b"whole").await, Ok(()));
    assert_eq!(writer.create(&long, b"part").await, Ok(()));
}

async fn check_creating_at_once(writer: &dyn LogWriter, reader: &dyn LogReader) {
    let path = fresh_path("rivals");
    let rivals: Vec<[u8; 16]> = (0..8).map(|_| random()).collect();
    let results = join_all(rivals.iter().map(|bytes| writer.create(&path, bytes))).await;
    let stored = reader.read(&path, 16).await.expect("an object");
    for (rival, result) in rivals.iter().zip(&results) {
        if stored == rival {
            assert_eq!(result, &Ok(()), "the winner is told so");
        } else {
            assert_conflict(result, "a rival that lost");
        }
    }
    // Below directories that nobody has made yet.
    let path = fresh_path("x001/x002/same");
    let results = join_all((0..8).map(|_| writer.create(&path, b"the same"))).await;
    for result in results {
        assert_eq!(result, Ok(()), "of callers with the same bytes none loses");
    }
    assert_eq!(reader.read(&path, 8).await, Ok(b"the same".to_vec()));
}

async fn check_publishing(publisher: &dyn LogPublisher, reader: &dyn LogReader) {
    assert_eq!(reader.checkpoint().await, Ok(None), "before the first");
    let early = publisher.publish(Some(b"zero"), b"one").await;
    assert_conflict(&early, "after one that was never published");
    assert_eq!(reader.checkpoint().await, Ok(None));
    assert_eq!(publisher.publish(None, b"one").await, Ok(()));
    let again = publisher.publish(None, b"one").await;
    assert_eq!(again, Ok(()), "the same checkpoint again is a success");
    assert_conflict(&publisher.publish(None, b"other").await, "a second first");
    assert_eq!(publisher.publish(Some(b"one"), b"two").await, Ok(()));
    let back = publisher.publish(Some(b"zero"), b"one").await;
    assert_conflict(&back, "one that was overtaken");
    assert_eq!(reader.checkpoint().await, Ok(Some(b"two".to_vec())));
}
