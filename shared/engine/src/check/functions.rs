//! A model's own functions: each call of one is replaced by its body.

use std::collections::HashMap;

use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, OperatorSetIdProto};

use super::{ML_DOMAIN, invalid, node_name, unsupported};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::wire;

/// A model file's functions, whole: the graph engine's form of them has no default attributes.
#[derive(Clone, PartialEq, Message)]
struct Functions {
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

/// ONNX's `FunctionProto`, without its notes.
#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "4")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    output: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "9")]
    opset_import: Vec<OperatorSetIdProto>,
    #[prost(string, tag = "10")]
    domain: String,
    /// Attributes with a default.
    #[prost(message, repeated, tag = "11")]
    attribute_proto: Vec<AttributeProto>,
    #[prost(string, tag = "13")]
    overload: String,
}

/// A function, with what one call of it costs.
struct Callee<'a> {
    function: &'a Function,
    /// Bytes in memory, without the names that the caller brings.
    size: usize,
    /// Names in the body.
    references: usize,
}

/// Writes all functions out, within the limits on nodes and on bytes in memory. `onnx` is the file that the model was
/// read of.
pub(super) fn inline(
    model: &mut ModelProto,
    onnx: &[u8],
    limits: &LoadLimits,
) -> Result<(), LoadError> {
    if std::mem::take(&mut model.functions).is_empty() {
        return Ok(());
    }
    let Functions { functions } =
        Functions::decode(onnx).map_err(|error| LoadError::Malformed {
            reason: error.to_string(),
        })?;
    let mut callees: HashMap<(&str, &str), Callee<'_>> = HashMap::new();
    for function in &functions {
        let callee = Callee {
            function,
            size: wire::weigh_function(&function.encode_to_vec(), limits)?,
            references: function
                .node
                .iter()
                .map(|node| node.input.len() + node.output.len())
                .sum(),
        };
        callees.insert((&*function.domain, &*function.name), callee);
    }
    let opset = find_opset(&model.opset_import);
    let Some(graph) = model.graph.as_mut() else {
        return Ok(());
    };
    let mut pending: Vec<NodeProto> = std::mem::take(&mut graph.node);
    pending.reverse();
    let (mut calls, mut bytes) = (0, 0_usize);
    while let Some(node) = pending.pop() {
        let Some(callee) = callees.get(&(&*node.domain, &*node.op_type)) else {
            graph.node.push(node);
            continue;
        };
        check_call(&node, callee.function, opset)?;
        calls += 1;
        let names = node.input.iter().chain(&node.output).map(String::len);
        let brought = callee.references.saturating_mul(names.max().unwrap_or(0));
        bytes = bytes.saturating_add(callee.size.saturating_add(brought));
        let nodes = graph.node.len() + pending.len() + calls;
        for (what, actual, limit) in [
            ("nodes", nodes, limits.max_nodes),
            ("bytes", bytes, limits.max_bytes),
        ] {
            if actual > limit {
                return Err(LoadError::TooLarge {
                    what: format!("the number of {what} with the model's functions written out"),
                    actual,
                    limit,
                });
            }
        }
        pending.extend(write_out(callee.function, &node, calls).into_iter().rev());
    }
    Ok(())
}

fn check_call(node: &NodeProto, function: &Function, opset: Option<i64>) -> Result<(), LoadError> {
    if matches!(&*node.domain, "" | "ai.onnx" | ML_DOMAIN) {
        return Err(invalid(node, "a function has the name of an operator"));
    }
    if !function.overload.is_empty() {
        let hint = "write the functions out: onnx.inliner.inline_local_functions(model)";
        return Err(unsupported(node, "its function has overloads", hint));
    }
    if find_opset(&function.opset_import).is_some_and(|own| Some(own) != opset) {
        return Err(unsupported(
            node,
            "its function is of another operator set than the model",
            "write the functions out: onnx.inliner.inline_local_functions(model, convert_version=True)",
        ));
    }
    Ok(())
}

/// The version of `ai.onnx`.
fn find_opset(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let mut own = imports.iter();
    own.find(|import| matches!(&*import.domain, "" | "ai.onnx"))
        .map(|import| import.version)
}

/// The body of a function with the names of a call, whose number sets the body's own names apart.
fn write_out(function: &Function, call: &NodeProto, at: usize) -> Vec<NodeProto> {
    let place = format!("function{at}");
    let mut names: HashMap<&str, &str> = HashMap::new();
    let outputs = function.output.iter().zip(&call.output);
    // An output that the call leaves out may still be read within the body.
    let taken = outputs.clone().filter(|(_, outer)| !outer.is_empty());
    names.extend(taken.map(|(own, outer)| (&**own, &**outer)));
    let none = String::new();
    let inputs = call.input.iter().chain(std::iter::repeat(&none));
    names.extend(
        function
            .input
            .iter()
            .zip(inputs)
            .map(|(own, outer)| (&**own, &**outer)),
    );
    let rename = |own: &String| match names.get(own.as_str()) {
        Some(outer) => (*outer).to_owned(),
        None if own.is_empty() => String::new(),
        None => format!("{place}/{own}"),
    };
    let mut nodes: Vec<NodeProto> = function
        .node
        .iter()
        .map(|node| NodeProto {
            name: format!("{place}/{}", node_name(node)),
            input: node.input.iter().map(rename).collect(),
            output: node.output.iter().map(rename).collect(),
            attribute: node
                .attribute
                .iter()
                .filter_map(|attribute| settle(attribute, function, call))
                .collect(),
            ..node.clone()
        })
        .collect();
    // An input that is an output as it stands.
    for (own, outer) in outputs.filter(|(own, _)| function.input.contains(own)) {
        nodes.push(NodeProto {
            name: format!("{place}/{own}"),
            op_type: "Identity".to_owned(),
            input: vec![rename(own)],
            output: vec![outer.clone()],
            ..NodeProto::default()
        });
    }
    nodes
}

/// An attribute of the body: its own, or the call's, or the function's default; none where nobody gives one.
fn settle(
    attribute: &AttributeProto,
    function: &Function,
    call: &NodeProto,
) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute.clone());
    }
    let mut given = call.attribute.iter().chain(&function.attribute_proto);
    let given = given.find(|own| own.name == attribute.ref_attr_name)?;
    Some(AttributeProto {
        name: attribute.name.clone(),
        ..given.clone()
    })
}
