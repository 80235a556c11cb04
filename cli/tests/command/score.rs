//! Scoring without a store.

use std::io::Write as _;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{example, run_in};

fn expected(model: &str) -> (Vec<i64>, Vec<f64>) {
    let file: Value =
        serde_json::from_slice(&std::fs::read(example("expected.json")).unwrap()).unwrap();
    let model = &file["models"][model];
    let labels = model["labels"].as_array().unwrap();
    let rows = model["probabilities"].as_array().unwrap();
    (
        labels.iter().map(|label| label.as_i64().unwrap()).collect(),
        rows.iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|value| value.as_f64().unwrap())
            .collect(),
    )
}

#[test]
fn the_example_scores_as_its_own_library_does() {
    let temp = tempdir().unwrap();
    for model in ["spx-direction", "spx-direction-mlp"] {
        let line = format!(
            "score EXAMPLE/{model}.onnx --input EXAMPLE/features.csv --exclude date --json"
        );
        let found = run_in(temp.path(), &line).ends_with(0).json();
        assert_eq!(found["model_name"], model);
        let (labels, probabilities) = expected(model);
        assert_eq!(found["outputs"][0]["name"], "label");
        assert_eq!(found["outputs"][0]["datatype"], "INT64");
        assert_eq!(found["outputs"][0]["data"], serde_json::json!(labels));
        assert_eq!(found["outputs"][1]["shape"], serde_json::json!([300, 3]));
        let data = found["outputs"][1]["data"].as_array().unwrap();
        assert_eq!(data.len(), probabilities.len());
        for (at, (found, expected)) in data.iter().zip(&probabilities).enumerate() {
            let found = found.as_f64().unwrap();
            assert!(
                (found - expected).abs() <= 1e-5,
                "{model} {at}: {found} {expected}"
            );
        }
    }
}

#[test]
fn every_form_of_the_input_gives_the_same_outputs() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let csv = std::fs::read_to_string(example("features.csv")).unwrap();
    let rows: Vec<Vec<f32>> = csv
        .lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .skip(1)
                .map(|cell| cell.parse().unwrap())
                .collect()
        })
        .collect();
    let flat: Vec<f32> = rows.concat();
    std::fs::write(dir.join("flat.json"), serde_json::to_string(&flat).unwrap()).unwrap();
    std::fs::write(
        dir.join("nested.json"),
        serde_json::to_string(&rows).unwrap(),
    )
    .unwrap();
    let request = serde_json::json!({"inputs": [
        {"name": "features", "datatype": "FP32", "shape": [300, 14], "data": flat}
    ]});
    std::fs::write(dir.join("request.json"), request.to_string()).unwrap();
    let mut npy = std::fs::File::create(dir.join("rows.npy")).unwrap();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (300, 14), }\n";
    npy.write_all(b"\x93NUMPY\x01\x00").unwrap();
    npy.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    npy.write_all(header.as_bytes()).unwrap();
    npy.write_all(
        &flat
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>(),
    )
    .unwrap();
    let headless: String = rows
        .iter()
        .map(|row| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",") + "\n")
        .collect();
    std::fs::write(dir.join("headless.csv"), headless).unwrap();

    let score = |input: &str| {
        let line = format!("score EXAMPLE/spx-direction.onnx --input {input} --json");
        run_in(dir, &line).ends_with(0).json()["outputs"].clone()
    };
    let outputs = score("EXAMPLE/features.csv --exclude date");
    for input in [
        "flat.json",
        "nested.json",
        "request.json",
        "rows.npy",
        "headless.csv",
    ] {
        assert_eq!(score(&format!("{{}}/{input}")), outputs, "{input}");
    }
    assert_eq!(score("features={}/rows.npy"), outputs);
}

#[test]
fn singles_are_printed_as_their_shortest_decimals() {
    let temp = tempdir().unwrap();
    let line = "score EXAMPLE/spx-direction.onnx --input EXAMPLE/request-v2.json";
    let text = run_in(temp.path(), line).ends_with(0).stdout;
    let document: Value = serde_json::from_str(&text).unwrap();
    for value in document["outputs"][1]["data"].as_array().unwrap() {
        let single = value.as_f64().unwrap() as f32;
        assert!(text.contains(&single.to_string()), "{single}: {text}");
    }
    assert!(document["parameters"]["load_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn repeated_runs_are_measured() {
    let temp = tempdir().unwrap();
    let line = "score EXAMPLE/spx-direction.onnx --input EXAMPLE/request-v2.json --repeat 20 --batch 8 --json";
    let found = run_in(temp.path(), line).ends_with(0).json();
    let parameters = &found["parameters"];
    assert_eq!(
        (&parameters["runs"], &parameters["batch"]),
        (&20.into(), &8.into())
    );
    let of = |name: &str| parameters[name].as_f64().unwrap();
    assert!(of("p50_us") > 0.0 && of("p50_us") <= of("p90_us"));
    assert!(of("p90_us") <= of("p99_us") && of("p99_us") <= of("max_us"));
    assert!(of("rows_per_s") > 0.0);
    // What is printed is the answer to the input, not to the batch.
    assert_eq!(found["outputs"][0]["shape"], serde_json::json!([1]));
    run_in(temp.path(), &line.replace("--repeat 20 ", "")).ends_with(2);
}

#[test]
fn an_input_that_does_not_fit_is_named() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let score = |input: &str| {
        run_in(
            dir,
            &format!("score EXAMPLE/spx-direction.onnx --input {input} --json"),
        )
        .failure()
    };
    let (exit, code, error) = score("EXAMPLE/features.csv");
    assert_eq!((exit, code.as_str()), (1, "table.malformed"));
    assert!(
        error.contains("expected 14 columns for input `features`, found 15 (date, ret_1d"),
        "{error}"
    );

    let (exit, code, error) = score("EXAMPLE/features.csv --exclude dat");
    assert_eq!((exit, code.as_str()), (1, "table.malformed"));
    assert!(error.contains("has no column \"dat\""), "{error}");

    std::fs::write(dir.join("few.json"), "[1, 2, 3]").unwrap();
    let (exit, code, error) = score("{}/few.json");
    assert_eq!((exit, code.as_str()), (1, "input.unreadable"));
    assert!(
        error.ends_with("3 elements do not fill the shape [-1, 14] of input `features`"),
        "{error}"
    );

    std::fs::write(dir.join("other.json"), r#"{"inputs":[{"name":"x"}]}"#).unwrap();
    let (_, _, error) = score("{}/other.json");
    assert!(
        error.ends_with("inputs[0]: name: expected one of features, found \"x\""),
        "{error}"
    );

    std::fs::write(dir.join("no.npy"), "numbers").unwrap();
    assert!(
        score("{}/no.npy")
            .2
            .ends_with("not a .npy file: its header is not whole")
    );
    assert_eq!(score("{}/absent.csv").0, 3);
    assert_eq!(score("{}/few.txt").0, 2);
    let (exit, code, _) = score("EXAMPLE/request-v2.json --input EXAMPLE/request-v2.json");
    assert_eq!((exit, code.as_str()), (1, "input.unfit"));
}

#[test]
fn scores_are_explained_against_a_background() {
    let temp = tempdir().unwrap();
    let dir = temp.path();
    let line = "score EXAMPLE/spx-direction.onnx --input EXAMPLE/request-v2.json --explain \
        --background EXAMPLE/features.csv --exclude date --json";
    let found = run_in(dir, line).ends_with(0).json();
    assert_eq!(
        found["parameters"]["explanation_method"],
        "tree_shap_path_dependent"
    );
    let output = |name: &str| -> Vec<f64> {
        let outputs = found["outputs"].as_array().unwrap();
        let output = outputs
            .iter()
            .find(|output| output["name"] == name)
            .unwrap();
        let data = output["data"].as_array().unwrap();
        data.iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let (expectation, score) = (
        output("explanation.expectation"),
        output("explanation.score"),
    );
    let contributions = output("explanation.contributions");
    assert_eq!(contributions.len(), 14 * 3);
    for class in 0..3 {
        let sum: f64 = contributions.iter().skip(class).step_by(3).sum();
        let moved = score[class] - expectation[class];
        assert!((sum - moved).abs() <= 1e-9, "{sum} {moved}");
    }
    let net = line.replace("spx-direction.onnx", "spx-direction-mlp.onnx");
    let (exit, code, error) = run_in(dir, &net).failure();
    assert_eq!(
        (exit, code.as_str()),
        (1, "explain.not_available"),
        "{error}"
    );
    let (exit, code, _) =
        run_in(dir, &line.replace("--background EXAMPLE/features.csv", "")).failure();
    assert_eq!((exit, code.as_str()), (2, "usage"));
}
