//! Products of matrices of small integers, summed in 32 bits: `MatMulInteger`.

use tract_onnx::prelude::{DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, ensure, tvec};

use super::{integers, zero_points};
use crate::precision::kernel::{Kernel, maybe, need, shape};

/// `(a - a_zero_point) × (b - b_zero_point)`, batched as numpy's `matmul` batches.
#[derive(Debug)]
pub(crate) struct Multiply;

/// The dimensions of a product.
#[derive(Debug)]
struct Dims {
    /// The dimensions before the last two, of the result and of each side.
    batch: Vec<usize>,
    batch_a: Vec<usize>,
    batch_b: Vec<usize>,
    rows: usize,
    inner: usize,
    columns: usize,
    /// A side of one dimension loses its own in the result.
    keeps_rows: bool,
    keeps_columns: bool,
}

impl Dims {
    fn read(a: &[usize], b: &[usize]) -> TractResult<Self> {
        ensure!(
            !a.is_empty() && !b.is_empty(),
            "a side of the product is a single number"
        );
        let (rows, inner) = match a {
            [inner] => (1, *inner),
            [.., rows, inner] => (*rows, *inner),
            [] => (1, 1),
        };
        let (other, columns) = match b {
            [inner] => (*inner, 1),
            [.., inner, columns] => (*inner, *columns),
            [] => (1, 1),
        };
        ensure!(
            inner == other,
            "{inner} columns on the left and {other} rows on the right"
        );
        let batch_a = &a[..a.len().saturating_sub(2)];
        let batch_b = &b[..b.len().saturating_sub(2)];
        let rank = batch_a.len().max(batch_b.len());
        let widen = |dims: &[usize]| [vec![1; rank - dims.len()], dims.to_vec()].concat();
        let (batch_a, batch_b) = (widen(batch_a), widen(batch_b));
        let mut batch = Vec::with_capacity(rank);
        for (a, b) in batch_a.iter().zip(&batch_b) {
            ensure!(
                a == b || *a == 1 || *b == 1,
                "batches of {a} and {b} do not fit"
            );
            batch.push(if *a == 1 { *b } else { *a });
        }
        Ok(Self {
            batch,
            batch_a,
            batch_b,
            rows,
            inner,
            columns,
            keeps_rows: a.len() > 1,
            keeps_columns: b.len() > 1,
        })
    }

    fn shape(&self) -> Vec<usize> {
        let mut shape = self.batch.clone();
        shape.extend(self.keeps_rows.then_some(self.rows));
        shape.extend(self.keeps_columns.then_some(self.columns));
        shape
    }
}

/// The place of a side's matrix for a place in the batch.
fn matrix_at(mut place: usize, batch: &[usize], own: &[usize]) -> usize {
    let (mut at, mut stride) = (0, 1);
    for (dim, own) in batch.iter().zip(own).rev() {
        at += if *own == 1 { 0 } else { (place % dim) * stride };
        place /= dim;
        stride *= own;
    }
    at
}

/// Adds the product of `[rows, inner]` and `[inner, columns]` to `[rows, columns]`.
pub(super) fn multiply(a: &[i32], b: &[i32], made: &mut [i32], inner: usize, columns: usize) {
    if inner == 0 || columns == 0 {
        return;
    }
    for (row, sums) in a.chunks_exact(inner).zip(made.chunks_exact_mut(columns)) {
        for (value, weights) in row.iter().zip(b.chunks_exact(columns)) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = sum.wrapping_add(value.wrapping_mul(*weight));
            }
        }
    }
}

impl Kernel for Multiply {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let dims = Dims::read(shape(need(inputs, 0)?)?, shape(need(inputs, 1)?)?)?;
        Ok(tvec![i32::fact(dims.shape())])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let (a, b) = (need(inputs, 0)?, need(inputs, 1)?);
        let dims = Dims::read(a.shape(), b.shape())?;
        let (mut left, mut right) = (integers(a)?, integers(b)?);
        // A zero point for each row of the left side, one for each column of the right.
        let zero_a = zero_points(maybe(inputs, 2), dims.rows)?;
        let zero_b = zero_points(maybe(inputs, 3), dims.columns)?;
        if dims.inner > 0 {
            for (row, zero) in left.chunks_exact_mut(dims.inner).zip(zero_a.iter().cycle()) {
                row.iter_mut().for_each(|value| *value -= zero);
            }
        }
        if dims.columns > 0 {
            for row in right.chunks_exact_mut(dims.columns) {
                for (value, zero) in row.iter_mut().zip(&zero_b) {
                    *value -= zero;
                }
            }
        }
        let (size_a, size_b) = (dims.rows * dims.inner, dims.inner * dims.columns);
        let size = dims.rows * dims.columns;
        let count: usize = dims.batch.iter().product();
        let mut made = vec![0; count * size];
        for place in 0..count {
            let from_a = matrix_at(place, &dims.batch, &dims.batch_a) * size_a;
            let from_b = matrix_at(place, &dims.batch, &dims.batch_b) * size_b;
            multiply(
                &left[from_a..from_a + size_a],
                &right[from_b..from_b + size_b],
                &mut made[place * size..(place + 1) * size],
                dims.inner,
                dims.columns,
            );
        }
        Ok(tvec![TractTensor::from_shape(&dims.shape(), &made)?])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tract_onnx::prelude::Tensor as TractTensor;

    use super::Multiply;
    use crate::precision::kernel::{Kernel, elements};

    fn small(count: usize, seed: u32) -> Vec<u8> {
        (0..count as u32)
            .map(|at| (at.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect()
    }

    proptest! {
        #[test]
        fn product_is_that_of_every_row_and_column_less_zero_points(
            (batch, rows, inner, columns) in (1..4_usize, 1..4_usize, 1..9_usize, 1..5_usize),
            shares_right in any::<bool>(),
            seed in any::<u32>(),
        ) {
            let fail = |error: tract_onnx::prelude::TractError| TestCaseError::fail(error.to_string());
            let right_batch = if shares_right { 1 } else { batch };
            let left = small(batch * rows * inner, seed);
            let right: Vec<i8> = small(right_batch * inner * columns, !seed).iter().map(|v| *v as i8).collect();
            let zeros = small(columns, seed / 7).iter().map(|v| *v as i8).collect::<Vec<_>>();
            let a = TractTensor::from_shape(&[batch, rows, inner], &left).map_err(fail)?;
            let b = TractTensor::from_shape(&[right_batch, inner, columns], &right).map_err(fail)?;
            let zero_a = TractTensor::from_shape(&[], &[7_u8]).map_err(fail)?;
            let zero_b = TractTensor::from_shape(&[columns], &zeros).map_err(fail)?;
            let made = Multiply.run(&[Some(&a), Some(&b), Some(&zero_a), Some(&zero_b)]).map_err(fail)?;
            prop_assert_eq!(made[0].shape(), &[batch, rows, columns]);
            let found = elements::<i32>(&made[0]).map_err(fail)?;
            for (at, found) in found.iter().enumerate() {
                let (place, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
                let from = if shares_right { 0 } else { place * inner * columns };
                let expected: i32 = (0..inner)
                    .map(|k| {
                        let value = i32::from(left[(place * rows + row) * inner + k]) - 7;
                        value * (i32::from(right[from + k * columns + column]) - i32::from(zeros[column]))
                    })
                    .sum();
                prop_assert_eq!(*found, expected);
            }
        }
    }
}
