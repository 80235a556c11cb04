//! `Scan` where it measures distances: the form in which skl2onnx writes neighbours, kernels and local outliers.
//!
//! The state is a matrix that never changes; each row of another matrix is taken from all rows of it, and the
//! differences are summed up over the columns.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::Constants;
use crate::attributes::{find, int, ints};
use crate::ml::Distances;

/// Most nodes of a body that measures a distance.
const MAX_BODY: usize = 64;

/// The body of a `Scan`.
struct Body<'a> {
    graph: &'a GraphProto,
    constants: Constants<'a>,
}

/// What distances a `Scan` measures; none for one that does anything else.
pub(super) fn read_distances(node: &NodeProto) -> Option<Distances> {
    let is_forward = |name| ints(node, name).iter().all(|value| *value == 0);
    let is_plain = int(node, "num_scan_inputs") == Some(1)
        && node.input.len() == 2
        && node.output.len() == 2
        && node.input.iter().all(|name| !name.is_empty())
        && [
            "scan_input_axes",
            "scan_output_axes",
            "scan_input_directions",
            "scan_output_directions",
        ]
        .into_iter()
        .all(is_forward);
    let graph = find(node, "body")?.g.as_ref()?;
    let ([state, row], [state_after, made]) = (&*graph.input, &*graph.output) else {
        return None;
    };
    let body = Body {
        graph,
        constants: Constants::collect(graph),
    };
    if graph.node.len() > MAX_BODY {
        return None;
    }
    let keeps_state = body.resolve(&state_after.name) == state.name;
    let mut attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let is_own = attributes.all(|attribute| attribute.ref_attr_name.is_empty());
    if !is_plain || !keeps_state || !is_own || state.name == row.name {
        return None;
    }
    body.read_sum(&made.name, [&state.name, &row.name])
}

impl Body<'_> {
    fn producer(&self, name: &str) -> Option<&NodeProto> {
        self.graph.node.iter().find(|node| {
            matches!(&*node.domain, "" | "ai.onnx") && node.output.iter().any(|own| own == name)
        })
    }

    /// The value that a name stands for, behind any `Identity`.
    fn resolve<'a>(&'a self, mut name: &'a str) -> &'a str {
        for _ in 0..=self.graph.node.len() {
            match self.producer(name) {
                Some(node) if node.op_type == "Identity" && node.input.len() == 1 => {
                    name = &node.input[0];
                }
                _ => break,
            }
        }
        name
    }

    fn read_sum(&self, made: &str, sides: [&str; 2]) -> Option<Distances> {
        let sum = self.producer(self.resolve(made))?;
        let axes = match sum.input.get(1) {
            Some(axes) => self.constants.integers(axes)?,
            None => ints(sum, "axes").to_vec(),
        };
        // All columns of a matrix, which then has one dimension less.
        if !matches!(*axes, [1 | -1]) || int(sum, "keepdims") != Some(0) {
            return None;
        }
        let summed = sum.input.first()?;
        match sum.op_type.as_str() {
            "ReduceSumSquare" => self
                .is_difference(summed, sides)
                .then_some(Distances::Squared),
            "ReduceL2" => self
                .is_difference(summed, sides)
                .then_some(Distances::Euclidean),
            "ReduceL1" => self
                .is_difference(summed, sides)
                .then_some(Distances::Manhattan),
            "ReduceSum" => {
                let power = self.producer(self.resolve(summed))?;
                match (power.op_type.as_str(), &*power.input) {
                    ("Pow", [size, exponent]) if self.is_size(size, sides) => {
                        match *self.constants.numbers(exponent)? {
                            [p] if p.is_finite() && p > 0.0 => Some(Distances::Powers(p)),
                            _ => None,
                        }
                    }
                    _ => self.is_size(summed, sides).then_some(Distances::Manhattan),
                }
            }
            _ => None,
        }
    }

    /// True for the absolute difference of two values.
    fn is_size(&self, name: &str, sides: [&str; 2]) -> bool {
        self.producer(self.resolve(name)).is_some_and(|node| {
            node.op_type == "Abs"
                && matches!(&*node.input, [input] if self.is_difference(input, sides))
        })
    }

    /// True for the difference of two values, in either order.
    fn is_difference(&self, name: &str, sides: [&str; 2]) -> bool {
        self.producer(self.resolve(name)).is_some_and(|node| {
            let [left, right] = &*node.input else {
                return false;
            };
            let own = [self.resolve(left), self.resolve(right)];
            node.op_type == "Sub" && (own == sides || own == [sides[1], sides[0]])
        })
    }
}

/// Turns each `Scan` that measures distances into `CDist`.
pub(crate) fn replace(graph: &mut GraphProto) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        let is_scan = node.op_type == "Scan" && matches!(&*node.domain, "" | "ai.onnx");
        let Some(distances) = is_scan.then(|| read_distances(&node)).flatten() else {
            nodes.push(node);
            continue;
        };
        let (metric, power) = distances.name();
        let attribute = |name: &str, kind: AttributeType| AttributeProto {
            name: name.to_owned(),
            r#type: kind as i32,
            ..AttributeProto::default()
        };
        let mut attributes = vec![AttributeProto {
            s: metric.as_bytes().to_vec(),
            ..attribute("metric", AttributeType::String)
        }];
        attributes.extend(power.map(|p| AttributeProto {
            t: Some(TensorProto {
                data_type: ElementType::Double as i32,
                dims: vec![1],
                double_data: vec![p],
                ..TensorProto::default()
            }),
            ..attribute("p", AttributeType::Tensor)
        }));
        let [state_after, made] = [0, 1].map(|at| node.output[at].clone());
        let [state, rows] = [0, 1].map(|at| node.input[at].clone());
        if !state_after.is_empty() {
            nodes.push(NodeProto {
                op_type: "Identity".to_owned(),
                input: vec![state.clone()],
                output: vec![state_after],
                ..NodeProto::default()
            });
        }
        nodes.push(NodeProto {
            name: node.name,
            op_type: "CDist".to_owned(),
            domain: "com.microsoft".to_owned(),
            input: vec![rows, state],
            output: vec![made],
            attribute: attributes,
            ..NodeProto::default()
        });
    }
    graph.node = nodes;
}
