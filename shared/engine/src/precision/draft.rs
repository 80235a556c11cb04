//! A graph while its nodes are written anew.

use std::collections::HashSet;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// New nodes and constants, with names that nothing else has.
#[derive(Debug)]
pub(super) struct Draft {
    taken: HashSet<String>,
    pub(super) nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Draft {
    /// Takes the nodes out of a graph: they are handed back to be put into the draft, changed or as they are.
    pub(super) fn open(graph: &mut GraphProto) -> (Self, Vec<NodeProto>) {
        let nodes = std::mem::take(&mut graph.node);
        let taken = nodes
            .iter()
            .flat_map(|node| node.input.iter().chain(&node.output))
            .chain(graph.input.iter().map(|input| &input.name))
            .chain(graph.output.iter().map(|output| &output.name))
            .chain(graph.initializer.iter().map(|tensor| &tensor.name))
            .cloned()
            .collect();
        let draft = Self {
            taken,
            nodes: Vec::with_capacity(nodes.len()),
            constants: Vec::new(),
        };
        (draft, nodes)
    }

    /// Puts the nodes and constants into the graph.
    pub(super) fn close(self, graph: &mut GraphProto) {
        graph.node = self.nodes;
        graph.initializer.extend(self.constants);
    }

    /// A name for a part of a value.
    pub(super) fn name(&mut self, value: &str, part: &str) -> String {
        let mut name = format!("{value}.{part}");
        let mut at = 0;
        while !self.taken.insert(name.clone()) {
            at += 1;
            name = format!("{value}.{part}.{at}");
        }
        name
    }

    /// Adds a node that makes `output`.
    pub(super) fn make(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            op_type: operator.to_owned(),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.to_owned()],
            attribute: attributes,
            ..NodeProto::default()
        });
    }

    /// Adds a node and names what it makes after `value`.
    pub(super) fn add(
        &mut self,
        operator: &str,
        inputs: &[&str],
        value: &str,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let short = operator.rsplit('.').next().unwrap_or(operator);
        let output = self.name(value, &short.to_lowercase());
        self.make(operator, inputs, &output, attributes);
        output
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, value: &str, part: &str, mut tensor: TensorProto) -> String {
        let name = self.name(value, part);
        tensor.name.clone_from(&name);
        self.constants.push(tensor);
        name
    }
}

/// An attribute of one integer.
pub(super) fn int_attribute(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

/// An attribute of several integers.
pub(super) fn ints_attribute(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values,
        ..AttributeProto::default()
    }
}

/// The attribute of `Cast`.
pub(super) fn cast_to(kind: ElementType) -> Vec<AttributeProto> {
    vec![int_attribute("to", i64::from(kind as i32))]
}
