//! Finds the one model in a graph, what stands before it, and whether all that the graph gives comes from it.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::{ExplainError, unavailable};
use crate::check;
use crate::limits::LoadLimits;
use crate::pipeline::ColumnStep;

/// Finds the one node that is a model.
pub(super) fn find_model(graph: &GraphProto) -> Result<&NodeProto, ExplainError> {
    let is_model = |node: &&NodeProto| {
        node.domain == check::ML_DOMAIN
            && (check::is_tree_ensemble(node)
                || matches!(
                    node.op_type.as_str(),
                    "LinearClassifier" | "LinearRegressor"
                ))
    };
    let mut models = graph.node.iter().filter(is_model);
    match (models.next(), models.next()) {
        (Some(model), None) => Ok(model),
        (None, _) => Err(unavailable(
            "the graph holds neither a tree ensemble nor a linear model of ai.onnx.ml",
        )),
        _ => Err(unavailable("the graph holds more than one model")),
    }
}

/// Finds what stands between the graph's input and the model, in the order in which it runs.
pub(super) fn find_steps(
    graph: &GraphProto,
    model: &NodeProto,
    input: &str,
    limits: &LoadLimits,
) -> Result<Vec<ColumnStep>, ExplainError> {
    let made = graph.node.iter().flat_map(|node| {
        let outputs = node.output.iter();
        outputs.map(move |output| (output.as_str(), node))
    });
    let producers: HashMap<&str, &NodeProto> = made.collect();
    let mut steps = Vec::new();
    let mut name = model.input.first().map_or("", String::as_str);
    while name != input {
        let Some(node) = producers.get(name) else {
            return Err(unavailable("the model's input is no input of the graph"));
        };
        let Some(step) = ColumnStep::read(node, limits)? else {
            return Err(unavailable(format!(
                "node `{}` ({}) before the model mixes columns",
                check::node_name(node),
                check::qualified_name(node)
            )));
        };
        steps.push(step);
        name = node.input.first().map_or("", String::as_str);
    }
    steps.reverse();
    Ok(steps)
}

/// Refuses a graph that gives something of its input past the model: the model's scores do not explain that.
pub(super) fn check_outputs(
    graph: &GraphProto,
    model: &NodeProto,
    input: &str,
) -> Result<(), ExplainError> {
    let mut past: HashSet<&str> = HashSet::from([input]);
    // Nodes stand in the order in which they run.
    for node in graph.node.iter().filter(|node| !std::ptr::eq(*node, model)) {
        if node.input.iter().any(|name| past.contains(name.as_str())) {
            let named = node.output.iter().filter(|name| !name.is_empty());
            past.extend(named.map(String::as_str));
        }
    }
    match graph
        .output
        .iter()
        .find(|output| past.contains(output.name.as_str()))
    {
        None => Ok(()),
        Some(output) => Err(unavailable(format!(
            "the output `{}` depends on the input beside the model",
            output.name
        ))),
    }
}
