//! Checkpoints, proofs and whole logs in folders: what is right is verified, and what was done to it is found, placed
//! and told from what is merely not there.

use std::fs;
use std::process::Command;

use audit::PublicKey;
use audit::checkpoint::Checkpoint;
use audit::note::{KeyName, SignedNote, VerifierKey, cosigned_message};
use audit::tiles::{TileId, TileKind, encode_entries, parse_entries};
use audit::tree::verify_consistency;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;

use crate::sealing::{Sealed, copy_dir, sign, stream};
use crate::support::{Run, run_in};

const KEYS: &str = "--key {}/log.vkey --key {}/registration.pem";

fn run(sealed: &Sealed, line: &str) -> Run {
    run_in(sealed.temp.path(), &line.replace("KEYS", KEYS))
}

fn verify(sealed: &Sealed, rest: &str) -> Value {
    run(
        sealed,
        &format!("audit verify --log {{}}/log KEYS --json {rest}"),
    )
    .json()
}

/// The bundle of the log's entry `index`, changed.
fn change_bundle(sealed: &Sealed, index: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let tile = TileId::in_tree(TileKind::Entries, index / 256, sealed.size()).unwrap();
    let path = sealed.log(&tile.to_string());
    let bytes = fs::read(&path).unwrap();
    let read = parse_entries(&bytes, tile.width()).unwrap();
    let mut entries: Vec<Vec<u8>> = read.into_iter().map(<[u8]>::to_vec).collect();
    change(&mut entries);
    fs::write(path, encode_entries(&entries).unwrap()).unwrap();
}

fn alter(entry: &mut Vec<u8>) {
    let text = String::from_utf8(entry.clone()).unwrap();
    *entry = text.replace("subject 1", "subject 9").into_bytes();
}

/// Index of the event in the log, as a proof of it says.
fn index_of(sealed: &Sealed, event: &str) -> u64 {
    let out = sealed.path("index-of");
    let line = format!(
        "audit prove {event} --log {{}}/log KEYS --json --out {}",
        out.display()
    );
    let index = run(sealed, &line).ends_with(0).json()["index"]
        .as_u64()
        .unwrap();
    fs::remove_dir_all(out).unwrap();
    index
}

#[test]
fn a_whole_log_is_verified_and_counted() {
    let (sealed, _) = Sealed::three_streams();
    let line = "audit verify --log {}/log KEYS --json --streams";
    let found = run(&sealed, line).ends_with(0).json();
    assert_eq!(found["verdict"], "verified", "{found}");
    assert_eq!(
        (
            &found["entries"],
            &found["events"],
            &found["seals"],
            &found["streams"]
        ),
        (&455.into(), &450.into(), &2.into(), &3.into())
    );
    assert_eq!(found["signatures"], 453);
    assert_eq!(found["checkpoint"]["size"], 455);
    assert_eq!(found["checkpoint"]["key_from"], "given");
    assert_eq!(found["newest_seal"], "2023-11-14T22:15:20.000000Z");
    assert_eq!(
        (&found["faults"], &found["not_verified"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
    assert_eq!(found["stream_list"].as_object().unwrap().len(), 3);
    let text = run(&sealed, "audit verify --log {}/log KEYS")
        .ends_with(0)
        .stdout;
    assert!(
        text.starts_with("verified           the whole log\n"),
        "{text}"
    );
    assert!(
        text.contains("entries            455: 450 events, 3 registrations, 2 seals\n"),
        "{text}"
    );
}

#[test]
fn an_altered_entry_is_found_by_its_index() {
    let (sealed, streams) = Sealed::three_streams();
    let event = format!("{}:100", streams[1].id());
    let index = index_of(&sealed, &event);
    change_bundle(&sealed, index, |entries| {
        alter(&mut entries[index as usize % 256]);
    });
    let found = verify(&sealed, "");
    assert_eq!(found["verdict"], "tampered");
    assert_eq!(found["faults"][0]["code"], "audit.entry_differs");
    assert_eq!(found["faults"][0]["index"], index);
    let text = run(&sealed, "audit verify --log {}/log KEYS")
        .ends_with(1)
        .stdout;
    assert!(
        text.starts_with("verified           NO: evidence of tampering"),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "entry {index}: not the entry that was sealed there"
        )),
        "{text}"
    );
    // No proof is made of it either.
    let line = format!("audit prove {event} --log {{}}/log KEYS --json --out {{}}/out");
    let (exit, code, _) = run(&sealed, &line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.entry_differs"));
    assert!(!sealed.path("out").exists());
}

#[test]
fn deleted_inserted_reordered_and_replayed_entries_are_found_where_they_stand() {
    type Change = fn(&mut Vec<Vec<u8>>, usize);
    let attacks: [(&str, Change); 4] = [
        ("deleted", |entries, at| drop(entries.remove(at))),
        ("inserted", |entries, at| {
            entries.insert(at, entries[at - 9].clone());
        }),
        ("reordered", |entries, at| entries.swap(at, at + 1)),
        ("replayed", |entries, at| {
            entries[at + 1] = entries[at].clone();
        }),
    ];
    for (name, attack) in attacks {
        let (sealed, streams) = Sealed::three_streams();
        let index = index_of(&sealed, &format!("{}:100", streams[1].id()));
        change_bundle(&sealed, index, |entries| {
            attack(entries, index as usize % 256);
        });
        let found = run(&sealed, "audit verify --log {}/log KEYS --json")
            .ends_with(1)
            .json();
        assert_eq!(found["verdict"], "tampered", "{name}: {found}");
        let place = found["faults"][0].clone();
        let bundle = format!("tile/entries/00{}", index / 256);
        let named = place["index"]
            .as_u64()
            .is_some_and(|at| at / 256 == index / 256)
            || place["path"]
                .as_str()
                .is_some_and(|path| path.starts_with(&bundle));
        assert!(named, "{name}: {place}");
    }
}

#[test]
fn a_swapped_tile_is_found_by_its_path() {
    let (sealed, _) = Sealed::three_streams();
    let (first, second) = (sealed.log("tile/0/000"), sealed.log("tile/0/001.p/199"));
    let other = fs::read(&second).unwrap();
    let mut tile = fs::read(&first).unwrap();
    tile[..other.len()].copy_from_slice(&other);
    fs::write(&first, tile).unwrap();
    let found = run(&sealed, "audit verify --log {}/log KEYS --json")
        .ends_with(1)
        .json();
    assert_eq!(found["verdict"], "tampered", "{found}");
    assert_eq!(found["faults"][0]["path"], "tile/0/000", "{found}");
    assert_eq!(
        (&found["fault_count"], &found["entries"]),
        (&1.into(), &455.into())
    );
}

#[test]
fn a_deleted_stream_under_a_checkpoint_that_is_signed_anew_is_found_by_the_kept_one() {
    let (sealed, streams) = Sealed::three_streams();
    let mut other = Sealed::new();
    other.seal(&streams[..2]);
    other.seal(&[stream(5, 300, "subject")]);
    fs::remove_dir_all(sealed.path("log")).unwrap();
    copy_dir(&other.path("log"), &sealed.path("log"));
    run(&sealed, "audit verify --log {}/log KEYS").ends_with(0);
    let line = "audit verify --log {}/log KEYS --since {}/kept --json";
    let found = run(&sealed, line).ends_with(1).json();
    assert_eq!(found["verdict"], "tampered");
    assert_eq!(found["growth"]["code"], "audit.log_forked", "{found}");
    let line = "audit checkpoint --log {}/log KEYS --since {}/kept --json";
    let (exit, code, error) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.log_forked"));
    assert!(
        error.contains("the tree of 124 that was seen before"),
        "{error}"
    );
    // And by the receipt of an event that it held.
    let line = format!(
        "audit verify --log {{}}/log KEYS --receipt {} --json",
        streams[2].receipt(30)
    );
    let found = run(&sealed, &line).ends_with(3).json();
    assert_eq!(found["receipts"][0]["code"], "audit.receipt_not_sealed");
}

#[test]
fn a_log_that_was_set_back_is_found_by_the_kept_checkpoint() {
    let (sealed, _) = Sealed::three_streams();
    fs::copy(sealed.log("checkpoint"), sealed.path("newest")).unwrap();
    fs::copy(sealed.path("kept"), sealed.log("checkpoint")).unwrap();
    let line = "audit checkpoint --log {}/log KEYS --since {}/newest --json";
    let (exit, code, error) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.log_rolled_back"));
    assert!(error.contains("455") && error.contains("124"), "{error}");
    let found = verify(&sealed, "--since {}/newest");
    assert_eq!(
        (&found["verdict"], &found["growth"]["holds"]),
        (&"tampered".into(), &false.into())
    );
}

#[test]
fn a_forged_checkpoint_is_refused_whoever_signed_it() {
    let (sealed, _) = Sealed::three_streams();
    let note = fs::read_to_string(sealed.log("checkpoint")).unwrap();
    let path = sealed.log("checkpoint");
    fs::write(&path, note.replacen("455", "454", 1)).unwrap();
    for command in ["verify", "checkpoint"] {
        let (exit, code, _) = run(
            &sealed,
            &format!("audit {command} --log {{}}/log KEYS --json"),
        )
        .failure();
        assert_eq!(
            (exit, code.as_str()),
            (1, "audit.checkpoint_signature_invalid")
        );
    }
    fs::write(&path, &note).unwrap();
    let (exit, code, _) = run(
        &sealed,
        "audit checkpoint --log {}/log --key {}/other.vkey --json",
    )
    .failure();
    assert_eq!((exit, code.as_str()), (1, "audit.checkpoint_not_signed"));
    // The log's own key over another root: the tree does not lead there.
    let mut lines: Vec<&str> = note.split("\n\n").next().unwrap().lines().collect();
    let root = "A".repeat(43) + "=";
    lines[2] = &root;
    fs::write(&path, sign(&(lines.join("\n") + "\n")).to_string()).unwrap();
    let found = run(&sealed, "audit verify --log {}/log KEYS --json")
        .ends_with(1)
        .json();
    assert_eq!(found["faults"][0]["code"], "audit.root_differs", "{found}");
    assert_eq!(found["root_verified"], false);
}

#[test]
fn what_is_not_there_is_no_evidence_and_not_verified() {
    for (path, missing) in [
        ("tile/entries/000", "entries_missing"),
        ("tile/signatures/000", "signatures_missing"),
    ] {
        let (sealed, _) = Sealed::three_streams();
        fs::remove_file(sealed.log(path)).unwrap();
        let found = run(&sealed, "audit verify --log {}/log KEYS --json")
            .ends_with(3)
            .json();
        assert_eq!(found["verdict"], "incomplete", "{found}");
        assert!(found[missing].as_u64().unwrap() > 200, "{found}");
        let said = found["not_verified"].to_string();
        assert!(said.contains(path), "{said}");
    }
    let (sealed, _) = Sealed::three_streams();
    fs::remove_file(sealed.log("checkpoint")).unwrap();
    let (exit, code, _) = run(&sealed, "audit verify --log {}/log KEYS --json").failure();
    assert_eq!((exit, code.as_str()), (3, "audit.checkpoint_not_found"));
    let (exit, ..) = run(&sealed, "audit verify --log {}/nowhere KEYS --json").failure();
    assert_eq!(exit, 3);
}

#[test]
fn without_keys_nothing_is_called_verified() {
    let (sealed, _) = Sealed::three_streams();
    let found = run(&sealed, "audit verify --log {}/log --json")
        .ends_with(3)
        .json();
    assert_eq!(found["verdict"], "incomplete", "{found}");
    assert_eq!(found["checkpoint"]["signature_verified"], false);
    assert_eq!(
        found["not_verified"].as_array().unwrap().len(),
        3,
        "{found}"
    );
    let found = run(
        &sealed,
        "audit verify --log {}/log --key {}/log.vkey --json",
    )
    .ends_with(3)
    .json();
    assert_eq!(
        found["not_verified"].as_array().unwrap().len(),
        2,
        "{found}"
    );
    // A key that did not register the streams is another matter.
    let found = run(
        &sealed,
        "audit verify --log {}/log --key {}/log.vkey --key {}/other.pem --json",
    )
    .ends_with(1)
    .json();
    assert_eq!(
        found["faults"][0]["code"], "audit.registration_unknown",
        "{found}"
    );
    let text = run(&sealed, "audit checkpoint --log {}/log")
        .ends_with(3)
        .stdout;
    assert!(
        text.contains("signed by          not verified: no key was given"),
        "{text}"
    );
    let (exit, ..) = run(
        &sealed,
        "audit verify --log {}/log --key {}/log/checkpoint --json",
    )
    .failure();
    assert_eq!(exit, 2);
}

#[test]
fn a_checkpoint_is_shown_with_its_age_and_kept() {
    let (sealed, _) = Sealed::three_streams();
    let line =
        "audit checkpoint --log {}/log --key {}/log.vkey --since {}/kept --out {}/new --json";
    let found = run(&sealed, line).ends_with(0).json();
    assert_eq!(
        (&found["size"], &found["verified"]),
        (&455.into(), &true.into())
    );
    assert_eq!(found["grown_from"], 124);
    assert_eq!(found["newest_seal"], "2023-11-14T22:15:20.000000Z");
    assert!(found["age_s"].as_u64().unwrap() > 1_000_000);
    assert_eq!(
        fs::read(sealed.path("new")).unwrap(),
        fs::read(sealed.log("checkpoint")).unwrap()
    );
    // Kept once, never overwritten; that says nothing about the log.
    let (exit, code, _) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (2, "file.exists"));
    // The store of a data directory is named as elsewhere.
    let found = run(
        &sealed,
        "audit checkpoint --data {} --key {}/log.vkey --json",
    )
    .ends_with(0)
    .json();
    assert_eq!(found["size"], 455);
}

#[test]
fn the_proof_of_growth_is_written_for_programs_of_others() {
    let (sealed, _) = Sealed::three_streams();
    let line = "audit checkpoint --log {}/log KEYS --since {}/kept --growth {}/growth --json";
    let found = run(&sealed, line).ends_with(0).json();
    assert_eq!(
        found["growth_file"].as_str(),
        sealed.path("growth").to_str()
    );
    let text = fs::read_to_string(sealed.path("growth")).unwrap();
    let hashes: Vec<[u8; 32]> = text
        .lines()
        .map(|line| STANDARD.decode(line).unwrap().try_into().unwrap())
        .collect();
    let read = |path: std::path::PathBuf| {
        let note = SignedNote::parse(&fs::read(path).unwrap()).unwrap();
        Checkpoint::parse(note.text()).unwrap()
    };
    let (from, to) = (read(sealed.path("kept")), read(sealed.log("checkpoint")));
    verify_consistency((from.size, &from.root), (to.size, &to.root), &hashes).unwrap();
    // Never overwritten, and nothing without a beginning.
    let (exit, code, _) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (2, "file.exists"));
    let line = "audit checkpoint --log {}/log KEYS --growth {}/other --json";
    assert_eq!(run(&sealed, line).failure().0, 2);
}

#[test]
fn a_checkpoint_is_kept_with_the_proof_of_its_growth_or_not_at_all() {
    let (sealed, _) = Sealed::three_streams();
    let line = "audit checkpoint --log {}/log KEYS --since {}/kept --out {}/newest --growth {}/growth --json";
    fs::write(sealed.path("growth"), "in the way").unwrap();
    let (exit, code, _) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (2, "file.exists"));
    assert!(!sealed.path("newest").exists());
    fs::remove_file(sealed.path("growth")).unwrap();
    // A disk on which no byte can be written: no half file stays in the way either.
    let words = line.replace("KEYS", KEYS);
    let words = words.replace("{}", sealed.temp.path().to_str().unwrap());
    let full = format!(
        "trap '' XFSZ; ulimit -f 0; exec {} {words}",
        env!("CARGO_BIN_EXE_sealcast")
    );
    let output = Command::new("sh").args(["-c", &full]).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &found["code"]),
        (Some(4), &"file.unavailable".into()),
        "{found}"
    );
    assert!(!sealed.path("newest").exists());
    run(&sealed, line).ends_with(0);
    assert!(sealed.path("newest").exists() && sealed.path("growth").exists());
}

#[test]
fn an_event_whose_position_is_altered_is_not_called_unsealed() {
    let (sealed, streams) = Sealed::three_streams();
    let receipt = streams[1].receipt(100);
    let index = index_of(&sealed, &receipt);
    let prove = format!("audit prove {receipt} --log {{}}/log KEYS --json --out {{}}/out");
    let verify = format!("audit verify --log {{}}/log KEYS --json --receipt {receipt}");
    let expect = |exit: i32, code: &str| {
        let (found, said, error) = run(&sealed, &prove).failure();
        assert_eq!((found, said.as_str()), (exit, code), "{error}");
        let found = run(&sealed, &verify).ends_with(exit).json();
        assert_eq!(found["receipts"][0]["code"], code, "{found}");
        error
    };
    change_bundle(&sealed, index, |entries| {
        let entry = &mut entries[index as usize % 256];
        let text = String::from_utf8(entry.clone()).unwrap();
        *entry = text.replace("\"seq\":100,", "\"seq\":999,").into_bytes();
    });
    let error = expect(1, "audit.seal_differs");
    assert!(error.contains("the seal at entry 454"), "{error}");

    // A bundle that is none hides nothing either, and one that is not there is named.
    let name = format!("tile/entries/00{}", index / 256);
    let name = if index < 256 { name } else { name + ".p/199" };
    let path = sealed.log(&name);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = expect(1, "audit.tile_unreadable");
    assert!(error.contains(&name), "{error}");
    fs::remove_file(&path).unwrap();
    let error = expect(3, "audit.tile_not_found");
    assert!(error.contains(&name), "{error}");
}

#[test]
fn an_event_is_proven_by_files_that_verify_offline() {
    let (sealed, streams) = Sealed::three_streams();
    for (stream, seq) in [(0, 0), (1, 39), (1, 40), (2, 149)] {
        let receipt = streams[stream].receipt(seq);
        let line = format!(
            "audit prove {receipt} --log {{}}/log --key {{}}/log.vkey --out {{}}/p --name e{stream}-{seq} --json"
        );
        let found = run(&sealed, &line).ends_with(0).json();
        assert!(
            receipt.ends_with(found["leaf_hash"].as_str().unwrap()),
            "{found}"
        );
        let event = fs::read(found["event"].as_str().unwrap()).unwrap();
        assert_eq!(event, streams[stream].records[seq].entry);
        let line = format!(
            "audit verify {{}}/p/e{stream}-{seq}.json --proof {{}}/p/e{stream}-{seq}.tlog-proof --key {{}}/log.vkey --json"
        );
        let verified = run(&sealed, &line).ends_with(0).json();
        assert_eq!(verified["index"], found["index"]);
        // Files are never overwritten.
        let line = format!(
            "audit prove {receipt} --log {{}}/log --key {{}}/log.vkey --out {{}}/p --name e{stream}-{seq}"
        );
        run(&sealed, &line).ends_with(2);
    }
    // Another event under the same proof, and another log's key.
    let line = "audit verify {}/p/e0-0.json --proof {}/p/e1-40.tlog-proof --key {}/log.vkey --json";
    let (exit, code, _) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.proof_invalid"));
    let line =
        "audit verify {}/p/e0-0.json --proof {}/p/e0-0.tlog-proof --key {}/other.vkey --json";
    let (exit, code, _) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.checkpoint_not_signed"));
}

#[test]
fn no_file_is_written_of_another_event_than_the_receipts_or_of_half_a_proof() {
    let (sealed, streams) = Sealed::three_streams();
    let other = stream(1, 150, "other").receipt(7);
    let line = format!("audit prove {other} --log {{}}/log KEYS --out {{}}/p --json");
    let (exit, code, _) = run(&sealed, &line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.receipt_mismatch"));
    assert!(!sealed.path("p").exists());
    fs::create_dir(sealed.path("p")).unwrap();
    fs::write(sealed.path("p/e.tlog-proof"), "kept").unwrap();
    let line = format!(
        "audit prove {} --log {{}}/log KEYS --out {{}}/p --name e --json",
        streams[0].receipt(7)
    );
    let (exit, code, _) = run(&sealed, &line).failure();
    assert_eq!((exit, code.as_str()), (2, "file.exists"));
    assert!(!sealed.path("p/e.json").exists());
    let kept = fs::read_to_string(sealed.path("p/e.tlog-proof")).unwrap();
    assert_eq!(kept, "kept");
    // Where no folder can be made, nothing is said about the log either.
    let line = line.replace("{}/p ", "{}/log.vkey/p ");
    assert_eq!(run(&sealed, &line).failure().0, 4);
}

#[test]
fn the_time_of_a_seal_that_is_not_proven_is_not_told() {
    let (sealed, _) = Sealed::three_streams();
    change_bundle(&sealed, 454, |entries| {
        let entry = &mut entries[454 % 256];
        let text = String::from_utf8(entry.clone()).unwrap();
        *entry = text
            .replace("2023-11-14T22:15:20", "2026-11-14T22:15:20")
            .into_bytes();
    });
    let line = "audit checkpoint --log {}/log KEYS --json";
    let found = run(&sealed, line).ends_with(0).json();
    assert_eq!(
        (&found["newest_seal"], &found["age_s"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_growth_that_cannot_be_checked_is_no_evidence() {
    let (sealed, _) = Sealed::three_streams();
    let line = "audit checkpoint --log {}/log KEYS --since {}/kept --json";
    let path = sealed.log("tile/0/000");
    let tile = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (exit, code, _) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (3, "audit.log_unreadable"));
    // Where it is there and is none, somebody made it so.
    fs::write(&path, &tile[1..]).unwrap();
    assert_eq!(run(&sealed, line).failure().0, 1);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(run(&sealed, line).failure().0, 4);
}

#[test]
fn an_older_checkpoint_is_verified_by_the_wider_tiles_of_the_grown_log() {
    let (sealed, _) = Sealed::three_streams();
    fs::copy(sealed.path("kept"), sealed.log("checkpoint")).unwrap();
    for kind in ["0", "entries", "signatures"] {
        fs::remove_dir_all(sealed.log(&format!("tile/{kind}/000.p"))).unwrap();
    }
    let found = run(&sealed, "audit verify --log {}/log KEYS --json").ends_with(0);
    assert_eq!(found.json()["entries"], 124);
}

#[test]
fn a_seal_is_proven_by_its_index_and_what_is_not_sealed_is_not() {
    let (sealed, streams) = Sealed::three_streams();
    let line = "audit prove --index 454 --log {}/log --key {}/log.vkey --out {}/p --json";
    let found = run(&sealed, line).ends_with(0).json();
    let seal = fs::read_to_string(found["event"].as_str().unwrap()).unwrap();
    assert!(seal.contains("sealcast.seal/v1"), "{seal}");
    let line = "audit prove --index 455 --log {}/log --key {}/log.vkey --out {}/p --json";
    assert_eq!(run(&sealed, line).failure().0, 3);
    let line = format!(
        "audit prove {}:150 --log {{}}/log --key {{}}/log.vkey --json",
        streams[0].id()
    );
    let (exit, code, _) = run(&sealed, &line).failure();
    assert_eq!((exit, code.as_str()), (4, "audit.event_not_sealed"));
    for key in ["", "--key {}/registration.pem"] {
        let line = format!("audit prove --index 0 --log {{}}/log --json {key}");
        let (exit, _, error) = run(&sealed, &line).failure();
        assert_eq!(exit, 2, "no key of the log");
        assert!(error.contains("sealcast key show log"), "{error}");
    }
}

#[test]
fn receipts_are_held_against_the_log() {
    let (sealed, streams) = Sealed::three_streams();
    let line = format!(
        "audit verify --log {{}}/log --key {{}}/log.vkey --receipt {} --receipt {} --json",
        streams[0].receipt(7),
        streams[2].receipt(149)
    );
    let found = run(&sealed, &line).ends_with(0).json();
    assert_eq!(found["receipts"][1]["event"]["seq"], 149, "{found}");
    // The same place, another event: what a client was told is not what the log holds.
    let other = stream(1, 150, "other").receipt(7);
    let line = format!("audit verify --log {{}}/log --key {{}}/log.vkey --receipt {other} --json");
    let found = run(&sealed, &line).ends_with(1).json();
    assert_eq!(found["verdict"], "tampered");
    assert_eq!(found["receipts"][0]["code"], "audit.receipt_mismatch");
    // Beside one that is not there, evidence stays evidence.
    let absent = stream(4, 1, "never sealed").receipt(0);
    let line = format!(
        "audit verify --log {{}}/log --key {{}}/log.vkey --receipt {absent} --receipt {other} --json"
    );
    let found = run(&sealed, &line).ends_with(1).json();
    assert_eq!(found["verdict"], "tampered");
}

#[test]
fn an_interrupted_run_goes_on_from_its_copy_and_the_copy_is_a_log() {
    let (sealed, _) = Sealed::three_streams();
    run(&sealed, "audit verify --log {}/log KEYS --mirror {}/copy").ends_with(0);
    // Everything is in the copy: the tiles of the log itself are not read again.
    fs::remove_dir_all(sealed.log("tile")).unwrap();
    run(&sealed, "audit verify --log {}/log KEYS --mirror {}/copy").ends_with(0);
    run(&sealed, "audit verify --log {}/copy KEYS").ends_with(0);
    run(&sealed, "audit verify --log {}/log KEYS").ends_with(3);
}

#[test]
fn a_copy_remembers_how_long_the_log_was() {
    let (sealed, _) = Sealed::three_streams();
    let line = "audit verify --log {}/log KEYS --mirror {}/copy --json";
    run(&sealed, line).ends_with(0);
    let newest = fs::read(sealed.log("checkpoint")).unwrap();
    fs::copy(sealed.path("kept"), sealed.log("checkpoint")).unwrap();
    for since in ["", " --since {}/kept"] {
        let found = run(&sealed, &format!("{line}{since}")).ends_with(1).json();
        assert_eq!(found["growth"]["code"], "audit.log_rolled_back", "{found}");
        // The evidence stays.
        assert_eq!(fs::read(sealed.path("copy/checkpoint")).unwrap(), newest);
    }
    fs::write(sealed.log("checkpoint"), newest).unwrap();
    let found = run(&sealed, line).ends_with(0).json();
    assert_eq!(
        (&found["from"], &found["growth"]["holds"]),
        (&0.into(), &true.into())
    );
    // Another log's copy is not mixed with this one.
    fs::write(sealed.path("copy/checkpoint"), "something else").unwrap();
    let (exit, code, error) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (2, "audit.checkpoint_malformed"));
    assert!(error.contains("copy/checkpoint"), "{error}");
}

#[test]
fn a_copy_whose_checkpoint_cannot_be_looked_at_is_not_overwritten() {
    let (sealed, _) = Sealed::three_streams();
    let line = "audit verify --log {}/log KEYS --mirror {}/copy --json";
    run(&sealed, line).ends_with(0);
    // A link to itself: nobody can tell what is there.
    let kept = sealed.path("copy/checkpoint");
    fs::remove_file(&kept).unwrap();
    std::os::unix::fs::symlink("checkpoint", &kept).unwrap();
    let (exit, code, error) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (4, "file.unavailable"));
    assert!(error.contains("copy/checkpoint"), "{error}");
    assert!(fs::symlink_metadata(&kept).unwrap().is_symlink());
}

#[test]
fn a_range_is_verified_by_itself_and_a_fault_outside_of_it_is_not_found() {
    let (sealed, streams) = Sealed::three_streams();
    let found = run(
        &sealed,
        "audit verify --log {}/log KEYS --from 260 --until 300 --json",
    )
    .ends_with(0)
    .json();
    assert_eq!(
        (&found["entries"], &found["signatures"]),
        (&40.into(), &40.into()),
        "{found}"
    );
    // What came since a checkpoint that was kept.
    let found = run(
        &sealed,
        "audit verify --log {}/log KEYS --since {}/kept --json",
    )
    .ends_with(0)
    .json();
    assert_eq!(
        (&found["from"], &found["until"]),
        (&124.into(), &455.into()),
        "{found}"
    );
    assert_eq!(
        (&found["entries"], &found["signatures"]),
        (&331.into(), &330.into()),
        "{found}"
    );
    assert_eq!(found["growth"]["holds"], true);
    let index = index_of(&sealed, &format!("{}:100", streams[1].id()));
    change_bundle(&sealed, index, |entries| {
        alter(&mut entries[index as usize % 256]);
    });
    let range = |from: u64, until: u64| {
        format!("audit verify --log {{}}/log KEYS --from {from} --until {until} --json")
    };
    run(&sealed, &range(0, index)).ends_with(0);
    run(&sealed, &range(index + 1, 455)).ends_with(0);
    let found = run(&sealed, &range(index, index + 1)).ends_with(1).json();
    assert_eq!(found["faults"][0]["index"], index, "{found}");
    // Nothing is new since the newest checkpoint.
    let found = run(
        &sealed,
        "audit verify --log {}/log KEYS --since {}/log/checkpoint --json",
    )
    .ends_with(0)
    .json();
    assert_eq!(found["entries"], 0);
    let line = "audit verify --log {}/log KEYS --since {}/log/checkpoint";
    let text = run(&sealed, line).ends_with(0).stdout;
    assert!(
        text.starts_with("verified           the growth; no entry is new\n"),
        "{text}"
    );
    for range in [
        "--from 456",
        "--until 456",
        "--from 300 --until 200",
        "--until 0",
        "--since {}/log/checkpoint --from 455",
    ] {
        let (exit, ..) = run(
            &sealed,
            &format!("audit verify --log {{}}/log KEYS --json {range}"),
        )
        .failure();
        assert_eq!(exit, 2, "{range}");
    }
}

#[test]
fn a_cosignature_that_is_asked_for_must_be_there() {
    let (sealed, _) = Sealed::three_streams();
    let witness = SigningKey::from_bytes(&[21; 32]);
    let name = KeyName::parse("witness.example").unwrap();
    let public = PublicKey(witness.verifying_key().to_bytes());
    let key = VerifierKey::cosignature(name, &public).unwrap();
    fs::write(sealed.path("witness.vkey"), key.to_string()).unwrap();
    let line = "audit checkpoint --log {}/log --key {}/log.vkey --witness {}/witness.vkey --json";
    let (exit, code, _) = run(&sealed, line).failure();
    assert_eq!((exit, code.as_str()), (1, "audit.checkpoint_not_cosigned"));
    run(&sealed, &format!("{line} --quorum 0")).ends_with(0);

    let mut note = SignedNote::parse(&fs::read(sealed.log("checkpoint")).unwrap()).unwrap();
    let time = 1_700_000_100_u64;
    let signature = witness.sign(cosigned_message(time, note.text()).as_bytes());
    let cosignature = [&time.to_be_bytes()[..], &signature.to_bytes()].concat();
    note.add(&key, cosignature).unwrap();
    fs::write(sealed.log("checkpoint"), note.to_string()).unwrap();
    let found = run(&sealed, line).ends_with(0).json();
    let signers = serde_json::json!(["example.com/audit", "witness.example"]);
    assert_eq!(found["signed_by"], signers);

    // Keys of two logs: which of them is meant?
    let public = PublicKey(SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
    let second = VerifierKey::ed25519(KeyName::parse("b.example").unwrap(), &public).unwrap();
    fs::write(sealed.path("b.vkey"), second.to_string()).unwrap();
    let both = "audit checkpoint --log {}/log --key {}/b.vkey --key {}/log.vkey --json";
    assert_eq!(run(&sealed, both).failure().0, 2);
    run(&sealed, &format!("{both} --origin example.com/audit")).ends_with(0);

    // A witness alone is no log, and two of one are too few.
    for (wrong, exit) in [
        ("--key {}/witness.vkey", 2),
        ("--key {}/log.vkey --witness {}/log.vkey", 2),
        ("--key {}/log.vkey --witness {}/witness.vkey --quorum 2", 2),
    ] {
        let line = format!("audit checkpoint --log {{}}/log --json {wrong}");
        assert_eq!(run(&sealed, &line).failure().0, exit, "{wrong}");
    }
}
