//! From keys to a live release, on the example.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{example, run_in};

/// Keys, both models of the example sealed and pushed.
fn prepare(dir: &Path) {
    run_in(dir, "keygen --data {}/data").ends_with(0);
    for (model, manifest) in [
        ("spx-direction", "manifest"),
        ("spx-direction-mlp", "manifest-mlp"),
    ] {
        let line = format!(
            "seal EXAMPLE/{model}.onnx --manifest EXAMPLE/{manifest}.json --data {{}}/data --out {{}}/{model} --json"
        );
        let sealed = run_in(dir, &line).ends_with(0).json();
        assert_eq!(sealed["model"], format!("{model}@1.0.0"));
        let line = format!("push {{}}/{model} --data {{}}/data --json");
        let pushed = run_in(dir, &line).ends_with(0).json();
        assert_eq!(pushed["digest"], sealed["digest"]);
        assert_eq!(pushed["signed_by"], sealed["signed_by"]);
    }
}

const CREATE: &str = "release create --data {}/data --live spx-direction@1.0.0 \
    --fallback spx-direction-mlp@1.0.0=spx-direction --created-by anna --json";

#[test]
fn the_example_goes_from_keys_to_a_live_release() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    assert_eq!(
        run_in(dir, "release show --data {}/data --json")
            .failure()
            .1,
        "release.none_live"
    );

    let created = run_in(dir, CREATE).ends_with(0).json();
    assert_eq!(created["release"]["id"], "r-000001");
    assert_eq!(created["release"]["created_by"], "anna");
    assert_eq!(created["release"]["models"][0]["role"], "live");
    assert_eq!(
        created["release"]["models"][1]["role"]["fallback_for"],
        "spx-direction"
    );

    let live = run_in(dir, "release activate r-000001 --data {}/data --json").ends_with(0);
    assert_eq!(live.json()["live"]["revision"], 1);
    let shown = run_in(dir, "release show --data {}/data --json")
        .ends_with(0)
        .json();
    assert_eq!(shown["release"], created["release"]);
    assert_eq!(shown["live"]["release"], "r-000001");

    let second = run_in(dir, CREATE).ends_with(0).json();
    assert_eq!(second["release"]["id"], "r-000002");
    let stale = run_in(
        dir,
        "release activate r-000002 --data {}/data --expected-revision 0 --json",
    );
    let (exit, code, error) = stale.failure();
    assert_eq!((exit, code.as_str()), (1, "store.conflict"), "{error}");
    run_in(
        dir,
        "release activate r-000002 --data {}/data --expected-revision 1",
    )
    .ends_with(0);
    let shown = run_in(dir, "release show --data {}/data")
        .ends_with(0)
        .stdout;
    assert!(shown.contains("r-000002 (revision 2)"), "{shown}");
    let shown = run_in(dir, "release show r-000001 --data {}/data")
        .ends_with(0)
        .stdout;
    assert!(
        shown.starts_with("release            r-000001\n"),
        "{shown}"
    );

    let events = recorded(dir);
    let of = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
        ["action", "release", "outcome", "code", "principal"]
            .map(text)
            .join(" ")
    };
    let mut seen: Vec<String> = events.iter().map(of).collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "activate r-000001 done - anna",
            "activate r-000001 intended - anna",
            "activate r-000002 done - anna",
            "activate r-000002 failed store.conflict anna",
            "activate r-000002 intended - anna",
            "activate r-000002 intended - anna",
            "create - intended - anna",
            "create - intended - anna",
            "create r-000001 done - anna",
            "create r-000002 done - anna",
        ]
    );
    let first = |wanted: &str| events.iter().find(|event| of(event) == wanted).unwrap();
    let activated = first("activate r-000002 done - anna");
    assert_eq!(activated["revision"], 2);
    for event in [activated, first("create r-000001 done - anna")] {
        for (recorded, pinned) in zip_models(event, &created["release"]) {
            assert_eq!(recorded["digest"], pinned["digest"]);
            assert_eq!(recorded["fallback_for"], pinned["role"]["fallback_for"]);
        }
    }
}

fn zip_models<'a>(
    event: &'a Value,
    release: &'a Value,
) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    let (recorded, pinned) = (&event["models"], &release["models"]);
    assert_eq!(recorded.as_array().unwrap().len(), 2);
    recorded
        .as_array()
        .unwrap()
        .iter()
        .zip(pinned.as_array().unwrap())
}

/// What the recorded streams, each of which must verify and be closed, say of releases.
fn recorded(dir: &Path) -> Vec<Value> {
    let listed = run_in(dir, "audit streams --data {}/data --json")
        .ends_with(0)
        .json();
    let mut found = Vec::new();
    for stream in listed["streams"].as_array().unwrap() {
        let id = stream["stream"].as_str().unwrap();
        let verified = run_in(
            dir,
            &format!("audit verify --data {{}}/data --stream {id} --json"),
        );
        assert_eq!(verified.ends_with(0).json()["closed"], true);
        let text = std::fs::read_to_string(dir.join(format!("data/audit/{id}.jsonl"))).unwrap();
        let lines = text
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let events = lines.map(|line| line["entry"].clone());
        found.extend(
            events
                .filter(|event| event["kind"] == "release")
                .map(|event| event["data"].clone()),
        );
    }
    found
}

#[test]
fn a_release_that_cannot_be_recorded_is_neither_created_nor_activated() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    run_in(dir, CREATE).ends_with(0);
    std::fs::remove_dir_all(dir.join("data/audit")).unwrap();
    std::fs::write(dir.join("data/audit"), "").unwrap();
    for line in [CREATE, "release activate r-000001 --data {}/data --json"] {
        let (exit, code, error) = run_in(dir, line).failure();
        assert_eq!((exit, code.as_str()), (4, "store.unavailable"), "{error}");
        assert!(error.starts_with("nothing was changed"), "{error}");
    }
    let (_, code, error) = run_in(dir, "release show --data {}/data --json").failure();
    assert_eq!(code, "release.none_live", "{error}");
    let (_, code, error) = run_in(dir, "release show r-000002 --data {}/data --json").failure();
    assert_eq!(code, "store.not_found", "{error}");
}

#[test]
fn the_same_artifact_may_be_pushed_again_and_another_may_not() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    run_in(dir, "push {}/spx-direction --data {}/data").ends_with(0);
    run_in(
        dir,
        "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --keys {}/data/keys --out {}/again",
    )
    .ends_with(0);
    let (exit, code, error) = run_in(dir, "push {}/again --data {}/data --json").failure();
    assert_eq!((exit, code.as_str()), (1, "store.conflict"), "{error}");
}

#[test]
fn keys_and_sealed_folders_are_never_overwritten() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let created = run_in(dir, "keygen --data {}/data --json")
        .ends_with(0)
        .json();
    let public = created["stream_registration"]["public_key"]
        .as_str()
        .unwrap();
    assert!(
        std::fs::read_to_string(public)
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----")
    );
    for entry in std::fs::read_dir(dir.join("data/keys")).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
    let before = std::fs::read(dir.join("data/keys/model-signing.pem")).unwrap();
    let (exit, code, _) = run_in(dir, "keygen --data {}/data --json").failure();
    assert_eq!((exit, code.as_str()), (1, "store.exists"));
    assert_eq!(
        std::fs::read(dir.join("data/keys/model-signing.pem")).unwrap(),
        before
    );

    let seal = "seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --data {}/data --out {}/m --json";
    run_in(dir, seal).ends_with(0);
    let (exit, code, _) = run_in(dir, seal).failure();
    assert_eq!((exit, code.as_str()), (1, "file.exists"));
    // Nothing unfinished is left beside it.
    let names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_sealed_model_and_its_packed_form_are_proven_equal() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    let folder = run_in(dir, "verify {}/spx-direction --data {}/data --json")
        .ends_with(0)
        .json();
    assert_eq!(folder["packed"]["format"], 1);
    let stored = run_in(
        dir,
        "verify --stored spx-direction@1.0.0 --data {}/data --json",
    );
    assert_eq!(stored.ends_with(0).json(), folder);
    let text = run_in(dir, "verify {}/spx-direction --data {}/data").ends_with(0);
    assert!(text.stdout.contains("equal to the ONNX file"), "{text:?}");
    // The net needs the graph engine.
    let net = run_in(dir, "verify {}/spx-direction-mlp --data {}/data --json");
    assert_eq!(net.ends_with(0).json()["packed"], serde_json::Value::Null);
    assert!(!dir.join("spx-direction-mlp/model.packed.sealed").exists());
    assert_eq!(run_in(dir, "verify {}/absent --data {}/data").code, 3);
}

/// Whoever has the keys can sign another model as the packed form, or a manifest of another model; nobody else notices
/// before it answers.
#[test]
fn a_packed_form_or_manifest_of_another_model_is_signed_but_not_pushed() {
    use artifact::seal::{PackedModel, context_of, seal_packed};

    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let keys = store_embedded::LocalKeys::open(&dir.join("data/keys")).unwrap();
    let onnx = std::fs::read(example("spx-direction.onnx")).unwrap();
    let right = engine::pack(&onnx, &engine::LoadLimits::default());
    let right = right.unwrap().unwrap();
    let mut other = right.clone();
    *other.last_mut().unwrap() ^= 1;
    for (format, bytes, input, code) in [
        (1, &right, "features", ""),
        (1, &other, "features", "artifact.packed_differs"),
        (2, &right, "features", "artifact.packed_format_unknown"),
        (1, &right, "others", "model.manifest_mismatch"),
    ] {
        let manifest = std::fs::read(example("manifest.json")).unwrap();
        let mut manifest = artifact::Manifest::from_json(&manifest).unwrap();
        input.clone_into(&mut manifest.inputs[0].name);
        manifest.version = "1.0.9".parse().unwrap();
        let key_id = keys.master_key_id().to_owned();
        let context = context_of(&manifest, &onnx).to_map();
        let (key, wrapped) = runtime
            .block_on(keys.wrapper().generate(&key_id, &context))
            .unwrap();
        let packed = PackedModel {
            format,
            bytes,
            salt: artifact::Salt([1; 24]),
        };
        let unsigned =
            seal_packed(manifest, &onnx, packed, &key, &artifact::Salt([2; 24])).unwrap();
        let signature = runtime
            .block_on(keys.model_signer().sign(unsigned.pae()))
            .unwrap();
        let public = keys.trusted_model_keys().remove(0).key;
        let sealed = unsigned.sign(&signature, &public).unwrap();
        let folder = dir.join("spoilt");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let sidecar = sealed.wrap(key_id, wrapped).to_json().unwrap();
        for (name, bytes) in [
            ("manifest.json", &sealed.manifest_json),
            ("model.onnx.sealed", &sealed.sealed),
            ("model.packed.sealed", sealed.packed.as_ref().unwrap()),
            ("model.sig", &sealed.bundle),
            ("key.json", &sidecar),
        ] {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let verified = run_in(dir, "verify {}/spoilt --data {}/data --json");
        if code.is_empty() {
            verified.ends_with(0);
            continue;
        }
        assert_eq!(verified.failure().1, code);
        let pushed = run_in(dir, "push {}/spoilt --data {}/data --json");
        assert_eq!(pushed.failure().1, code);
    }
}

#[test]
fn a_changed_artifact_is_neither_pushed_nor_released() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    for (file, code) in [
        ("model.onnx.sealed", "artifact.digest_mismatch"),
        ("model.packed.sealed", "artifact.digest_mismatch"),
        ("manifest.json", "artifact."),
        ("model.sig", "artifact."),
        ("key.json", "artifact.sidecar_malformed"),
    ] {
        let path = dir.join("spx-direction").join(file);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let run = run_in(dir, "push {}/spx-direction --data {}/data --json");
        let (exit, found, error) = run.failure();
        assert_eq!(exit, 1, "{file}: {error}");
        assert!(
            found.starts_with(code) || file == "key.json",
            "{file}: {found}: {error}"
        );
        let (exit, found, _) =
            run_in(dir, "verify {}/spx-direction --data {}/data --json").failure();
        assert_eq!(exit, 1, "{file}");
        assert!(
            found.starts_with(code) || file == "key.json",
            "{file}: {found}"
        );
        std::fs::write(&path, &whole).unwrap();
    }
    let stored = dir.join("data/artifacts/spx-direction/1.0.0/model.onnx.sealed");
    let mut changed = std::fs::read(&stored).unwrap();
    changed[1000] ^= 1;
    std::fs::write(&stored, &changed).unwrap();
    let (exit, code, error) = run_in(dir, CREATE).failure();
    assert_eq!(
        (exit, code.as_str()),
        (1, "artifact.digest_mismatch"),
        "{error}"
    );
    assert!(
        error.starts_with("spx-direction@1.0.0: model.onnx.sealed: expected"),
        "{error}"
    );
}

#[test]
fn a_release_that_another_key_signed_is_not_activated() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    run_in(dir, CREATE).ends_with(0);
    std::fs::rename(dir.join("data/keys"), dir.join("keys-of-others")).unwrap();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let run = run_in(dir, "release activate r-000001 --data {}/data --json");
    let (exit, code, error) = run.failure();
    assert_eq!(
        (exit, code.as_str()),
        (1, "artifact.key_unknown"),
        "{error}"
    );
    let streams = std::fs::read_dir(dir.join("data/audit")).unwrap();
    let texts = streams.filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok());
    let whole: String = texts.collect();
    let security: Vec<&str> = whole
        .lines()
        .filter(|line| line.contains(r#""kind":"security""#))
        .collect();
    assert_eq!(security.len(), 1, "{whole}");
    assert!(
        security[0].contains(r#""code":"artifact.key_unknown""#),
        "{whole}"
    );
    assert!(
        security[0].contains(r#""subject":"spx-direction@1.0.0""#),
        "{whole}"
    );
}

#[test]
fn a_release_needs_models_that_are_there_and_fit_together() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    prepare(dir);
    let create = |models: &str| {
        let line = format!("release create --data {{}}/data {models} --created-by anna --json");
        let (exit, code, _) = run_in(dir, &line).failure();
        (exit, code)
    };
    assert_eq!(
        create("--live spx-direction@2.0.0"),
        (3, "store.not_found".to_owned())
    );
    assert_eq!(
        create("--live spx-direction@1.0.0 --fallback spx-direction-mlp@1.0.0=other"),
        (1, "release.invalid".to_owned())
    );
    assert_eq!(create("--live spx-direction"), (2, "usage".to_owned()));
    let (exit, code, _) = run_in(dir, "release show r-000009 --data {}/data --json").failure();
    assert_eq!((exit, code.as_str()), (3, "store.not_found"));
}

#[test]
fn a_manifest_that_does_not_fit_the_graph_is_not_sealed() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let manifest = std::fs::read_to_string(crate::support::example("manifest.json")).unwrap();
    let seal =
        "seal EXAMPLE/spx-direction.onnx --manifest {}/m.json --data {}/data --out {}/m --json";
    let sealed = |text: String| {
        std::fs::write(dir.join("m.json"), text).unwrap();
        run_in(dir, seal).failure()
    };
    let (exit, code, error) = sealed(manifest.replace("\"FP32\"", "\"FP64\""));
    assert_eq!(
        (exit, code.as_str()),
        (1, "model.manifest_mismatch"),
        "{error}"
    );
    assert!(error.contains("inputs.features.datatype"), "{error}");
    let (exit, code, error) = sealed(manifest.replace("\"owner\"", "\"ownr\""));
    assert_eq!(
        (exit, code.as_str()),
        (1, "artifact.manifest_malformed"),
        "{error}"
    );
    assert!(error.contains("unknown field `ownr`"), "{error}");
    assert!(!dir.join("m").exists());
}
