//! The committed vectors: what was sealed once verifies for ever, to the byte.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::support::{Log, sign, stopped, verifier, written};

const VECTORS: &str = include_str!("../vectors/log.txt");

/// A small log in two runs, with everything that is written for it.
fn computed() -> String {
    let mut log = Log::new();
    let (mut first, mut second) = (written(1, 300), written(2, 4));
    first.records.remove(7);
    log.seal(&[first.clone()]);
    let early = log.clone();
    let (mut stream, _) = crate::support::open(2);
    for record in &second.records {
        assert_eq!(
            &stream
                .record(
                    crate::support::body(record.seq as usize),
                    crate::support::START_US + record.seq
                )
                .unwrap(),
            record
        );
    }
    second
        .records
        .push(stream.record(stopped(), crate::support::START_US).unwrap());
    let staged = log.plan(&[first.clone(), second.clone()], 1000);
    let staged = staged.clone().stage(sign(staged.text())).unwrap();
    log.seal(&[first, second.clone()]);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# Written once by shared/audit/tests/log/vectors.rs; never to be changed.\n# SHA-256 and path of every file of a log, and of the staged record of its second run."
    );
    for (path, bytes) in &log.tiles {
        let _ = writeln!(text, "{} {path}", hex::encode(Sha256::digest(bytes)));
    }
    let _ = writeln!(
        text,
        "{} stage\n",
        hex::encode(Sha256::digest(staged.to_bytes().unwrap()))
    );
    let _ = writeln!(
        text,
        "# The verifier key, both checkpoints, the proof of event 2 of the second stream, the last seal."
    );
    let _ = writeln!(text, "{}\n", verifier());
    let note = |log: &Log| log.note.as_ref().unwrap().to_string();
    let _ = writeln!(text, "{}\n{}", note(&early), note(&log));
    let _ = writeln!(text, "{}", log.prove(log.index_of(second.id, 2)));
    let size = log.checkpoint().size;
    let bundle = &log.tiles[&format!("tile/entries/001.p/{}", size % 256)];
    let entries = audit::tiles::parse_entries(bundle, (size % 256) as usize).unwrap();
    text + &String::from_utf8_lossy(entries.last().unwrap()) + "\n"
}

#[test]
fn a_log_has_the_bytes_that_it_had_when_it_was_first_written() {
    let computed = computed();
    assert!(
        computed == VECTORS,
        "the log differs from tests/vectors/log.txt:\n{computed}"
    );
}
