//! What a model may ask of the process: memory that grows out of proportion to the file or to the rows is refused
//! before it is taken.

#[path = "onnx/node.rs"]
mod node;
#[path = "onnx/value.rs"]
mod value;

use engine::{LoadError, LoadLimits, Model, RunError, Tensor, TensorData};
use node::{node, with_int};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};
use value::value;

/// A model from `x` to `y`, both float32.
fn encode(
    shape: &[i64],
    answer: &[i64],
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
) -> Vec<u8> {
    let set = |domain: &str, version: i64| OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![set("", 17), set("ai.onnx.ml", 3), set("com.microsoft", 1)],
        graph: Some(GraphProto {
            name: "bounds".to_owned(),
            node,
            input: vec![value("x", DataType::Float, shape)],
            output: vec![value("y", DataType::Float, answer)],
            initializer,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

/// A node of a domain.
fn node_of(domain: &str, operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        domain: domain.to_owned(),
        ..node(operator, inputs, outputs)
    }
}

/// A constant of as many halves as its shape says.
fn halves(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Float as i32,
        dims: dims.to_vec(),
        float_data: vec![0.5; dims.iter().product::<i64>() as usize],
        ..TensorProto::default()
    }
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor {
        name: "x".to_owned(),
        shape: shape.to_vec(),
        data: TensorData::Fp32(vec![1.0; shape.iter().product()]),
    }
}

/// `count` plain recurrent nets of one unit, all on the same input and with the same weights.
fn small_nets(count: usize, inputs: i64) -> Vec<u8> {
    let mut nodes: Vec<NodeProto> = (0..count)
        .map(|at| {
            let net = node("RNN", &["x", "w", "r"], &["", &format!("h{at}")]);
            with_int(net, "hidden_size", 1)
        })
        .collect();
    let all: Vec<String> = (0..count).map(|at| format!("h{at}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    nodes.push(node("Sum", &all, &["y"]));
    let weights = vec![halves("w", &[1, 1, inputs]), halves("r", &[1, 1, 1])];
    encode(&[2, -1, inputs], &[1, -1, 1], nodes, weights)
}

#[test]
fn padding_of_small_recurrent_layers_is_bounded_by_the_size_of_the_file() {
    // One number of a layer of one unit becomes 32.
    let model = Model::load(&small_nets(1, 20_000), &LoadLimits::default()).unwrap();
    let made = model.run(&[ones(&[2, 3, 20_000])]).unwrap();
    assert_eq!(made[0].data, TensorData::Fp32(vec![1.0; 3]));

    let onnx = small_nets(1, 1 << 18);
    let error = Model::load(&onnx, &LoadLimits::default()).unwrap_err();
    assert_eq!(
        error,
        LoadError::TooLarge {
            what: "the packed weights of the recurrent nodes, in bytes,".to_owned(),
            actual: ((1 << 18) + 1 + 2) * 32 * 4,
            limit: onnx.len() * 4 + (16 << 20),
        }
    );
}

#[test]
fn weights_that_many_recurrent_nodes_share_are_counted_for_each() {
    let load = |count| Model::load(&small_nets(count, 2000), &LoadLimits::default());
    assert!(load(4).is_ok());
    let error = load(80).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the packed weights of the recurrent nodes"),
        "{error}"
    );
}

#[test]
fn convolutions_of_few_filters_run_however_much_padding_they_would_take() {
    let count = 40;
    let mut nodes: Vec<NodeProto> = (0..count)
        .map(|at| node("Conv", &["x", "w"], &[&format!("c{at}")]))
        .collect();
    let all: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    nodes.push(node("Sum", &all, &["y"]));
    let weights = vec![halves("w", &[1, 5000, 1])];
    let onnx = encode(&[-1, 5000, 2], &[-1, 1, 2], nodes, weights);
    let model = Model::load(&onnx, &LoadLimits::default()).unwrap();
    let made = model.run(&[ones(&[1, 5000, 2])]).unwrap();
    assert_eq!(made[0].data, TensorData::Fp32(vec![40.0 * 2500.0; 2]));
}

fn limits(max_elements: usize) -> LoadLimits {
    LoadLimits {
        max_elements,
        ..LoadLimits::default()
    }
}

#[test]
fn distances_of_the_rows_among_themselves_are_bounded_by_the_square_of_the_rows() {
    let nodes = vec![
        node_of("com.microsoft", "CDist", &["x", "x"], &["d"]),
        node_of("ai.onnx.ml", "Binarizer", &["d"], &["y"]),
    ];
    let onnx = encode(&[-1, 2], &[-1, -1], nodes, vec![]);
    // Two tensors of rows * rows each: 2,000,000 are reached by 1000 rows.
    let model = Model::load(&onnx, &limits(2_000_000)).unwrap();
    assert_eq!(model.run(&[ones(&[7, 2])]).unwrap()[0].shape, [7, 7]);
    assert_eq!(
        model.run(&[ones(&[1000, 2])]).unwrap()[0].shape,
        [1000, 1000]
    );
    let error = model.run(&[ones(&[1001, 2])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "input `x`: of the shape [1001, 2], 2004002 elements would be made; 2000000 are allowed at once: send fewer rows"
    );
}

#[test]
fn rows_are_bounded_by_what_all_steps_make_together() {
    let sign = |from: &str, to: &str| node_of("ai.onnx.ml", "Binarizer", &[from], &[to]);
    let nodes = vec![sign("x", "a"), sign("a", "b"), sign("b", "y")];
    let onnx = encode(&[-1, 4], &[-1, 4], nodes, vec![]);
    let model = Model::load(&onnx, &limits(1200)).unwrap();
    assert!(model.run(&[ones(&[100, 4])]).is_ok());
    let error = model.run(&[ones(&[101, 4])]).unwrap_err();
    assert!(matches!(error, RunError::Input { .. }), "{error}");
    let error = Model::load(&onnx, &limits(11)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the number of elements that the nodes make for one row is 12, over the limit of 11"
    );
}

#[test]
fn the_graph_engine_refuses_rows_that_would_make_too_much() {
    let nodes = vec![
        node("Transpose", &["x"], &["t"]),
        node("MatMul", &["x", "t"], &["y"]),
    ];
    let onnx = encode(&[-1, 2], &[-1, -1], nodes, vec![]);
    let model = Model::load(&onnx, &limits(10_000)).unwrap();
    assert_eq!(model.run(&[ones(&[100, 2])]).unwrap()[0].shape, [100, 100]);
    let error = model.run(&[ones(&[101, 2])]).unwrap_err();
    assert!(matches!(error, RunError::Input { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("[101, 2]") && message.contains("10201"),
        "{message}"
    );
}
