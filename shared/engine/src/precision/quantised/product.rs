//! Products of matrices of small integers, summed in 32 bits: `MatMulInteger`.

use std::sync::Arc;

use tract_onnx::prelude::{DatumExt as _, DatumType, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, ensure, tvec};

use super::{integers, zero_points};
use crate::precision::kernel::{Kernel, maybe, need, shape};

/// `(a - a_zero_point) × (b - b_zero_point)`, batched as numpy's `matmul` batches.
#[derive(Debug, Default)]
pub(crate) struct Multiply {
    /// The right side, where it never changes.
    right: Option<Vec<Packed>>,
}

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

/// A matrix of small integers less their zero points, column after column.
#[derive(Debug)]
pub(super) struct Packed {
    values: Vec<i16>,
    inner: usize,
}

impl Packed {
    /// Packs `[inner, columns]`, with a zero point for each column.
    pub(super) fn pack(values: &[i32], zero_points: &[i32], inner: usize) -> Self {
        let columns = zero_points.len();
        let packed = zero_points
            .iter()
            .enumerate()
            .flat_map(|(column, zero)| {
                // Eight bits less eight bits.
                (0..inner).map(move |at| (values[at * columns + column] - zero) as i16)
            })
            .collect();
        Self {
            values: packed,
            inner,
        }
    }

    /// The product of `[rows, inner]` and this: `[rows, columns]`.
    pub(super) fn multiply(&self, rows: &[i16], made: &mut Vec<i32>) {
        for row in rows.chunks_exact(self.inner.max(1)) {
            made.extend(self.values.chunks_exact(self.inner.max(1)).map(|column| {
                row.iter()
                    .zip(column)
                    .map(|(a, b)| i32::from(*a) * i32::from(*b))
                    .fold(0, i32::wrapping_add)
            }));
        }
    }
}

/// The right side of a product: a matrix for each place in its batch.
fn pack_right(right: &TractTensor, zero_point: Option<&TractTensor>) -> TractResult<Vec<Packed>> {
    let (inner, columns) = match *right.shape() {
        [inner] => (inner, 1),
        [.., inner, columns] => (inner, columns),
        [] => (1, 1),
    };
    let values = integers(right)?;
    let zeros = zero_points(zero_point, columns)?;
    Ok(values
        .chunks_exact((inner * columns).max(1))
        .map(|matrix| Packed::pack(matrix, &zeros, inner))
        .collect())
}

impl Kernel for Multiply {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let (a, b) = (need(inputs, 0)?, need(inputs, 1)?);
        for side in [a, b] {
            ensure!(
                matches!(side.datum_type, DatumType::U8 | DatumType::I8),
                "{:?} where eight bits are taken",
                side.datum_type
            );
        }
        let dims = Dims::read(shape(a)?, shape(b)?)?;
        Ok(tvec![i32::fact(dims.shape())])
    }

    fn bind(&self, constants: &[Option<&TractTensor>]) -> TractResult<Option<Arc<dyn Kernel>>> {
        let has_moving_zero = maybe(constants, 3).is_none() && constants.len() > 3;
        let Some(right) = maybe(constants, 1).filter(|_| !has_moving_zero) else {
            return Ok(None);
        };
        let right = pack_right(right, maybe(constants, 3))?;
        Ok(Some(Arc::new(Self { right: Some(right) })))
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let (a, b) = (need(inputs, 0)?, need(inputs, 1)?);
        let dims = Dims::read(a.shape(), b.shape())?;
        let fresh;
        let right = if let Some(right) = &self.right {
            right
        } else {
            fresh = pack_right(b, maybe(inputs, 3))?;
            &fresh
        };
        // A zero point for each row of the left side.
        let zeros = zero_points(maybe(inputs, 2), dims.rows)?;
        let left: Vec<i16> = integers(a)?
            .chunks(dims.inner.max(1))
            .zip(zeros.iter().cycle())
            .flat_map(|(row, zero)| row.iter().map(move |value| (value - zero) as i16))
            .collect();
        let size = dims.rows * dims.inner;
        let count: usize = dims.batch.iter().product();
        let shape = dims.shape();
        if size == 0 || dims.columns == 0 {
            return Ok(tvec![TractTensor::zero::<i32>(&shape)?]);
        }
        let mut made = Vec::with_capacity(count * dims.rows * dims.columns);
        for place in 0..count {
            let from = matrix_at(place, &dims.batch, &dims.batch_a) * size;
            let by = matrix_at(place, &dims.batch, &dims.batch_b);
            right[by].multiply(&left[from..from + size], &mut made);
        }
        Ok(tvec![TractTensor::from_shape(&shape, &made)?])
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
            let made = Multiply::default().run(&[Some(&a), Some(&b), Some(&zero_a), Some(&zero_b)]).map_err(fail)?;
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
