//! Exit codes and the forms of errors.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use tempfile::tempdir;

use crate::support::{command, run_in, sealcast};

#[test]
fn a_wrong_command_line_ends_with_2_in_either_form() {
    let run = sealcast(&["inspect"]).ends_with(2);
    assert!(run.stderr.contains("required arguments"), "{run:?}");
    assert_eq!(run.stdout, "");
    let run = sealcast(&["inspect", "--json"]).ends_with(2);
    assert_eq!(run.json()["code"], "usage");
    assert_eq!(run.stderr, "");
    let run = sealcast(&["no-such-command", "--json"]).ends_with(2);
    assert!(
        run.json()["error"]
            .as_str()
            .unwrap()
            .contains("no-such-command"),
        "{run:?}"
    );
    let run = sealcast(&["release", "show", "r-1", "--json"]).ends_with(2);
    assert!(
        run.json()["error"].as_str().unwrap().contains("r-000042"),
        "{run:?}"
    );
}

#[test]
fn what_is_not_there_ends_with_3() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let run = run_in(dir, "inspect {}/absent.onnx").ends_with(3);
    assert!(run.stderr.starts_with("error: read "), "{run:?}");
    assert!(
        run.stderr
            .ends_with("absent.onnx: no such file [file.not_found]\n"),
        "{run:?}"
    );
    for line in [
        "push {}/absent --data {}",
        "release show --data {}/absent",
        "audit streams --data {}/absent",
        "audit export --data {} --out -",
        "audit verify {}/absent --key {}/absent",
        "token list --data {}/absent",
        "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --data {} --out {}/m",
    ] {
        run_in(dir, line).ends_with(3);
    }
    assert_eq!(
        std::fs::read_dir(dir).unwrap().count(),
        0,
        "a failure leaves nothing behind"
    );
}

#[test]
fn a_store_that_cannot_be_written_ends_with_4() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    // A file where a folder must be: also root cannot write there.
    std::fs::write(dir.join("data/releases"), "").unwrap();
    let (exit, code, error) = run_in(dir, "release show --data {}/data --json").failure();
    assert_eq!((exit, code.as_str()), (4, "store.unavailable"), "{error}");
}

#[test]
fn a_file_that_is_no_model_ends_with_1() {
    let temp = tempdir().unwrap();
    std::fs::write(temp.path().join("m.onnx"), "not a model").unwrap();
    for command in [
        "inspect {}/m.onnx",
        "score {}/m.onnx --input EXAMPLE/request-v2.json",
    ] {
        let (exit, code, error) = run_in(temp.path(), &format!("{command} --json")).failure();
        assert_eq!(exit, 1);
        assert!(code.starts_with("model."), "{code}: {error}");
    }
}

#[test]
fn keys_that_others_may_read_are_refused() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let path = dir.join("data/keys/model-signing.pem");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let line = "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --data {}/data --out {}/m --json";
    let (exit, code, error) = run_in(dir, line).failure();
    assert_eq!((exit, code.as_str()), (1, "store.file_mode"), "{error}");
}

#[test]
fn a_report_whose_reader_is_gone_is_no_error() {
    let mut child = command()
        .args(["inspect"])
        .arg(crate::support::example("spx-direction.onnx"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_data_directory_may_come_from_the_environment() {
    let temp = tempdir().unwrap();
    let data = temp.path().join("data");
    let status = command()
        .arg("keygen")
        .env("SEALCAST_DATA", &data)
        .output()
        .unwrap()
        .status;
    assert!(status.success());
    assert!(data.join("keys/model-signing.pem").exists());
}
