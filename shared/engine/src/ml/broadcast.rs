//! Two tensors of which one may repeat along some axes.

/// The shape of two that are broadcast to each other.
pub(crate) fn broadcast(left: &[usize], right: &[usize]) -> Result<Vec<usize>, String> {
    let rank = left.len().max(right.len());
    let dim = |shape: &[usize], at: usize| {
        (at + shape.len())
            .checked_sub(rank)
            .map_or(1, |at| shape[at])
    };
    (0..rank)
        .map(|at| match (dim(left, at), dim(right, at)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(format!("shapes {left:?} and {right:?} do not fit together")),
        })
        .collect()
}

/// Puts two tensors together, element by element of the shape that they are broadcast to.
pub(crate) fn combine<T: Copy>(
    left: &[T],
    left_shape: &[usize],
    right: &[T],
    right_shape: &[usize],
    shape: &[usize],
    step: impl Fn(T, T) -> T,
) -> Vec<T> {
    if left.len() == right.len() && left_shape == right_shape {
        return left.iter().zip(right).map(|(a, b)| step(*a, *b)).collect();
    }
    let total: usize = shape.iter().product();
    // A side whose trailing dimensions are the result's repeats as it stands.
    let repeats = |own: &[usize]| {
        let own: Vec<usize> = own.iter().copied().skip_while(|dim| *dim == 1).collect();
        shape.ends_with(&own)
    };
    if total > 0 && repeats(left_shape) && repeats(right_shape) {
        let pairs = left.iter().cycle().zip(right.iter().cycle());
        return pairs.take(total).map(|(a, b)| step(*a, *b)).collect();
    }
    let (left_steps, right_steps) = (strides(left_shape, shape), strides(right_shape, shape));
    (0..total)
        .map(|at| {
            let (mut rest, mut a, mut b) = (at, 0, 0);
            for (axis, dim) in shape.iter().enumerate().rev() {
                a += rest % dim * left_steps[axis];
                b += rest % dim * right_steps[axis];
                rest /= dim;
            }
            step(left[a], right[b])
        })
        .collect()
}

/// How far one step along each axis of the result is in a tensor; 0 where it is broadcast.
fn strides(own: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![0; shape.len()];
    let mut step = 1;
    let shift = shape.len() - own.len();
    for (at, dim) in own.iter().enumerate().rev() {
        steps[at + shift] = if *dim == 1 { 0 } else { step };
        step *= dim;
    }
    steps
}
