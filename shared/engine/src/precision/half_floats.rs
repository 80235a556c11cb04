//! float16: widened to float32 at load, rounded back where the graph says so.
//!
//! Weights, constants and inputs become float32, exactly. What lies between them is computed in float32, as
//! onnxruntime does on a CPU, which has float16 arithmetic for few operators. An output is rounded once, to the
//! nearest, ties to even: what float16 cannot hold becomes infinite there. A `Cast` to float16 rounds too, so that
//! a graph that narrows on purpose keeps that.

use std::collections::{HashMap, HashSet};

use half::f16;
use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, TensorProto, ValueInfoProto};

use super::draft::{Draft, cast_to};
use super::types::Types;

const HALF: i32 = ElementType::Float16 as i32;
const SINGLE: i32 = ElementType::Float as i32;

/// Writes a graph so that float16 stands only at its inputs and outputs and between two casts.
pub(super) fn widen(graph: &mut GraphProto) {
    let types = Types::infer(graph);
    let is_half = |name: &str| types.of(name) == Some(ElementType::Float16);
    let named: Vec<&String> = graph
        .input
        .iter()
        .map(|input| &input.name)
        .chain(graph.initializer.iter().map(|tensor| &tensor.name))
        .chain(graph.node.iter().flat_map(|node| &node.output))
        .collect();
    if !named.iter().any(|name| is_half(name)) {
        return;
    }
    let stored: HashSet<String> = graph
        .initializer
        .iter_mut()
        .map(|tensor| {
            widen_tensor(tensor);
            tensor.name.clone()
        })
        .collect();
    for input in &mut graph.input {
        if stored.contains(&input.name) {
            set_type(input, SINGLE);
        }
    }
    let (mut draft, nodes) = Draft::open(graph);
    // The wide value of an input, and of an output before it is rounded.
    let mut wide: HashMap<String, String> = HashMap::new();
    for input in graph
        .input
        .iter()
        .filter(|input| is_half(&input.name) && !stored.contains(&input.name))
    {
        let name = draft.add(
            "Cast",
            &[&input.name],
            &input.name,
            cast_to(ElementType::Float),
        );
        wide.insert(input.name.clone(), name);
    }
    let mut rounded: Vec<(String, String)> = Vec::new();
    for output in graph.output.iter().filter(|output| is_half(&output.name)) {
        let is_input = wide.contains_key(&output.name);
        if is_input || stored.contains(&output.name) {
            continue;
        }
        let name = draft.name(&output.name, "wide");
        wide.insert(output.name.clone(), name.clone());
        rounded.push((output.name.clone(), name));
    }
    let rename = |name: &mut String| {
        if let Some(other) = wide.get(name) {
            name.clone_from(other);
        }
    };
    for mut node in nodes {
        let narrows = matches!(node.op_type.as_str(), "Cast" | "CastLike")
            && node.output.first().is_some_and(|output| is_half(output));
        node.input.iter_mut().for_each(rename);
        node.output.iter_mut().for_each(rename);
        for attribute in &mut node.attribute {
            attribute.t.iter_mut().for_each(widen_tensor);
            // The type that `DequantizeLinear` makes.
            if matches!(attribute.name.as_str(), "output_dtype") && attribute.i == i64::from(HALF) {
                attribute.i = i64::from(SINGLE);
            }
        }
        if let (true, [input, ..], [output]) = (narrows, &*node.input, &*node.output) {
            let narrow = draft.add("Cast", &[input], output, cast_to(ElementType::Float16));
            draft.make("Cast", &[&narrow], output, cast_to(ElementType::Float));
        } else {
            draft.nodes.push(node);
        }
    }
    for (output, name) in rounded {
        draft.make("Cast", &[&name], &output, cast_to(ElementType::Float16));
    }
    draft.close(graph);
}

/// Turns the elements of a float16 tensor into float32.
fn widen_tensor(tensor: &mut TensorProto) {
    if tensor.data_type != HALF {
        return;
    }
    tensor.data_type = SINGLE;
    let bits: Vec<u16> = if tensor.raw_data.is_empty() {
        // The file keeps 16 bits in each number.
        tensor
            .int32_data
            .iter()
            .map(|value| *value as u16)
            .collect()
    } else {
        tensor
            .raw_data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|bytes| u16::from_le_bytes(*bytes))
            .collect()
    };
    tensor.int32_data.clear();
    tensor.raw_data.clear();
    tensor.float_data = bits
        .into_iter()
        .map(|bits| f16::from_bits(bits).to_f32())
        .collect();
}

fn set_type(value: &mut ValueInfoProto, kind: i32) {
    if let Some(Value::TensorType(tensor)) =
        value.r#type.as_mut().and_then(|form| form.value.as_mut())
    {
        tensor.elem_type = kind;
    }
}
