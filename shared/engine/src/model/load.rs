//! Loading: on a thread of its own, under a deadline, with panics caught.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::Framework;

use super::plan::Plans;
use super::{Model, Runner, TensorSpec};
use crate::check;
use crate::error::{LoadError, describe_panic};
use crate::limits::LoadLimits;
use crate::ml;
use crate::tree::{TreeModel, TreeOperator, TreeOutputKind};

/// Stack of the loading thread, in bytes: the graph engine recurses along chains of nodes.
const STACK_SIZE: usize = 64 << 20;

/// Loads a model within its limits.
///
/// A load that misses its deadline is left behind on its thread, where it ends by itself.
pub(super) fn load(onnx: &[u8], limits: &LoadLimits) -> Result<Model, LoadError> {
    if onnx.len() > limits.max_bytes {
        // Before the bytes are copied for the thread.
        check::decode(onnx, limits)?;
    }
    let (sender, receiver) = channel();
    let bytes = onnx.to_vec();
    let own_limits = limits.clone();
    thread::Builder::new()
        .name("model-load".to_owned())
        .stack_size(STACK_SIZE)
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| load_here(&bytes, &own_limits)))
                .unwrap_or_else(|payload| {
                    Err(LoadError::Panicked {
                        message: describe_panic(payload.as_ref()),
                    })
                });
            // Nobody listens any more once the deadline has passed.
            let _ = sender.send(result);
        })
        .map_err(|error| LoadError::Refused {
            reason: format!("no thread to load on: {error}"),
        })?;
    match receiver.recv_timeout(limits.deadline) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(LoadError::Deadline {
            limit_ms: u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX),
        }),
        Err(RecvTimeoutError::Disconnected) => Err(LoadError::Panicked {
            message: "the loading thread ended without a word".to_owned(),
        }),
    }
}

fn load_here(onnx: &[u8], limits: &LoadLimits) -> Result<Model, LoadError> {
    let mut proto = check::decode(onnx, limits)?;
    if let Some(graph) = &proto.graph
        && let Some(error) = check::find_unsupported(graph).into_iter().next()
    {
        return Err(error);
    }
    check::validate(&proto, limits)?;
    let Some(graph) = &mut proto.graph else {
        return Err(LoadError::Malformed {
            reason: "it holds no graph".to_owned(),
        });
    };
    check::replace_zip_maps(graph);
    name_nodes(graph);
    state_defaults(graph);
    let (inputs, mut outputs) = check::read_specs(graph)?;
    if inputs.is_empty() {
        return Err(LoadError::graph("it has no input"));
    }
    if let Some(trees) = read_tree_graph(graph, &inputs, &mut outputs, limits)? {
        return Ok(Model {
            inputs,
            outputs,
            runner: Runner::Trees(trees),
        });
    }
    check_trees(graph, limits)?;
    let plans = read_graph(&proto, &inputs, &outputs, limits)?;
    Ok(Model {
        inputs,
        outputs,
        runner: Runner::Graph(plans),
    })
}

/// Gives every node a name of its own: the graph engine looks nodes up by name.
fn name_nodes(graph: &mut GraphProto) {
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
fn state_defaults(graph: &mut GraphProto) {
    for node in graph
        .node
        .iter_mut()
        .filter(|node| node.op_type == "ConstantOfShape")
    {
        if node
            .attribute
            .iter()
            .all(|attribute| attribute.name != "value")
        {
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

/// Validates the tree ensembles of a graph that has more than one.
fn check_trees(graph: &GraphProto, limits: &LoadLimits) -> Result<(), LoadError> {
    let mut left = limits.max_tree_nodes;
    for node in graph
        .node
        .iter()
        .filter(|node| check::is_tree_ensemble(node))
    {
        let own = LoadLimits {
            max_tree_nodes: left,
            ..limits.clone()
        };
        TreeOperator::parse(node, None, &own)?;
        left -= crate::tree::summarise(node).nodes.min(left);
    }
    Ok(())
}

/// Reads a graph that is one tree ensemble between `Identity` nodes, which needs no graph engine.
fn read_tree_graph(
    graph: &GraphProto,
    inputs: &[TensorSpec],
    outputs: &mut [TensorSpec],
    limits: &LoadLimits,
) -> Result<Option<TreeModel>, LoadError> {
    let [input] = inputs else { return Ok(None) };
    let mut ensembles = graph
        .node
        .iter()
        .filter(|node| check::is_tree_ensemble(node));
    let (Some(node), None) = (ensembles.next(), ensembles.next()) else {
        return Ok(None);
    };
    let is_bare = graph
        .node
        .iter()
        .all(|other| check::is_tree_ensemble(other) || other.op_type == "Identity");
    if !is_bare || node.input.len() != 1 || trace(graph, &node.input[0]) != input.name {
        return Ok(None);
    }
    let operator = TreeOperator::parse(node, Some(input.datatype), limits)?;
    let kinds: &[TreeOutputKind] = if operator.labels().is_some() {
        &[TreeOutputKind::Labels, TreeOutputKind::Scores]
    } else {
        &[TreeOutputKind::Scores]
    };
    let mut bound = Vec::new();
    for output in outputs.iter_mut() {
        let source = trace(graph, &output.name);
        let Some(at) = node.output.iter().position(|name| name == source) else {
            return Ok(None);
        };
        let Some(kind) = kinds.get(at) else {
            return Err(check::invalid(node, format!("it has no output {at}")));
        };
        // The operator knows its outputs better than the file says.
        output.shape = match kind {
            TreeOutputKind::Labels => vec![-1],
            TreeOutputKind::Scores => vec![-1, operator.width() as i64],
        };
        bound.push((output.name.clone(), *kind));
    }
    if let [.., columns] = input.shape.as_slice()
        && usize::try_from(*columns).is_ok_and(|columns| columns < operator.min_features())
    {
        let reason = format!(
            "a row has {columns} features where the trees use {}",
            operator.min_features()
        );
        return Err(check::invalid(node, reason));
    }
    Ok(Some(TreeModel::new(operator, bound)))
}

/// Follows `Identity` nodes back from a value.
fn trace<'a>(graph: &'a GraphProto, name: &'a str) -> &'a str {
    let mut name = name;
    while let Some(node) = graph.node.iter().find(|node| {
        node.op_type == "Identity" && node.output.first().is_some_and(|output| output == name)
    }) {
        let Some(input) = node.input.first() else {
            break;
        };
        name = input;
    }
    name
}

/// Parses a graph for the graph engine and plans one row of it.
fn read_graph(
    proto: &ModelProto,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
    limits: &LoadLimits,
) -> Result<Plans, LoadError> {
    let mut onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    ml::register(&mut onnx);
    let graph = onnx
        .model_for_proto_model(proto)
        .map_err(|error| LoadError::Refused {
            reason: format!("{error:#}"),
        })?;
    let plans = Plans::new(graph, outputs.to_vec(), limits.max_elements);
    // Inputs of an open shape cannot be planned ahead of the first request.
    if inputs.iter().all(|spec| !spec.shape.is_empty()) {
        let shapes = inputs
            .iter()
            .map(|spec| {
                spec.shape
                    .iter()
                    .map(|dim| (*dim).max(1) as usize)
                    .collect()
            })
            .collect();
        plans.plan_ahead(shapes)?;
    }
    Ok(plans)
}
