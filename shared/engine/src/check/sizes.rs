//! Operators whose constant inputs say how large a tensor becomes.

use tract_onnx::pb::NodeProto;

use super::constants::Constants;
use super::{invalid, node_name};
use crate::error::LoadError;
use crate::limits::LoadLimits;

/// Checks the size that a node's constants ask for.
pub(super) fn check(
    node: &NodeProto,
    constants: &Constants<'_>,
    limits: &LoadLimits,
) -> Result<(), LoadError> {
    let constant = |at: usize| node.input.get(at).and_then(|name| constants.integers(name));
    let numbers = |at: usize| node.input.get(at).and_then(|name| constants.numbers(name));
    let base = node
        .input
        .first()
        .and_then(|name| constants.dims(name))
        .map_or(1, |dims| product(dims.iter().copied()));
    let size = match node.op_type.as_str() {
        "ConstantOfShape" => constant(0)
            .map(|dims| checked_product(node, &dims))
            .transpose()?,
        "Expand" => constant(1)
            .map(|dims| checked_product(node, &dims))
            .transpose()?,
        "Tile" => constant(1)
            .map(|repeats| checked_product(node, &repeats))
            .transpose()?
            .map(|n| n.saturating_mul(base)),
        "Reshape" => {
            if let Some(dims) = constant(1) {
                if let Some(dim) = dims.iter().find(|dim| **dim < -1) {
                    return Err(invalid(
                        node,
                        format!("dimension {dim}; -1 or more is allowed"),
                    ));
                }
                if dims.iter().filter(|dim| **dim == -1).count() > 1 {
                    return Err(invalid(node, "more than one dimension is -1"));
                }
                Some(product(dims.iter().map(|dim| (*dim).max(1))))
            } else {
                None
            }
        }
        "Pad" => {
            let pads = constant(1).or_else(|| attribute(node, "pads"));
            pads.map(|pads| {
                pads.iter()
                    .map(|pad| pad.unsigned_abs() as usize)
                    .fold(0, usize::saturating_add)
            })
        }
        "Range" => match (numbers(0), numbers(1), numbers(2)) {
            (Some(start), Some(limit), Some(delta)) => {
                Some(count_range(node, &start, &limit, &delta)?)
            }
            (_, _, Some(delta)) if delta.first() == Some(&0.0) => {
                return Err(invalid(node, "delta is 0"));
            }
            _ => None,
        },
        "Resize" => {
            let scales = numbers(2)
                .filter(|scales| !scales.is_empty())
                .unwrap_or_default();
            if let Some(scale) = scales
                .iter()
                .find(|scale| !(scale.is_finite() && **scale > 0.0))
            {
                return Err(invalid(node, format!("scale {scale} is not positive")));
            }
            let factor = scales.iter().product::<f64>();
            let count = if factor.is_finite() {
                factor as usize
            } else {
                usize::MAX
            };
            let sizes = constant(3)
                .map(|sizes| checked_product(node, &sizes))
                .transpose()?;
            Some(sizes.unwrap_or(0).max(count))
        }
        "OneHot" => numbers(1).and_then(|depth| depth.first().map(|depth| depth.max(0.0) as usize)),
        _ => None,
    };
    match size {
        Some(size) if size > limits.max_elements => Err(LoadError::TooLarge {
            what: format!(
                "the number of elements that node `{}` ({}) makes",
                node_name(node),
                node.op_type
            ),
            actual: size,
            limit: limits.max_elements,
        }),
        _ => Ok(()),
    }
}

fn attribute(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
        .map(|attribute| attribute.ints.clone())
}

fn product(dims: impl Iterator<Item = i64>) -> usize {
    dims.fold(1, |product, dim| {
        product.saturating_mul(usize::try_from(dim).unwrap_or(1).max(1))
    })
}

fn checked_product(node: &NodeProto, dims: &[i64]) -> Result<usize, LoadError> {
    match dims.iter().find(|dim| **dim < 0) {
        // In `Expand`, some exporters write -1 for a dimension that stays.
        Some(-1) if node.op_type == "Expand" => Ok(product(dims.iter().copied())),
        Some(dim) => Err(invalid(node, format!("dimension {dim} is negative"))),
        None => Ok(product(dims.iter().copied())),
    }
}

fn count_range(
    node: &NodeProto,
    start: &[f64],
    limit: &[f64],
    delta: &[f64],
) -> Result<usize, LoadError> {
    let ([start], [limit], [delta]) = (start, limit, delta) else {
        return Err(invalid(
            node,
            "start, limit and delta must be single numbers",
        ));
    };
    if *delta == 0.0 || !(start.is_finite() && limit.is_finite() && delta.is_finite()) {
        return Err(invalid(
            node,
            format!("from {start} to {limit} by {delta} never ends"),
        ));
    }
    Ok(((limit - start) / delta).ceil().max(0.0) as usize)
}
