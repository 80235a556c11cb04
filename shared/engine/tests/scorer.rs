//! Models and manifests together: what binds, what is answered and what is never an answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "onnx/value.rs"]
mod value;

use std::thread;

use artifact::manifest::Manifest;
use engine::{
    Answer, LoadError, LoadLimits, Model, RunError, ScoreError, Scored, Scorer, Tensor, TensorData,
};
use prost::Message;
use serde_json::{Value, json};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use value::value;

/// A model that gives back what it takes: each input by another name.
fn echo(pairs: &[(&str, &str, DataType, &[i64])]) -> Model {
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            node: pairs
                .iter()
                .map(|(input, output, ..)| NodeProto {
                    op_type: "Identity".to_owned(),
                    input: vec![(*input).to_owned()],
                    output: vec![(*output).to_owned()],
                    ..NodeProto::default()
                })
                .collect(),
            input: pairs
                .iter()
                .map(|(input, _, kind, dims)| value(input, *kind, dims))
                .collect(),
            output: pairs
                .iter()
                .map(|(_, output, kind, dims)| value(output, *kind, dims))
                .collect(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    Model::load(&model.encode_to_vec(), &LoadLimits::default()).unwrap()
}

fn manifest(inputs: Value, output: Value) -> Manifest {
    serde_json::from_value(json!({
        "format": "sealcast.manifest/v1",
        "name": "test-model",
        "version": "1.0.0",
        "owner": "tests",
        "algo_id": "TEST-0001",
        "inputs": inputs,
        "output": output,
        "latency_budget_ms": 50,
        "limits": { "max_rows": 64 }
    }))
    .unwrap()
}

fn passing(name: &str, datatype: &str, width: usize) -> Value {
    let columns: Vec<Value> = (0..width)
        .map(|at| json!({ "name": format!("{name}{at}"), "missing": { "policy": "pass" } }))
        .collect();
    json!({ "name": name, "datatype": datatype, "shape": [-1, width], "columns": columns })
}

/// A classifier whose probabilities and, where asked for, labels are its inputs.
fn classifier(with_label: bool) -> Scorer {
    let mut pairs: Vec<(&str, &str, DataType, &[i64])> =
        vec![("x", "p", DataType::Float, &[-1, 2])];
    let mut inputs = vec![passing("x", "FP32", 2)];
    let mut output =
        json!({ "kind": "classification", "labels": ["no", "yes"], "probabilities": "p" });
    if with_label {
        pairs.push(("l", "label", DataType::Int64, &[-1]));
        inputs.push(json!({ "name": "l", "datatype": "INT64", "shape": [-1] }));
        output["label"] = json!("label");
    }
    Scorer::new(&manifest(json!(inputs), output), echo(&pairs)).unwrap()
}

fn score_classes(probabilities: &[f32], labels: Option<&[i64]>) -> Result<Scored, ScoreError> {
    let scorer = classifier(labels.is_some());
    let rows = probabilities.len() / 2;
    let data = TensorData::Fp32(probabilities.to_vec());
    let mut inputs = vec![Tensor {
        name: "x".to_owned(),
        shape: vec![rows, 2],
        data,
    }];
    if let Some(labels) = labels {
        let data = TensorData::Int64(labels.to_vec());
        inputs.push(Tensor {
            name: "l".to_owned(),
            shape: vec![rows],
            data,
        });
    }
    scorer.score(&scorer.sanitize(inputs).unwrap())
}

fn score_value(value: f32, range: [f64; 2]) -> Result<Scored, ScoreError> {
    let output = json!({ "kind": "regression", "value": "y", "min": range[0], "max": range[1] });
    let model = echo(&[("x", "y", DataType::Float, &[-1, 1])]);
    let scorer = Scorer::new(&manifest(json!([passing("x", "FP32", 1)]), output), model).unwrap();
    let inputs = vec![Tensor {
        name: "x".to_owned(),
        shape: vec![1, 1],
        data: TensorData::Fp32(vec![value]),
    }];
    scorer.score(&scorer.sanitize(inputs).unwrap())
}

#[test]
fn most_probable_label_is_the_answer_without_a_label_output() {
    let answered = score_classes(&[0.25, 0.75, 0.75, 0.25, 0.5, 0.5], None).unwrap();
    let labels: Vec<&str> = answered
        .answers
        .iter()
        .map(|answer| match answer {
            Answer::Class { label, .. } => label.as_str(),
            Answer::Value { .. } => panic!("a value"),
        })
        .collect();
    assert_eq!(labels, ["yes", "no", "no"]);
    assert_eq!(answered.outputs[0].shape, [3, 2]);
}

#[test]
fn label_output_is_the_answer() {
    let answered = score_classes(&[0.25, 0.75], Some(&[0])).unwrap();
    let expected = Answer::Class {
        label: "no".to_owned(),
        probabilities: vec![0.25, 0.75],
    };
    assert_eq!(answered.answers, std::slice::from_ref(&expected));
    let text = serde_json::to_value(&expected).unwrap();
    assert_eq!(
        text,
        json!({ "label": "no", "probabilities": [0.25, 0.75] })
    );
    assert_eq!(serde_json::from_value::<Answer>(text).unwrap(), expected);
}

#[test]
fn non_finite_output_is_no_answer() {
    let error = score_classes(&[0.5, 0.5, f32::NAN, 0.5], None).unwrap_err();
    assert_eq!(error.code(), "model.output_not_finite");
    assert!(
        matches!(error, ScoreError::NotFinite { row: 1, .. }),
        "{error}"
    );
    assert_eq!(
        score_value(f32::NAN, [0.0, 1.0]).unwrap_err().code(),
        "model.output_not_finite"
    );
}

#[test]
fn probabilities_outside_the_contract_are_no_answer() {
    for probabilities in [[1.2, -0.2], [0.5, 0.49], [0.6, 0.6]] {
        let error = score_classes(&probabilities, None).unwrap_err();
        assert_eq!(
            error.code(),
            "model.output_out_of_contract",
            "{probabilities:?}"
        );
    }
    score_classes(&[1.0 + 5e-7, -5e-7], None).unwrap();
}

#[test]
fn label_outside_the_contract_is_no_answer() {
    for label in [2, -1, i64::MAX] {
        let error = score_classes(&[0.5, 0.5, 0.5, 0.5], Some(&[0, label])).unwrap_err();
        assert!(
            matches!(&error, ScoreError::OutOfContract { row: 1, .. }),
            "{error}"
        );
    }
}

#[test]
fn value_outside_its_range_is_no_answer() {
    assert_eq!(
        score_value(0.5, [0.0, 1.0]).unwrap().answers,
        [Answer::Value { value: 0.5 }]
    );
    assert_eq!(
        score_value(1.5, [0.0, 1.0]).unwrap_err().code(),
        "model.output_out_of_contract"
    );
    assert_eq!(
        score_value(-0.5, [0.0, 1.0]).unwrap_err().code(),
        "model.output_out_of_contract"
    );
}

#[track_caller]
fn assert_mismatch(inputs: Value, output: Value, field: &str) {
    let model = echo(&[
        ("x", "p", DataType::Float, &[-1, 2]),
        ("l", "label", DataType::Int64, &[-1]),
    ]);
    match Scorer::new(&manifest(inputs, output), model).expect_err("must be refused") {
        LoadError::ManifestMismatch { field: found, .. } => assert_eq!(found, field),
        other => panic!("{other}"),
    }
}

#[test]
fn manifest_that_does_not_fit_the_graph_is_refused() {
    let inputs =
        || json!([passing("x", "FP32", 2), { "name": "l", "datatype": "INT64", "shape": [-1] }]);
    let output =
        || json!({ "kind": "classification", "labels": ["no", "yes"], "probabilities": "p" });
    assert_mismatch(json!([passing("z", "FP32", 2)]), output(), "inputs.z");
    assert_mismatch(json!([passing("x", "FP32", 2)]), output(), "inputs");
    assert_mismatch(
        json!([passing("x", "FP64", 2)]),
        output(),
        "inputs.x.datatype",
    );
    assert_mismatch(json!([passing("x", "FP32", 3)]), output(), "inputs.x.shape");
    let with = |name: &str, value: Value| {
        let mut output = output();
        output[name] = value;
        output
    };
    assert_mismatch(
        inputs(),
        with("labels", json!(["a", "b", "c"])),
        "output.labels",
    );
    assert_mismatch(
        inputs(),
        with("probabilities", json!("q")),
        "output.probabilities",
    );
    assert_mismatch(
        inputs(),
        with("probabilities", json!("label")),
        "output.probabilities",
    );
    assert_mismatch(inputs(), with("label", json!("q")), "output.label");
    assert_mismatch(
        inputs(),
        json!({ "kind": "regression", "value": "q" }),
        "output.value",
    );
}

#[test]
fn output_of_the_wrong_form_fails_the_warm_up() {
    let model = echo(&[("x", "p", DataType::Float, &[-1, 2])]);
    let output = json!({ "kind": "regression", "value": "p" });
    let error =
        Scorer::new(&manifest(json!([passing("x", "FP32", 2)]), output), model).unwrap_err();
    assert_eq!(error.code(), "model.warm_up_failed");
}

#[test]
fn graph_of_a_fixed_batch_is_refused_with_a_hint() {
    let model = echo(&[("x", "p", DataType::Float, &[1, 2])]);
    let output = json!({ "kind": "classification", "labels": ["no", "yes"], "probabilities": "p" });
    let error =
        Scorer::new(&manifest(json!([passing("x", "FP32", 2)]), output), model).unwrap_err();
    assert!(error.to_string().contains("dynamic axis"), "{error}");
}

#[test]
fn run_refuses_tensors_that_the_graph_does_not_take() {
    let model = echo(&[("x", "y", DataType::Float, &[-1, 2])]);
    let tensor = |name: &str, shape: &[usize], data: TensorData| Tensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        data,
    };
    let two = || TensorData::Fp32(vec![1.0, 2.0]);
    for inputs in [
        vec![],
        vec![tensor("z", &[1, 2], two())],
        vec![tensor("x", &[1, 2], two()), tensor("x", &[1, 2], two())],
        vec![tensor("x", &[2, 1], two())],
        vec![tensor("x", &[2, 2], two())],
        vec![tensor("x", &[usize::MAX, 2], two())],
        vec![tensor("x", &[1, 2], TensorData::Fp64(vec![1.0, 2.0]))],
    ] {
        let error = model.run(&inputs).unwrap_err();
        assert!(matches!(error, RunError::Input { .. }), "{error}");
    }
}

#[test]
fn many_threads_and_batch_sizes_share_one_model() {
    let model = echo(&[("x", "y", DataType::Float, &[-1, 2])]);
    thread::scope(|scope| {
        for offset in 0..4_usize {
            let model = &model;
            scope.spawn(move || {
                // More sizes than plans are kept.
                for step in 0..60_usize {
                    let rows = 1 + (step * 7 + offset) % 23;
                    let values: Vec<f32> = (0..rows * 2).map(|at| (at + offset) as f32).collect();
                    let data = TensorData::Fp32(values);
                    let input = Tensor {
                        name: "x".to_owned(),
                        shape: vec![rows, 2],
                        data: data.clone(),
                    };
                    let outputs = model.run(&[input]).unwrap();
                    assert_eq!(
                        (&outputs[0].shape, &outputs[0].data),
                        (&vec![rows, 2], &data)
                    );
                }
            });
        }
    });
}

#[test]
fn run_error_of_a_model_is_an_error_and_the_model_answers_again() {
    // An index that the gathered table does not have.
    let mut table = tract_onnx::pb::TensorProto {
        name: "table".to_owned(),
        data_type: DataType::Float as i32,
        dims: vec![3, 1],
        ..Default::default()
    };
    table.float_data = vec![1.0, 2.0, 3.0];
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            node: vec![NodeProto {
                op_type: "Gather".to_owned(),
                input: vec!["table".to_owned(), "x".to_owned()],
                output: vec!["y".to_owned()],
                ..NodeProto::default()
            }],
            initializer: vec![table],
            input: vec![value("x", DataType::Int64, &[-1])],
            output: vec![value("y", DataType::Float, &[-1, 1])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let model = Model::load(&model.encode_to_vec(), &LoadLimits::default()).unwrap();
    let run = |index: i64| {
        model.run(&[Tensor {
            name: "x".to_owned(),
            shape: vec![1],
            data: TensorData::Int64(vec![index]),
        }])
    };
    assert!(run(99).is_err());
    assert_eq!(run(2).unwrap()[0].data, TensorData::Fp32(vec![3.0]));
}

/// A graph of one node from `x` to `y`.
fn single(
    operator: &str,
    inputs: &[&str],
    kind: DataType,
    dims: &[i64],
    output: DataType,
) -> Result<Model, LoadError> {
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            node: vec![NodeProto {
                op_type: operator.to_owned(),
                input: inputs.iter().map(ToString::to_string).collect(),
                output: vec!["y".to_owned()],
                ..NodeProto::default()
            }],
            input: vec![value("x", kind, dims)],
            output: vec![value("y", output, &[])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    Model::load(&model.encode_to_vec(), &LoadLimits::default())
}

#[test]
fn sums_of_64_bit_integers_are_whole() {
    let model = single("Add", &["x", "x"], DataType::Int64, &[-1], DataType::Int64).unwrap();
    let data = TensorData::Int64(vec![(1 << 53) + 1, -3]);
    let outputs = model
        .run(&[Tensor {
            name: "x".to_owned(),
            shape: vec![2],
            data,
        }])
        .unwrap();
    assert_eq!(outputs[0].data, TensorData::Int64(vec![(1 << 54) + 2, -6]));
}

#[test]
fn output_of_another_type_than_the_file_states_is_refused() {
    let error = single("Relu", &["x"], DataType::Float, &[-1, 2], DataType::Int64).unwrap_err();
    assert_eq!(error.code(), "model.invalid_graph", "{error}");
}

#[test]
fn log_sum_of_exponentials_of_large_numbers_is_finite() {
    let model = single(
        "ReduceLogSumExp",
        &["x"],
        DataType::Float,
        &[-1, 2],
        DataType::Float,
    )
    .unwrap();
    let data = TensorData::Fp32(vec![-1000.0, -1000.0]);
    let outputs = model
        .run(&[Tensor {
            name: "x".to_owned(),
            shape: vec![1, 2],
            data,
        }])
        .unwrap();
    let TensorData::Fp32(values) = &outputs[0].data else {
        panic!("{:?}", outputs[0].data)
    };
    assert!(
        (values[0] + 1000.0 - 2.0_f32.ln()).abs() < 1e-3,
        "{values:?}"
    );
}

#[test]
fn estimated_cost_counts_weights_and_paths() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let inspect = |name: &str| {
        let onnx = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
        engine::inspect(&onnx, &LoadLimits::default()).unwrap()
    };
    // MatMul of 4 × 3, and what is added.
    let linear = inspect("graph_linear");
    assert_eq!((linear.cost.operations, linear.cost.bytes), (24, 48));
    assert!(linear.memory >= 48, "{}", linear.memory);
    // Gemm of 8 × 4, 8 × 8 and 1 × 8, with their biases.
    let weights = 32 + 8 + 64 + 8 + 8 + 1;
    let mlp = inspect("graph_mlp").cost;
    assert_eq!((mlp.operations, mlp.bytes), (2 * weights, 4 * weights));
    let trees = inspect("skl_tree");
    assert!(
        (3..=5).contains(&trees.cost.tree_nodes),
        "{:?} for a tree of depth 4",
        trees.cost
    );
    let nodes = trees.trees[0].nodes;
    assert!(
        trees.memory > 8 * nodes,
        "{} of {nodes} nodes",
        trees.memory
    );
}
