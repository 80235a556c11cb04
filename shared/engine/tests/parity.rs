//! Every model of `tests/models` answers what onnxruntime answers, at several batch sizes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::{LoadLimits, Model, Tensor, TensorData, inspect};
use serde_json::Value;

/// How far a score may lie from onnxruntime's, relative to its size above 1.
const TOLERANCE: f64 = 1e-6;
/// For nets and for the transforms of libraries' models: exponentials and matrix products differ in order.
const LOOSE: f64 = 5e-6;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

fn read_cases(prefix: &str) -> BTreeMap<String, Value> {
    let all: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(folder().join("expected.json")).unwrap()).unwrap();
    let cases: BTreeMap<_, _> = all
        .into_iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    assert!(!cases.is_empty(), "no case is named {prefix}");
    cases
}

fn read_number(value: &Value) -> f64 {
    match value {
        Value::String(word) => word.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}

/// Reads rows `first..first + count` of a tensor.
fn read_tensor(entry: &Value, first: usize, count: usize) -> Tensor {
    let mut shape: Vec<usize> = entry["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dim| dim.as_u64().unwrap() as usize)
        .collect();
    let row: usize = shape[1..].iter().product();
    shape[0] = count;
    let values = &entry["data"].as_array().unwrap()[first * row..(first + count) * row];
    let numbers = values.iter();
    let data = match entry["datatype"].as_str().unwrap() {
        "FP32" => TensorData::Fp32(numbers.map(|v| read_number(v) as f32).collect()),
        "FP64" => TensorData::Fp64(numbers.map(read_number).collect()),
        "INT64" => TensorData::Int64(numbers.map(|v| v.as_i64().unwrap()).collect()),
        "INT32" => TensorData::Int32(numbers.map(|v| v.as_i64().unwrap() as i32).collect()),
        "BYTES" => TensorData::Bytes(
            numbers
                .map(|v| v.as_str().unwrap().as_bytes().to_vec())
                .collect(),
        ),
        other => panic!("{other}"),
    };
    Tensor {
        name: entry["name"].as_str().unwrap().to_owned(),
        shape,
        data,
    }
}

fn compare(case: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.name, expected.name, "{case}");
    assert_eq!(found.shape, expected.shape, "{case}: {}", found.name);
    match (&found.data, &expected.data) {
        (TensorData::Fp32(found), TensorData::Fp32(expected)) => {
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                let (found, expected) = (f64::from(*found), f64::from(*expected));
                let is_same = found.to_bits() == expected.to_bits()
                    || (found.is_nan() && expected.is_nan())
                    || (found - expected).abs() <= tolerance * expected.abs().max(1.0);
                assert!(
                    is_same,
                    "{case}: element {at} is {found}, onnxruntime has {expected}"
                );
            }
        }
        (found, expected) => assert_eq!(found, expected, "{case}"),
    }
}

fn check(prefix: &str, tolerance: f64) {
    for (name, case) in read_cases(prefix) {
        let onnx = std::fs::read(folder().join(format!("{name}.onnx"))).unwrap();
        let limits = LoadLimits::default();
        assert_eq!(
            inspect(&onnx, &limits).unwrap().unsupported,
            vec![],
            "{name}"
        );
        let model = Model::load(&onnx, &limits).unwrap_or_else(|error| panic!("{name}: {error}"));
        let inputs = case["inputs"].as_array().unwrap();
        let outputs = case["outputs"].as_array().unwrap();
        let rows = inputs[0]["shape"][0].as_u64().unwrap() as usize;
        for size in [1, 5, rows] {
            for first in (0..rows).step_by(size) {
                let count = size.min(rows - first);
                let feed: Vec<Tensor> = inputs
                    .iter()
                    .map(|entry| read_tensor(entry, first, count))
                    .collect();
                let found = model
                    .run(&feed)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(found.len(), outputs.len(), "{name}");
                for (found, entry) in found.iter().zip(outputs) {
                    let is_whole = entry["shape"][0].as_u64() != Some(rows as u64);
                    if is_whole {
                        assert_eq!(
                            found.data.len(),
                            entry["data"].as_array().unwrap().len(),
                            "{name}"
                        );
                        continue;
                    }
                    // Its formula for the probit cancels: a fused multiplication changes the last digits.
                    let tolerance = if name.contains("probit") {
                        LOOSE
                    } else {
                        tolerance
                    };
                    compare(&name, found, &read_tensor(entry, first, count), tolerance);
                }
            }
        }
    }
}

#[test]
fn every_branch_mode_answers_as_onnxruntime_with_missing_values() {
    check("mode_", TOLERANCE);
}

#[test]
fn every_aggregate_transform_and_base_value_answers_as_onnxruntime() {
    check("target_", TOLERANCE);
}

#[test]
fn class_labels_and_scores_follow_the_rules_of_onnxruntime() {
    check("class_", TOLERANCE);
}

#[test]
fn wide_and_integer_inputs_answer_as_onnxruntime() {
    check("type_", TOLERANCE);
}

#[test]
fn scikit_learn_exports_answer_as_onnxruntime() {
    check("skl_", LOOSE);
}

#[test]
fn xgboost_exports_answer_as_onnxruntime() {
    check("xgboost_", LOOSE);
}

#[test]
fn lightgbm_exports_answer_as_onnxruntime() {
    check("lightgbm_", LOOSE);
}

#[test]
fn graphs_answer_as_onnxruntime() {
    check("graph_", LOOSE);
}
