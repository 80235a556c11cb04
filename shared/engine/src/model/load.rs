//! Loading: on a thread of its own, under a deadline, with panics caught.

use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::Framework;

use super::formulas;
use super::plan::{Bounds, Plans};
use super::rewrite;
use super::top_k;
use super::{Model, Runner, TensorSpec};
use crate::check;
use crate::error::LoadError;
use crate::guarded::{check_size, on_thread};
use crate::limits::LoadLimits;
use crate::ml::{self, Operator};
use crate::packed;
use crate::pipeline;
use crate::precision::{self, Batching};
use crate::sequence;
use crate::tree::Ensembles;

/// Loads a model within its limits.
pub(super) fn load(onnx: &[u8], limits: &LoadLimits) -> Result<Model, LoadError> {
    check_size(onnx, limits)?;
    let bytes = onnx.to_vec();
    on_thread(limits, move |limits| {
        let mut proto = check::decode(&bytes, limits)?;
        let specs = prepare(&mut proto, limits)?;
        match read_pipeline(&proto, specs, Ensembles::new(), limits)? {
            Ok(model) => Ok(model),
            Err(specs) => read_graph(proto, specs, limits, sequence::packed_limit(bytes.len())),
        }
    })
}

/// Loads a packed model within its limits.
pub(super) fn load_packed(
    packed: impl AsRef<[u8]> + Send + 'static,
    limits: &LoadLimits,
) -> Result<Model, LoadError> {
    check_size(packed.as_ref(), limits)?;
    on_thread(limits, move |limits| {
        let (mut proto, ensembles) = packed::read(packed.as_ref(), limits)?;
        let specs = prepare(&mut proto, limits)?;
        let read = read_pipeline(&proto, specs, ensembles, limits)?;
        read.ok()
            .filter(Model::has_packed_form)
            .ok_or_else(|| LoadError::MalformedPacked {
                reason: "its graph is not one that has a packed form".to_owned(),
            })
    })
}

/// Packs a model within its limits; none for one of other operators than the packed form is for.
pub(super) fn pack(onnx: &[u8], limits: &LoadLimits) -> Result<Option<Vec<u8>>, LoadError> {
    check_size(onnx, limits)?;
    let bytes = onnx.to_vec();
    on_thread(limits, move |limits| {
        let original = check::decode(&bytes, limits)?;
        let mut proto = original.clone();
        let specs = prepare(&mut proto, limits)?;
        let Ok(model) = read_pipeline(&proto, specs, Ensembles::new(), limits)? else {
            return Ok(None);
        };
        Ok(match &model.runner {
            Runner::Pipeline(pipeline) if !pipeline.has_layers() => {
                Some(packed::write(original, pipeline.trees().into_iter()))
            }
            Runner::Pipeline(_) | Runner::Graph(_) => None,
        })
    })
}

/// The inputs and the outputs.
type Specs = (Vec<TensorSpec>, Vec<TensorSpec>);

/// Validates a decoded file and brings its graph into the form that is built.
fn prepare(proto: &mut ModelProto, limits: &LoadLimits) -> Result<Specs, LoadError> {
    if let Some(graph) = &proto.graph
        && let Some(error) = check::find_unsupported(graph).into_iter().next()
    {
        return Err(error);
    }
    check::validate(proto, limits)?;
    let opset = check::opset(proto);
    let graph = graph_of(proto)?;
    check::replace_zip_maps(graph);
    check::replace_scans(graph);
    check::replace_compress(graph);
    rewrite::steady_log_sums(graph, opset);
    rewrite::name_nodes(graph);
    rewrite::state_defaults(graph);
    rewrite::drop_fill_values(graph);
    let specs = check::read_specs(graph)?;
    if specs.0.is_empty() {
        return Err(LoadError::graph("it has no input"));
    }
    Ok(specs)
}

fn graph_of(proto: &mut ModelProto) -> Result<&mut GraphProto, LoadError> {
    proto.graph.as_mut().ok_or_else(|| LoadError::Malformed {
        reason: "it holds no graph".to_owned(),
    })
}

/// Builds a graph that runs without the graph engine; gives the specs back for any other.
fn read_pipeline(
    proto: &ModelProto,
    (inputs, mut outputs): Specs,
    ensembles: Ensembles,
    limits: &LoadLimits,
) -> Result<Result<Model, Specs>, LoadError> {
    let Some(graph) = &proto.graph else {
        return Ok(Err((inputs, outputs)));
    };
    Ok(
        match pipeline::build(
            graph,
            &inputs,
            &mut outputs,
            ensembles,
            (check::opset(proto), limits),
        )? {
            Some(pipeline) => Ok(Model {
                inputs,
                outputs,
                runner: Runner::Pipeline(pipeline),
            }),
            None => Err((inputs, outputs)),
        },
    )
}

/// Has the graph engine read a graph.
fn read_graph(
    mut proto: ModelProto,
    (inputs, outputs): Specs,
    limits: &LoadLimits,
    packed_limit: usize,
) -> Result<Model, LoadError> {
    let opset = check::opset(&proto);
    let graph = graph_of(&mut proto)?;
    for node in graph.node.iter().filter(|node| ml::is_own(node)) {
        Operator::parse(node, None, limits)?;
    }
    let batching = precision::lower(graph, opset, packed_limit)?;
    top_k::lower(graph)?;
    // Those that were written anew.
    rewrite::name_nodes(graph);
    let bounds = Bounds {
        elements: limits.max_elements,
        packed_bytes: packed_limit,
    };
    let plans = plan_graph(&proto, &inputs, &outputs, bounds, batching)?;
    Ok(Model {
        inputs,
        outputs,
        runner: Runner::Graph(plans),
    })
}

/// Parses a graph for the graph engine and plans one row of it.
fn plan_graph(
    proto: &ModelProto,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
    bounds: Bounds,
    batching: Batching,
) -> Result<Plans, LoadError> {
    let mut onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    ml::register(&mut onnx);
    sequence::register(&mut onnx);
    precision::register(&mut onnx);
    formulas::register(&mut onnx);
    top_k::register(&mut onnx);
    let graph = onnx
        .model_for_proto_model(proto)
        .map_err(|error| LoadError::Refused {
            reason: format!("{error:#}"),
        })?;
    let plans = Plans::new(graph, inputs.to_vec(), outputs.to_vec(), bounds, batching);
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
