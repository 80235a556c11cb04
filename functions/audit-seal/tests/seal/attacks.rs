//! What was done to the log and its stores behind the sealer's back: it names it, and seals nothing more.

use audit::checkpoint::CheckGrowthError;
use audit::seal::{SealedStream, StagedSeal, Standing};
use audit::tiles::{TileId, TileKind, parse_entries};
use audit_seal::SealError;
use domain::ports::{LogLock, LogReader, SealIndexReader, SealIndexWriter};
use domain::{LogPath, StoreError};
use testkit::build::random;
use testkit::{Fault, MemorySealIndex};

use crate::support::{HOUR_US, World, block_on};

fn world() -> World {
    let world = World::new();
    let mut test = world.open(random());
    for _ in 0..3 {
        world.append(test.records(100));
        world.clock.advance(1_000_000);
        world.seal();
    }
    world.append(test.records(5));
    world
}

/// Asserts that the sealer refuses with this code, twice, and that the log stays as it is.
fn assert_refuses(world: &World, code: &str) -> SealError {
    let before = (
        block_on(world.log.committed()),
        block_on(world.log.checkpoint()),
    );
    let error = world.try_seal().unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.is_security(), "{error}");
    assert_eq!(world.try_seal().unwrap_err().code(), code, "it stays so");
    let after = (
        block_on(world.log.committed()),
        block_on(world.log.checkpoint()),
    );
    assert_eq!(before, after, "nothing more is committed or published");
    error
}

#[test]
fn a_lock_that_was_set_back_is_named() {
    let world = world();
    let older = world.log.all_published()[0].clone();
    world.log.set_committed(Some(older));
    let error = assert_refuses(&world, "audit.log_rolled_back");
    let SealError::Growth(CheckGrowthError::RolledBack { from, to }) = error else {
        panic!("{error}");
    };
    assert!(from > to && to > 0);
}

#[test]
fn a_lock_that_was_emptied_is_named() {
    let world = world();
    world.log.set_committed(None);
    assert_refuses(&world, "audit.log_rolled_back");
}

#[test]
fn a_lock_and_a_checkpoint_that_were_set_back_together_are_named() {
    let world = world();
    let older = world.log.all_published()[0].clone();
    world.log.set_committed(Some(older.clone()));
    world.log.set_checkpoint(Some(older));
    assert_refuses(&world, "audit.log_rolled_back");
}

#[test]
fn a_lock_a_checkpoint_and_an_index_that_were_set_back_meet_the_tiles() {
    let mut world = world();
    let older = world.log.all_published()[0].clone();
    world.log.set_committed(Some(older.clone()));
    world.log.set_checkpoint(Some(older));
    world.index = std::sync::Arc::new(MemorySealIndex::new());
    let position = domain::ports::IndexPosition {
        tree_size: world.checkpoint().size,
        listed_until_us: 0,
    };
    block_on(world.index.advance(position)).unwrap();
    // The new history is committed, and cannot be written over the old one: it is never published.
    let error = world.try_seal().unwrap_err();
    assert_eq!(error.code(), "audit.log_tile_differs", "{error}");
    assert!(error.to_string().contains("tile/"), "{error}");
    assert_refuses(&world, "audit.log_tile_differs");
}

#[test]
fn a_checkpoint_of_another_history_is_named() {
    let (mut one, other) = (world(), world());
    // Signed by the same key, of the same size: the worst case.
    let forked = other.log.all_published()[2].clone();
    one.log.set_checkpoint(Some(forked));
    assert_refuses(&one, "audit.log_forked");
    // And a smaller one, where a run was committed and not published.
    one = world();
    let smaller = other.log.all_published()[0].clone();
    let stores = one.stores();
    let down = Fault::Before(domain::StoreError::Unavailable("down".to_owned()));
    stores.log.fail_next("LogPublisher::publish", down);
    block_on(one.sealer_over(&stores, World::rules()).run(None)).unwrap_err();
    one.log.set_checkpoint(Some(smaller));
    assert_refuses(&one, "audit.log_forked");
}

#[test]
fn a_fork_is_told_from_a_damaged_tile_also_behind_a_tree_that_is_one_full_tile() {
    // What is published: the registration, 254 events and the seal.
    let [one, other] = [(); 2].map(|()| {
        let world = World::new();
        let mut test = world.open(random());
        world.append(test.records(254));
        assert_eq!(world.seal().size, 256);
        world.append(test.records(43));
        world
    });
    let stores = one.stores();
    let down = Fault::Before(domain::StoreError::Unavailable("down".to_owned()));
    stores.log.fail_next("LogPublisher::publish", down);
    block_on(one.sealer_over(&stores, World::rules()).run(None)).unwrap_err();
    let forked = block_on(other.log.checkpoint()).unwrap();
    one.log.set_checkpoint(forked);
    assert_refuses(&one, "audit.log_forked");
}

#[test]
fn an_index_whose_state_has_no_key_is_named() {
    let world = world();
    let open = block_on(world.index.open_streams(None, 1)).unwrap();
    let no_key = (0..=255)
        .map(|byte| audit::PublicKey([byte; 32]))
        .find(|key| ed25519_dalek::VerifyingKey::from_bytes(&key.0).is_err())
        .unwrap();
    let altered = SealedStream {
        standing: Standing::Registered {
            index: 0,
            public_key: no_key,
        },
        ..open[0].clone()
    };
    block_on(world.index.put(&[altered], &[])).unwrap();
    assert_refuses(&world, "audit.log_index_differs");
}

#[test]
fn a_checkpoint_that_the_logs_key_did_not_sign_is_named() {
    let world = world();
    let note = block_on(world.log.checkpoint()).unwrap().unwrap();
    let text = String::from_utf8(note).unwrap();
    let altered = text.replacen("sealcast.test/log\n", "sealcast.test/log\n1", 1);
    world.log.set_checkpoint(Some(altered.clone().into_bytes()));
    assert_refuses(&world, "audit.log_checkpoint_invalid");
    let world = self::world();
    world.log.set_committed(Some(altered.into_bytes()));
    assert_refuses(&world, "audit.log_lock_invalid");
}

#[test]
fn every_swapped_tile_at_the_end_of_the_log_is_named() {
    let size = world().checkpoint().size;
    let tiles = audit::tiles::tiles_added(0, size);
    let edge: Vec<TileId> = tiles.into_iter().filter(|tile| !tile.is_full()).collect();
    assert_eq!(
        edge.len(),
        4,
        "two levels of hashes, entries and signatures"
    );
    for index in 0..edge.len() {
        let world = world();
        let size = world.checkpoint().size;
        let tile = audit::tiles::tiles_added(0, size)
            .into_iter()
            .filter(|tile| !tile.is_full())
            .nth(index)
            .unwrap();
        let path = LogPath::parse(&tile.to_string()).unwrap();
        let mut bytes = world.read_tile(tile).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        world.log.tamper(&path, Some(bytes));
        if tile.kind() == audit::tiles::TileKind::Signatures {
            // No part of the tree: whoever verifies the log finds it.
            world.seal();
            assert!(!world.verify().is_complete());
        } else {
            let error = assert_refuses(&world, "audit.log_edge_differs");
            assert!(error.to_string().contains(path.as_str()), "{error}");
            world.log.tamper(&path, None);
            assert_refuses(&world, "audit.log_edge_differs");
        }
    }
}

#[test]
fn a_tile_that_stands_where_a_committed_run_writes_is_named() {
    let world = world();
    let stores = world.stores();
    let down = Fault::Before(domain::StoreError::Unavailable("down".to_owned()));
    let staged = stores.log.calls("LogWriter::create") + 1;
    stores.log.fail_nth("LogWriter::create", staged + 1, down);
    block_on(world.sealer_over(&stores, World::rules()).run(None)).unwrap_err();
    // The run is committed; its first tile is not written yet.
    let committed = block_on(world.log.committed()).unwrap().unwrap();
    let size = crate::support::trusted_log()
        .open(&committed)
        .unwrap()
        .0
        .size;
    let tile = audit::tiles::tiles_added(world.checkpoint().size, size)[0];
    let path = LogPath::parse(&tile.to_string()).unwrap();
    world.log.tamper(&path, Some(vec![7; 32]));
    let error = assert_refuses(&world, "audit.log_tile_differs");
    assert!(error.to_string().contains(path.as_str()), "{error}");
}

/// A staged record, done something to.
type Altered = fn(&[u8]) -> Option<Vec<u8>>;

/// A signature of an earlier run, which nothing in the record itself vouches for.
fn with_another_signature(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut staged = StagedSeal::parse(bytes).ok()?;
    let mut tiles = staged.tiles.iter_mut();
    let (_, bundle) = tiles.find(|(tile, _)| tile.kind() == TileKind::Signatures)?;
    bundle[64] ^= 1;
    staged.to_bytes().ok()
}

/// A registration's signature, which is no part of the tree.
fn with_another_registrar(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut staged = StagedSeal::parse(bytes).ok()?;
    let bundles = staged.tiles.iter();
    let registered = bundles.filter(|(tile, _)| tile.kind() == TileKind::Entries);
    let (index, at) = registered.into_iter().find_map(|(tile, bytes)| {
        let entries = parse_entries(bytes, tile.width()).ok()?;
        let is_registration = |entry: &&[u8]| entry.windows(18).any(|w| w == b"sealcast.stream/v1");
        let at = entries.iter().position(is_registration)?;
        Some((tile.index(), at))
    })?;
    let mut tiles = staged.tiles.iter_mut();
    let (_, signatures) =
        tiles.find(|(tile, _)| tile.kind() == TileKind::Signatures && tile.index() == index)?;
    signatures[at * 64] ^= 1;
    staged.to_bytes().ok()
}

#[test]
fn a_staged_record_that_is_gone_or_altered_is_named() {
    let alterations: [(Altered, &str); 4] = [
        (|_| None, "audit.log_stage_missing"),
        (
            |bytes| {
                let mut bytes = bytes.to_vec();
                bytes[200] ^= 1;
                Some(bytes)
            },
            "audit.log_stage_invalid",
        ),
        (with_another_signature, "audit.log_stage_invalid"),
        (with_another_registrar, "audit.log_stage_invalid"),
    ];
    for (alter, code) in alterations {
        let world = world();
        let mut fresh = world.open(random());
        world.append(fresh.records(2));
        let stores = world.stores();
        let down = Fault::Before(domain::StoreError::Unavailable("down".to_owned()));
        stores.log.fail_next("LogPublisher::publish", down);
        block_on(world.sealer_over(&stores, World::rules()).run(None)).unwrap_err();
        let staged = world.log.objects_below("stage/");
        let (path, bytes) = staged.first_key_value().unwrap();
        let altered = alter(bytes);
        assert_eq!(altered.is_none(), code == "audit.log_stage_missing");
        world.log.tamper(path, altered);
        let error = assert_refuses(&world, code);
        assert!(error.to_string().contains(path.as_str()), "{error}");
        // With the right bytes in its place the run is carried out.
        world.log.tamper(path, Some(bytes.clone()));
        assert!(world.seal().recovered);
        world.assert_all_sealed_once();
    }
}

#[test]
fn an_index_that_was_lost_is_made_anew_before_anything_is_sealed_twice() {
    let mut world = world();
    world.index = std::sync::Arc::new(MemorySealIndex::new());
    let report = world.seal();
    assert_eq!((report.recovered, report.events), (true, 5));
    world.assert_all_sealed_once();
    assert!(!world.seal().recovered, "once");
}

#[test]
fn an_index_that_was_lost_waits_for_a_run_with_time_enough() {
    let mut world = world();
    world.index = std::sync::Arc::new(MemorySealIndex::new());
    let soon = std::time::Instant::now() + std::time::Duration::from_secs(1);
    let error = block_on(world.sealer().run(Some(soon))).unwrap_err();
    assert_eq!(error.code(), "audit.log_index_behind", "{error}");
    assert!(error.is_security());
    world.seal();
    world.assert_all_sealed_once();
}

#[test]
fn an_index_is_not_made_of_entries_that_were_not_sealed() {
    for (path, at) in [("tile/entries/000", 1000), ("tile/0/000", 40)] {
        let mut world = world();
        world.index = std::sync::Arc::new(MemorySealIndex::new());
        // A full tile, which the end of the log says nothing about.
        let path = LogPath::parse(path).unwrap();
        let mut bytes = block_on(world.log.read(&path, 1 << 25)).unwrap();
        bytes[at] ^= 1;
        world.log.tamper(&path, Some(bytes));
        let error = assert_refuses(&world, "audit.log_entries_differ");
        assert!(error.to_string().contains("000: "), "{error}");
        assert_eq!(block_on(world.index.position()).unwrap().tree_size, 0);
    }
}

#[test]
fn a_stream_that_the_index_does_not_list_any_more_is_listed_again_and_sealed() {
    for (waits_us, runs) in [(1_000_000, 1), (5 * HOUR_US, 24 * 6)] {
        let world = World::new();
        let mut test = world.open(random());
        world.append(test.records(2));
        world.seal();
        // Its hour of registration is long past, or not.
        for _ in 0..waits_us / World::rules().heartbeat_us {
            world.clock.advance(World::rules().heartbeat_us);
            world.seal();
        }
        let id = test.stream.id();
        world.index.unlist(id);
        let listed = || block_on(world.index.open_streams(None, 10)).unwrap().len();
        assert_eq!(listed(), 0);
        world.append(test.records(1));
        let mut needed = 0;
        while world.seal().events == 0 {
            needed += 1;
            assert!(needed < runs, "{waits_us}: sealed by the run that finds it");
            world.clock.advance(World::rules().heartbeat_us);
        }
        assert_eq!(listed(), 1, "{waits_us}");
        world.append(test.records(1));
        assert_eq!(world.seal().events, 1, "by the next run");
        world.assert_all_sealed_once();
    }
}

#[test]
fn an_open_stream_whose_state_was_altered_stops_the_sealer_by_its_code() {
    let world = world();
    let stores = world.stores();
    let altered = StoreError::Corrupt("the state of stream 07: no state".to_owned());
    let fault = testkit::Fault::Before(altered);
    stores
        .index
        .fail_next("SealIndexReader::open_streams", fault);
    let sealer = world.sealer_over(&stores, World::rules());
    let error = block_on(sealer.run(None)).unwrap_err();
    assert_eq!(error.code(), "audit.log_index_differs");
    assert!(error.is_security());
}
