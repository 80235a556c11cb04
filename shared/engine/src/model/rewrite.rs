//! Writes out what the graph engine would read otherwise than the specification has it, or compute badly.

use std::collections::HashSet;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::attributes::{find, int, text};

/// Gives every node a name of its own: the graph engine looks nodes up by name.
pub(super) fn name_nodes(graph: &mut GraphProto) {
    let mut taken: HashSet<String> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.clone())
        .collect();
    taken.extend(graph.input.iter().map(|input| input.name.clone()));
    for (at, node) in graph.node.iter_mut().enumerate() {
        if node.name.is_empty() {
            node.name = node
                .output
                .iter()
                .find(|output| !output.is_empty())
                .cloned()
                .unwrap_or_default();
        }
        while !taken.insert(node.name.clone()) {
            node.name = format!("{}.{at}", node.name);
        }
    }
}

/// Writes out a default that the graph engine takes for another: `ConstantOfShape` fills with float32.
pub(super) fn state_defaults(graph: &mut GraphProto) {
    for node in graph
        .node
        .iter_mut()
        .filter(|node| node.op_type == "ConstantOfShape")
    {
        if find(node, "value").is_none() {
            let zero = TensorProto {
                data_type: ElementType::Float as i32,
                dims: vec![1],
                float_data: vec![0.0],
                ..TensorProto::default()
            };
            node.attribute.push(AttributeProto {
                name: "value".to_owned(),
                r#type: AttributeType::Tensor as i32,
                t: Some(zero),
                ..AttributeProto::default()
            });
        }
    }
}

/// Takes the fill value from each `Pad` that copies what is there: the graph engine would fill with it.
pub(super) fn drop_fill_values(graph: &mut GraphProto) {
    for node in graph.node.iter_mut().filter(|node| node.op_type == "Pad") {
        let copies = text(node, "mode").is_some_and(|mode| mode != b"constant");
        if let (true, Some(value)) = (copies, node.input.get_mut(2)) {
            value.clear();
        }
    }
}

/// Writes `ReduceLogSumExp` out as `most + log(sum(exp(x - most)))`: the graph engine takes the exponentials as they
/// are, which are 0 or infinite for numbers of a hundred and more.
pub(super) fn steady_log_sums(graph: &mut GraphProto, opset: i64) {
    if graph
        .node
        .iter()
        .all(|node| node.op_type != "ReduceLogSumExp")
    {
        return;
    }
    let names: HashSet<String> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter())
        .chain(graph.input.iter().map(|input| &input.name))
        .chain(graph.initializer.iter().map(|tensor| &tensor.name))
        .cloned()
        .collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        let is_own = node.op_type == "ReduceLogSumExp" && matches!(&*node.domain, "" | "ai.onnx");
        let ([input, ..], [output, ..]) = (&*node.input, &*node.output) else {
            nodes.push(node);
            continue;
        };
        if !is_own {
            nodes.push(node);
            continue;
        }
        let is_taken = |tag: usize| {
            let parts = ["axes", "base", "exp", "less", "log", "most", "sum"];
            let mut own = parts.iter().map(|part| format!("{output}.{tag}.{part}"));
            own.any(|name| names.contains(&name))
        };
        let mut tag = 0;
        while is_taken(tag) {
            tag += 1;
        }
        let value = |part: &str| format!("{output}.{tag}.{part}");
        let axes = find(&node, "axes").map(|attribute| attribute.ints.clone());
        let axes_input = node.input.get(1).filter(|name| !name.is_empty()).cloned();
        // The sum takes its axes as an input since version 13, the largest value since 18.
        let listed = value("axes");
        if let Some(axes) = axes.as_ref().filter(|_| opset >= 13) {
            graph.initializer.push(TensorProto {
                name: listed.clone(),
                data_type: ElementType::Int64 as i32,
                dims: vec![axes.len() as i64],
                int64_data: axes.clone(),
                ..TensorProto::default()
            });
        }
        let reduce = |operator: &str, from: &str, to: String, keeps: i64| {
            let mut reduced = plain(operator, &[from], to);
            let attribute = |name: &str, kind: AttributeType| AttributeProto {
                name: name.to_owned(),
                r#type: kind as i32,
                ..AttributeProto::default()
            };
            reduced.attribute.push(AttributeProto {
                i: keeps,
                ..attribute("keepdims", AttributeType::Int)
            });
            if let Some(empty) = int(&node, "noop_with_empty_axes") {
                reduced.attribute.push(AttributeProto {
                    i: empty,
                    ..attribute("noop_with_empty_axes", AttributeType::Int)
                });
            }
            match (&axes_input, &axes) {
                (Some(name), _) => reduced.input.push(name.clone()),
                (None, Some(_)) if operator == "ReduceSum" && opset >= 13 => {
                    reduced.input.push(listed.clone());
                }
                (None, Some(axes)) => reduced.attribute.push(AttributeProto {
                    ints: axes.clone(),
                    ..attribute("axes", AttributeType::Ints)
                }),
                (None, None) => {}
            }
            reduced
        };
        let keeps = int(&node, "keepdims").unwrap_or(1);
        nodes.extend([
            reduce("ReduceMax", input, value("most"), 1),
            plain("Sub", &[input, &value("most")], value("less")),
            plain("Exp", &[&value("less")], value("exp")),
            reduce("ReduceSum", &value("exp"), value("sum"), keeps),
            plain("Log", &[&value("sum")], value("log")),
            reduce("ReduceMax", input, value("base"), keeps),
            plain("Add", &[&value("log"), &value("base")], output.clone()),
        ]);
    }
    graph.node = nodes;
}

fn plain(operator: &str, inputs: &[&str], output: String) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output],
        ..NodeProto::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, Instant};

    use super::{GraphProto, plain, steady_log_sums};

    #[test]
    fn new_names_are_found_in_time_and_are_nobody_elses() {
        let count = 20_000;
        let mut graph = GraphProto {
            node: (0..count)
                .map(|at| plain("ReduceLogSumExp", &["x"], format!("y{at}")))
                .collect(),
            ..GraphProto::default()
        };
        // Names that the first nodes would take.
        graph
            .node
            .push(plain("Neg", &["x"], "y0.0.most".to_owned()));
        graph.node.push(plain("Neg", &["x"], "y1.0.log".to_owned()));
        let began = Instant::now();
        steady_log_sums(&mut graph, 18);
        assert!(began.elapsed() < Duration::from_secs(5));
        let names: Vec<&String> = graph.node.iter().flat_map(|node| &node.output).collect();
        assert_eq!(names.len(), count * 7 + 2);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
