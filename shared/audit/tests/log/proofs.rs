//! Proof files.

use std::collections::BTreeMap;

use audit::LeafHash;
use audit::checkpoint::OpenCheckpointError;
use audit::proof_file::{MakeProofError, ParseProofError, ProofFile, VerifyProofFileError};
use audit::tiles::{ReadTileError, TileId, TileKind, inclusion_tiles};
use audit::tree::VerifyProofError;
use proptest::prelude::*;

use crate::support::{Log, trusted_log, written};

fn sealed() -> (Log, crate::support::Written) {
    let (mut log, stream) = (Log::new(), written(1, 600));
    log.seal(std::slice::from_ref(&stream));
    (log, stream)
}

#[test]
fn every_event_s_proof_file_proves_it_after_being_written_and_read() {
    let (log, stream) = sealed();
    for record in stream.records.iter().step_by(37) {
        let index = log.index_of(stream.id, record.seq);
        let file = log.prove(index);
        let read = ProofFile::parse(file.to_string().as_bytes()).unwrap();
        assert_eq!(read, file);
        let proven = read.verify(&record.entry, &trusted_log()).unwrap();
        assert_eq!(
            (proven.index, proven.checkpoint.size),
            (index, log.checkpoint().size)
        );
        assert_eq!(proven.leaf, record.receipt().leaf_hash.0);
    }
}

#[test]
fn an_altered_event_proof_or_checkpoint_is_refused() {
    let (log, stream) = sealed();
    let record = &stream.records[300];
    let file = log.prove(log.index_of(stream.id, 300));
    let refused = |file: &ProofFile, entry: &[u8]| file.verify(entry, &trusted_log()).unwrap_err();
    let inclusion = |source| VerifyProofFileError::Inclusion {
        index: file.index,
        source,
    };
    let altered = record
        .entry
        .iter()
        .map(|byte| byte ^ u8::from(*byte == b'3'))
        .collect::<Vec<_>>();
    assert_eq!(refused(&file, &altered), inclusion(VerifyProofError::Root));
    let mut moved = file.clone();
    moved.index ^= 1;
    assert!(matches!(
        refused(&moved, &record.entry),
        VerifyProofFileError::Inclusion { .. }
    ));
    let mut hash = file.clone();
    hash.hashes[4][31] ^= 1;
    assert_eq!(
        refused(&hash, &record.entry),
        inclusion(VerifyProofError::Root)
    );
    let size = log.checkpoint().size;
    let resized = file
        .checkpoint
        .replace(&format!("\n{size}\n"), &format!("\n{}\n", size + 1));
    let resized = ProofFile {
        checkpoint: resized,
        ..file.clone()
    };
    assert!(matches!(
        refused(&resized, &record.entry),
        VerifyProofFileError::Checkpoint(OpenCheckpointError::Verify(_))
    ));
}

#[test]
fn a_proof_is_made_from_the_tiles_that_are_named_up_front_or_not_at_all() {
    let (log, stream) = sealed();
    let note = log.note.clone().unwrap();
    let size = log.checkpoint().size;
    for record in stream.records.iter().step_by(61) {
        let index = log.index_of(stream.id, record.seq);
        let leaf = record.receipt().leaf_hash;
        let read: BTreeMap<TileId, Vec<u8>> = inclusion_tiles(size, index)
            .into_iter()
            .map(|tile| (tile, log.tiles[&tile.to_string()].clone()))
            .collect();
        let make = |index, leaf, tiles: &BTreeMap<TileId, Vec<u8>>| {
            let reader = |tile: TileId| tiles.get(&tile).cloned().ok_or("not read");
            ProofFile::make(&note, index, leaf, reader)
        };
        assert_eq!(make(index, leaf, &read), Ok(log.prove(index)));
        let other = LeafHash([1; 32]);
        assert_eq!(
            make(index, other, &read),
            Err(MakeProofError::OtherLeaf {
                index,
                asked: other,
                sealed: leaf
            })
        );
        let mut worn = read.clone();
        let above = TileId::in_tree(TileKind::Hashes(1), 0, size).unwrap();
        for bytes in worn.get_mut(&above).unwrap().chunks_mut(32) {
            bytes[0] ^= 1;
        }
        assert_eq!(
            make(index, leaf, &worn),
            Err(MakeProofError::Damaged(index))
        );
        assert!(matches!(
            make(size, leaf, &read),
            Err(MakeProofError::Tile(ReadTileError::Beyond { .. }))
        ));
        assert!(matches!(
            make(index, leaf, &BTreeMap::new()),
            Err(MakeProofError::Tile(ReadTileError::Store(_, "not read")))
        ));
    }
}

#[test]
fn files_of_another_form_are_refused_by_their_line() {
    let hash = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n";
    let parse = |text: &str| ProofFile::parse(text.as_bytes());
    let good = parse(&format!(
        "c2sp.org/tlog-proof@v1\nextra QUJD\nindex 73894\n{hash}{hash}\nnote"
    ))
    .unwrap();
    assert_eq!(
        (good.extra.as_deref(), good.index, good.hashes.len()),
        (Some(b"ABC".as_slice()), 73_894, 2)
    );
    assert_eq!(good.checkpoint, "note");
    assert_eq!(
        parse("c2sp.org/tlog-proof@v2\n"),
        Err(ParseProofError::Format)
    );
    assert_eq!(
        parse("c2sp.org/tlog-proof@v1\n"),
        Err(ParseProofError::Index(2))
    );
    assert_eq!(
        parse("c2sp.org/tlog-proof@v1\nindex 01\n\n"),
        Err(ParseProofError::Index(2))
    );
    assert_eq!(
        parse("c2sp.org/tlog-proof@v1\nindex \n\n"),
        Err(ParseProofError::Index(2))
    );
    assert_eq!(
        parse("c2sp.org/tlog-proof@v1\nextra ***\nindex 1\n\n"),
        Err(ParseProofError::Extra)
    );
    assert_eq!(
        parse("c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n"),
        Err(ParseProofError::Hash(3))
    );
    assert_eq!(
        parse(&format!("c2sp.org/tlog-proof@v1\nindex 1\n{hash}")),
        Err(ParseProofError::Hash(4))
    );
    let many = format!("c2sp.org/tlog-proof@v1\nindex 1\n{}\n", hash.repeat(65));
    assert_eq!(parse(&many), Err(ParseProofError::TooManyHashes));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>, text in "(c2sp.org/tlog-proof@v1\nindex [0-9]{1,3}\n)?[a-zA-Z=\n]{0,60}") {
        for input in [bytes.as_slice(), text.as_bytes()] {
            if let Ok(file) = ProofFile::parse(input) {
                prop_assert_eq!(ProofFile::parse(file.to_string().as_bytes()), Ok(file.clone()));
                prop_assert!(file.verify(b"entry", &trusted_log()).is_err());
            }
        }
    }
}
