//! An LSTM of int8 weights reads its attributes and lengths as an LSTM of floats does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "onnx/node.rs"]
mod node;
#[path = "onnx/value.rs"]
mod value;

use engine::{LoadError, LoadLimits, Model, RunError, Tensor, TensorData};
use node::{node, with_int};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use value::value;

const STEPS: usize = 3;
const ROWS: usize = 2;
const INPUTS: usize = 2;
const HIDDEN: usize = 2;
/// Gates times hidden units.
const WIDTH: usize = 4 * HIDDEN;
/// One step of a weight.
const SCALE: f32 = 1.0 / 64.0;

/// Weights that int8 holds: row by row of the gates, `depth` numbers each.
fn weights(depth: usize) -> Vec<i8> {
    (0..WIDTH * depth)
        .map(|at| ((at * 37 + depth * 11) % 101) as i8 - 50)
        .collect()
}

fn tensor(name: &str, kind: DataType, dims: &[usize], raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: kind as i32,
        dims: dims.iter().map(|dim| *dim as i64).collect(),
        raw_data,
        ..TensorProto::default()
    }
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    tensor(name, DataType::Float, dims, bytes.collect())
}

fn model(node: NodeProto, initializer: Vec<TensorProto>) -> Vec<u8> {
    let set = |domain: &str, version: i64| OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    let state = [1, ROWS as i64, HIDDEN as i64];
    ModelProto {
        ir_version: 8,
        opset_import: vec![set("", 14), set("com.microsoft", 1)],
        graph: Some(GraphProto {
            name: "lstm".to_owned(),
            input: vec![
                value(
                    "x",
                    DataType::Float,
                    &[STEPS as i64, ROWS as i64, INPUTS as i64],
                ),
                value("lengths", DataType::Int32, &[ROWS as i64]),
                value("h", DataType::Float, &state),
            ],
            output: vec![
                value(
                    "y",
                    DataType::Float,
                    &[STEPS as i64, 1, ROWS as i64, HIDDEN as i64],
                ),
                value("y_h", DataType::Float, &state),
                value("y_c", DataType::Float, &state),
            ],
            node: vec![node],
            initializer,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

/// The same net in int8 and in float32, with attributes.
fn both(attributes: &[AttributeProto]) -> [Vec<u8>; 2] {
    let outputs = ["y", "y_h", "y_c"];
    let finish = |node: NodeProto| {
        let mut node = with_int(node, "hidden_size", HIDDEN as i64);
        node.attribute.extend_from_slice(attributes);
        node
    };
    // The quantised operator has its weights the other way round.
    let turned = |name: &str, depth: usize| {
        let rows = weights(depth);
        let bytes = (0..depth).flat_map(|at| (0..WIDTH).map(move |row| (row, at)));
        let bytes = bytes.map(|(row, at)| rows[row * depth + at].cast_unsigned());
        tensor(name, DataType::Int8, &[1, depth, WIDTH], bytes.collect())
    };
    let plain = |name: &str, depth: usize| {
        let values: Vec<f32> = weights(depth)
            .iter()
            .map(|w| f32::from(*w) * SCALE)
            .collect();
        floats(name, &[1, WIDTH, depth], &values)
    };
    let zero = |name: &str| tensor(name, DataType::Int8, &[1], vec![0]);
    let inputs = [
        "x", "w", "r", "", "lengths", "h", "", "", "ws", "wz", "rs", "rz",
    ];
    let mut quantised = finish(node("DynamicQuantizeLSTM", &inputs, &outputs));
    "com.microsoft".clone_into(&mut quantised.domain);
    [
        model(
            quantised,
            vec![
                turned("w", INPUTS),
                turned("r", HIDDEN),
                floats("ws", &[1], &[SCALE]),
                zero("wz"),
                floats("rs", &[1], &[SCALE]),
                zero("rz"),
            ],
        ),
        model(
            finish(node("LSTM", &inputs[..6], &outputs)),
            vec![plain("w", INPUTS), plain("r", HIDDEN)],
        ),
    ]
}

fn load(onnx: &[u8]) -> Result<Model, LoadError> {
    Model::load(onnx, &LoadLimits::default())
}

/// Asks with the same numbers each time, and lengths and an initial state.
fn ask(model: &Model, lengths: [i32; ROWS]) -> Result<Vec<Vec<f32>>, RunError> {
    let tensor = |name: &str, shape: &[usize], data: TensorData| Tensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        data,
    };
    let x = (0..STEPS * ROWS * INPUTS).map(|at| (at as f32 * 1.7).sin());
    let made = model.run(&[
        tensor("x", &[STEPS, ROWS, INPUTS], TensorData::Fp32(x.collect())),
        tensor("lengths", &[ROWS], TensorData::Int32(lengths.to_vec())),
        tensor(
            "h",
            &[1, ROWS, HIDDEN],
            TensorData::Fp32(vec![0.5, -0.25, 0.75, -1.0]),
        ),
    ])?;
    let values = made.into_iter().map(|tensor| match tensor.data {
        TensorData::Fp32(values) => values,
        other => panic!("{other:?}"),
    });
    Ok(values.collect())
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind,
        ..AttributeProto::default()
    }
}

fn strings(name: &str, values: &[&str]) -> AttributeProto {
    AttributeProto {
        strings: values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
        ..attribute(name, 8)
    }
}

fn numbers(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto {
        floats: values.to_vec(),
        ..attribute(name, 6)
    }
}

fn number(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        f,
        ..attribute(name, 1)
    }
}

fn direction(value: &str) -> AttributeProto {
    AttributeProto {
        s: value.as_bytes().to_vec(),
        ..attribute("direction", 3)
    }
}

/// Checks that int8 answers as float32 does, within what rounding its inputs costs.
#[track_caller]
fn assert_alike(attributes: &[AttributeProto], lengths: [i32; ROWS]) {
    let [quantised, plain] =
        both(attributes).map(|onnx| ask(&load(&onnx).unwrap(), lengths).unwrap());
    for (found, expected) in quantised.iter().flatten().zip(plain.iter().flatten()) {
        assert!((found - expected).abs() < 0.02, "{quantised:?}\n{plain:?}");
    }
}

#[test]
fn functions_take_their_parameters_in_turn_as_in_float32() {
    assert_alike(&[], [3, 3]);
    // Two alphas and one beta for three functions: Tanh takes none.
    let functions = strings("activations", &["HardSigmoid", "Tanh", "LeakyRelu"]);
    let parameters = [
        numbers("activation_alpha", &[0.35, 0.5]),
        numbers("activation_beta", &[0.3]),
    ];
    let [first, second] = parameters;
    assert_alike(&[functions, first, second], [3, 3]);
    assert_alike(&[number("clip", 0.2), direction("reverse")], [3, 2]);
}

#[test]
fn a_row_without_steps_has_no_last_state_as_in_float32() {
    assert_alike(&[], [0, 2]);
    let [quantised, _] = both(&[]);
    let made = ask(&load(&quantised).unwrap(), [0, 3]).unwrap();
    assert_eq!(made[1][..HIDDEN], [0.0, 0.0]);
    assert_eq!(made[2][..HIDDEN], [0.0, 0.0]);
    assert!(made[1][HIDDEN..].iter().all(|value| *value != 0.0));
}

#[test]
fn lengths_outside_the_steps_are_refused() {
    for (lengths, place) in [
        ([4, 1], "sequence_lens[0] is 4"),
        ([1, -1], "sequence_lens[1] is -1"),
    ] {
        for onnx in both(&[]) {
            let error = ask(&load(&onnx).unwrap(), lengths).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{place}; 0 to 3 are allowed")),
                "{error}"
            );
        }
    }
}

#[test]
fn attributes_that_contradict_the_specification_are_refused() {
    for (wrong, reason) in [
        (number("clip", 0.0), "clip is 0, not above 0"),
        (direction("sideways"), "direction is `sideways`"),
        (
            strings("activations", &["Sigmoid", "Tanh"]),
            "activations has 2 entries where 3 are needed",
        ),
        (
            numbers("activation_alpha", &[0.5]),
            "activation_alpha has 1 entries where the activations take 0",
        ),
    ] {
        for onnx in both(std::slice::from_ref(&wrong)) {
            let error = load(&onnx).unwrap_err();
            assert_eq!(error.code(), "model.invalid_graph");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
