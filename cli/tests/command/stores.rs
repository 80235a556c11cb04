//! Which store a command works on, and what every store gives: keys, streams, sealed models.

use std::path::Path;

use audit::event::{EventBody, Security};
use audit::{SignedRegistration, Stream, export};
use store_embedded::LocalKeys;
use tempfile::tempdir;

use crate::support::{command, run_in};

/// A data directory with keys, and a stream of two events that they registered.
fn prepare(dir: &Path) {
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let signer = LocalKeys::open(&dir.join("data/keys"))
        .unwrap()
        .stream_signer();
    let (mut stream, registration) = Stream::open([7; 16], &[7; 32], "test", 1).unwrap();
    let registration = registration.to_bytes().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let signature = runtime.unwrap().block_on(signer.sign(&registration));
    let registered = SignedRegistration {
        registration,
        key_id: signer.key_id().to_owned(),
        signature: signature.unwrap().try_into().unwrap(),
    };
    let mut lines = export::registration_line(&registered);
    for subject in ["first", "second"] {
        let event = EventBody::Security(Security {
            code: "test.code".to_owned(),
            subject: subject.to_owned(),
            detail: String::new(),
        });
        lines.extend(export::record_line(&stream.record(event, 2).unwrap()));
    }
    let audit = dir.join("data/audit");
    std::fs::create_dir(&audit).unwrap();
    let name = format!("{}.jsonl", hex::encode([7; 16]));
    std::fs::write(audit.join(name), lines).unwrap();
}

#[test]
fn a_public_key_is_shown_as_the_file_beside_the_private_one_has_it() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    for (name, file) in [
        ("model", "model-signing"),
        ("stream", "stream-registration"),
    ] {
        let shown = run_in(dir, &format!("key show {name} --data {{}}/data"));
        let path = dir.join("data/keys").join(format!("{file}.pub.pem"));
        let pem = std::fs::read_to_string(path).unwrap();
        assert_eq!(shown.ends_with(0).stdout, pem);
        let shown = run_in(dir, &format!("key show {name} --data {{}}/data --json"));
        assert_eq!(shown.ends_with(0).json()["public_key"], pem);
    }
}

#[test]
fn a_trusted_key_is_what_a_deployed_function_reads() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let show = "key show model --data {}/data --form trusted";
    let plain = run_in(dir, show).ends_with(0).stdout;
    let trusted = artifact::TrustedKey::parse_list(plain.trim_end()).unwrap();
    let pem = std::fs::read_to_string(dir.join("data/keys/model-signing.pub.pem")).unwrap();
    assert_eq!(trusted.len(), 1);
    assert_eq!(trusted[0].key.to_pem(), pem);
    let window = "--from 2026-01-01T00:00:00Z --until 2026-12-31T23:59:59Z";
    let windowed = run_in(dir, &format!("{show} {window}")).ends_with(0).stdout;
    assert_eq!(
        windowed,
        format!(
            "{};from=2026-01-01T00:00:00Z;until=2026-12-31T23:59:59Z\n",
            plain.trim_end()
        )
    );
    for bad in [
        "--from yesterday",
        "--until 2026-01-01T00:00:00.5Z",
        "--from 2026-01-02T00:00:00Z --until 2026-01-01T00:00:00Z",
        "--from 2026-01-02T00:00:00Z,AAAA",
    ] {
        let (exit, code, error) = run_in(dir, &format!("{show} {bad} --json")).failure();
        assert_eq!((exit, code.as_str()), (2, "usage"), "{bad}: {error}");
    }
    for bad in [
        "key show stream --data {}/data --form trusted --json",
        "key show model --data {}/data --from 2026-01-01T00:00:00Z --json",
    ] {
        assert_eq!(run_in(dir, bad).failure().0, 2, "{bad}");
    }
}

#[test]
fn a_stored_stream_is_verified_under_the_stores_own_keys() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    let found = run_in(dir, "audit verify --data {}/data --json")
        .ends_with(0)
        .json();
    assert_eq!(found["events"], 2);
    let stream = hex::encode([7; 16]);
    assert_eq!(
        (&found["stream"], &found["key_from"]),
        (&stream.clone().into(), &"store".into())
    );
    let text = run_in(dir, "audit verify --data {}/data").ends_with(0);
    let caveat = "but                the registration key was taken from the store itself: this proves only consistency\n";
    assert!(text.stdout.contains(caveat), "{text:?}");
    let given = "audit verify --data {}/data --key {}/data/keys/stream-registration.pub.pem";
    let text = run_in(dir, given).ends_with(0);
    assert!(!text.stdout.contains("but "), "{text:?}");
    let shown = run_in(dir, "audit show --data {}/data --seq 1 --json")
        .ends_with(0)
        .json();
    assert_eq!(shown["event"]["data"]["subject"], "second");
    assert_eq!(shown["verified"], false);
    let line = format!(
        "audit show --data {{}}/data --stream {stream} --seq 1 --key {{}}/data/keys/stream-registration.pub.pem --json"
    );
    assert_eq!(run_in(dir, &line).ends_with(0).json()["verified"], true);
    // Of several streams a receipt names one.
    let receipt = shown["receipt"].clone();
    let receipt = format!(
        "{stream}:{}:{}",
        receipt["seq"],
        receipt["leaf_hash"].as_str().unwrap()
    );
    let file = dir.join(format!("data/audit/{stream}.jsonl"));
    std::fs::copy(
        &file,
        file.with_file_name(format!("{}.jsonl", "0".repeat(31) + "1")),
    )
    .unwrap();
    assert_eq!(
        run_in(dir, "audit verify --data {}/data --json")
            .failure()
            .0,
        2
    );
    let line = format!("audit verify --data {{}}/data --receipt {receipt} --json");
    assert_eq!(
        run_in(dir, &line).ends_with(0).json()["receipts"][0]["seq"],
        1
    );
    std::fs::remove_file(file.with_file_name(format!("{}.jsonl", "0".repeat(31) + "1"))).unwrap();

    let absent = "audit verify --data {}/data --stream 00000000000000000000000000000000 --json";
    let (exit, code, _) = run_in(dir, absent).failure();
    assert_eq!((exit, code.as_str()), (3, "audit.stream_not_found"));

    // Other keys: what they did not register is refused.
    std::fs::rename(dir.join("data/keys"), dir.join("others")).unwrap();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let (exit, code, _) = run_in(dir, "audit verify --data {}/data --json").failure();
    assert_eq!((exit, code.as_str()), (1, "audit.registration_key_unknown"));
}

#[test]
fn a_file_and_a_store_are_not_verified_at_once() {
    let temp = tempdir().unwrap();
    for line in [
        "audit verify {}/s.jsonl --json",
        "audit verify {}/s.jsonl --key {}/k --data {}/data --json",
        "audit verify {}/s.jsonl --key {}/k --stream 00000000000000000000000000000000 --json",
        "audit show {}/s.jsonl --seq 0 --data {}/data --json",
        "inspect {}/m.onnx --data {}/data --json",
        "inspect --json",
    ] {
        assert_eq!(run_in(temp.path(), line).failure().0, 2, "{line}");
    }
}

#[test]
fn a_sealed_model_of_the_store_is_opened_and_described() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let seal = "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --data {}/data --out {}/m --json";
    let sealed = run_in(dir, seal).ends_with(0).json();
    let inspect = "inspect --stored spx-direction@1.0.0 --data {}/data --json";
    assert_eq!(run_in(dir, inspect).failure().1, "store.not_found");
    run_in(dir, "push {}/m --data {}/data").ends_with(0);
    let stored = run_in(dir, inspect).ends_with(0).json();
    assert_eq!(stored["digest"], sealed["digest"]);
    assert_eq!(stored["signed_by"], sealed["signed_by"]);
    let plain = run_in(dir, "inspect EXAMPLE/spx-direction.onnx --json");
    let plain = plain.ends_with(0).json();
    for (name, value) in plain.as_object().unwrap() {
        assert_eq!(&stored[name], value, "{name}");
    }

    let path = dir.join("data/artifacts/spx-direction/1.0.0/model.onnx.sealed");
    let mut changed = std::fs::read(&path).unwrap();
    changed[1000] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    let (exit, code, error) = run_in(dir, inspect).failure();
    assert_eq!((exit, code.as_str()), (1, "artifact.digest_mismatch"));
    assert!(error.starts_with("spx-direction@1.0.0: "), "{error}");
}

#[test]
fn a_conflict_names_the_release_that_is_live_and_the_way_on() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let seal = "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --data {}/data --out {}/m";
    run_in(dir, seal).ends_with(0);
    run_in(dir, "push {}/m --data {}/data").ends_with(0);
    let create = "release create --live spx-direction@1.0.0 --created-by anna --data {}/data";
    run_in(dir, create).ends_with(0);
    run_in(dir, create).ends_with(0);
    run_in(dir, "release activate r-000001 --data {}/data").ends_with(0);
    let run = run_in(
        dir,
        "release activate r-000002 --expected-revision 0 --data {}/data --json",
    );
    assert_eq!(run.code, 1);
    let failure = run.json();
    assert_eq!(failure["code"], "store.conflict");
    assert_eq!(failure["live"], "r-000001");
    let error = failure["error"].as_str().unwrap();
    let way_on = "`sealcast release activate r-000002 --expected-revision 1`";
    assert!(error.ends_with(way_on), "{error}");
    run_in(
        dir,
        "release activate r-000002 --expected-revision 1 --data {}/data",
    )
    .ends_with(0);
}

#[test]
fn two_stores_in_the_environment_are_refused_and_an_option_decides() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    let run = |arguments: &[&str]| {
        command()
            .args(["audit", "streams", "--json"])
            .args(arguments)
            .env("SEALCAST_DATA", dir.join("data"))
            .env("SEALCAST_STACK", dir.join("stack.env"))
            .output()
            .unwrap()
    };
    assert_eq!(run(&[]).status.code(), Some(2));
    let data = dir.join("data");
    let listed = run(&["--data", data.to_str().unwrap()]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_stores_says_how_to_get_one() {
    let temp = tempdir().unwrap();
    let (exit, code, error) =
        run_in(temp.path(), "release show --stack {}/stack.env --json").failure();
    assert_eq!((exit, code.as_str()), (2, "usage"));
    assert!(
        error.ends_with("cargo install --locked --path cli --features aws"),
        "{error}"
    );
}

#[cfg(feature = "aws")]
#[test]
fn a_stack_file_is_refused_with_all_its_faults_before_anything_is_asked() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let run = || run_in(dir, "release show --stack {}/stack.env --json");
    let (exit, code, _) = run().failure();
    assert_eq!((exit, code.as_str()), (3, "file.not_found"));
    std::fs::write(dir.join("stack.env"), "SEALCAST_BUCKET=x\n").unwrap();
    let refused = run().ends_with(1).json();
    assert_eq!(refused["code"], "stack.malformed");
    assert_eq!(refused["faults"].as_array().unwrap().len(), 8);
    let (exit, _, error) = run_in(
        dir,
        "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --keys {} --stack {}/stack.env --out {}/m --json",
    )
    .failure();
    assert_eq!(exit, 2);
    assert!(error.contains("leave out --keys"), "{error}");
}
