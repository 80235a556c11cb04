//! Verifying, reading and exporting streams.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use audit::event::{EventBody, ProcessStopped, Security};
use audit::note::{KeyName, VerifierKey};
use audit::{Receipt, SignedRegistration, Stream, export};
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use tempfile::{TempDir, tempdir};

use crate::support::{Run, command, run_in};

const START_US: u64 = 1_700_000_000_000_000;

fn registrar(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The id that a local store gives the key.
fn id_of(key: &SigningKey) -> String {
    let der = key.verifying_key().to_public_key_der().unwrap();
    hex::encode(&Sha256::digest(der.as_bytes())[..8])
}

fn event(n: usize) -> EventBody {
    EventBody::Security(Security {
        code: "test.code".to_owned(),
        subject: format!("subject {n}"),
        detail: "é \"quoted\"".to_owned(),
    })
}

/// A stream of `count` events as lines, and the receipts of the events.
fn write_lines(id: u8, count: usize, key_id: &str) -> (Vec<Vec<u8>>, Vec<Receipt>) {
    let key = registrar(9);
    let (mut stream, registration) = Stream::open([id; 16], &[id; 32], "test", START_US).unwrap();
    let registration = registration.to_bytes().unwrap();
    let signature = key.sign(&registration).to_bytes();
    let signed = SignedRegistration {
        registration,
        key_id: key_id.to_owned(),
        signature,
    };
    let mut lines = vec![export::registration_line(&signed)];
    let mut receipts = Vec::new();
    for n in 0..count {
        let record = stream.record(event(n), START_US + n as u64).unwrap();
        receipts.push(record.receipt());
        lines.push(export::record_line(&record));
    }
    (lines, receipts)
}

/// A folder with `s.jsonl`, the registrar's key in `key.pem` and another in `other.pem`.
fn prepare(lines: &[Vec<u8>]) -> TempDir {
    let temp = tempdir().unwrap();
    std::fs::write(temp.path().join("s.jsonl"), lines.concat()).unwrap();
    for (name, seed) in [("key.pem", 9), ("other.pem", 8)] {
        let pem = registrar(seed)
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .unwrap();
        std::fs::write(temp.path().join(name), pem).unwrap();
    }
    temp
}

fn own_lines(count: usize) -> (Vec<Vec<u8>>, Vec<Receipt>) {
    write_lines(1, count, &id_of(&registrar(9)))
}

fn verify(lines: &[Vec<u8>]) -> Run {
    let temp = prepare(lines);
    run_in(
        temp.path(),
        "audit verify {}/s.jsonl --key {}/key.pem --json",
    )
}

#[test]
fn a_whole_stream_is_verified_and_counted() {
    let (lines, receipts) = own_lines(20);
    let found = verify(&lines).ends_with(0).json();
    assert_eq!(
        (&found["verified"], &found["events"]),
        (&true.into(), &20.into())
    );
    assert_eq!(found["kinds"]["security"], 20);
    assert_eq!(found["head"], receipts[19].leaf_hash.to_string());
    assert_eq!(found["first_time"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(found["last_time"], "2023-11-14T22:13:20.000019Z");
    assert_eq!(
        (&found["closed"], &found["torn_bytes"]),
        (&false.into(), &0.into())
    );
    let temp = prepare(&lines);
    let text = run_in(temp.path(), "audit verify {}/s.jsonl --key {}/key.pem")
        .ends_with(0)
        .stdout;
    assert!(
        text.starts_with("verified           20 events in "),
        "{text}"
    );
    assert!(text.contains("  security  20\n"), "{text}");
}

#[test]
fn every_flipped_bit_is_found_and_placed() {
    let (lines, _) = own_lines(3);
    for (at, line) in lines.iter().enumerate() {
        // Not the last byte, the line feed: the last one of the file ends it.
        for byte in (0..line.len() - 1).step_by(41) {
            let mut changed = lines.clone();
            changed[at][byte] ^= 1;
            let (exit, code, error) = verify(&changed).failure();
            assert_eq!(exit, 1, "line {at}, byte {byte}: {error}");
            assert!(code.starts_with("audit."), "{code}");
            assert!(error.contains(&format!("line {}: ", at + 1)), "{error}");
        }
    }
}

#[test]
fn a_removed_line_is_named_by_its_place() {
    let (mut lines, _) = own_lines(5);
    lines.remove(3);
    let run = verify(&lines);
    let (exit, code, error) = run.failure();
    assert_eq!((exit, code.as_str()), (1, "audit.event_out_of_order"));
    assert!(error.ends_with("s.jsonl, line 4: expected event 2, found 3: events are missing, doubled or out of order"), "{error}");
    let json = run.json();
    assert_eq!(
        (&json["line"], &json["seq"], &json["field"]),
        (&4.into(), &2.into(), &"line 4".into())
    );
}

#[test]
fn an_event_of_another_stream_is_found() {
    let (mut lines, _) = own_lines(5);
    let (other, _) = write_lines(2, 5, &id_of(&registrar(9)));
    lines[2] = other[2].clone();
    assert_eq!(verify(&lines).failure().1, "audit.event_of_other_stream");
}

#[test]
fn a_torn_tail_of_any_length_is_reported_and_no_failure() {
    let (lines, _) = own_lines(4);
    let last = lines[4].len();
    for cut in [1, 2, last / 2, last - 1] {
        let mut torn = lines.clone();
        torn[4].truncate(last - cut);
        let found = verify(&torn).ends_with(0).json();
        // Only the line feed is missing: the event is whole, and counts.
        let whole = cut == 1;
        assert_eq!(found["events"], if whole { 4 } else { 3 }, "{cut}");
        assert_eq!(
            found["torn_bytes"],
            if whole { 0 } else { last - cut },
            "{cut}"
        );
    }
    // In the middle it is damage.
    let mut torn = lines.clone();
    torn[2].truncate(20);
    torn[2].push(b'\n');
    assert_eq!(verify(&torn).failure().1, "audit.line_malformed");
}

#[test]
fn a_whole_last_line_without_a_line_feed_is_still_held_to_its_signature() {
    let (mut lines, _) = own_lines(2);
    let text = String::from_utf8(lines[2].clone())
        .unwrap()
        .replace("subject 1", "subject 7");
    lines[2] = text.trim_end().as_bytes().to_vec();
    assert_eq!(verify(&lines).failure().1, "audit.event_signature_invalid");
}

#[test]
fn another_key_does_not_vouch_for_the_stream() {
    let (lines, _) = own_lines(2);
    let temp = prepare(&lines);
    let run = |keys: &str| {
        run_in(
            temp.path(),
            &format!("audit verify {{}}/s.jsonl {keys} --json"),
        )
    };
    assert_eq!(
        run("--key {}/other.pem").failure().1,
        "audit.registration_key_unknown"
    );
    run("--key {}/other.pem --key {}/key.pem").ends_with(0);
    let named = format!("--key {}={{}}/other.pem", id_of(&registrar(9)));
    assert_eq!(
        run(&named).failure().1,
        "audit.registration_signature_invalid"
    );
    let (exit, code, error) = run("--key {}/s.jsonl").failure();
    assert_eq!((exit, code.as_str()), (2, "audit.key_malformed"), "{error}");
    // What is about logs is refused, not passed over.
    let public = audit::PublicKey(registrar(9).verifying_key().to_bytes());
    let name = KeyName::parse("log.example").unwrap();
    let log_key = VerifierKey::ed25519(name, &public).unwrap();
    std::fs::write(temp.path().join("log.vkey"), log_key.to_string()).unwrap();
    let (exit, _, error) = run("--key {}/log.vkey").failure();
    assert_eq!(exit, 2);
    assert!(error.contains("the verifier key of a log"), "{error}");
    for other in ["--witness {}/log.vkey", "--origin log.example"] {
        let (exit, code, error) = run(&format!("--key {{}}/key.pem {other}")).failure();
        assert_eq!((exit, code.as_str()), (2, "usage"), "{error}");
    }
    assert_eq!(run("").failure().0, 2);
}

#[test]
fn a_key_may_be_named_by_a_key_services_id() {
    let (lines, _) = write_lines(1, 2, "arn:aws:kms:eu:key/1");
    let temp = prepare(&lines);
    let run = |key: &str| {
        run_in(
            temp.path(),
            &format!("audit verify {{}}/s.jsonl --key {key} --json"),
        )
    };
    assert_eq!(
        run("{}/key.pem").failure().1,
        "audit.registration_key_unknown"
    );
    run("arn:aws:kms:eu:key/1={}/key.pem").ends_with(0);
}

#[test]
fn a_closed_stream_says_so_and_nothing_may_follow() {
    let key = registrar(9);
    let (mut stream, registration) = Stream::open([1; 16], &[1; 32], "test", START_US).unwrap();
    let registration = registration.to_bytes().unwrap();
    let signature = key.sign(&registration).to_bytes();
    let signed = SignedRegistration {
        registration,
        key_id: id_of(&key),
        signature,
    };
    let stop = EventBody::ProcessStopped(ProcessStopped {
        reason: "asked to".to_owned(),
    });
    let mut lines = vec![export::registration_line(&signed)];
    lines.push(export::record_line(&stream.record(stop, START_US).unwrap()));
    assert_eq!(verify(&lines).ends_with(0).json()["closed"], true);
    lines.push(export::record_line(
        &stream.record(event(1), START_US).unwrap(),
    ));
    assert_eq!(verify(&lines).failure().1, "audit.event_after_close");
}

#[test]
fn a_receipt_finds_its_event_or_fails() {
    let (lines, receipts) = own_lines(5);
    let temp = prepare(&lines);
    let run = |receipt: String| {
        let line =
            format!("audit verify {{}}/s.jsonl --key {{}}/key.pem --receipt {receipt} --json");
        run_in(temp.path(), &line)
    };
    let Receipt {
        stream, leaf_hash, ..
    } = receipts[3];
    let found = run(format!("{stream}:3:{leaf_hash}")).ends_with(0).json();
    assert_eq!(found["receipts"][0]["data"]["subject"], "subject 3");
    assert_eq!(found["events"], 5);
    let failed = |receipt: String, code: &str| {
        let (exit, found, error) = run(receipt).failure();
        assert_eq!((exit, found.as_str()), (1, code), "{error}");
    };
    failed(format!("{stream}:2:{leaf_hash}"), "audit.receipt_mismatch");
    failed(format!("{stream}:5:{leaf_hash}"), "audit.receipt_not_found");
    failed(
        format!("{}:3:{leaf_hash}", "0".repeat(32)),
        "audit.receipt_other_stream",
    );
    assert_eq!(run("x:3:y".to_owned()).failure().0, 2);
}

#[test]
fn one_event_is_shown_with_its_receipt() {
    let (lines, receipts) = own_lines(5);
    let temp = prepare(&lines);
    let shown = run_in(temp.path(), "audit show {}/s.jsonl --seq 2 --json")
        .ends_with(0)
        .json();
    assert_eq!(shown["event"]["data"]["subject"], "subject 2");
    assert_eq!(
        shown["receipt"]["leaf_hash"],
        receipts[2].leaf_hash.to_string()
    );
    assert_eq!(shown["verified"], false);
    let text = run_in(
        temp.path(),
        "audit show {}/s.jsonl --seq 2 --key {}/key.pem",
    )
    .ends_with(0)
    .stdout;
    assert!(
        text.contains("verified           up to this event"),
        "{text}"
    );
    let (exit, code, _) = run_in(temp.path(), "audit show {}/s.jsonl --seq 5 --json").failure();
    assert_eq!((exit, code.as_str()), (3, "audit.event_not_found"));
}

#[test]
fn an_empty_file_and_a_line_without_end_are_refused() {
    assert_eq!(verify(&[]).failure().1, "audit.registration_missing");
    assert_eq!(
        verify(&[b"{".to_vec()]).failure().1,
        "audit.registration_unreadable"
    );
    let (mut lines, _) = own_lines(1);
    lines.push(vec![b'x'; 200_000]);
    assert_eq!(verify(&lines).failure().1, "audit.line_too_long");
}

/// A data directory with the stream of `lines`, as a server leaves it.
fn as_data(dir: &Path, lines: &[Vec<u8>], id: u8) {
    let audit = dir.join("data/audit");
    std::fs::create_dir_all(&audit).unwrap();
    let name = format!("{}.jsonl", hex::encode([id; 16]));
    std::fs::write(audit.join(name), lines.concat()).unwrap();
}

#[test]
fn streams_are_listed_and_exported_without_their_torn_tail() {
    let (lines, _) = own_lines(3);
    let temp = prepare(&lines);
    let dir = temp.path();
    let mut torn = lines.clone();
    torn.push(b"{\"entry\":{".to_vec());
    as_data(dir, &torn, 1);
    let listed = run_in(dir, "audit streams --data {}/data --json")
        .ends_with(0)
        .json();
    assert_eq!(listed["streams"][0]["host"], "test");
    assert_eq!(
        listed["streams"][0]["opened"],
        "2023-11-14T22:13:20.000000Z"
    );

    run_in(dir, "audit export --data {}/data --out {}/copy.jsonl").ends_with(0);
    assert_eq!(
        std::fs::read(dir.join("copy.jsonl")).unwrap(),
        lines.concat()
    );
    let copy = run_in(dir, "audit export --data {}/data --out -").ends_with(0);
    assert_eq!(copy.stdout.as_bytes(), lines.concat());
    let (exit, code, _) = run_in(
        dir,
        "audit export --data {}/data --out {}/copy.jsonl --json",
    )
    .failure();
    assert_eq!((exit, code.as_str()), (1, "file.exists"));

    let (other, _) = write_lines(2, 1, "k");
    as_data(dir, &other, 2);
    let (exit, _, error) = run_in(dir, "audit export --data {}/data --out - --json").failure();
    assert_eq!(exit, 2);
    assert!(error.contains("holds 2 streams"), "{error}");
    let stream = hex::encode([2; 16]);
    let copy = run_in(
        dir,
        &format!("audit export --data {{}}/data --stream {stream} --out -"),
    )
    .ends_with(0);
    assert_eq!(copy.stdout.as_bytes(), other.concat());
    let line = format!(
        "audit export --data {{}}/data --stream {} --out - --json",
        "0".repeat(32)
    );
    assert_eq!(run_in(dir, &line).failure().1, "audit.stream_not_found");
}

#[test]
fn a_stream_is_verified_from_standard_input() {
    let (lines, _) = own_lines(3);
    let temp = prepare(&lines);
    let key = temp.path().join("key.pem");
    let mut child = command()
        .args(["audit", "verify", "-", "--json", "--key"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&lines.concat())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("\"events\":3")
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (lines, _) = own_lines(2000);
    let temp = prepare(&lines);
    as_data(temp.path(), &lines, 1);
    let mut child = command()
        .args(["audit", "export", "--out", "-", "--data"])
        .arg(temp.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
