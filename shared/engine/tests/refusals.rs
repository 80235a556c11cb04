//! What an untrusted file may try: each is refused with its own error, without a panic or a hang.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "onnx/node.rs"]
mod node;
#[path = "onnx/value.rs"]
mod value;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::{LoadError, LoadLimits, Model, inspect};
use node::with_int;
use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto,
};
use value::value;

/// A node with a name that messages show.
fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        name: format!("the_{}", operator.to_lowercase()),
        ..node::node(operator, inputs, outputs)
    }
}

fn with_ints(mut node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: 7,
        ints: ints.to_vec(),
        ..AttributeProto::default()
    });
    node
}

fn with_string(mut node: NodeProto, name: &str, text: &str) -> NodeProto {
    let s = text.as_bytes().to_vec();
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: 3,
        s,
        ..AttributeProto::default()
    });
    node
}

fn int64s(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Int64 as i32,
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn floats(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Float as i32,
        dims: dims.to_vec(),
        float_data: vec![0.5; dims.iter().product::<i64>() as usize],
        ..TensorProto::default()
    }
}

/// A graph from `X` `[batch, 4]` to `Y`.
fn graph(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    graph_of(&[-1, 4], nodes, initializer)
}

fn graph_of(shape: &[i64], node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![
            OperatorSetIdProto {
                domain: String::new(),
                version: 17,
            },
            OperatorSetIdProto {
                domain: "ai.onnx.ml".to_owned(),
                version: 3,
            },
            // A second import of the same set is common.
            OperatorSetIdProto {
                domain: String::new(),
                version: 17,
            },
        ],
        graph: Some(GraphProto {
            node,
            initializer,
            input: vec![value("X", DataType::Float, shape)],
            output: vec![value("Y", DataType::Float, &[])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// One tree: a root and two leaves, three classes.
fn tree(change: impl FnOnce(&mut NodeProto)) -> ModelProto {
    let mut tree = node("TreeEnsembleClassifier", &["X"], &["L", "Y"]);
    "ai.onnx.ml".clone_into(&mut tree.domain);
    let lists: [(&str, &[i64]); 9] = [
        ("nodes_treeids", &[0, 0, 0]),
        ("nodes_nodeids", &[0, 1, 2]),
        ("nodes_featureids", &[0, 0, 0]),
        ("nodes_truenodeids", &[1, 0, 0]),
        ("nodes_falsenodeids", &[2, 0, 0]),
        ("class_treeids", &[0, 0]),
        ("class_nodeids", &[1, 2]),
        ("class_ids", &[0, 1]),
        ("classlabels_int64s", &[0, 1, 2]),
    ];
    for (name, ints) in lists {
        tree = with_ints(tree, name, ints);
    }
    let lists = [
        ("nodes_values", vec![0.0, 0.0, 0.0]),
        ("class_weights", vec![1.0, 1.0]),
    ];
    for (name, floats) in lists {
        let name = name.to_owned();
        tree.attribute.push(AttributeProto {
            name,
            r#type: 6,
            floats,
            ..AttributeProto::default()
        });
    }
    let strings = ["BRANCH_LEQ", "LEAF", "LEAF"]
        .map(|mode| mode.as_bytes().to_vec())
        .to_vec();
    tree.attribute.push(AttributeProto {
        name: "nodes_modes".to_owned(),
        r#type: 8,
        strings,
        ..AttributeProto::default()
    });
    change(&mut tree);
    graph(vec![tree], Vec::new())
}

fn set(node: &mut NodeProto, name: &str, ints: &[i64]) {
    node.attribute
        .iter_mut()
        .find(|attribute| attribute.name == name)
        .unwrap()
        .ints = ints.to_vec();
}

/// Loads a model that must be refused: the code, and the message for its words.
fn refuse(model: &ModelProto) -> (&'static str, String) {
    refuse_bytes(&model.encode_to_vec())
}

fn refuse_bytes(bytes: &[u8]) -> (&'static str, String) {
    let error = Model::load(bytes, &LoadLimits::default()).expect_err("the model must be refused");
    (error.code(), error.to_string())
}

#[track_caller]
fn assert_refused(model: &ModelProto, code: &str, words: &str) {
    let (found, message) = refuse(model);
    assert_eq!(found, code, "{message}");
    assert!(
        message.contains(words),
        "`{message}` does not say `{words}`"
    );
}

#[test]
fn sound_models_of_this_file_load() {
    Model::load(&tree(|_| {}).encode_to_vec(), &LoadLimits::default()).unwrap();
    Model::load(
        &graph(vec![node("Relu", &["X"], &["Y"])], vec![]).encode_to_vec(),
        &LoadLimits::default(),
    )
    .unwrap();
}

#[test]
fn empty_file_is_malformed() {
    assert_eq!(refuse_bytes(&[]).0, "model.malformed");
}

#[test]
fn text_is_malformed() {
    assert_eq!(
        refuse_bytes(b"this is not a model, it is a sentence").0,
        "model.malformed"
    );
}

#[test]
fn every_truncation_is_refused() {
    let bytes = tree(|_| {}).encode_to_vec();
    for length in 0..bytes.len() - 30 {
        assert!(
            Model::load(&bytes[..length], &LoadLimits::default()).is_err(),
            "{length} bytes load"
        );
    }
}

#[test]
fn file_over_the_limit_is_too_large() {
    let limits = LoadLimits {
        max_bytes: 100,
        ..LoadLimits::default()
    };
    let error = Model::load(&tree(|_| {}).encode_to_vec(), &limits).unwrap_err();
    assert!(
        matches!(error, LoadError::TooLarge { limit: 100, .. }),
        "{error}"
    );
    assert!(matches!(
        inspect(&[0; 101], &limits).unwrap_err(),
        LoadError::TooLarge { limit: 100, .. }
    ));
}

#[test]
fn decoding_bomb_is_refused_before_it_is_decoded() {
    // A graph of empty nodes: two bytes each in the file, more than two hundred in memory.
    let content: Vec<u8> = [0x0a, 0x00].repeat(8 << 20);
    let mut bytes = vec![0x3a];
    prost::encode_length_delimiter(content.len(), &mut bytes).unwrap();
    bytes.extend(content);
    let (code, message) = refuse_bytes(&bytes);
    assert_eq!(code, "model.too_large", "{message}");
    assert!(message.contains("decoded size"), "{message}");
}

#[test]
fn nested_graphs_end_at_the_depth_limit() {
    let mut content = Vec::new();
    for _ in 0..200 {
        // graph → node → attribute → graph
        for tag in [0x32_u8, 0x2a, 0x0a] {
            let mut outer = vec![tag];
            prost::encode_length_delimiter(content.len(), &mut outer).unwrap();
            outer.extend(content);
            content = outer;
        }
    }
    let mut bytes = vec![0x3a];
    prost::encode_length_delimiter(content.len(), &mut bytes).unwrap();
    bytes.extend(content);
    assert_eq!(refuse_bytes(&bytes).0, "model.malformed");
}

#[test]
fn operator_of_another_domain_is_unsupported() {
    let mut relu = node("Relu", &["X"], &["Y"]);
    relu.domain = "evil".to_owned();
    assert_refused(
        &graph(vec![relu], vec![]),
        "model.unsupported_operator",
        "evil.Relu",
    );
}

#[test]
fn unknown_operator_names_its_node() {
    let model = graph(vec![node("Frobnicate", &["X"], &["Y"])], vec![]);
    assert_refused(
        &model,
        "model.unsupported_operator",
        "node `the_frobnicate` (Frobnicate)",
    );
}

#[test]
fn operators_in_a_form_that_the_graph_engine_gets_wrong_are_unsupported() {
    let pad = with_ints(node("Pad", &["X"], &["Y"]), "pads", &[0, -1, 0, 0]);
    let depth = with_string(node("SpaceToDepth", &["X"], &["Y"]), "mode", "CRD");
    for (node, reason) in [
        (
            pad,
            "the padding -1, which crops, is not run; crop with Slice",
        ),
        (
            depth,
            "the mode CRD is not run; export it with the mode DCR",
        ),
    ] {
        let model = graph(vec![node], vec![]);
        assert_refused(&model, "model.unsupported_operator", reason);
    }
}

#[test]
fn control_flow_and_random_draws_are_unsupported() {
    for operator in ["If", "Loop", "Scan", "RandomNormal", "Multinomial"] {
        assert_refused(
            &graph(vec![node(operator, &["X"], &["Y"])], vec![]),
            "model.unsupported_operator",
            operator,
        );
    }
}

#[test]
fn inspect_lists_all_that_load_refuses() {
    let nodes = vec![
        node("Frobnicate", &["X"], &["a"]),
        node("Relu", &["a"], &["b"]),
        node("RandomNormalLike", &["b"], &["Y"]),
    ];
    let found = inspect(
        &graph(nodes, vec![]).encode_to_vec(),
        &LoadLimits::default(),
    )
    .unwrap();
    let operators: Vec<&str> = found
        .unsupported
        .iter()
        .map(|entry| entry.operator.as_str())
        .collect();
    assert_eq!(operators, ["Frobnicate", "RandomNormalLike"]);
    assert_eq!(
        (found.nodes, found.inputs[0].shape.clone()),
        (3, vec![-1, 4])
    );
}

#[test]
fn undefined_input_and_output_are_invalid() {
    assert_refused(
        &graph(vec![node("Relu", &["Z"], &["Y"])], vec![]),
        "model.invalid_graph",
        "`Z`",
    );
    assert_refused(
        &graph(vec![node("Relu", &["X"], &["Z"])], vec![]),
        "model.invalid_graph",
        "output `Y`",
    );
}

#[test]
fn cycle_between_nodes_is_invalid() {
    let nodes = vec![
        node("Add", &["X", "b"], &["a"]),
        node("Relu", &["a"], &["b"]),
        node("Relu", &["b"], &["Y"]),
    ];
    assert_refused(
        &graph(nodes, vec![]),
        "model.invalid_graph",
        "`b` is not defined before it",
    );
}

#[test]
fn value_that_is_defined_twice_is_invalid() {
    let nodes = vec![node("Relu", &["X"], &["Y"]), node("Tanh", &["X"], &["Y"])];
    assert_refused(
        &graph(nodes, vec![]),
        "model.invalid_graph",
        "`Y` is defined twice",
    );
}

#[test]
fn unknown_versions_are_invalid() {
    let mut model = graph(vec![node("Relu", &["X"], &["Y"])], vec![]);
    model.opset_import[0].version = 999;
    assert_refused(&model, "model.invalid_graph", "ai.onnx 999");
    model.opset_import.clear();
    assert_refused(&model, "model.invalid_graph", "opset_import");
    model.ir_version = 99;
    assert_refused(&model, "model.invalid_graph", "ir_version 99");
}

#[test]
fn external_data_are_refused() {
    let mut weights = floats("W", &[4, 4]);
    weights.float_data.clear();
    weights.data_location = Some(DataLocation::External as i32);
    weights.external_data.push(StringStringEntryProto {
        key: "location".to_owned(),
        value: "/etc/passwd".to_owned(),
    });
    let model = graph(vec![node("MatMul", &["X", "W"], &["Y"])], vec![weights]);
    assert_refused(&model, "model.invalid_graph", "outside the file");
}

#[test]
fn initialiser_of_the_wrong_length_is_invalid() {
    let mut weights = floats("W", &[4, 4]);
    weights.float_data.pop();
    let model = graph(vec![node("MatMul", &["X", "W"], &["Y"])], vec![weights]);
    assert_refused(
        &model,
        "model.invalid_graph",
        "wants 16 elements, the file holds 15",
    );
    let mut weights = floats("W", &[4, 4]);
    weights.dims = vec![1 << 40, 0];
    weights.float_data.clear();
    let model = graph(vec![node("MatMul", &["X", "W"], &["Y"])], vec![weights]);
    assert_refused(&model, "model.too_large", "initialiser `W`");
    let mut weights = floats("W", &[4, 4]);
    weights.dims = vec![-4, -4];
    let model = graph(vec![node("MatMul", &["X", "W"], &["Y"])], vec![weights]);
    assert_refused(&model, "model.invalid_graph", "negative dimension");
}

#[test]
fn convolution_with_a_zero_stride_dilation_or_group_is_invalid() {
    let conv = || with_ints(node("Conv", &["X", "W"], &["Y"]), "kernel_shape", &[3]);
    let model = |node| graph_of(&[-1, 4, 8], vec![node], vec![floats("W", &[4, 4, 3])]);
    Model::load(&model(conv()).encode_to_vec(), &LoadLimits::default()).unwrap();
    assert_refused(
        &model(with_ints(conv(), "strides", &[0])),
        "model.invalid_graph",
        "strides holds 0",
    );
    assert_refused(
        &model(with_ints(conv(), "dilations", &[0])),
        "model.invalid_graph",
        "dilations holds 0",
    );
    assert_refused(
        &model(with_ints(conv(), "pads", &[-1, 0])),
        "model.invalid_graph",
        "pads holds -1",
    );
    assert_refused(
        &model(with_ints(conv(), "strides", &[1, 1])),
        "model.invalid_graph",
        "spatial dimensions",
    );
    assert_refused(
        &model(with_int(conv(), "group", 0)),
        "model.invalid_graph",
        "group is 0",
    );
}

#[test]
fn slice_with_a_zero_step_is_invalid() {
    let initialisers = vec![
        int64s("s", &[0]),
        int64s("e", &[4]),
        int64s("a", &[1]),
        int64s("t", &[0]),
    ];
    let model = graph(
        vec![node("Slice", &["X", "s", "e", "a", "t"], &["Y"])],
        initialisers,
    );
    assert_refused(&model, "model.invalid_graph", "a step is 0");
}

#[test]
fn bad_permutation_and_axes_are_invalid() {
    for perm in [vec![0, 0], vec![1, 2], vec![-1, 0], vec![2, 1, 0]] {
        let model = graph(
            vec![with_ints(node("Transpose", &["X"], &["Y"]), "perm", &perm)],
            vec![],
        );
        assert_refused(&model, "model.invalid_graph", "perm");
    }
    for axis in [2, -3, i64::MAX, i64::MIN] {
        let model = graph(
            vec![with_int(node("Softmax", &["X"], &["Y"]), "axis", axis)],
            vec![],
        );
        assert_refused(&model, "model.invalid_graph", "axis");
    }
}

#[test]
fn bombs_are_too_large() {
    let huge = [1 << 20, 1 << 20];
    let add = || node("Add", &["big", "X"], &["Y"]);
    let model = graph(
        vec![node("ConstantOfShape", &["n"], &["big"]), add()],
        vec![int64s("n", &huge)],
    );
    assert_refused(&model, "model.too_large", "the_constantofshape");
    let model = graph(
        vec![node("Expand", &["X", "n"], &["big"]), add()],
        vec![int64s("n", &[1 << 40, 1, 4])],
    );
    assert_refused(&model, "model.too_large", "the_expand");
    let model = graph(
        vec![node("Tile", &["X", "n"], &["big"]), add()],
        vec![int64s("n", &huge)],
    );
    assert_refused(&model, "model.too_large", "the_tile");
    let model = graph(
        vec![node("Reshape", &["X", "n"], &["big"]), add()],
        vec![int64s("n", &huge)],
    );
    assert_refused(&model, "model.too_large", "the_reshape");
    let model = graph(
        vec![node("Pad", &["X", "n"], &["big"]), add()],
        vec![int64s("n", &[0, 0, 0, 1 << 40])],
    );
    assert_refused(&model, "model.too_large", "the_pad");
    let range = [
        int64s("a", &[0]),
        int64s("b", &[i64::MAX]),
        int64s("c", &[1]),
    ];
    let model = graph(
        vec![node("Range", &["a", "b", "c"], &["big"]), add()],
        range.to_vec(),
    );
    assert_refused(&model, "model.too_large", "the_range");
    let mut model = graph(vec![node("Relu", &["X"], &["Y"])], vec![]);
    model.graph.as_mut().unwrap().input[0] = value("X", DataType::Float, &[-1, 1 << 40]);
    assert_refused(&model, "model.too_large", "input `X`");
}

#[test]
fn tree_with_a_class_id_out_of_range_is_invalid() {
    assert_refused(
        &tree(|node| set(node, "class_ids", &[0, 3])),
        "model.invalid_graph",
        "target 3; there are 3",
    );
    assert_refused(
        &tree(|node| set(node, "class_ids", &[0, -1])),
        "model.invalid_graph",
        "target -1",
    );
}

#[test]
fn tree_with_a_child_out_of_range_is_invalid() {
    assert_refused(
        &tree(|node| set(node, "nodes_truenodeids", &[9, 0, 0])),
        "model.invalid_graph",
        "no node 9",
    );
    let model = tree(|node| set(node, "nodes_falsenodeids", &[i64::MIN, 0, 0]));
    assert_refused(
        &model,
        "model.invalid_graph",
        "no node -9223372036854775808",
    );
}

#[test]
fn cyclic_trees_and_lost_nodes_are_invalid() {
    assert_refused(
        &tree(|node| set(node, "nodes_truenodeids", &[0, 0, 0])),
        "model.invalid_graph",
        "a cycle",
    );
    assert_refused(
        &tree(|node| set(node, "nodes_truenodeids", &[2, 0, 0])),
        "model.invalid_graph",
        "never reached",
    );
}

#[test]
fn tree_arrays_of_unequal_length_are_invalid() {
    let lists = [
        "nodes_nodeids",
        "nodes_featureids",
        "nodes_truenodeids",
        "class_treeids",
        "class_ids",
    ];
    for name in lists {
        assert_refused(
            &tree(|node| set(node, name, &[0])),
            "model.invalid_graph",
            name,
        );
    }
}

#[test]
fn tree_with_a_bad_feature_weight_or_node_is_invalid() {
    assert_refused(
        &tree(|node| set(node, "nodes_featureids", &[-1, 0, 0])),
        "model.invalid_graph",
        "featureids[0]",
    );
    assert_refused(
        &tree(|node| set(node, "nodes_featureids", &[4, 0, 0])),
        "model.invalid_graph",
        "4 features",
    );
    assert_refused(
        &tree(|node| set(node, "class_nodeids", &[0, 2])),
        "model.invalid_graph",
        "no leaf",
    );
    assert_refused(
        &tree(|node| set(node, "nodes_nodeids", &[0, 1, 1])),
        "model.invalid_graph",
        "twice",
    );
    let model = tree(|node| {
        node.attribute
            .iter_mut()
            .find(|a| a.name == "class_weights")
            .unwrap()
            .floats[0] = f32::NAN;
    });
    assert_refused(&model, "model.invalid_graph", "not finite");
}

#[test]
fn deep_tree_is_too_large() {
    let limits = LoadLimits {
        max_tree_depth: 0,
        ..LoadLimits::default()
    };
    let error = Model::load(&tree(|_| {}).encode_to_vec(), &limits).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::TooLarge {
                actual: 1,
                limit: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn too_many_nodes_are_too_large() {
    let nodes = vec![node("Relu", &["X"], &["a"]), node("Relu", &["a"], &["Y"])];
    let limits = LoadLimits {
        max_nodes: 1,
        ..LoadLimits::default()
    };
    let error = Model::load(&graph(nodes, vec![]).encode_to_vec(), &limits).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::TooLarge {
                actual: 2,
                limit: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn slow_load_ends_at_its_deadline() {
    let mut nodes = Vec::new();
    for at in 0..4000 {
        let input = if at == 0 {
            "X".to_owned()
        } else {
            format!("v{at}")
        };
        let output = if at == 3999 {
            "Y".to_owned()
        } else {
            format!("v{}", at + 1)
        };
        let mut step = node("Tanh", &[&input], &[&output]);
        step.name = format!("n{at}");
        nodes.push(step);
    }
    let limits = LoadLimits {
        deadline: Duration::from_millis(50),
        ..LoadLimits::default()
    };
    let start = Instant::now();
    let error = Model::load(&graph(nodes, vec![]).encode_to_vec(), &limits).unwrap_err();
    assert_eq!(error, LoadError::Deadline { limit_ms: 50 });
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn models_of_the_examples_survive_every_single_byte_of_damage() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/spx-direction/spx-direction-mlp.onnx");
    let whole = std::fs::read(path).unwrap();
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        if let Err(error) = Model::load(&bytes, &LoadLimits::default()) {
            assert_ne!(error.code(), "model.deadline", "byte {at}");
        }
    }
}

#[test]
fn square_of_a_constant_integer_is_unsupported() {
    let mut nodes = vec![
        node("Mul", &["n", "n"], &["m"]),
        node("Add", &["m", "X"], &["Y"]),
    ];
    let model = graph(nodes.clone(), vec![int64s("n", &[1 << 17])]);
    assert_refused(&model, "model.unsupported_operator", "the_mul");
    nodes[0] = node("Mul", &["X", "X"], &["m"]);
    let model = graph(nodes, vec![]);
    Model::load(&model.encode_to_vec(), &LoadLimits::default()).unwrap();
}

#[test]
fn places_that_a_shape_or_a_constant_has_not_are_invalid() {
    let gather = |from: &str, place: i64| {
        let nodes = vec![
            node("Shape", &["X"], &["shape"]),
            with_int(node("Gather", &[from, "at"], &["dim"]), "axis", 0),
            node("Expand", &["dim", "one"], &["Y"]),
        ];
        graph(
            nodes,
            vec![
                int64s("at", &[place]),
                int64s("one", &[1]),
                int64s("three", &[4, 5, 6]),
            ],
        )
    };
    for (from, place, length) in [("shape", 2, 2), ("shape", -3, 2), ("three", 37, 3)] {
        let (code, message) = refuse(&gather(from, place));
        assert_eq!(code, "model.invalid_graph");
        let reason = format!("place {place} of {length}");
        assert!(message.contains(&reason), "{message}");
    }
    for (from, place) in [("shape", 1), ("shape", -2), ("three", 2)] {
        let bytes = gather(from, place).encode_to_vec();
        // What else is wrong with them is not this.
        if let Err(error) = Model::load(&bytes, &LoadLimits::default()) {
            assert!(!error.to_string().contains("place "), "{error}");
        }
    }
}
