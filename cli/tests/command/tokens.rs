//! Bearer tokens.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::tempdir;

use crate::support::run_in;

const CREATE: &str =
    "token create --data {}/data --principal desk-1 --role predictor --out {}/desk.token --json";

#[test]
fn a_token_is_made_listed_and_revoked() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let created = run_in(dir, CREATE).ends_with(0).json();
    let line = CREATE
        .replace("desk.token", "two.token")
        .replace("desk-1", "desk-2");
    run_in(dir, &format!("{line} --role auditor")).ends_with(0);

    let raw = std::fs::read_to_string(dir.join("desk.token")).unwrap();
    let token = raw.trim_end();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .unwrap();
    assert_eq!(bytes.len(), 32);
    let digest = hex::encode(Sha256::digest(token.as_bytes()));
    assert_eq!(created["sha256"], digest);

    let stored = std::fs::read_to_string(dir.join("data/tokens.json")).unwrap();
    assert!(!stored.contains(token));
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(
        stored["tokens"][0],
        serde_json::json!({"sha256": digest, "principal": "desk-1", "roles": ["predictor"]})
    );
    assert_eq!(stored["format"], "sealcast.tokens/v1");
    for file in ["desk.token", "data/tokens.json"] {
        let mode = std::fs::metadata(dir.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    let listed = run_in(dir, "token list --data {}/data --json")
        .ends_with(0)
        .json();
    assert_eq!(
        listed["tokens"][1]["roles"],
        serde_json::json!(["predictor", "auditor"])
    );
    run_in(dir, "token revoke --data {}/data --principal desk-1").ends_with(0);
    let listed = run_in(dir, "token list --data {}/data --json")
        .ends_with(0)
        .json();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 1);
    let again = run_in(dir, "token revoke --data {}/data --principal desk-1 --json").failure();
    assert_eq!((again.0, again.1.as_str()), (3, "token.not_found"));
}

#[test]
fn a_token_file_is_never_overwritten_and_nothing_is_stored_then() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    std::fs::write(dir.join("desk.token"), "mine").unwrap();
    let (exit, code, _) = run_in(dir, CREATE).failure();
    assert_eq!((exit, code.as_str()), (1, "file.exists"));
    assert_eq!(
        std::fs::read_to_string(dir.join("desk.token")).unwrap(),
        "mine"
    );
    assert!(!dir.join("data/tokens.json").exists());
}

#[test]
fn a_tokens_file_of_another_form_is_left_as_it_is() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    for text in [
        r#"{"format":"sealcast.tokens/v2","tokens":[]}"#,
        r#"{"format":"sealcast.tokens/v1","tokens":[],"more":1}"#,
        "",
    ] {
        std::fs::write(dir.join("data/tokens.json"), text).unwrap();
        let (exit, code, _) = run_in(dir, CREATE).failure();
        assert_eq!((exit, code.as_str()), (1, "token.file_malformed"), "{text}");
        assert_eq!(
            std::fs::read_to_string(dir.join("data/tokens.json")).unwrap(),
            text
        );
        assert!(!dir.join("desk.token").exists());
    }
}

#[test]
fn roles_principals_and_data_directories_are_checked() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    assert_eq!(run_in(dir, CREATE).failure().0, 3);
    assert!(!dir.join("data").exists());
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let (exit, code, error) = run_in(dir, &CREATE.replace("predictor", "king")).failure();
    assert_eq!((exit, code.as_str()), (2, "usage"));
    assert!(error.contains("expected predictor, releaser"), "{error}");
    assert_eq!(run_in(dir, &CREATE.replace("desk-1", "é")).failure().0, 2);
}
