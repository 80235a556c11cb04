//! Rows of the index and staged records that were altered so that they fit by themselves.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use audit::canonical::leaf_hash;
use audit::checkpoint::CheckGrowthError;
use audit::seal::{LeafRange, SealedStream, StagedSeal, Standing};
use audit::stream::Registration;
use audit::tiles::{encode_entries, encode_hashes, parse_entries, parse_hashes};
use audit::whole_log::LogFault;
use audit_seal::SealError;
use domain::LogPath;
use domain::ports::{IndexPosition, LogLock, LogReader, SealIndexReader, SealIndexWriter};
use testkit::MemorySealIndex;
use testkit::build::{TestStream, random};

use crate::support::{HOUR_US, World, block_on, unavailable};

/// A log of one stream, sealed, and events that wait.
fn world() -> (World, TestStream) {
    let world = World::new();
    let mut test = world.open(random());
    world.append(test.records(300));
    world.seal();
    world.append(test.records(5));
    (world, test)
}

/// Commits what waits, and dies before its first tile is written; gives the staged record.
fn die_after_commit(world: &World) -> (LogPath, Vec<u8>) {
    let stores = world.stores();
    let staged = stores.log.calls("LogWriter::create") + 1;
    stores
        .log
        .fail_nth("LogWriter::create", staged + 1, unavailable());
    block_on(world.sealer_over(&stores, World::rules()).run(None)).unwrap_err();
    let staged = world.log.objects_below("stage/");
    let (path, bytes) = staged.last_key_value().unwrap();
    (path.clone(), bytes.clone())
}

/// Asserts that nothing more is committed or published, because of this.
fn assert_refuses(world: &World, code: &str) -> SealError {
    let heads = || {
        (
            block_on(world.log.committed()),
            block_on(world.log.checkpoint()),
        )
    };
    let before = heads();
    let error = world.try_seal().unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.is_security(), "{error}");
    assert_eq!(heads(), before);
    error
}

#[test]
fn the_staged_record_of_another_run_is_not_carried_out() {
    let (world, mut test) = world();
    let (_, earlier) = die_after_commit(&world);
    world.seal();
    world.append(test.records(5));
    let (path, bytes) = die_after_commit(&world);
    world.log.tamper(&path, Some(earlier));
    let error = assert_refuses(&world, "audit.log_stage_invalid");
    assert!(error.to_string().contains("another checkpoint"), "{error}");
    world.log.tamper(&path, Some(bytes));
    assert!(world.seal().recovered);
    world.assert_all_sealed_once();
}

#[test]
fn a_staged_state_that_gives_a_silent_stream_another_key_is_not_written() {
    let (world, _) = world();
    world.seal();
    world.clock.advance(World::rules().idle_after_us + 1);
    // The run closes the stream, and no event of it shows which key is right.
    let (path, bytes) = die_after_commit(&world);
    let mut staged = StagedSeal::parse(&bytes).unwrap();
    let other: Registration =
        serde_json::from_slice(&TestStream::fresh().registration.registration).unwrap();
    let other = other.public_key;
    let Standing::Registered { public_key, .. } = &mut staged.streams[0].standing else {
        panic!("{:?}", staged.streams);
    };
    assert_ne!(*public_key, other);
    *public_key = other;
    let altered = staged.to_bytes().unwrap();
    assert!(StagedSeal::parse(&altered).is_ok(), "it fits by itself");
    world.log.tamper(&path, Some(altered));
    let error = assert_refuses(&world, "audit.log_stage_invalid");
    assert!(error.to_string().contains("does not go on"), "{error}");
}

#[test]
fn a_state_of_a_larger_tree_than_the_logs_is_named() {
    let (world, test) = world();
    let id = test.stream.id();
    let state = block_on(world.index.state(id)).unwrap().unwrap();
    let tree_size = state.tree_size + 1000;
    let later = SealedStream { tree_size, ..state };
    block_on(world.index.put(&[later], &[])).unwrap();
    let error = assert_refuses(&world, "audit.log_rolled_back");
    let SealError::Growth(CheckGrowthError::RolledBack { from, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(from, tree_size);
}

#[test]
fn a_range_where_the_index_has_another_is_named() {
    let (world, test) = world();
    let taken = LeafRange {
        count: 5,
        index: 7,
        seq_lo: 300,
        stream: test.stream.id(),
    };
    block_on(world.index.put(&[], &[taken])).unwrap();
    let error = world.try_seal().unwrap_err();
    assert_eq!(error.code(), "audit.log_index_differs", "{error}");
    // It is committed: nothing else is until somebody has looked.
    assert_refuses(&world, "audit.log_index_differs");
}

#[test]
fn a_checkpoint_of_the_same_size_that_was_published_meanwhile_is_a_fork() {
    let [(one, _), (other, _)] = [world(), world()];
    let forked = {
        other.seal();
        block_on(other.log.checkpoint()).unwrap()
    };
    let stores = one.stores();
    stores.log.pause_at_calls();
    let sealer = one.sealer_over(&stores, World::rules());
    let mut run = pin!(sealer.run(None));
    let mut context = Context::from_waker(Waker::noop());
    let before = block_on(one.log.committed());
    let result = loop {
        if let Poll::Ready(result) = run.as_mut().poll(&mut context) {
            break result;
        }
        if block_on(one.log.committed()) != before {
            one.log.set_checkpoint(forked.clone());
        }
    };
    assert_eq!(result.unwrap_err().code(), "audit.log_forked");
}

#[test]
fn an_index_is_not_made_of_entries_whose_hashes_were_altered_with_them() {
    let (mut world, _) = world();
    world.index = Arc::new(MemorySealIndex::new());
    let paths = ["tile/entries/000", "tile/0/000"].map(|path| LogPath::parse(path).unwrap());
    let [bundle, hashes] = &paths;
    let read = |path| block_on(world.log.read(path, 1 << 25)).unwrap();
    let bytes = read(bundle);
    let mut entries: Vec<Vec<u8>> = parse_entries(&bytes, 256)
        .unwrap()
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    let end = entries[9].len();
    entries[9][end - 3] ^= 1;
    let mut leaves = parse_hashes(&read(hashes), 256).unwrap();
    leaves[9] = leaf_hash(&entries[9]);
    world.log.tamper(bundle, encode_entries(&entries));
    world.log.tamper(hashes, Some(encode_hashes(&leaves)));
    let error = assert_refuses(&world, "audit.log_entries_differ");
    assert!(error.to_string().contains("another root"), "{error}");
    assert_eq!(block_on(world.index.position()).unwrap().tree_size, 0);
}

#[test]
fn a_stream_whose_rows_were_removed_from_the_index_is_sealed_again_and_whoever_verifies_finds_it() {
    let (mut world, test) = world();
    world.seal();
    let position = block_on(world.index.position()).unwrap();
    world.index = Arc::new(MemorySealIndex::new());
    block_on(world.index.advance(IndexPosition { ..position })).unwrap();
    world.clock.advance(24 * HOUR_US);
    assert_eq!(world.seal().events, 305);
    let report = world.verify();
    let twice = report.faults.iter().any(|fault| {
        matches!(fault, LogFault::Registration { stream, reason, .. }
            if *stream == test.stream.id() && reason.contains("registered already"))
    });
    assert!(twice, "{:?}", report.faults);
}
