//! Finds the stretches of a graph.
//!
//! A stretch is what fits exactly: what the specification would broadcast otherwise, or what another node reads too,
//! stays with the graph engine.

use std::borrow::Cow;
use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::Function;
use super::layers::packed_len;
use super::write::Writer;
use crate::attributes::{elements, float, int, tensor};
use crate::check::Constants;
use crate::tensor::TensorData;

/// Most packed weights of a graph together: one constant may stand at many nodes.
const MAX_PACKED: usize = 32 << 20;

/// A graph's nodes with stretches in the place of their layers.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) nodes: Vec<Cow<'a, NodeProto>>,
    /// Constants that the stretches read beside those of the graph.
    pub(crate) constants: Vec<TensorProto>,
}

/// Finds the stretches; none where there is none.
pub(crate) fn find(graph: &GraphProto, opset: i64) -> Option<Found<'_>> {
    let is_layer = |node: &NodeProto| is_onnx(node) && matches!(&*node.op_type, "Gemm" | "MatMul");
    let has_graph = |node: &NodeProto| {
        let mut attributes = node.attribute.iter();
        attributes.any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
    };
    // What a graph within a node reads is not counted.
    if !graph.node.iter().any(is_layer) || graph.node.iter().any(has_graph) {
        return None;
    }
    let mut finder = Finder::new(graph, opset);
    let mut writer = Writer::new(graph);
    let mut made: HashMap<usize, NodeProto> = HashMap::new();
    let mut taken = vec![false; graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        if taken[at] {
            continue;
        }
        if let Some(stretch) = finder.read(at, node, &taken) {
            for at in &stretch.nodes {
                taken[*at] = true;
            }
            if let Some(last) = stretch.nodes.iter().max().copied() {
                made.insert(last, writer.write(stretch));
            }
        }
    }
    if made.is_empty() {
        return None;
    }
    let nodes = graph.node.iter().enumerate();
    let nodes = nodes.filter_map(|(at, node)| match made.remove(&at) {
        Some(stretch) => Some(Cow::Owned(stretch)),
        None if taken[at] => None,
        None => Some(Cow::Borrowed(node)),
    });
    let nodes = nodes.collect();
    Some(Found {
        nodes,
        constants: writer.made,
    })
}

/// Writes the stretches into a graph.
pub(crate) fn lower(graph: &mut GraphProto, opset: i64) {
    let Some(found) = find(graph, opset) else {
        return;
    };
    let nodes = found.nodes.into_iter().map(Cow::into_owned).collect();
    let constants = found.constants;
    graph.node = nodes;
    graph.initializer.extend(constants);
}

fn is_onnx(node: &NodeProto) -> bool {
    matches!(&*node.domain, "" | "ai.onnx")
}

/// What is known of a graph while its stretches are found.
struct Finder<'a> {
    graph: &'a GraphProto,
    opset: i64,
    constants: HashMap<&'a str, &'a TensorProto>,
    /// The only node that reads a value; none where several do, or the graph gives it.
    readers: HashMap<&'a str, Option<usize>>,
    /// Values that are matrices.
    ranks: HashMap<&'a str, usize>,
    packed: usize,
}

/// A stretch while it grows.
pub(super) struct Stretch<'a> {
    pub(super) input: &'a str,
    pub(super) output: &'a str,
    pub(super) is_matrix: bool,
    pub(super) least_rank: usize,
    pub(super) layers: Vec<Layer<'a>>,
    /// The nodes that it takes the place of.
    pub(super) nodes: Vec<usize>,
}

pub(super) struct Layer<'a> {
    /// The constant's name.
    pub(super) weights: &'a str,
    pub(super) is_turned: bool,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) bias: Option<Vec<f64>>,
    pub(super) factor: Option<Vec<f64>>,
    pub(super) function: Option<&'a NodeProto>,
}

impl<'a> Finder<'a> {
    fn new(graph: &'a GraphProto, opset: i64) -> Self {
        let mut constants: HashMap<&str, &TensorProto> = graph
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect();
        let mut readers: HashMap<&str, Option<usize>> = HashMap::new();
        for (at, node) in graph.node.iter().enumerate() {
            for name in &node.input {
                let reader = readers.entry(name);
                reader.and_modify(|only| *only = None).or_insert(Some(at));
            }
            if let (true, Some(value), [output]) = (
                node.op_type == "Constant",
                tensor(node, "value"),
                &*node.output,
            ) {
                constants.insert(output, value);
            }
        }
        for output in &graph.output {
            readers.insert(&output.name, None);
        }
        let known = Constants::collect(graph);
        let mut ranks: HashMap<&str, usize> = HashMap::new();
        for input in &graph.input {
            if let Some(rank) = known.rank(&input.name) {
                ranks.insert(&input.name, rank);
            }
        }
        let mut finder = Self {
            graph,
            opset,
            constants,
            readers,
            ranks,
            packed: 0,
        };
        for node in &graph.node {
            if let ([output, ..], Some(rank)) = (&*node.output, finder.rank(node)) {
                finder.ranks.insert(output, rank);
            }
        }
        finder
    }

    /// The number of dimensions of what a node makes, where it is plain.
    fn rank(&self, node: &NodeProto) -> Option<usize> {
        let own = || self.ranks.get(node.input.first()?.as_str()).copied();
        match &*node.op_type {
            "Gemm" | "Flatten" => Some(2),
            "BatchNormalization" | "Cast" | "Clip" | "Dropout" | "Elu" | "HardSigmoid"
            | "Identity" | "Imputer" | "LeakyRelu" | "Normalizer" | "Relu" | "Scaler"
            | "Sigmoid" | "Softmax" | "Softplus" | "Softsign" | "Tanh" => own(),
            "MatMul" => {
                let right = self.constants.get(node.input.get(1)?.as_str())?;
                own().filter(|rank| *rank >= 2 && right.dims.len() == 2)
            }
            "Add" => {
                let other = self.constants.get(node.input.get(1)?.as_str())?;
                Some(own()?.max(other.dims.len()))
            }
            _ => None,
        }
    }

    /// The node that alone reads a value, at its first input.
    fn reader(&self, value: &str) -> Option<(usize, &'a NodeProto)> {
        let at = (*self.readers.get(value)?)?;
        let node = &self.graph.node[at];
        is_onnx(node).then_some((at, node))
    }

    /// Reads the stretch that begins at a node.
    fn read(&mut self, at: usize, node: &'a NodeProto, taken: &[bool]) -> Option<Stretch<'a>> {
        let [output] = &*node.output else { return None };
        let input = node.input.first().filter(|name| !name.is_empty())?;
        if self.constants.contains_key(input.as_str()) {
            return None;
        }
        let mut stretch = Stretch {
            input,
            output,
            is_matrix: node.op_type == "Gemm" || self.ranks.get(input.as_str()) == Some(&2),
            least_rank: 0,
            layers: vec![self.layer(node)?],
            nodes: vec![at],
        };
        while let Some((at, node)) = self.reader(stretch.output) {
            // Nodes need not stand in order.
            if taken[at] {
                break;
            }
            let Some(output) = self.extend(&mut stretch, node) else {
                break;
            };
            stretch.nodes.push(at);
            stretch.output = output;
        }
        Some(stretch)
    }

    /// A layer of a node's weights and biases.
    fn layer(&mut self, node: &'a NodeProto) -> Option<Layer<'a>> {
        if !is_onnx(node) {
            return None;
        }
        let name = node.input.get(1)?.as_str();
        let weights = *self.constants.get(name)?;
        let [rows, columns] = *weights.dims else {
            return None;
        };
        let (rows, columns) = (usize::try_from(rows).ok()?, usize::try_from(columns).ok()?);
        let is_gemm = node.op_type == "Gemm";
        let is_turned = is_gemm && int(node, "transB").unwrap_or(0) != 0;
        let (inputs, outputs) = if is_turned {
            (columns, rows)
        } else {
            (rows, columns)
        };
        let is_float = weights.data_type == ElementType::Float as i32;
        let is_plain = if is_gemm {
            int(node, "transA").unwrap_or(0) == 0
        } else {
            node.op_type == "MatMul" && node.input.len() == 2
        };
        if !is_float || !is_plain || inputs == 0 || outputs == 0 {
            return None;
        }
        let packed = packed_len(inputs, outputs)?.checked_add(self.packed)?;
        if packed > MAX_PACKED {
            return None;
        }
        let mut layer = Layer {
            weights: name,
            is_turned,
            inputs,
            outputs,
            bias: None,
            factor: None,
            function: None,
        };
        if is_gemm {
            let alpha = float(node, "alpha").unwrap_or(1.0);
            if alpha.to_bits() != 1.0_f32.to_bits() {
                layer.factor = Some(vec![alpha.into(); outputs]);
            }
            if let Some(name) = node.input.get(2).filter(|name| !name.is_empty()) {
                let beta = f64::from(float(node, "beta").unwrap_or(1.0));
                let (bias, _) = self.bias(name, outputs)?;
                layer.bias = Some(bias.into_iter().map(|value| value * beta).collect());
            }
        }
        self.packed = packed;
        Some(layer)
    }

    /// A constant that has one number for each column, or one for all, and its number of dimensions.
    fn bias(&self, name: &str, columns: usize) -> Option<(Vec<f64>, usize)> {
        let dims = &self.constants.get(name)?.dims;
        let (last, others) = dims.split_last().unwrap_or((&1, &[]));
        let count = usize::try_from(*last).ok()?;
        let is_row = others.len() <= 1 && others.iter().all(|dim| *dim == 1);
        if !is_row || (count != 1 && count != columns) {
            return None;
        }
        let values = self.floats(name, count)?;
        let wide = |value: &f32| f64::from(*value);
        let bias = match &*values {
            [value] => vec![wide(value); columns],
            values => values.iter().map(wide).collect(),
        };
        Some((bias, dims.len()))
    }

    /// The numbers of a constant that has so many.
    fn floats(&self, name: &str, count: usize) -> Option<Vec<f32>> {
        let tensor = *self.constants.get(name)?;
        let stated = tensor
            .dims
            .iter()
            .try_fold(1_i64, |product, dim| product.checked_mul(*dim));
        // What is longer is not read.
        if stated != Some(count as i64) {
            return None;
        }
        match elements(tensor)? {
            TensorData::Fp32(values) if values.len() == count => Some(values),
            _ => None,
        }
    }

    /// Takes a node into a stretch, and says what the stretch makes then; none where the node is not of it.
    fn extend(&mut self, stretch: &mut Stretch<'a>, node: &'a NodeProto) -> Option<&'a str> {
        let (output, more) = node.output.split_first()?;
        if more.iter().any(|name| !name.is_empty()) {
            return None;
        }
        let is_first = node.input.first().map(String::as_str) == Some(stretch.output);
        let is_matrix = stretch.is_matrix;
        let layer = stretch.layers.last_mut()?;
        let is_open = layer.function.is_none();
        match &*node.op_type {
            "Add" if is_open && layer.bias.is_none() => {
                let [left, right] = &*node.input else {
                    return None;
                };
                let (bias, rank) = self.bias(if is_first { right } else { left }, layer.outputs)?;
                layer.bias = Some(bias);
                stretch.least_rank = stretch.least_rank.max(rank);
            }
            "BatchNormalization" if is_first && is_open && is_matrix => {
                self.normalise(layer, node)?;
            }
            "Identity" => {}
            // A third input says whether it is training.
            "Dropout" if is_first && node.input.len() <= 2 => {}
            "Softmax" if is_open && self.is_last_axis(node, is_matrix) => {
                layer.function = Some(node);
            }
            "Softmax" => return None,
            "MatMul" | "Gemm" if is_first && (is_matrix || node.op_type == "MatMul") => {
                let before = self.packed;
                let inputs = layer.outputs;
                let next = self.layer(node)?;
                if next.inputs != inputs {
                    self.packed = before;
                    return None;
                }
                stretch.layers.push(next);
            }
            operator if is_first && is_open && node.input.len() == 1 => {
                Function::read(operator, None, None)?;
                layer.function = Some(node);
            }
            _ => return None,
        }
        Some(output)
    }

    /// True where a softmax is one of each row.
    fn is_last_axis(&self, node: &NodeProto, is_matrix: bool) -> bool {
        let default = if self.opset < 13 { 1 } else { -1 };
        match int(node, "axis").unwrap_or(default) {
            -1 => true,
            1 => is_matrix,
            _ => false,
        }
    }

    /// `(x - mean) / sqrt(variance + epsilon) * scale + shift`, by column, becomes part of the weights.
    fn normalise(&self, layer: &mut Layer<'_>, node: &NodeProto) -> Option<()> {
        let columns = layer.outputs;
        let list = |at: usize| self.floats(node.input.get(at)?, columns);
        if self.opset < 9 || int(node, "training_mode").unwrap_or(0) != 0 {
            return None;
        }
        let (scale, shift, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
        let epsilon = f64::from(float(node, "epsilon").unwrap_or(1e-5));
        let mut factors = Vec::with_capacity(columns);
        let mut biases = Vec::with_capacity(columns);
        for at in 0..columns {
            let factor = f64::from(scale[at]) / (f64::from(variance[at]) + epsilon).sqrt();
            let own = layer.bias.as_ref().map_or(0.0, |bias| bias[at]);
            let bias = (own - f64::from(mean[at])) * factor + f64::from(shift[at]);
            factors.push(layer.factor.as_ref().map_or(1.0, |factor| factor[at]) * factor);
            biases.push(bias);
        }
        let fits = |value: &f64| (*value as f32).is_finite();
        if !factors.iter().all(fits) || !biases.iter().all(fits) {
            return None;
        }
        layer.factor = Some(factors);
        layer.bias = Some(biases);
        Some(())
    }
}
