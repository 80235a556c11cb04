//! `Scan` runs where it measures distances between rows, as exporters of neighbours write it, and nowhere else;
//! `Compress` where its condition is a constant.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use engine::{LoadError, LoadLimits, Model, Tensor, TensorData, inspect};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

fn read(name: &str) -> ModelProto {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/zoo/models");
    let bytes = std::fs::read(folder.join(name)).unwrap();
    ModelProto::decode(&*bytes).unwrap()
}

fn load(model: &ModelProto) -> Result<Model, LoadError> {
    Model::load(&model.encode_to_vec(), &LoadLimits::default())
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn node<'a>(graph: &'a mut GraphProto, operator: &str) -> &'a mut NodeProto {
    let mut nodes = graph.node.iter_mut();
    nodes.find(|node| node.op_type == operator).unwrap()
}

fn attribute<'a>(node: &'a mut NodeProto, name: &str) -> &'a mut AttributeProto {
    let mut attributes = node.attribute.iter_mut();
    attributes.find(|own| own.name == name).unwrap()
}

fn scan(model: &mut ModelProto) -> &mut NodeProto {
    node(graph(model), "Scan")
}

fn body(model: &mut ModelProto) -> &mut GraphProto {
    attribute(scan(model), "body").g.as_mut().unwrap()
}

fn row(value: f32) -> Tensor {
    Tensor {
        name: "features".to_owned(),
        shape: vec![1, 4],
        data: TensorData::Fp32(vec![value; 4]),
    }
}

/// Checks that a change makes the `Scan` one that is refused by its name.
#[track_caller]
fn check_refused(name: &str, change: impl FnOnce(&mut ModelProto)) {
    let mut model = read(name);
    change(&mut model);
    match load(&model).unwrap_err() {
        LoadError::UnsupportedOperator { node, operator, .. } => {
            assert_eq!((&*node, &*operator), ("Sc_Scan", "Scan"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_scan_that_measures_distances_is_supported() {
    let onnx = read("neighbours_three.onnx").encode_to_vec();
    let found = inspect(&onnx, &LoadLimits::default()).unwrap();
    assert_eq!(found.unsupported, []);
    assert!(found.operators.iter().any(|own| own.operator == "Scan"));
}

#[test]
fn a_scan_that_does_anything_else_is_refused() {
    check_refused("neighbours_three.onnx", |model| {
        attribute(node(body(model), "ReduceSumSquare"), "axes").ints = vec![0];
    });
    check_refused("neighbours_three.onnx", |model| {
        attribute(node(body(model), "ReduceSumSquare"), "keepdims").i = 1;
    });
    check_refused("neighbours_three.onnx", |model| {
        "ReduceSum".clone_into(&mut node(body(model), "ReduceSumSquare").op_type);
    });
    check_refused("neighbours_three.onnx", |model| {
        "Add".clone_into(&mut node(body(model), "Sub").op_type);
    });
    check_refused("neighbours_three.onnx", |model| {
        let sub = node(body(model), "Sub");
        sub.input[1] = sub.input[0].clone();
    });
    // The state moves on.
    check_refused("neighbours_three.onnx", |model| {
        let difference = node(body(model), "Sub").output[0].clone();
        node(body(model), "Identity").input[0] = difference;
    });
    // The rows come last first.
    check_refused("neighbours_three.onnx", |model| {
        scan(model).attribute.push(AttributeProto {
            name: "scan_input_directions".to_owned(),
            ints: vec![1],
            ..AttributeProto::default()
        });
    });
    check_refused("neighbours_minkowski.onnx", |model| {
        "Neg".clone_into(&mut node(body(model), "Abs").op_type);
    });
}

#[test]
fn a_scan_without_a_body_or_of_a_cycle_is_refused() {
    check_refused("neighbours_three.onnx", |model| {
        scan(model).attribute.clear();
    });
    check_refused("neighbours_three.onnx", |model| {
        let identity = node(body(model), "Identity");
        identity.input[0] = identity.output[0].clone();
    });
}

#[test]
fn distances_of_an_unknown_metric_are_refused() {
    let mut model = read("neighbours_distances.onnx");
    attribute(node(graph(&mut model), "CDist"), "metric").s = b"chebyshev".to_vec();
    let message = load(&model).unwrap_err().to_string();
    assert!(message.contains("CDist"), "{message}");
    assert!(message.contains("`chebyshev`"), "{message}");
}

#[test]
fn distances_between_rows_of_other_lengths_are_refused() {
    let mut model = read("neighbours_distances.onnx");
    let known = node(graph(&mut model), "CDist").input[1].clone();
    let mut tensors = graph(&mut model).initializer.iter_mut();
    let tensor = tensors.find(|tensor| tensor.name == known).unwrap();
    tensor.dims = vec![tensor.dims[0] * 2, 2];
    let message = load(&model).unwrap_err().to_string();
    assert!(message.contains("CDist"), "{message}");
}

/// A model of one `Compress` behind the features of another.
fn compress(flags: &[u8], axis: Option<i64>) -> ModelProto {
    let mut model = read("neighbours_three.onnx");
    let graph = graph(&mut model);
    graph.node = vec![NodeProto {
        name: "pick".to_owned(),
        op_type: "Compress".to_owned(),
        input: vec!["features".to_owned(), "flags".to_owned()],
        output: vec!["probabilities".to_owned()],
        attribute: axis
            .map(|axis| AttributeProto {
                name: "axis".to_owned(),
                r#type: 2,
                i: axis,
                ..AttributeProto::default()
            })
            .into_iter()
            .collect(),
        ..NodeProto::default()
    }];
    graph.output.remove(0);
    graph.initializer = vec![TensorProto {
        name: "flags".to_owned(),
        data_type: ElementType::Bool as i32,
        dims: vec![flags.len() as i64],
        raw_data: flags.to_vec(),
        ..TensorProto::default()
    }];
    model
}

#[test]
fn compress_by_a_constant_picks_columns() {
    let model = load(&compress(&[1, 0, 0, 1], Some(1))).unwrap();
    let mut input = row(0.0);
    input.data = TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0]);
    let made = model.run(&[input]).unwrap();
    assert_eq!(made[0].shape, [1, 2]);
    assert_eq!(made[0].data, TensorData::Fp32(vec![1.0, 4.0]));
}

#[test]
fn compress_by_what_is_computed_or_over_the_whole_batch_is_refused() {
    let message = |model: &ModelProto| load(model).unwrap_err().to_string();
    let mut computed = compress(&[1, 0, 0, 1], Some(1));
    graph(&mut computed).node[0].input[1] = "features".to_owned();
    assert!(message(&computed).starts_with("node `pick` (Compress): its condition is no constant"));
    for axis in [None, Some(0)] {
        let rows = message(&compress(&[1, 0, 0, 1], axis));
        assert!(
            rows.starts_with("node `pick` (Compress): it picks among the rows"),
            "{rows}"
        );
    }
}
