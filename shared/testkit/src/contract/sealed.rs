use audit::StreamId;
use audit::seal::{LeafRange, SealedStream, Standing, StreamEnd};
use domain::LogPath;
use domain::ports::{
    IndexPosition, LogReader, LogWriter, SealIndexReader, SealIndexWriter, StageRemover,
};

use super::{assert_conflict, assert_not_found};
use crate::build::{open_state as state, random};

/// What [`SealIndexReader`] and [`SealIndexWriter`] promise, on an index of its own: nothing is in it.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn seal_index_contract(reader: &dyn SealIndexReader, writer: &dyn SealIndexWriter) {
    check_position(reader, writer).await;
    check_states(reader, writer).await;
    check_ranges(reader, writer).await;
    check_open_streams(reader, writer).await;
}

/// What [`StageRemover`] promises. `keeps` says whether the store lets staged records expire instead.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn stage_contract(
    writer: &dyn LogWriter,
    reader: &dyn LogReader,
    remover: &dyn StageRemover,
    keeps: bool,
) {
    let path = |dir: &str| {
        let name = hex::encode(random::<8>());
        LogPath::parse(&format!("{dir}/{name}")).expect("a path")
    };
    let (staged, tile) = (path("stage"), path("tile"));
    let none = remover.remove(&staged).await;
    assert_eq!(none, Ok(()), "a staged record that is not there");
    for path in [&staged, &tile] {
        assert_eq!(writer.create(path, b"bytes").await, Ok(()));
    }
    let refused = remover.remove(&tile).await;
    assert!(
        matches!(refused, Err(domain::StoreError::Denied(_))),
        "only staged records are removed: {refused:?}"
    );
    assert_eq!(reader.read(&tile, 5).await, Ok(b"bytes".to_vec()));
    for _ in 0..2 {
        assert_eq!(remover.remove(&staged).await, Ok(()));
    }
    let left = reader.read(&staged, 5).await;
    if keeps {
        assert_eq!(left, Ok(b"bytes".to_vec()), "it expires by itself");
    } else {
        assert_not_found(&left, "a staged record that was removed");
    }
}

async fn check_position(reader: &dyn SealIndexReader, writer: &dyn SealIndexWriter) {
    let at = |tree_size, listed_until_us| IndexPosition {
        tree_size,
        listed_until_us,
    };
    assert_eq!(reader.position().await, Ok(at(0, 0)), "before the first");
    for (next, kept, why) in [
        (at(10, 5), at(10, 5), "the first"),
        (at(10, 5), at(10, 5), "the same again"),
        (at(9, 99), at(10, 5), "a smaller tree changes nothing"),
        (at(10, 4), at(10, 5), "an earlier time changes nothing"),
        (at(10, 6), at(10, 6), "a later time"),
        (at(1 << 60, 1), at(1 << 60, 1), "a larger tree"),
    ] {
        assert_eq!(writer.advance(next).await, Ok(()), "{why}");
        assert_eq!(reader.position().await, Ok(kept), "{why}");
    }
}

async fn check_states(reader: &dyn SealIndexReader, writer: &dyn SealIndexWriter) {
    let (one, other) = (StreamId(random()), StreamId(random()));
    assert_eq!(reader.state(one).await, Ok(None), "never seen");
    assert_eq!(writer.put(&[], &[]).await, Ok(()), "nothing to keep");
    let first = state(one, 10);
    for _ in 0..2 {
        let put = writer.put(std::slice::from_ref(&first), &[]).await;
        assert_eq!(put, Ok(()), "the same again is a success");
        assert_eq!(reader.state(one).await, Ok(Some(first.clone())));
    }
    let second = SealedStream {
        end: Some(StreamEnd::Stopped),
        reported_through: Some(u64::MAX),
        ..state(one, 20)
    };
    let put = writer.put(&[second.clone(), state(other, 20)], &[]).await;
    assert_eq!(put, Ok(()));
    assert_eq!(reader.state(one).await, Ok(Some(second.clone())));
    assert_eq!(reader.state(other).await, Ok(Some(state(other, 20))));
    assert_eq!(
        writer.put(&[first, state(other, 21)], &[]).await,
        Ok(()),
        "what a slower sealer puts is passed over"
    );
    let kept = reader.state(one).await;
    assert_eq!(kept, Ok(Some(second)), "a smaller tree replaces nothing");
    let advanced = reader.state(other).await;
    assert_eq!(
        advanced,
        Ok(Some(state(other, 21))),
        "and keeps no other state out"
    );
    let refused = SealedStream {
        standing: Standing::Refused,
        ..state(StreamId(random()), 22)
    };
    let put = writer.put(std::slice::from_ref(&refused), &[]).await;
    assert_eq!(put, Ok(()));
    assert_eq!(reader.state(refused.stream).await, Ok(Some(refused)));
}

async fn check_ranges(reader: &dyn SealIndexReader, writer: &dyn SealIndexWriter) {
    let (stream, beside) = (StreamId(random()), StreamId(random()));
    let range = |stream, seq_lo, count, index| LeafRange {
        count,
        index,
        seq_lo,
        stream,
    };
    let ranges = [
        range(stream, 0, 10, 100),
        range(stream, 10, 1, 200),
        // Events 11 to 14 are missing.
        range(stream, 15, 1_000_000, 300),
        range(beside, 3, 2, 400),
    ];
    for _ in 0..2 {
        let put = writer.put(&[], &ranges).await;
        assert_eq!(put, Ok(()), "the same again is a success");
    }
    for (of, seq, expected) in [
        (stream, 0, Some(100)),
        (stream, 9, Some(109)),
        (stream, 10, Some(200)),
        (stream, 11, None),
        (stream, 14, None),
        (stream, 15, Some(300)),
        (stream, 1_000_014, Some(1_000_299)),
        (stream, 1_000_015, None),
        (stream, u64::MAX, None),
        (beside, 0, None),
        (beside, 4, Some(401)),
        (beside, 5, None),
        (StreamId(random()), 0, None),
    ] {
        assert_eq!(
            reader.leaf_index(of, seq).await,
            Ok(expected),
            "event {seq}"
        );
    }
    for other in [range(stream, 10, 1, 201), range(stream, 10, 2, 200)] {
        assert_conflict(&writer.put(&[], &[other]).await, "another range there");
        let kept = reader.leaf_index(stream, 10).await;
        assert_eq!(kept, Ok(Some(200)), "a conflict changes nothing");
    }
    let many: Vec<LeafRange> = (0..300)
        .map(|n| range(beside, 1000 + n * 2, 1, 9000 + n))
        .collect();
    assert_eq!(writer.put(&[], &many).await, Ok(()), "many at once");
    assert_eq!(reader.leaf_index(beside, 1598).await, Ok(Some(9299)));
}

async fn check_open_streams(reader: &dyn SealIndexReader, writer: &dyn SealIndexWriter) {
    let before = open_streams(reader, 1000).await;
    let mut ids: Vec<StreamId> = (0..40).map(|_| StreamId(random())).collect();
    ids.sort_unstable();
    let open: Vec<SealedStream> = ids.iter().map(|id| state(*id, 30)).collect();
    assert_eq!(writer.put(&open, &[]).await, Ok(()));
    for limit in [1, 7, 1000] {
        let mut found = open_streams(reader, limit).await;
        found.retain(|state| !before.contains(state));
        assert_eq!(found, open, "each once, ascending, in pages of {limit}");
    }
    let ended: Vec<SealedStream> = open
        .iter()
        .zip([StreamEnd::Stopped, StreamEnd::Idle].iter().cycle())
        .take(20)
        .map(|(state, end)| SealedStream {
            end: Some(*end),
            tree_size: 40,
            ..state.clone()
        })
        .collect();
    assert_eq!(writer.put(&ended, &[]).await, Ok(()));
    assert_eq!(
        writer.put(&open[..20], &[]).await,
        Ok(()),
        "what a slower sealer puts is passed over"
    );
    let mut found = open_streams(reader, 9).await;
    found.retain(|state| !before.contains(state));
    assert_eq!(found, open[20..], "what ended is not open");
    let again = SealedStream {
        tree_size: 50,
        ..open[0].clone()
    };
    let put = writer.put(std::slice::from_ref(&again), &[]).await;
    assert_eq!(put, Ok(()));
    assert!(
        open_streams(reader, 1000).await.contains(&again),
        "a stream whose events go on is open again"
    );
    let refused = SealedStream {
        standing: Standing::Refused,
        ..state(StreamId(random()), 50)
    };
    let put = writer.put(std::slice::from_ref(&refused), &[]).await;
    assert_eq!(put, Ok(()));
    let found = open_streams(reader, 1000).await;
    assert!(!found.contains(&refused), "nothing is expected of it");
}

async fn open_streams(reader: &dyn SealIndexReader, limit: usize) -> Vec<SealedStream> {
    let mut all: Vec<SealedStream> = Vec::new();
    loop {
        let after = all.last().map(|state| state.stream);
        let page = reader.open_streams(after, limit).await.expect("a page");
        assert!(page.len() <= limit, "at most `limit` are listed");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}
