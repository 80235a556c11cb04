//! The graph as a whole: names, order, the forms of inputs and outputs.

use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{GraphProto, NodeProto, TypeProto, ValueInfoProto};

use super::tensors::count_elements;
use super::{ML_DOMAIN, invalid};
use crate::attributes::{element_name, read_datatype};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::model::TensorSpec;

/// Checks that every value is defined once, before it is used; so the graph has no cycle.
pub(super) fn check_names(graph: &GraphProto) -> Result<(), LoadError> {
    let mut defined: HashSet<&str> = HashSet::new();
    let mut inputs: HashSet<&str> = HashSet::new();
    for input in &graph.input {
        if input.name.is_empty() {
            return Err(LoadError::graph("an input has no name"));
        }
        if !inputs.insert(&input.name) {
            return Err(LoadError::graph(format!(
                "input `{}` is there twice",
                input.name
            )));
        }
    }
    for tensor in &graph.initializer {
        if tensor.name.is_empty() {
            return Err(LoadError::graph("an initialiser has no name"));
        }
        if !defined.insert(&tensor.name) {
            return Err(LoadError::graph(format!(
                "initialiser `{}` is there twice",
                tensor.name
            )));
        }
    }
    defined.extend(inputs);
    for node in &graph.node {
        if let Some(input) = node
            .input
            .iter()
            .find(|input| !input.is_empty() && !defined.contains(input.as_str()))
        {
            let reason = format!(
                "its input `{input}` is not defined before it: a missing value, a cycle or a wrong order"
            );
            return Err(invalid(node, reason));
        }
        if node.output.iter().all(String::is_empty) {
            return Err(invalid(node, "it has no output"));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if !defined.insert(output) {
                return Err(invalid(
                    node,
                    format!("its output `{output}` is defined twice"),
                ));
            }
        }
    }
    if graph.output.is_empty() {
        return Err(LoadError::graph("it has no output"));
    }
    let mut outputs = HashSet::new();
    for output in &graph.output {
        if !defined.contains(output.name.as_str()) {
            return Err(LoadError::graph(format!(
                "output `{}` is not defined",
                output.name
            )));
        }
        if !outputs.insert(&output.name) {
            return Err(LoadError::graph(format!(
                "output `{}` is there twice",
                output.name
            )));
        }
    }
    Ok(())
}

/// Checks the forms that the graph states for its inputs and outputs.
pub(super) fn check_values(graph: &GraphProto, limits: &LoadLimits) -> Result<(), LoadError> {
    let maps: HashSet<&str> = graph
        .node
        .iter()
        .filter(|node| is_zip_map(node))
        .flat_map(|node| node.output.iter().map(String::as_str))
        .collect();
    let inputs = graph.input.iter().map(|value| ("input", value));
    let outputs = graph.output.iter().map(|value| ("output", value));
    for (kind, value) in inputs.chain(outputs) {
        let place = format!("{kind} `{}`", value.name);
        let Some(tensor) = tensor_type(value) else {
            let is_map = kind == "output" && maps.contains(value.name.as_str());
            if is_map {
                continue;
            }
            return Err(LoadError::graph(format!("{place} is no tensor")));
        };
        if read_datatype(tensor.elem_type).is_none() {
            return Err(LoadError::graph(format!(
                "{place} has elements of type {}, which are not read: export the model in float32, float64 or float16",
                element_name(tensor.elem_type)
            )));
        }
        let Some(shape) = &tensor.shape else { continue };
        let dims: Vec<i64> = shape
            .dim
            .iter()
            .map(|dim| match &dim.value {
                Some(Dim::DimValue(value)) if *value > 0 => *value,
                _ => 1,
            })
            .collect();
        count_elements(&dims, limits).map_err(|fault| fault.at(&place))?;
    }
    Ok(())
}

/// Reads the forms of the inputs (initialisers left out) and the outputs.
pub(crate) fn read_specs(
    graph: &GraphProto,
) -> Result<(Vec<TensorSpec>, Vec<TensorSpec>), LoadError> {
    let initialisers: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !initialisers.contains(input.name.as_str()))
        .map(read_spec);
    Ok((
        inputs.collect::<Result<_, _>>()?,
        graph
            .output
            .iter()
            .map(read_spec)
            .collect::<Result<_, _>>()?,
    ))
}

fn read_spec(value: &ValueInfoProto) -> Result<TensorSpec, LoadError> {
    let tensor = tensor_type(value)
        .ok_or_else(|| LoadError::graph(format!("`{}` is no tensor", value.name)))?;
    let datatype = read_datatype(tensor.elem_type).ok_or_else(|| {
        LoadError::graph(format!(
            "`{}` has elements of type {}",
            value.name, tensor.elem_type
        ))
    })?;
    let shape = tensor.shape.as_ref().map_or_else(Vec::new, |shape| {
        shape
            .dim
            .iter()
            .map(|dim| match &dim.value {
                // Some exporters write 0 or -1 for an unknown dimension.
                Some(Dim::DimValue(value)) if *value > 0 => *value,
                _ => -1,
            })
            .collect()
    });
    Ok(TensorSpec {
        name: value.name.clone(),
        datatype,
        shape,
    })
}

fn tensor_type(value: &ValueInfoProto) -> Option<&TensorType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        Value::TensorType(tensor) => Some(tensor),
    }
}

fn is_zip_map(node: &NodeProto) -> bool {
    node.domain == ML_DOMAIN && node.op_type == "ZipMap"
}

/// Turns each `ZipMap` into `Identity`: what was a list of maps is the tensor `[rows, classes]` again.
pub(crate) fn replace_zip_maps(graph: &mut GraphProto) {
    let mut outputs: HashSet<String> = HashSet::new();
    for node in &mut graph.node {
        if is_zip_map(node) {
            "Identity".clone_into(&mut node.op_type);
            node.domain.clear();
            node.attribute.clear();
            outputs.extend(node.output.iter().cloned());
        }
    }
    for output in graph
        .output
        .iter_mut()
        .filter(|output| outputs.contains(&output.name))
    {
        output.r#type = Some(TypeProto {
            denotation: String::new(),
            value: Some(Value::TensorType(TensorType {
                elem_type: ElementType::Float as i32,
                shape: None,
            })),
        });
    }
}
