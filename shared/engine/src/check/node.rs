//! One node's attributes and constant inputs: values on which the graph engine would panic or loop.

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::constants::Constants;
use super::tensors;
use super::{invalid, unsupported};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::sequence;

/// No ONNX operator that is run has more dimensions.
const MAX_RANK: i64 = 16;
/// Longest stride, dilation, kernel side or padding.
const MAX_WINDOW: i64 = 1 << 20;

/// Checks a node.
pub(super) fn check(
    node: &NodeProto,
    constants: &Constants<'_>,
    limits: &LoadLimits,
) -> Result<(), LoadError> {
    for attribute in &node.attribute {
        check_attribute(node, attribute, limits)?;
    }
    check_arity(node)?;
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" | "QLinearConv" | "ConvInteger" | "AveragePool" | "MaxPool"
        | "QLinearAveragePool" => check_window(node, constants),
        "Mul" | "Pow"
            if node.input[0] == node.input[1] && constants.integers(&node.input[0]).is_some() =>
        {
            // The graph engine folds it in 32 bits, without a word.
            Err(unsupported(
                node,
                "a constant integer is multiplied with itself",
                "fold the constants of the model",
            ))
        }
        "GRU" | "LSTM" | "RNN" => sequence::check(node),
        "Gather" => check_gather(node, constants),
        "Pad" => check_pads(node, constants),
        "Slice" => check_slice(node, constants),
        "Transpose" => check_permutation(node, constants),
        _ => check_axes(node, constants),
    }
}

fn check_attribute(
    node: &NodeProto,
    attribute: &AttributeProto,
    limits: &LoadLimits,
) -> Result<(), LoadError> {
    let name = &attribute.name;
    if name.is_empty() {
        return Err(invalid(node, "an attribute has no name"));
    }
    if node
        .attribute
        .iter()
        .filter(|other| other.name == *name)
        .count()
        > 1
    {
        return Err(invalid(node, format!("attribute `{name}` is there twice")));
    }
    if !attribute.ref_attr_name.is_empty() {
        return Err(invalid(
            node,
            format!("attribute `{name}` refers to a function's, and this is none"),
        ));
    }
    if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
        return Err(invalid(
            node,
            format!("attribute `{name}` is a sparse tensor, which is not read"),
        ));
    }
    for tensor in attribute.t.iter().chain(&attribute.tensors) {
        let place = format!("attribute `{name}` of node `{}`", super::node_name(node));
        tensors::check(tensor, limits).map_err(|fault| fault.at(&place))?;
    }
    Ok(())
}

/// Inputs that an operator cannot do without, where the graph engine takes them for granted.
fn check_arity(node: &NodeProto) -> Result<(), LoadError> {
    let least = match node.op_type.as_str() {
        "Constant" => 0,
        "Add" | "Sub" | "Mul" | "Div" | "MatMul" | "Gemm" | "Conv" | "ConvTranspose" | "Pow"
        | "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or"
        | "Xor" | "Gather" | "GatherElements" | "GatherND" | "PRelu" | "Expand" | "Mod"
        | "MatMulInteger" | "CastLike" => 2,
        "Where"
        | "Range"
        | "OneHot"
        | "LSTM"
        | "GRU"
        | "RNN"
        | "ScatterElements"
        | "ScatterND"
        | "InstanceNormalization" => 3,
        "BatchNormalization" => 5,
        _ => 1,
    };
    let found = node.input.len();
    if found < least {
        return Err(invalid(
            node,
            format!("{found} inputs where {least} are needed"),
        ));
    }
    if let Some(at) = node.input.iter().take(least).position(String::is_empty) {
        return Err(invalid(
            node,
            format!("input {at} is left out, and is needed"),
        ));
    }
    Ok(())
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
        .map(|attribute| attribute.ints.as_slice())
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
        .map(|attribute| attribute.i)
}

fn check_range(node: &NodeProto, name: &str, low: i64, high: i64) -> Result<usize, LoadError> {
    let values = ints(node, name).unwrap_or(&[]);
    match values.iter().find(|value| !(low..=high).contains(*value)) {
        Some(value) => Err(invalid(
            node,
            format!("{name} holds {value}; {low} to {high} are allowed"),
        )),
        None => Ok(values.len()),
    }
}

fn check_window(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    let mut spatial: Option<(String, usize)> = None;
    if let Some(rank) = node.input.first().and_then(|input| constants.rank(input)) {
        if rank < 3 {
            return Err(invalid(
                node,
                format!(
                    "its input has {rank} dimensions; a batch, channels and 1 or more are needed"
                ),
            ));
        }
        spatial = Some(("the input".to_owned(), rank - 2));
    }
    if matches!(node.op_type.as_str(), "Conv" | "ConvTranspose")
        && let Some(dims) = node
            .input
            .get(1)
            .and_then(|weights| constants.dims(weights))
    {
        if dims.len() < 3 || dims.iter().any(|dim| *dim < 1) {
            return Err(invalid(
                node,
                format!("its weights have the shape {dims:?}"),
            ));
        }
        same_spatial(node, &mut spatial, "the weights", dims.len() - 2)?;
    }
    for (name, low) in [("kernel_shape", 1), ("strides", 1), ("dilations", 1)] {
        let count = check_range(node, name, low, MAX_WINDOW)?;
        if count > 0 {
            same_spatial(node, &mut spatial, name, count)?;
        }
    }
    let pads = check_range(node, "pads", 0, MAX_WINDOW)?;
    if pads > 0 {
        if pads % 2 == 1 {
            return Err(invalid(
                node,
                format!("pads has {pads} entries, an odd number"),
            ));
        }
        same_spatial(node, &mut spatial, "pads", pads / 2)?;
    }
    let adds = check_range(node, "output_padding", 0, MAX_WINDOW)?;
    if adds > 0 {
        same_spatial(node, &mut spatial, "output_padding", adds)?;
    }
    if matches!(node.op_type.as_str(), "AveragePool" | "MaxPool")
        && ints(node, "kernel_shape").is_none_or(<[_]>::is_empty)
    {
        return Err(invalid(node, "it has no kernel_shape"));
    }
    if let Some(group) = int(node, "group")
        && !(1..=MAX_WINDOW).contains(&group)
    {
        return Err(invalid(
            node,
            format!("group is {group}; 1 or more is needed"),
        ));
    }
    Ok(())
}

/// Checks that two statements agree on the number of spatial dimensions.
fn same_spatial(
    node: &NodeProto,
    known: &mut Option<(String, usize)>,
    name: &str,
    count: usize,
) -> Result<(), LoadError> {
    match known {
        Some((other, expected)) if *expected != count => Err(invalid(
            node,
            format!("{name} has {count} spatial dimensions where {other} has {expected}"),
        )),
        Some(_) => Ok(()),
        None => {
            *known = Some((name.to_owned(), count));
            Ok(())
        }
    }
}

/// Refuses pads that crop: the graph engine adds them up as large numbers.
fn check_pads(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    let given = node.input.get(1).and_then(|pads| constants.integers(pads));
    let pads = given.or_else(|| ints(node, "pads").map(<[i64]>::to_vec));
    match pads.iter().flatten().find(|pad| **pad < 0) {
        Some(pad) => Err(unsupported(
            node,
            format!("the padding {pad}, which crops, is not run"),
            "crop with Slice",
        )),
        None => check_axes(node, constants),
    }
}

/// Refuses constant places that are not there, as far as the length of what they are taken from is known.
fn check_gather(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    check_axes(node, constants)?;
    let (data, axis) = (node.input[0].as_str(), int(node, "axis").unwrap_or(0));
    let length = match constants.dims(data) {
        Some(dims) => {
            let at = if axis < 0 {
                axis + dims.len() as i64
            } else {
                axis
            };
            let at = usize::try_from(at).ok();
            at.and_then(|at| dims.get(at).copied())
        }
        // No value has more dimensions.
        None => constants
            .length_of_shape(data, MAX_RANK as usize)
            .map(|length| length as i64),
    };
    let (Some(length), Some(places)) = (length, constants.integers(&node.input[1])) else {
        return Ok(());
    };
    match places.iter().find(|at| !(-length..length).contains(*at)) {
        Some(at) => Err(invalid(node, format!("place {at} of {length}"))),
        None => Ok(()),
    }
}

fn check_slice(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    let given = |at: usize, name: &str| {
        node.input
            .get(at)
            .filter(|input| !input.is_empty())
            .and_then(|input| constants.integers(input))
            .or_else(|| ints(node, name).map(<[i64]>::to_vec))
    };
    let starts = given(1, "starts");
    let ends = given(2, "ends");
    let axes = given(3, "axes");
    let steps = given(4, "steps");
    if steps.as_ref().is_some_and(|steps| steps.contains(&0)) {
        return Err(invalid(node, "a step is 0"));
    }
    if let Some(starts) = &starts {
        for (name, other) in [("ends", &ends), ("axes", &axes), ("steps", &steps)] {
            if let Some(other) = other
                && other.len() != starts.len()
            {
                return Err(invalid(
                    node,
                    format!("{} starts and {} {name}", starts.len(), other.len()),
                ));
            }
        }
    }
    check_each_axis(
        node,
        axes.as_deref().unwrap_or(&[]),
        rank_of_first(node, constants),
    )
}

fn check_permutation(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    let Some(perm) = ints(node, "perm").filter(|perm| !perm.is_empty()) else {
        return Ok(());
    };
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if sorted
        .iter()
        .enumerate()
        .any(|(at, axis)| *axis != at as i64)
    {
        return Err(invalid(
            node,
            format!("perm {perm:?} is no permutation of 0 to {}", perm.len() - 1),
        ));
    }
    match rank_of_first(node, constants) {
        Some(rank) if rank != perm.len() => Err(invalid(
            node,
            format!("perm has {} entries for {rank} dimensions", perm.len()),
        )),
        _ => Ok(()),
    }
}

fn rank_of_first(node: &NodeProto, constants: &Constants<'_>) -> Option<usize> {
    node.input.first().and_then(|input| constants.rank(input))
}

fn check_axes(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    let mut axes: Vec<i64> = int(node, "axis").into_iter().collect();
    axes.extend(ints(node, "axes").unwrap_or(&[]));
    let takes_axes = node.op_type.starts_with("Reduce")
        || matches!(node.op_type.as_str(), "Squeeze" | "Unsqueeze" | "CumSum");
    if takes_axes
        && let Some(given) = node
            .input
            .get(1)
            .and_then(|input| constants.integers(input))
    {
        axes.extend(given);
    }
    // These count axes of their output, which has more dimensions than the input.
    let rank = match node.op_type.as_str() {
        "Unsqueeze" => rank_of_first(node, constants).map(|rank| rank + axes.len()),
        "OneHot" => rank_of_first(node, constants).map(|rank| rank + 1),
        "Flatten" => rank_of_first(node, constants).map(|rank| rank + 1),
        // Its first input is a scale.
        "QLinearConcat" => None,
        _ => rank_of_first(node, constants),
    };
    check_each_axis(node, &axes, rank)
}

fn check_each_axis(node: &NodeProto, axes: &[i64], rank: Option<usize>) -> Result<(), LoadError> {
    let rank = rank.map_or(MAX_RANK, |rank| rank as i64);
    // A scalar has the axis 0 for some operators.
    let bound = rank.max(1);
    match axes.iter().find(|axis| !(-bound..bound).contains(*axis)) {
        Some(wrong) => Err(invalid(
            node,
            format!("axis {wrong} is outside the {rank} dimensions"),
        )),
        None => Ok(()),
    }
}
