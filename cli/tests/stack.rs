//! The command on the stores of a deployed stack: an AWS-shaped service on this machine, which
//! `tests/stack/run.sh COMMAND` starts and names in `SEALCAST_TEST_MINISTACK`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "command/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use audit::event::{EventBody, Security};
use domain::Recorder;
use domain::system::{SystemClock, SystemEntropy};
use serde_json::Value;
use store_aws::{Connection, SigningAlgorithm};
use tempfile::{TempDir, tempdir};

use self::support::{Run, command, example, run_in, sealcast};

/// A stack of its own for one test.
struct Stack {
    dir: TempDir,
    name: String,
}

impl Stack {
    /// Makes the stack, and writes its file to `{}/stack.env`.
    fn make(test: &str) -> Self {
        assert!(
            std::env::var_os("SEALCAST_TEST_MINISTACK").is_some(),
            "SEALCAST_TEST_MINISTACK is not set: run this test by `tests/stack/run.sh cargo nextest run …`, which \
             starts an AWS-shaped stack and names it"
        );
        let name = format!("cli-{test}-{}", std::process::id());
        let dir = tempdir().unwrap();
        std::fs::write(dir.path().join("stack.env"), fixture("make", &name)).unwrap();
        Self { dir, name }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command line; `{}` is the test's folder.
    fn run(&self, line: &str) -> Run {
        run_in(
            self.path(),
            &format!("{line} --stack {{}}/stack.env --json"),
        )
    }

    /// A value of the stack's file.
    fn setting(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.path().join("stack.env")).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap().to_owned()
    }

    /// What the function's alias points to, asked without a line of what is tested.
    fn serving(&self) -> Value {
        serde_json::from_str(&fixture("serving", &self.name)).unwrap()
    }

    /// Seals and pushes both models of the example.
    fn push_example(&self) {
        for (model, manifest) in [
            ("spx-direction", "manifest"),
            ("spx-direction-mlp", "manifest-mlp"),
        ] {
            let seal = format!(
                "seal EXAMPLE/{model}.onnx --manifest EXAMPLE/{manifest}.json --out {{}}/{model}"
            );
            let sealed = self.run(&seal).ends_with(0).json();
            assert_eq!(sealed["master_key"], self.setting("SEALCAST_DATA_KEY"));
            let pushed = self.run(&format!("push {{}}/{model}")).ends_with(0).json();
            assert_eq!(pushed["digest"], sealed["digest"]);
        }
    }
}

/// Runs `tests/stack/stack.py`, by a Python that has boto3.
fn fixture(action: &str, name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../.venv-stack/bin/python");
    let output = Command::new(&python)
        .arg(root.join("tests/stack/stack.py"))
        .args([action, name])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

const CREATE: &str = "release create --live spx-direction@1.0.0 \
    --fallback spx-direction-mlp@1.0.0=spx-direction --created-by anna";

#[test]
fn the_example_goes_from_a_model_to_a_published_version() {
    let stack = Stack::make("chain");
    stack.push_example();
    // The same files again are no error, other files are.
    stack.run("push {}/spx-direction").ends_with(0);
    stack
        .run("seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --out {}/again")
        .ends_with(0);
    let refused = stack.run("push {}/again");
    assert_eq!(refused.stderr, "");
    let (exit, code, error) = refused.failure();
    assert_eq!((exit, code.as_str()), (1, "store.conflict"), "{error}");
    let inspected = stack.run("inspect --stored spx-direction@1.0.0");
    assert_eq!(
        inspected.ends_with(0).json()["size"],
        std::fs::metadata(example("spx-direction.onnx"))
            .unwrap()
            .len()
    );

    let (exit, code, error) = stack.run("release show").failure();
    assert_eq!((exit, code.as_str()), (3, "release.none_live"), "{error}");
    let created = stack.run(CREATE).ends_with(0).json();
    assert_eq!(created["release"]["id"], "r-000001");
    let before = stack.serving();
    assert_eq!(before["settings"]["SEALCAST_RELEASE"], Value::Null);

    let live = stack.run("release activate r-000001").ends_with(0).json();
    assert_eq!(live["live"]["revision"], 1);
    let first = stack.serving();
    assert_ne!(first["version"], before["version"]);
    assert_eq!(first["settings"]["SEALCAST_RELEASE"], "r-000001");
    assert_eq!(first["settings"]["SEALCAST_LOG"], "warn");
    assert_eq!(live["versions"][0]["version"], first["version"]);
    assert_eq!(live["versions"][0]["weight"], 1.0);

    stack.run(CREATE).ends_with(0);
    let stale = stack.run("release activate r-000002 --expected-revision 0");
    let failure = stale.ends_with(1).json();
    assert_eq!(failure["code"], "store.conflict");
    assert_eq!(failure["live"], "r-000001");
    assert_eq!(stack.serving(), first);
    stack
        .run("release activate r-000002 --expected-revision 1")
        .ends_with(0);
    assert_eq!(stack.serving()["settings"]["SEALCAST_RELEASE"], "r-000002");
    let shown = stack.run("release show").ends_with(0).json();
    assert_eq!(shown["release"]["id"], "r-000002");
    assert_eq!(shown["live"]["revision"], 2);
    assert_eq!(shown["newest"], "r-000002");
    assert_eq!(shown["versions"][0]["version"], stack.serving()["version"]);
    // Back to the first one.
    let back = stack.run("release activate r-000001").ends_with(0).json();
    assert_eq!(back["live"]["revision"], 3);
    assert_eq!(stack.serving()["settings"]["SEALCAST_RELEASE"], "r-000001");

    // Two creations and four activations, one of them refused: each in a stream of its own that the operators' key
    // registered, in the name of whom AWS knows.
    let listed = stack.run("audit streams").ends_with(0).json();
    let streams = listed["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 6);
    for stream in streams {
        let key = stack.setting("SEALCAST_OPERATOR_STREAM_KEY");
        assert_eq!(stream["registration_key"], key);
        let host = stream["host"].as_str().unwrap();
        assert!(host.starts_with("cli/arn:aws:"), "{host}");
        let id = stream["stream"].as_str().unwrap();
        let verified = stack.run(&format!("audit verify --stream {id}"));
        let verified = verified.ends_with(0).json();
        assert_eq!(verified["kinds"]["release"], 2);
        assert_eq!(verified["closed"], true);
    }
    let pem = stack.run("key show operator-stream").ends_with(0).json();
    assert_eq!(pem["key_id"], stack.setting("SEALCAST_OPERATOR_STREAM_KEY"));
}

#[test]
fn a_stack_without_the_operators_key_is_told_so_and_nothing_is_released() {
    let stack = Stack::make("operators");
    stack.push_example();
    let path = stack.path().join("stack.env");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = |line: &&str| !line.starts_with("SEALCAST_OPERATOR_STREAM_KEY=");
    let without: Vec<&str> = text.lines().filter(line).collect();
    std::fs::write(&path, without.join("\n")).unwrap();
    let (exit, code, error) = stack.run(CREATE).failure();
    assert_eq!((exit, code.as_str()), (1, "stack.malformed"), "{error}");
    assert!(error.contains("SEALCAST_OPERATOR_STREAM_KEY"), "{error}");
    assert_eq!(stack.run("release show r-000001").failure().0, 3);
    let shown = stack.run("key show operator-stream").failure();
    assert_eq!(shown.1, "audit.key_not_found");
}

#[test]
fn only_what_a_trusted_key_signed_is_pushed() {
    let stack = Stack::make("trust");
    let shown = run_in(
        stack.path(),
        "key show model --form trusted --stack {}/stack.env",
    );
    let own = shown.ends_with(0).stdout;
    run_in(stack.path(), "keygen --data {}/others").ends_with(0);
    let shown = run_in(
        stack.path(),
        "key show model --form trusted --data {}/others",
    );
    let other = shown.ends_with(0).stdout;
    let path = stack.path().join("stack.env");
    let text = std::fs::read_to_string(&path).unwrap();
    let trust = |list: &str| {
        std::fs::write(&path, format!("{text}SEALCAST_TRUSTED_KEYS={list}\n")).unwrap();
    };
    stack
        .run("seal EXAMPLE/spx-direction.onnx --manifest EXAMPLE/manifest.json --out {}/m")
        .ends_with(0);
    trust(other.trim_end());
    let (exit, code, error) = stack.run("push {}/m").failure();
    assert_eq!(
        (exit, code.as_str()),
        (1, "artifact.key_unknown"),
        "{error}"
    );
    trust(&format!("{};until=2026-01-01T00:00:00Z", own.trim_end()));
    let (exit, code, error) = stack.run("push {}/m").failure();
    assert_eq!(
        (exit, code.as_str()),
        (1, "artifact.key_outside_validity"),
        "{error}"
    );
    trust(&format!("{},{}", other.trim_end(), own.trim_end()));
    stack.run("push {}/m").ends_with(0);
}

/// Records events as a function does, and gives the last one's receipt.
fn record(stack: &Stack, events: usize) -> audit::Receipt {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connection = Connection::from_env().await;
        let key = stack.setting("SEALCAST_STREAM_KEY");
        let recorder = Recorder::new(
            "predict:7".to_owned(),
            connection.audit(&stack.setting("SEALCAST_AUDIT_TABLE")),
            connection.signer(&key, SigningAlgorithm::Ed25519),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        );
        let body = |n: usize| {
            EventBody::Security(Security {
                code: "test.code".to_owned(),
                subject: format!("subject {n}"),
                detail: String::new(),
            })
        };
        recorder
            .record_all((0..events).map(body).collect())
            .await
            .unwrap()
            .receipt
    })
}

#[test]
fn a_stream_in_the_stack_is_listed_verified_shown_and_exported() {
    let stack = Stack::make("audit");
    assert_eq!(
        stack.run("audit streams").ends_with(0).json()["streams"],
        Value::Array(Vec::new())
    );
    assert_eq!(
        stack.run("audit verify").failure().1,
        "audit.stream_not_found"
    );
    let receipt = record(&stack, 30);
    let listed = stack.run("audit streams").ends_with(0).json();
    let stream = receipt.stream.to_string();
    assert_eq!(listed["streams"][0]["stream"], stream);
    assert_eq!(listed["streams"][0]["host"], "predict:7");
    let key = stack.setting("SEALCAST_STREAM_KEY");
    assert_eq!(listed["streams"][0]["registration_key"], key);

    let receipt = format!("{stream}:29:{}", receipt.leaf_hash);
    let verify = format!("audit verify --receipt {receipt}");
    let verified = stack.run(&verify).ends_with(0).json();
    assert_eq!(verified["events"], 30);
    assert_eq!(verified["receipts"][0]["data"]["subject"], "subject 29");
    let shown = stack.run("audit show --seq 12").ends_with(0).json();
    assert_eq!(shown["event"]["data"]["subject"], "subject 12");
    assert_eq!(
        stack.run("audit show --seq 30").failure().1,
        "audit.event_not_found"
    );

    // What was exported is verified without the stack.
    stack.run("audit export --out {}/s.jsonl").ends_with(0);
    let pem = run_in(stack.path(), "key show stream --stack {}/stack.env");
    std::fs::write(stack.path().join("stream.pem"), pem.ends_with(0).stdout).unwrap();
    let offline = command()
        .args(["audit", "verify", "--json", "--receipt", &receipt, "--key"])
        .arg(format!(
            "{key}={}",
            stack.path().join("stream.pem").display()
        ))
        .arg(stack.path().join("s.jsonl"))
        .env_remove("AWS_ENDPOINT_URL")
        .output()
        .unwrap();
    assert!(offline.status.success(), "{offline:?}");
    let offline: Value = serde_json::from_slice(&offline.stdout).unwrap();
    assert_eq!(offline["head"], verified["head"]);
}

#[test]
fn a_stack_that_is_not_there_or_not_to_be_reached_is_told_so() {
    let stack = Stack::make("absent");
    let path = stack.path().join("stack.env");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&stack.name, "nowhere")).unwrap();
    for line in ["release show", "audit streams", "inspect --stored a@1.0.0"] {
        let (exit, code, error) = stack.run(line).failure();
        assert!([3, 4].contains(&exit), "{line}: {exit}: {code}: {error}");
    }
    for (missing, says) in [
        (
            ["AWS_REGION", "AWS_DEFAULT_REGION"],
            "no AWS region: set AWS_REGION",
        ),
        (
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
            "no AWS credentials: set AWS_PROFILE",
        ),
    ] {
        let output = command()
            .args(["release", "show", "--stack"])
            .arg(&path)
            .env_remove(missing[0])
            .env_remove(missing[1])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: ") && said.contains(says), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let nowhere = PathBuf::from("--stack=nowhere");
    let (exit, code, _) = sealcast(&[
        Path::new("release"),
        Path::new("show"),
        Path::new("--json"),
        &nowhere,
    ])
    .failure();
    assert_eq!((exit, code.as_str()), (3, "file.not_found"));
}
