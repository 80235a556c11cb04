//! What a model's rows and its loading cost, estimated from the file.

use std::collections::HashMap;

use serde::Serialize;
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::attributes::{floats, ints, read_datatype};
use crate::check;
use crate::tensor::element_size;
use crate::tree::summarise;

/// Bytes of a branch or a leaf's place, in the form in which trees are walked.
const NODE_SIZE: usize = 8;
/// Bytes of a weight, and of a number that an attribute holds.
const FLOAT_SIZE: usize = 4;

/// What one row costs, estimated: a weight that a row uses more than once, in a convolution or a recurrent layer,
/// counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Floating-point operations: two, a multiplication and an addition, for each weight of a matrix product, a
    /// convolution, a recurrent layer, a linear model or a support vector, and one for each weight of a leaf.
    pub operations: usize,
    /// Nodes of trees that are visited: the mean path of each tree, were it balanced.
    pub tree_nodes: usize,
    /// Bytes of weights and tree nodes that are read.
    pub bytes: usize,
}

/// What a graph weighs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    /// See [`super::Inspection::cost`].
    pub(super) cost: Cost,
    /// See [`super::Inspection::memory`].
    pub(super) memory: usize,
}

/// Elements and bytes of a tensor.
#[derive(Clone, Copy, Default)]
struct Size {
    elements: usize,
    bytes: usize,
}

impl Size {
    fn of(dims: &[i64], element: i32) -> Self {
        let elements = dims.iter().fold(1_usize, |product, dim| {
            product.saturating_mul(*dim as usize)
        });
        let width = read_datatype(element).map_or(1, element_size);
        Self {
            elements,
            bytes: elements.saturating_mul(width),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            elements: self.elements.saturating_add(other.elements),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// Adds up the nodes.
pub(super) fn weigh(graph: &GraphProto) -> Weight {
    let sizes: HashMap<&str, Size> = graph
        .initializer
        .iter()
        .map(|tensor| {
            let size = Size::of(&tensor.dims, tensor.data_type);
            (tensor.name.as_str(), size)
        })
        .collect();
    let constants = sizes.values().fold(Size::default(), |a, b| a.plus(*b));
    let mut weight = Weight {
        memory: constants.bytes,
        ..Weight::default()
    };
    for node in &graph.node {
        let (cost, memory) = weigh_node(node, &sizes);
        let own = &mut weight.cost;
        own.operations = own.operations.saturating_add(cost.operations);
        own.tree_nodes = own.tree_nodes.saturating_add(cost.tree_nodes);
        own.bytes = own.bytes.saturating_add(cost.bytes);
        weight.memory = weight.memory.saturating_add(memory);
    }
    weight
}

/// What a node costs for a row, and the memory of what its attributes hold.
fn weigh_node(node: &NodeProto, sizes: &HashMap<&str, Size>) -> (Cost, usize) {
    match node.op_type.as_str() {
        _ if check::is_tree_ensemble(node) => weigh_trees(node),
        "LinearClassifier" | "LinearRegressor" => weigh_numbers(floats(node, "coefficients").len()),
        "SVMClassifier" | "SVMRegressor" => weigh_numbers(
            floats(node, "support_vectors").len() + floats(node, "coefficients").len(),
        ),
        "MatMul"
        | "MatMulInteger"
        | "QLinearMatMul"
        | "Gemm"
        | "Conv"
        | "ConvTranspose"
        | "QLinearConv"
        | "ConvInteger"
        | "QGemm"
        | "DynamicQuantizeMatMul"
        | "DynamicQuantizeLSTM"
        | "MatMulIntegerToFloat"
        | "LSTM"
        | "GRU"
        | "RNN" => {
            let weights = node
                .input
                .iter()
                .filter_map(|name| sizes.get(name.as_str()))
                .fold(Size::default(), |a, b| a.plus(*b));
            let cost = Cost {
                operations: weights.elements.saturating_mul(2),
                tree_nodes: 0,
                bytes: weights.bytes,
            };
            (cost, 0)
        }
        _ => (Cost::default(), 0),
    }
}

fn weigh_numbers(count: usize) -> (Cost, usize) {
    let cost = Cost {
        operations: count.saturating_mul(2),
        tree_nodes: 0,
        bytes: count.saturating_mul(FLOAT_SIZE),
    };
    (cost, cost.bytes)
}

fn weigh_trees(node: &NodeProto) -> (Cost, usize) {
    let summary = summarise(node);
    // Weights a leaf: several where each leaf has one for every class or target.
    let weights = ["class_ids", "target_ids", "leaf_targetids"]
        .iter()
        .map(|name| ints(node, name).len())
        .sum::<usize>();
    let a_leaf = weights.div_ceil(summary.leaves.max(1));
    let leaves_a_tree = summary.leaves / summary.trees.max(1);
    let path = leaves_a_tree.max(1).ilog2() as usize + 1;
    let tree_nodes = summary.trees.saturating_mul(path);
    let operations = summary.trees.saturating_mul(a_leaf);
    let cost = Cost {
        operations,
        tree_nodes,
        bytes: tree_nodes
            .saturating_mul(NODE_SIZE)
            .saturating_add(operations.saturating_mul(FLOAT_SIZE)),
    };
    let memory = summary
        .nodes
        .saturating_mul(NODE_SIZE)
        .saturating_add(weights.saturating_mul(FLOAT_SIZE));
    (cost, memory)
}
