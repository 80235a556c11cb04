//! Stretches against their definition, and what is none.

use proptest::prelude::*;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::tensor_shape_proto::Dimension;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use super::layers::{Layers, Raw};
use super::{Activation, DENSE, Dense, Function, Plan, find};
use crate::attributes::{elements, ints, strings};
use crate::tensor::TensorData;

/// The operator set of the graphs here, where it does not matter.
const OPSET: i64 = 17;

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let number = |at: u32| (at.wrapping_mul(seed | 1).wrapping_mul(2_654_435_761) >> 16) as f32;
    (0..count as u32)
        .map(|at| number(at + 1) / 32_768.0 - 1.0)
        .collect()
}

/// One layer as it is defined, in float64.
fn define(raw: &Raw<'_>, row: &[f64], outputs: usize) -> Vec<f64> {
    let weight = |input: usize, output: usize| {
        f64::from(if raw.plan.is_turned {
            raw.weights[output * row.len() + input]
        } else {
            raw.weights[input * outputs + output]
        })
    };
    let mut made: Vec<f64> = (0..outputs)
        .map(|output| {
            let sum: f64 = row
                .iter()
                .enumerate()
                .map(|(input, value)| value * weight(input, output))
                .sum();
            let factor = raw.factor.map_or(1.0, |list| f64::from(list[output]));
            sum * factor + raw.bias.map_or(0.0, |list| f64::from(list[output]))
        })
        .collect();
    match raw.plan.function {
        None => {}
        Some(Function::Softmax) => {
            let sum: f64 = made.iter().map(|x| x.exp()).sum();
            for x in &mut made {
                *x = x.exp() / sum;
            }
        }
        Some(Function::Each(activation)) => {
            for x in &mut made {
                *x = match activation {
                    Activation::Relu => x.max(0.0),
                    Activation::Tanh => x.tanh(),
                    Activation::Sigmoid => 1.0 / (1.0 + (-*x).exp()),
                    Activation::LeakyRelu { alpha } if *x < 0.0 => f64::from(alpha) * *x,
                    _ => *x,
                };
            }
        }
    }
    made
}

fn any_function() -> impl Strategy<Value = Option<Function>> {
    prop_oneof![
        Just(None),
        Just(Some(Function::Softmax)),
        Just(Some(Function::Each(Activation::Relu))),
        Just(Some(Function::Each(Activation::Tanh))),
        Just(Some(Function::Each(Activation::Sigmoid))),
        Just(Some(Function::Each(Activation::LeakyRelu { alpha: 0.1 }))),
    ]
}

proptest! {
    #[test]
    fn layers_are_their_definition_and_a_row_does_not_depend_on_its_batch(
        widths in prop::collection::vec(1..100_usize, 2..5),
        rows in 0..150_usize,
        kinds in prop::array::uniform4((any_function(), any::<bool>(), any::<bool>(), any::<bool>())),
        seed in any::<u32>(),
    ) {
        let parts: Vec<[Vec<f32>; 3]> = widths
            .windows(2)
            .zip(seed..)
            .map(|(pair, seed)| {
                let scale = 1.0 / (pair[0] as f32).sqrt();
                let weights = numbers(pair[0] * pair[1], seed);
                let weights = weights.into_iter().map(|value| value * scale).collect();
                [weights, numbers(pair[1], seed ^ 0x4d), numbers(pair[1], seed ^ 0x63)]
            })
            .collect();
        let raws: Vec<Raw<'_>> = widths
            .windows(2)
            .zip(&parts)
            .zip(kinds)
            .map(|((pair, [weights, bias, factor]), (function, is_turned, has_bias, has_factor))| Raw {
                shape: if is_turned { [pair[1], pair[0]] } else { [pair[0], pair[1]] },
                weights,
                bias: has_bias.then_some(bias),
                factor: has_factor.then_some(factor),
                plan: Plan { is_turned, function },
            })
            .collect();
        let layers = Layers::pack(&raws).unwrap();
        let values = numbers(rows * widths[0], !seed);
        let outputs = widths[widths.len() - 1];
        let mut made = vec![0.0; rows * outputs];
        layers.run(&values, &mut made);
        for (row, made) in values.chunks_exact(widths[0]).zip(made.chunks_exact(outputs)) {
            let mut alone = vec![0.0; outputs];
            layers.run(row, &mut alone);
            prop_assert!(alone.iter().zip(made).all(|(a, b)| a.to_bits() == b.to_bits()));
            let mut expected: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
            for (raw, pair) in raws.iter().zip(widths.windows(2)) {
                expected = define(raw, &expected, pair[1]);
            }
            for (found, expected) in made.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() <= 2e-5, "{} {}", found, expected);
            }
        }
    }
}

/// A graph of an input `x` of some dimensions, constants, nodes, and the output `y`.
struct Graph(GraphProto);

impl Graph {
    fn new(rank: usize) -> Self {
        let dims = vec![Dimension::default(); rank];
        let shape = TensorShapeProto { dim: dims };
        let tensor = TensorType {
            elem_type: ElementType::Float as i32,
            shape: Some(shape),
        };
        let named = |name: &str, value| ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                denotation: String::new(),
                value,
            }),
            ..ValueInfoProto::default()
        };
        Self(GraphProto {
            input: vec![named("x", Some(Value::TensorType(tensor)))],
            output: vec![named("y", None)],
            ..GraphProto::default()
        })
    }

    fn constant(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.0.initializer.push(TensorProto {
            name: name.to_owned(),
            data_type: ElementType::Float as i32,
            dims: dims.to_vec(),
            float_data: values.to_vec(),
            ..TensorProto::default()
        });
        self
    }

    fn node(mut self, operator: &str, inputs: &[&str], output: &str) -> Self {
        self.0.node.push(NodeProto {
            op_type: operator.to_owned(),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.to_owned()],
            ..NodeProto::default()
        });
        self
    }

    /// An attribute of the last node.
    fn with(mut self, name: &str, i: i64) -> Self {
        let attribute = AttributeProto {
            name: name.to_owned(),
            r#type: AttributeType::Int as i32,
            i,
            ..AttributeProto::default()
        };
        self.0.node.last_mut().unwrap().attribute.push(attribute);
        self
    }

    fn with_float(mut self, name: &str, f: f32) -> Self {
        let attribute = AttributeProto {
            name: name.to_owned(),
            r#type: AttributeType::Float as i32,
            f,
            ..AttributeProto::default()
        };
        self.0.node.last_mut().unwrap().attribute.push(attribute);
        self
    }

    /// The operators once stretches are found; of a stretch its functions and dots for layers.
    fn found(&self, opset: i64) -> Vec<String> {
        let Some(found) = find(&self.0, opset) else {
            return self.0.node.iter().map(|n| n.op_type.clone()).collect();
        };
        let describe = |node: &NodeProto| {
            if node.op_type != DENSE {
                return node.op_type.clone();
            }
            let functions = strings(node, "functions").iter();
            let functions: Vec<String> = functions
                .map(|name| format!(".{}", String::from_utf8_lossy(name)))
                .collect();
            functions.concat()
        };
        found.nodes.iter().map(|node| describe(node)).collect()
    }

    /// Runs a graph that is one stretch.
    fn run(&self, shape: &[usize], values: &[f32]) -> Result<(Vec<usize>, Vec<f32>), String> {
        let found = find(&self.0, OPSET).unwrap();
        let [node] = &*found.nodes else {
            panic!("{:?}", self.found(OPSET));
        };
        let constants: Vec<(String, Vec<usize>, Vec<f32>)> = self
            .0
            .initializer
            .iter()
            .chain(&found.constants)
            .map(|tensor| {
                let dims = tensor.dims.iter().map(|dim| *dim as usize).collect();
                match elements(tensor) {
                    Some(TensorData::Fp32(values)) => (tensor.name.clone(), dims, values),
                    _ => panic!("a constant of another type"),
                }
            })
            .collect();
        let dense = Dense::parse(node).unwrap();
        let packed = dense.pack(|at| {
            let name = node.input.get(at).filter(|name| !name.is_empty());
            let constant = constants.iter().find(|(own, ..)| Some(own) == name);
            Ok(constant.map(|(_, dims, values)| (&**dims, &**values)))
        });
        packed.map_err(|error| error.to_string())?;
        let shape = dense.shape(shape).map_err(|error| error.to_string())?;
        let mut made = vec![f32::NAN; shape.iter().product()];
        dense.write(values, &mut made).unwrap();
        Ok((shape.to_vec(), made))
    }
}

fn layer(rank: usize, operator: &str) -> Graph {
    Graph::new(rank)
        .constant("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .constant("b", &[3], &[0.5, -100.0, 1.0])
        .node(operator, &["x", "w"], "p")
}

#[test]
fn gemm_takes_its_factors_and_a_turned_matrix() {
    let graph = Graph::new(2)
        .constant("w", &[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0])
        .constant("b", &[1, 3], &[0.5, -100.0, 1.0])
        .node("Gemm", &["x", "w", "b"], "p")
        .with("transB", 1)
        .with_float("alpha", 2.0)
        .with_float("beta", 3.0)
        .node("Relu", &["p"], "y");
    let (shape, made) = graph.run(&[2, 2], &[1.0, 1.0, 10.0, 0.0]).unwrap();
    assert_eq!(shape, [2, 3]);
    assert_eq!(made, [11.5, 0.0, 21.0, 21.5, 0.0, 63.0]);
}

#[test]
fn layers_functions_and_names_of_values_become_one_stretch() {
    let graph = layer(2, "MatMul")
        .node("Add", &["b", "p"], "s")
        .node("Identity", &["s"], "i")
        .node("Dropout", &["i"], "d")
        .node("Tanh", &["d"], "t")
        .constant("v", &[3, 1], &[1.0, 1.0, 1.0])
        .constant("c", &[], &[0.25])
        .node("Gemm", &["t", "v", "c"], "g")
        .node("LeakyRelu", &["g"], "l")
        .with_float("alpha", 0.5)
        .node("Softmax", &["l"], "y")
        .with("axis", 1);
    assert_eq!(graph.found(OPSET), [".Tanh.LeakyRelu", "Softmax"]);
    let graph = layer(2, "Gemm")
        .node("Softmax", &["p"], "y")
        .with("axis", 1);
    assert_eq!(graph.found(9), [".Softmax"]);
}

#[test]
fn batch_norm_becomes_part_of_the_weights() {
    let graph = Graph::new(2)
        .constant("w", &[1, 2], &[2.0, 3.0])
        .constant("b", &[2], &[1.0, 1.0])
        .constant("scale", &[2], &[2.0, 1.0])
        .constant("shift", &[2], &[0.5, 0.0])
        .constant("mean", &[2], &[3.0, 0.0])
        .constant("variance", &[2], &[3.0, 0.0])
        .node("Gemm", &["x", "w", "b"], "p")
        .node(
            "BatchNormalization",
            &["p", "scale", "shift", "mean", "variance"],
            "y",
        )
        .with_float("epsilon", 1.0);
    let (_, made) = graph.run(&[1, 1], &[5.0]).unwrap();
    // (2 * 5 + 1 - 3) / 2 * 2 + 0.5, and (3 * 5 + 1) / 1.
    assert_eq!(made, [8.5, 16.0]);
}

#[test]
fn a_row_as_bias_gives_a_list_another_dimension() {
    let graph = Graph::new(1)
        .constant("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .constant("b", &[1, 3], &[0.5, 0.5, 0.5])
        .node("MatMul", &["x", "w"], "p")
        .node("Add", &["p", "b"], "y");
    let (shape, made) = graph.run(&[2], &[1.0, 0.0]).unwrap();
    assert_eq!((shape, made), (vec![1, 3], vec![1.5, 2.5, 3.5]));
}

#[test]
fn what_is_broadcast_otherwise_or_read_twice_stays_with_the_graph_engine() {
    let gemm = |dims: &[i64], values: &[f32]| {
        Graph::new(2)
            .constant("w", &[2, 3], &[1.0; 6])
            .constant("c", dims, values)
            .node("Gemm", &["x", "w", "c"], "y")
    };
    assert_eq!(gemm(&[4, 1], &[1.0; 4]).found(OPSET), ["Gemm"]);
    assert_eq!(gemm(&[4, 3], &[1.0; 12]).found(OPSET), ["Gemm"]);
    assert_eq!(gemm(&[1, 1], &[1.0]).found(OPSET), ["."]);
    let turned = layer(2, "Gemm").with("transA", 1);
    assert_eq!(turned.found(OPSET), ["Gemm"]);
    // The sum has three dimensions, and the column is none of the layer's.
    for (dims, count) in [(&[1, 1, 3][..], 3), (&[3, 1], 3), (&[2], 2)] {
        let graph = layer(2, "MatMul")
            .constant("c", dims, &vec![1.0; count])
            .node("Add", &["p", "c"], "y");
        assert_eq!(graph.found(OPSET), [".", "Add"], "{dims:?}");
    }
    let twice = layer(2, "MatMul").node("Add", &["p", "p"], "y");
    assert_eq!(twice.found(OPSET), [".", "Add"]);
    let both = layer(2, "MatMul")
        .node("Relu", &["p"], "y")
        .node("Tanh", &["p"], "z");
    assert_eq!(both.found(OPSET), [".", "Relu", "Tanh"]);
    let mut given = layer(2, "MatMul").node("Relu", &["p"], "y");
    let output = ValueInfoProto {
        name: "p".to_owned(),
        ..ValueInfoProto::default()
    };
    given.0.output.push(output);
    assert_eq!(given.found(OPSET), [".", "Relu"]);
    // The weights are the left side, or of the input.
    let left = Graph::new(2)
        .constant("w", &[2, 3], &[1.0; 6])
        .node("MatMul", &["w", "x"], "y");
    assert_eq!(left.found(OPSET), ["MatMul"]);
    let own = Graph::new(2).node("MatMul", &["x", "x"], "y");
    assert_eq!(own.found(OPSET), ["MatMul"]);
}

#[test]
fn channels_and_axes_of_more_dimensions_stay_with_the_graph_engine() {
    let list = |graph: Graph, name: &str| graph.constant(name, &[3], &[1.0; 3]);
    let normal = |rank: usize, opset: i64, training: i64| {
        ["s", "h", "m", "v"]
            .into_iter()
            .fold(layer(rank, "MatMul"), list)
            .node("BatchNormalization", &["p", "s", "h", "m", "v"], "y")
            .with("training_mode", training)
            .found(opset)
    };
    assert_eq!(normal(2, OPSET, 0), ["."]);
    for (rank, opset, training) in [(3, OPSET, 0), (2, 8, 0), (2, OPSET, 1)] {
        let found = normal(rank, opset, training);
        assert_eq!(found, [".", "BatchNormalization"]);
    }
    let softmax = |rank: usize, opset: i64| {
        let graph = layer(rank, "MatMul").node("Softmax", &["p"], "y");
        graph.found(opset)
    };
    assert_eq!(softmax(2, 12), [".Softmax"]);
    assert_eq!(softmax(3, 13), [".Softmax"]);
    // All dimensions from the second on, before version 13.
    assert_eq!(softmax(3, 12), [".", "Softmax"]);
    // A matrix product of more dimensions, then one that takes matrices only.
    let graph = layer(3, "MatMul")
        .constant("v", &[3, 1], &[1.0; 3])
        .node("Gemm", &["p", "v"], "y");
    assert_eq!(graph.found(OPSET), [".", "."]);
}

#[test]
fn weights_that_are_empty_or_of_another_type_are_no_layer() {
    let empty = |dims: &[i64]| {
        Graph::new(2)
            .constant("w", dims, &[])
            .node("MatMul", &["x", "w"], "y")
            .found(OPSET)
    };
    assert_eq!(empty(&[0, 3]), ["MatMul"]);
    assert_eq!(empty(&[3, 0]), ["MatMul"]);
    assert_eq!(empty(&[0, 1 << 40]), ["MatMul"]);
    assert_eq!(empty(&[1 << 40, 1 << 40]), ["MatMul"]);
    let mut double = layer(2, "MatMul");
    double.0.initializer[0].data_type = ElementType::Double as i32;
    assert_eq!(double.found(OPSET), ["MatMul"]);
}

#[test]
fn a_constant_at_many_nodes_is_packed_so_often_only_as_memory_allows() {
    let mut graph = Graph::new(2).constant("w", &[1024, 1024], &[]);
    for at in 0..40 {
        graph = graph.node("MatMul", &["x", "w"], &format!("y{at}"));
    }
    let found = graph.found(OPSET);
    let packed = found.iter().filter(|name| *name == ".").count();
    assert_eq!(packed, 32);
    assert_eq!(found.len(), 40);
}

#[test]
fn inputs_of_other_widths_are_refused_and_no_rows_give_no_rows() {
    let graph = layer(2, "Gemm");
    let error = graph.run(&[2, 3], &[0.0; 6]).unwrap_err();
    assert_eq!(
        error,
        "an input of the shape [2, 3] where rows of 2 numbers are taken"
    );
    let error = graph.run(&[1, 2, 2], &[0.0; 4]).unwrap_err();
    assert_eq!(error, "an input of 3 dimensions where 2 are taken");
    assert!(graph.run(&[], &[0.0]).is_err());
    assert_eq!(graph.run(&[0, 2], &[]).unwrap(), (vec![0, 3], vec![]));
    let more = layer(3, "MatMul").run(&[2, 0, 2], &[]).unwrap();
    assert_eq!(more, (vec![2, 0, 3], vec![]));
}

#[test]
fn layers_that_do_not_fit_one_another_are_two_stretches() {
    let graph =
        layer(2, "MatMul")
            .constant("v", &[4, 1], &[1.0; 4])
            .node("MatMul", &["p", "v"], "y");
    assert_eq!(graph.found(OPSET), [".", "."]);
}

#[test]
fn nan_and_infinities_go_where_the_definition_sends_them() {
    let graph = layer(2, "Gemm").node("Relu", &["p"], "y");
    let (_, made) = graph.run(&[1, 2], &[f32::NAN, 1.0]).unwrap();
    assert!(made.iter().all(|value| value.is_nan()));
    let graph = Graph::new(2)
        .constant("w", &[1, 3], &[1.0, 0.5, -1.0])
        .node("MatMul", &["x", "w"], "p")
        .node("Softmax", &["p"], "y");
    let (_, made) = graph.run(&[1, 1], &[1e30]).unwrap();
    assert_eq!(made, [1.0, 0.0, 0.0]);
    let (_, made) = graph.run(&[1, 1], &[f32::NEG_INFINITY]).unwrap();
    assert!(made.iter().all(|value| value.is_nan()));
}

#[test]
fn nodes_out_of_order_are_taken_once() {
    let mut graph =
        layer(2, "MatMul")
            .constant("v", &[3, 1], &[1.0; 3])
            .node("MatMul", &["p", "v"], "y");
    graph.0.node.reverse();
    let found = find(&graph.0, OPSET).unwrap();
    let outputs: Vec<&str> = found.nodes.iter().map(|n| n.output[0].as_str()).collect();
    assert_eq!(outputs, ["y", "p"]);
    assert_eq!(ints(&found.nodes[0], "turned"), [0]);
}

#[test]
fn constants_of_stretches_have_names_of_their_own() {
    let graph = Graph::new(2)
        .constant("w", &[2, 3], &[1.0; 6])
        .constant("dense..0", &[3], &[1.0; 3])
        .node("Gemm", &["x", "w", "dense..0"], "dense.1")
        .node("Relu", &["dense.1"], "y");
    let found = find(&graph.0, OPSET).unwrap();
    let names: Vec<&str> = found.constants.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["dense...0"]);
}

#[test]
fn biases_that_are_not_as_long_as_they_say_are_no_layer() {
    for (operator, dims, values) in [
        ("Gemm", &[3][..], &[][..]),
        ("Gemm", &[3], &[1.0, 2.0]),
        ("Gemm", &[i64::MAX, 3], &[]),
        ("Gemm", &[-3], &[]),
    ] {
        let graph = Graph::new(2)
            .constant("w", &[2, 3], &[1.0; 6])
            .constant("c", dims, values)
            .node(operator, &["x", "w", "c"], "y");
        assert_eq!(graph.found(OPSET), ["Gemm"], "{dims:?}");
    }
}
