//! Inspecting a model and drafting its manifest.

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{example, run_in, sealcast};

#[test]
fn the_example_is_described() {
    let temp = tempdir().unwrap();
    let found = run_in(temp.path(), "inspect EXAMPLE/spx-direction.onnx --json")
        .ends_with(0)
        .json();
    assert_eq!(found["inputs"][0]["name"], "features");
    assert_eq!(found["inputs"][0]["datatype"], "FP32");
    assert_eq!(found["inputs"][0]["shape"], serde_json::json!([-1, 14]));
    assert_eq!(found["outputs"][1]["name"], "probabilities");
    assert_eq!(found["trees"][0]["trees"], 100);
    assert_eq!(found["size"], 235_652);
    assert!(found["cost"]["tree_nodes"].as_u64().unwrap() > 100);
    assert!(found["memory"].as_u64().unwrap() > 10_000);
    assert_eq!(found["unsupported"], serde_json::json!([]));
    let text = run_in(temp.path(), "inspect EXAMPLE/spx-direction.onnx")
        .ends_with(0)
        .stdout;
    assert!(text.contains("ai.onnx.ml.TreeEnsembleClassifier"), "{text}");
    assert!(text.contains("tree nodes"), "{text}");
}

#[test]
fn a_model_with_an_unknown_operator_is_described_and_refused() {
    let temp = tempdir().unwrap();
    let path = temp.path().join("unknown.onnx");
    // The same length, so that the file stays well-formed.
    let onnx = std::fs::read(example("spx-direction-mlp.onnx")).unwrap();
    let at = onnx.windows(4).position(|bytes| bytes == b"Relu").unwrap();
    let mut changed = onnx;
    changed[at..at + 4].copy_from_slice(b"Rexu");
    std::fs::write(&path, changed).unwrap();
    let run = run_in(temp.path(), "inspect {}/unknown.onnx --json").ends_with(1);
    assert_eq!(run.json()["unsupported"][0]["operator"], "Rexu");
    let run = run_in(temp.path(), "inspect {}/unknown.onnx").ends_with(1);
    assert!(run.stdout.contains("no: 1 unsupported"), "{run:?}");
}

#[test]
fn a_model_that_only_loading_refuses_is_described_and_refused() {
    let temp = tempdir().unwrap();
    // Its imputer gives 10 columns, and its classifier was made for 20.
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/zoo/models/imputer_indicator.onnx"
    );
    let run = run_in(temp.path(), &format!("inspect {model} --json")).ends_with(1);
    assert_eq!(run.json()["refusal"]["code"], "model.invalid_graph");
    assert_eq!(run.json()["opsets"].as_array().unwrap().len(), 2);
    let run = run_in(temp.path(), &format!("inspect {model}")).ends_with(1);
    assert!(
        run.stdout.contains("no: ") && run.stdout.contains("LinearClassifier"),
        "{run:?}"
    );
}

const INFER: &str = "manifest infer EXAMPLE/spx-direction.onnx --csv EXAMPLE/features.csv --exclude date \
    --name spx --version 1.2.3 --owner team --algo-id A-1";

#[test]
fn a_draft_has_the_columns_and_statistics_of_the_data() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let drafted = run_in(
        dir,
        &format!("{INFER} --labels sell,hold,buy --symbols SPX --json"),
    )
    .ends_with(0);
    let draft = drafted.json();
    let input = &draft["inputs"][0];
    assert_eq!(
        (&input["name"], &input["datatype"]),
        (&"features".into(), &"FP32".into())
    );
    assert_eq!(input["columns"].as_array().unwrap().len(), 14);
    assert_eq!(draft["output"]["label"], "label");
    assert_eq!(
        draft["output"]["labels"],
        serde_json::json!(["sell", "hold", "buy"])
    );
    // np.mean, np.std, np.percentile(…, [25, 50, 75]) of the column in features.csv.
    let stats = &input["columns"][6]["stats"];
    for (name, expected) in [
        ("mean", RSI_MEAN),
        ("std", RSI_STD),
        ("q1", RSI_Q1),
        ("median", RSI_MEDIAN),
        ("q3", RSI_Q3),
    ] {
        let found = stats[name].as_f64().unwrap();
        assert!(
            (found - expected).abs() <= 1e-12 * expected,
            "{name}: {found}"
        );
    }

    assert_eq!(draft["explain"]["when"], "on_request");
    assert_eq!(draft["explain"]["background"]["rows"], 300);

    // What was drafted can be sealed as it is, and holds no label that was not given.
    std::fs::write(dir.join("draft.json"), &drafted.stdout).unwrap();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    run_in(
        dir,
        "seal EXAMPLE/spx-direction.onnx --manifest {}/draft.json --data {}/data --out {}/s",
    )
    .ends_with(0);
    let noted = run_in(dir, &format!("{INFER} --out {{}}/other.json --json"))
        .ends_with(0)
        .json();
    assert!(
        noted["notes"][0].as_str().unwrap().contains("--labels"),
        "{noted}"
    );
    let other: Value =
        serde_json::from_slice(&std::fs::read(dir.join("other.json")).unwrap()).unwrap();
    assert_eq!(other["output"]["labels"][2], "class_2");
}

const RSI_MEAN: f64 = 56.240_182_416_666_67;
const RSI_STD: f64 = 16.439_655_898_964_887;
const RSI_Q1: f64 = 44.599_959_25;
const RSI_MEDIAN: f64 = 58.955_974_5;
const RSI_Q3: f64 = 66.907_386_75;

#[test]
fn data_that_does_not_fit_the_model_is_named() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let infer = INFER.replace(" --exclude date", "");
    let (exit, code, error) = run_in(dir, &format!("{infer} --json")).failure();
    assert_eq!((exit, code.as_str()), (1, "table.malformed"));
    assert!(error.contains("has 15 columns (date, ret_1d,"), "{error}");
    assert!(
        error.ends_with("the model takes 14: leave out others with --exclude"),
        "{error}"
    );

    let csv = std::fs::read_to_string(example("features.csv")).unwrap();
    std::fs::write(dir.join("bad.csv"), csv.replacen("0.001506", "n.n.", 1)).unwrap();
    let infer = INFER.replace("EXAMPLE/features.csv", "{}/bad.csv");
    let (exit, _, error) = run_in(dir, &format!("{infer} --json")).failure();
    assert_eq!(exit, 1);
    assert!(
        error.contains("line 2, column `ret_5d`: expected FP32, found \"n.n.\""),
        "{error}"
    );

    let (exit, code, _) = run_in(dir, &format!("{INFER} --labels a,b --json")).failure();
    assert_eq!((exit, code.as_str()), (2, "usage"));
}

#[test]
fn missing_values_are_left_out_of_the_statistics_and_noted() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let csv = std::fs::read_to_string(example("features.csv")).unwrap();
    std::fs::write(dir.join("holes.csv"), csv.replacen("0.001506", "", 1)).unwrap();
    let infer = INFER.replace("EXAMPLE/features.csv", "{}/holes.csv");
    let report = run_in(dir, &format!("{infer} --out {{}}/m.json --json"))
        .ends_with(0)
        .json();
    let notes: Vec<&str> = report["notes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("column `ret_5d` misses 1 of 300 values")),
        "{notes:?}"
    );
}

#[test]
fn sealing_fills_in_statistics_that_a_policy_needs() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let mut manifest: Value =
        serde_json::from_slice(&std::fs::read(example("manifest.json")).unwrap()).unwrap();
    for column in manifest["inputs"][0]["columns"].as_array_mut().unwrap() {
        column.as_object_mut().unwrap().remove("stats");
    }
    std::fs::write(dir.join("m.json"), manifest.to_string()).unwrap();
    let seal =
        "seal EXAMPLE/spx-direction.onnx --manifest {}/m.json --data {}/data --out {}/m --json";
    let (exit, code, error) = run_in(dir, seal).failure();
    assert_eq!(
        (exit, code.as_str()),
        (1, "artifact.manifest_invalid"),
        "{error}"
    );
    run_in(dir, &format!("{seal} --csv EXAMPLE/features.csv")).ends_with(0);
    let sealed: Value =
        serde_json::from_slice(&std::fs::read(dir.join("m/manifest.json")).unwrap()).unwrap();
    let mean = sealed["inputs"][0]["columns"][6]["stats"]["mean"]
        .as_f64()
        .unwrap();
    assert!((mean - RSI_MEAN).abs() <= 1e-12 * RSI_MEAN, "{mean}");
    std::fs::write(dir.join("short.csv"), "ret_1d\n1\n").unwrap();
    let (exit, _, error) = run_in(
        dir,
        &format!("{} --csv {{}}/short.csv", seal.replace("{}/m ", "{}/n ")),
    )
    .failure();
    assert_eq!(exit, 1);
    assert!(
        error.contains("has no column \"ret_5d\"; it has ret_1d"),
        "{error}"
    );
}

#[test]
fn sealing_keeps_the_background_of_explanations() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    run_in(dir, "keygen --data {}/data").ends_with(0);
    let original = std::fs::read(example("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&original).unwrap();
    manifest["explain"] = serde_json::json!({"when": "always"});
    std::fs::write(dir.join("m.json"), manifest.to_string()).unwrap();
    let seal = |model: &str, manifest: &str, out: &str| {
        format!(
            "seal EXAMPLE/{model}.onnx --manifest {manifest} --data {{}}/data --out {{}}/{out} --json"
        )
    };
    let bare = seal("spx-direction", "{}/m.json", "bare");
    let (exit, code, error) = run_in(dir, &bare).failure();
    assert_eq!((exit, code.as_str()), (1, "artifact.manifest_invalid"));
    assert!(error.contains("explain.background"), "{error}");

    let background = " --background EXAMPLE/features.csv";
    let whole = seal("spx-direction", "{}/m.json", "whole") + background;
    let sealed = run_in(dir, &whole).ends_with(0).json();
    let said = "tree_shap_path_dependent against 300 rows";
    assert_eq!(sealed["explanations"], said);
    let written = std::fs::read(dir.join("whole/manifest.json")).unwrap();
    let inputs = |manifest: &[u8]| artifact::Manifest::from_json(manifest).unwrap().inputs;
    // Nothing else is another than the author wrote.
    assert_eq!(inputs(&written), inputs(&original));
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written["explain"]["when"], "always");
    assert_eq!(written["explain"]["background"]["rows"], 300);
    // What was sealed seals again without the rows.
    let again = seal("spx-direction", "{}/whole/manifest.json", "again");
    assert_eq!(
        run_in(dir, &again).ends_with(0).json()["explanations"],
        said
    );

    // A net has no explanation: that is said, or refused where every prediction needs one.
    let net = original_of("manifest-mlp.json", |_| {});
    std::fs::write(dir.join("net.json"), net).unwrap();
    let noted = seal("spx-direction-mlp", "{}/net.json", "net") + background;
    let noted = run_in(dir, &noted).ends_with(0).json();
    let reason = "the graph holds neither a tree ensemble nor a linear model of ai.onnx.ml";
    assert!(
        noted["explanations"].as_str().unwrap().contains(reason),
        "{noted}"
    );
    let net = original_of("manifest-mlp.json", |manifest| {
        manifest["explain"] = serde_json::json!({"when": "always"});
    });
    std::fs::write(dir.join("net.json"), net).unwrap();
    let refused = seal("spx-direction-mlp", "{}/net.json", "refused") + background;
    let (exit, code, error) = run_in(dir, &refused).failure();
    assert_eq!((exit, code.as_str()), (1, "explain.not_available"));
    assert!(error.contains(reason), "{error}");
    assert!(!dir.join("refused").exists());

    // Where rows are given, what stood there before goes.
    let stale = original_of("manifest-mlp.json", |manifest| {
        manifest["explain"] = written["explain"].clone();
        manifest["explain"]["when"] = "on_request".into();
    });
    std::fs::write(dir.join("stale.json"), stale).unwrap();
    let stale = seal("spx-direction-mlp", "{}/stale.json", "stale") + background;
    run_in(dir, &stale).ends_with(0);
    let stale = std::fs::read(dir.join("stale/manifest.json")).unwrap();
    let stale: Value = serde_json::from_slice(&stale).unwrap();
    assert_eq!(stale["explain"], serde_json::json!({"when": "on_request"}));

    // The counts of another model are refused before anything is sealed.
    let stolen = original_of("manifest-mlp.json", |manifest| {
        manifest["explain"] = written["explain"].clone();
    });
    std::fs::write(dir.join("stolen.json"), stolen).unwrap();
    let stolen = seal("spx-direction-mlp", "{}/stolen.json", "stolen");
    let (exit, code, error) = run_in(dir, &stolen).failure();
    assert_eq!((exit, code.as_str()), (1, "model.manifest_mismatch"));
    assert!(error.contains("explain.background.summary"), "{error}");
}

/// A manifest of the example, changed.
fn original_of(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut manifest = serde_json::from_slice(&std::fs::read(example(name)).unwrap()).unwrap();
    change(&mut manifest);
    manifest.to_string()
}

#[test]
fn help_names_every_exit_code() {
    let help = sealcast(&["--help"]).ends_with(0).stdout;
    for code in 0..=5 {
        assert!(help.contains(&format!("\n  {code}  ")), "{help}");
    }
}
