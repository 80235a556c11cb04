//! Shapes: what becomes of them, and joining tensors.

use crate::ml::{Array, View};
use crate::tensor::TensorData;

/// An axis counted from the front.
fn settle(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_front)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} is outside the {rank} dimensions"))
}

fn count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, dim| product.checked_mul(*dim))
}

/// The shape of joined tensors, and the axis.
pub(super) fn concat(shapes: &[&[usize]], axis: i64) -> Result<(Vec<usize>, usize), String> {
    let [first, rest @ ..] = shapes else {
        return Err("it has no input".to_owned());
    };
    let axis = settle(axis, first.len())?;
    let mut joined = first.to_vec();
    for shape in rest {
        let fits = shape.len() == first.len()
            && shape
                .iter()
                .zip(first.iter())
                .enumerate()
                .all(|(at, (a, b))| at == axis || a == b);
        if !fits {
            return Err(format!("shapes {first:?} and {shape:?} do not join"));
        }
        joined[axis] += shape[axis];
    }
    Ok((joined, axis))
}

/// Joins tensors of one type along an axis.
pub(super) fn join(inputs: &[View<'_>], axis: i64) -> Result<Array, String> {
    let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape).collect();
    let (shape, axis) = concat(&shapes, axis)?;
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    macro_rules! joined {
        ($kind:ident) => {{
            let parts = inputs
                .iter()
                .map(|input| match input.data {
                    TensorData::$kind(values) => Ok((values.as_slice(), input.shape[axis] * inner)),
                    other => Err(format!("{} beside another type", other.datatype().name())),
                })
                .collect::<Result<Vec<_>, String>>()?;
            let mut out = Vec::with_capacity(parts.iter().map(|(values, _)| values.len()).sum());
            for at in 0..outer {
                for (values, step) in &parts {
                    out.extend_from_slice(&values[at * step..(at + 1) * step]);
                }
            }
            TensorData::$kind(out)
        }};
    }
    let data = match inputs[0].data {
        TensorData::Fp32(_) => joined!(Fp32),
        TensorData::Fp64(_) => joined!(Fp64),
        TensorData::Int64(_) => joined!(Int64),
        TensorData::Int32(_) => joined!(Int32),
        TensorData::Bool(_) => joined!(Bool),
        TensorData::Bytes(_) => joined!(Bytes),
        other => return Err(format!("{} is not joined", other.datatype().name())),
    };
    Ok(Array { shape, data })
}

pub(super) fn reshape(shape: &[usize], dims: &[i64]) -> Result<Vec<usize>, String> {
    let fault = || format!("shape {shape:?} does not become {dims:?}");
    let total = count(shape).ok_or_else(fault)?;
    let mut open = None;
    let mut out = Vec::with_capacity(dims.len());
    for (at, dim) in dims.iter().enumerate() {
        out.push(match dim {
            0 => *shape.get(at).ok_or_else(fault)?,
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            dim => usize::try_from(*dim).map_err(|_| fault())?,
        });
    }
    let known = count(&out).ok_or_else(fault)?;
    if let Some(at) = open {
        if known == 0 || !total.is_multiple_of(known) {
            return Err(fault());
        }
        out[at] = total / known;
    } else if known != total {
        return Err(fault());
    }
    Ok(out)
}

pub(super) fn flatten(shape: &[usize], axis: i64) -> Result<Vec<usize>, String> {
    let rank = shape.len();
    let axis = if axis == rank as i64 {
        rank
    } else {
        settle(axis, rank)?
    };
    Ok(vec![
        shape[..axis].iter().product(),
        shape[axis..].iter().product(),
    ])
}

pub(super) fn squeeze(shape: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let mut drops = vec![axes.is_empty(); shape.len()];
    for axis in axes {
        let at = settle(*axis, shape.len())?;
        if shape[at] != 1 {
            return Err(format!("dimension {at} of {shape:?} is not 1"));
        }
        drops[at] = true;
    }
    let kept = shape
        .iter()
        .zip(drops)
        .filter(|(dim, drops)| !(*drops && **dim == 1));
    Ok(kept.map(|(dim, _)| *dim).collect())
}

pub(super) fn unsqueeze(shape: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = shape.len() + axes.len();
    let mut is_new = vec![false; rank];
    for axis in axes {
        if std::mem::replace(&mut is_new[settle(*axis, rank)?], true) {
            return Err(format!("axis {axis} is there twice"));
        }
    }
    let mut old = shape.iter();
    is_new
        .into_iter()
        .map(|is_new| {
            if is_new {
                Ok(1)
            } else {
                old.next()
                    .copied()
                    .ok_or_else(|| "too many axes".to_owned())
            }
        })
        .collect()
}

/// What becomes of the axis that is reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduced {
    /// It stays with a length of 1.
    Kept,
    Dropped,
}

/// The shape once an axis is reduced, and the axis counted from the front.
pub(super) fn reduce(
    shape: &[usize],
    axis: i64,
    reduced: Reduced,
) -> Result<(Vec<usize>, usize), String> {
    let axis = settle(axis, shape.len())?;
    let mut out = shape.to_vec();
    match reduced {
        Reduced::Kept => out[axis] = 1,
        Reduced::Dropped => {
            out.remove(axis);
        }
    }
    Ok((out, axis))
}
