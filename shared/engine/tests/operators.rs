//! Every operator of `ai.onnx.ml` answers what onnxruntime answers, at several batch sizes, run step by step
//! and within the graph engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::{LoadLimits, Model, Tensor, TensorData};
use prost::Message;
use serde_json::Value;
use tract_onnx::pb::{ModelProto, NodeProto};

/// How far a number may lie from onnxruntime's, relative to its size above 1.
const TOLERANCE: f64 = 2e-6;
/// For kernels, whose powers and sums differ in order.
const LOOSE: f64 = 1e-5;
/// For the probit, whose formula cancels.
const PROBIT: f64 = 1e-4;

fn read_cases() -> BTreeMap<String, Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/operators/cases.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn read_number(value: &Value) -> f64 {
    match value {
        Value::String(word) => word.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}

fn read_tensor(entry: &Value) -> Tensor {
    let shape = entry["shape"].as_array().unwrap().iter();
    let values = entry["data"].as_array().unwrap().iter();
    let data = match entry["datatype"].as_str().unwrap() {
        "FP32" => TensorData::Fp32(values.map(|v| read_number(v) as f32).collect()),
        "FP64" => TensorData::Fp64(values.map(read_number).collect()),
        "INT64" => TensorData::Int64(values.map(|v| v.as_i64().unwrap()).collect()),
        "INT32" => TensorData::Int32(values.map(|v| v.as_i64().unwrap() as i32).collect()),
        "BYTES" => TensorData::Bytes(values.map(|v| v.as_str().unwrap().into()).collect()),
        other => panic!("{other}"),
    };
    Tensor {
        name: entry["name"].as_str().unwrap().to_owned(),
        shape: shape.map(|dim| dim.as_u64().unwrap() as usize).collect(),
        data,
    }
}

fn floats(data: &TensorData) -> Option<Vec<f64>> {
    match data {
        TensorData::Fp32(values) => Some(values.iter().map(|v| f64::from(*v)).collect()),
        TensorData::Fp64(values) => Some(values.clone()),
        _ => None,
    }
}

#[track_caller]
fn compare(case: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.shape, expected.shape, "{case}: {}", found.name);
    assert_eq!(found.data.datatype(), expected.data.datatype(), "{case}");
    let tolerance = match case {
        _ if case.contains("probit") => PROBIT,
        _ if case.starts_with("sv") => LOOSE,
        _ => TOLERANCE,
    };
    match (floats(&found.data), floats(&expected.data)) {
        (Some(left), Some(right)) => {
            for (at, (left, right)) in left.iter().zip(&right).enumerate() {
                let is_same = left.to_bits() == right.to_bits()
                    || (left.is_nan() && right.is_nan())
                    || (left - right).abs() <= tolerance * right.abs().max(1.0);
                assert!(
                    is_same,
                    "{case}: element {at} is {left}, onnxruntime has {right}"
                );
            }
        }
        _ => assert_eq!(found.data, expected.data, "{case}"),
    }
}

/// The rows `first..first + count` of a tensor whose first dimension is the batch.
fn rows(tensor: &Tensor, first: usize, count: usize) -> Tensor {
    let row: usize = tensor.shape[1..].iter().product();
    let range = first * row..(first + count) * row;
    let data = match &tensor.data {
        TensorData::Fp32(v) => TensorData::Fp32(v[range].to_vec()),
        TensorData::Fp64(v) => TensorData::Fp64(v[range].to_vec()),
        TensorData::Int64(v) => TensorData::Int64(v[range].to_vec()),
        TensorData::Int32(v) => TensorData::Int32(v[range].to_vec()),
        TensorData::Bytes(v) => TensorData::Bytes(v[range].to_vec()),
        other => panic!("{:?}", other.datatype()),
    };
    let mut shape = tensor.shape.clone();
    shape[0] = count;
    Tensor {
        name: tensor.name.clone(),
        shape,
        data,
    }
}

fn load(case: &str, bytes: &[u8]) -> Model {
    Model::load(bytes, &LoadLimits::default()).unwrap_or_else(|error| panic!("{case}: {error}"))
}

fn check(case: &str, model: &Model, inputs: &[Tensor], outputs: &[Tensor]) {
    let found = model
        .run(inputs)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(found.len(), outputs.len(), "{case}");
    for (found, expected) in found.iter().zip(outputs) {
        compare(case, found, expected);
    }
}

/// Checks all cases of some prefixes, whole and, where the first dimension is the batch, row by row.
fn check_all(prefixes: &[&str]) {
    for prefix in prefixes {
        let mut count = 0;
        for (case, entry) in read_cases() {
            if !case.starts_with(prefix) {
                continue;
            }
            count += 1;
            let bytes = hex::decode(entry["model"].as_str().unwrap()).unwrap();
            let model = load(&case, &bytes);
            let read = |name: &str| -> Vec<Tensor> {
                entry[name]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(read_tensor)
                    .collect()
            };
            let (inputs, outputs) = (read("inputs"), read("outputs"));
            check(&case, &model, &inputs, &outputs);
            let batch = inputs[0].shape[0];
            let is_batch = inputs[0].shape.len() > 1
                && outputs.iter().all(|output| output.shape[0] == batch)
                && inputs.iter().all(|input| input.shape[0] == batch);
            for first in (0..batch).filter(|_| is_batch) {
                let one: Vec<Tensor> = inputs.iter().map(|input| rows(input, first, 1)).collect();
                let made: Vec<Tensor> = outputs
                    .iter()
                    .map(|output| rows(output, first, 1))
                    .collect();
                check(&case, &model, &one, &made);
            }
            // `Shape` is no step, so the graph engine runs the whole.
            let mut proto = ModelProto::decode(&*bytes).unwrap();
            let is_text = inputs
                .iter()
                .chain(&outputs)
                .any(|tensor| matches!(tensor.data, TensorData::Bytes(_)));
            if !is_text {
                add_engine_node(&mut proto);
                let model = load(&case, &proto.encode_to_vec());
                check(&case, &model, &inputs, &outputs);
            }
        }
        assert!(count > 0, "no case is named {prefix}");
    }
}

/// Puts two nodes that change nothing before the first input, of an operator that only the graph engine runs.
fn add_engine_node(proto: &mut ModelProto) {
    let graph = proto.graph.as_mut().unwrap();
    let input = graph.input[0].name.clone();
    for node in &mut graph.node {
        for name in &mut node.input {
            if *name == input {
                "engine".clone_into(name);
            }
        }
    }
    let node = |operator: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: operator.to_owned(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let before = vec![
        node("Shape", &[&input], "shape"),
        node("Reshape", &[&input, "shape"], "engine"),
    ];
    graph.node.splice(0..0, before);
}

#[test]
fn scalers_normalisers_imputers_and_binarisers_answer_as_onnxruntime() {
    check_all(&["scaler", "normalizer", "imputer", "binarizer"]);
}

#[test]
fn encoders_answer_as_onnxruntime() {
    check_all(&["label", "category", "onehot"]);
}

#[test]
fn vectorisers_and_extractors_answer_as_onnxruntime() {
    check_all(&["features", "extract"]);
}

#[test]
fn linear_models_answer_as_onnxruntime() {
    check_all(&["linear", "classes"]);
}

#[test]
fn support_vector_machines_answer_as_onnxruntime() {
    check_all(&["svr", "svc"]);
}

#[test]
fn trees_of_version_5_answer_as_onnxruntime() {
    check_all(&["trees"]);
}
