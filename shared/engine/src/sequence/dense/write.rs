//! Writes stretches as nodes, with the constants that they read.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::DENSE;
use super::find::Stretch;
use crate::attributes::find;

/// What names of new constants begin with, before some dots.
const PREFIX: &str = "dense";

/// Nodes and constants that are new.
pub(super) struct Writer {
    pub(super) made: Vec<TensorProto>,
    /// How no name of the graph begins.
    prefix: String,
}

impl Writer {
    pub(super) fn new(graph: &GraphProto) -> Self {
        let nodes = graph.node.iter();
        let names = nodes
            .flat_map(|node| node.input.iter().chain(&node.output))
            .chain(graph.input.iter().map(|input| &input.name))
            .chain(graph.initializer.iter().map(|tensor| &tensor.name));
        let dots = names
            .filter_map(|name| name.strip_prefix(PREFIX))
            .map(|rest| rest.bytes().take_while(|byte| *byte == b'.').count())
            .max();
        Self {
            made: Vec::new(),
            prefix: format!("{PREFIX}{}", ".".repeat(dots.unwrap_or(0) + 1)),
        }
    }

    /// Writes a stretch as a node.
    pub(super) fn write(&mut self, stretch: Stretch<'_>) -> NodeProto {
        let mut node = NodeProto {
            name: stretch.output.to_owned(),
            op_type: DENSE.to_owned(),
            input: vec![stretch.input.to_owned()],
            output: vec![stretch.output.to_owned()],
            ..NodeProto::default()
        };
        let number = |name: &str, value: i64| AttributeProto {
            name: name.to_owned(),
            r#type: AttributeType::Int as i32,
            i: value,
            ..AttributeProto::default()
        };
        node.attribute = vec![
            number("is_matrix", stretch.is_matrix.into()),
            number("least_rank", stretch.least_rank as i64),
        ];
        let mut turned = Vec::new();
        let mut functions = Vec::new();
        for (at, layer) in stretch.layers.into_iter().enumerate() {
            turned.push(layer.is_turned.into());
            node.input.push(layer.weights.to_owned());
            for list in [layer.bias, layer.factor] {
                let name = list.map_or_else(String::new, |values| self.constant(&values));
                node.input.push(name);
            }
            functions.push(layer.function.map_or_else(Vec::new, |function| {
                for name in ["alpha", "beta"] {
                    if let Some(own) = find(function, name) {
                        node.attribute.push(AttributeProto {
                            name: format!("{name}.{at}"),
                            ..own.clone()
                        });
                    }
                }
                function.op_type.clone().into_bytes()
            }));
        }
        node.attribute.push(AttributeProto {
            name: "turned".to_owned(),
            r#type: AttributeType::Ints as i32,
            ints: turned,
            ..AttributeProto::default()
        });
        node.attribute.push(AttributeProto {
            name: "functions".to_owned(),
            r#type: AttributeType::Strings as i32,
            strings: functions,
            ..AttributeProto::default()
        });
        node
    }

    /// Adds a list of numbers to the constants, and names it.
    fn constant(&mut self, values: &[f64]) -> String {
        let name = format!("{}{}", self.prefix, self.made.len());
        self.made.push(TensorProto {
            name: name.clone(),
            data_type: ElementType::Float as i32,
            dims: vec![values.len() as i64],
            float_data: values.iter().map(|value| *value as f32).collect(),
            ..TensorProto::default()
        });
        name
    }
}
