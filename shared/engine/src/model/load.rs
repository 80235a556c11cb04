//! Loading: on a thread of its own, under a deadline, with panics caught.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

use super::formulas;
use super::plan::Plans;
use super::rewrite;
use super::{Model, Runner, TensorSpec};
use crate::check;
use crate::error::{LoadError, describe_panic};
use crate::limits::LoadLimits;
use crate::ml::{self, Operator};
use crate::pipeline;
use crate::precision::{self, Batching};
use crate::sequence;

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
    let opset = check::opset(&proto);
    let Some(graph) = &mut proto.graph else {
        return Err(LoadError::Malformed {
            reason: "it holds no graph".to_owned(),
        });
    };
    check::replace_zip_maps(graph);
    check::replace_scans(graph);
    check::replace_compress(graph);
    rewrite::steady_log_sums(graph, opset);
    rewrite::name_nodes(graph);
    rewrite::state_defaults(graph);
    rewrite::drop_fill_values(graph);
    let (inputs, mut outputs) = check::read_specs(graph)?;
    if inputs.is_empty() {
        return Err(LoadError::graph("it has no input"));
    }
    if let Some(pipeline) = pipeline::build(graph, &inputs, &mut outputs, limits)? {
        return Ok(Model {
            inputs,
            outputs,
            runner: Runner::Pipeline(pipeline),
        });
    }
    for node in graph.node.iter().filter(|node| ml::is_own(node)) {
        Operator::parse(node, None, limits)?;
    }
    let batching = precision::lower(graph, opset)?;
    // Those that were written anew.
    rewrite::name_nodes(graph);
    let plans = read_graph(&proto, &inputs, &outputs, limits, batching)?;
    Ok(Model {
        inputs,
        outputs,
        runner: Runner::Graph(plans),
    })
}

/// Parses a graph for the graph engine and plans one row of it.
fn read_graph(
    proto: &ModelProto,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
    limits: &LoadLimits,
    batching: Batching,
) -> Result<Plans, LoadError> {
    let mut onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    ml::register(&mut onnx);
    sequence::register(&mut onnx);
    precision::register(&mut onnx);
    formulas::register(&mut onnx);
    let graph = onnx
        .model_for_proto_model(proto)
        .map_err(|error| LoadError::Refused {
            reason: format!("{error:#}"),
        })?;
    let plans = Plans::new(
        graph,
        inputs.to_vec(),
        outputs.to_vec(),
        limits.max_elements,
        batching,
    );
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
        // Where more than the batch is open, the shape that is planned may not be one that the graph takes.
        let is_guess = inputs
            .iter()
            .any(|spec| spec.shape.iter().skip(1).any(|dim| *dim < 0));
        match plans.plan_ahead(shapes) {
            Err(LoadError::Refused { .. }) if is_guess => {}
            planned => planned?,
        }
    }
    Ok(plans)
}
