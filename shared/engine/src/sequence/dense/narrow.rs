//! Products with few columns, as dot products: a panel would be zeros for the most part.

#![expect(
    clippy::inline_always,
    reason = "code uses the processor's registers only where it is inlined into what was chosen for them"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant ranges are unrolled into registers; what iterators make of them is kept in memory"
)]

use pulp::{Arch, Simd, WithSimd};

/// Rows, or columns of one row, whose sums are under way together.
const ROWS: usize = 8;
const COLUMNS: usize = 4;

/// A matrix, column by column.
#[derive(Debug)]
pub(super) struct Narrow {
    depth: usize,
    values: Vec<f32>,
}

impl Narrow {
    /// Of whole columns of some depth, which is not 0.
    pub(super) fn new(depth: usize, values: Vec<f32>) -> Self {
        Self { depth, values }
    }

    /// Writes the biases and the products of `rows` rows of `left`, which stand `left_stride` apart, to as many rows of
    /// `out`, which stand one after the other. Every sum is taken in the same order, whatever the number of rows.
    pub(super) fn multiply(
        &self,
        arch: Arch,
        bias: &[f32],
        rows: usize,
        (left, left_stride): (&[f32], usize),
        out: &mut [f32],
    ) {
        arch.dispatch(Dots {
            weights: self,
            bias,
            rows,
            left,
            left_stride,
            out,
        });
    }
}

/// Dot products under way.
struct Dots<'a> {
    weights: &'a Narrow,
    bias: &'a [f32],
    rows: usize,
    left: &'a [f32],
    left_stride: usize,
    out: &'a mut [f32],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let columns = self.bias.len();
        let many = self.rows - self.rows % ROWS;
        for row in (0..many).step_by(ROWS) {
            for column in 0..columns {
                self.tile::<S, ROWS, 1>(simd, row, column);
            }
        }
        for row in many..self.rows {
            let whole = columns - columns % COLUMNS;
            for column in (0..whole).step_by(COLUMNS) {
                self.tile::<S, 1, COLUMNS>(simd, row, column);
            }
            for column in whole..columns {
                self.tile::<S, 1, 1>(simd, row, column);
            }
        }
    }
}

impl Dots<'_> {
    /// `R` rows by `C` columns.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
    ) {
        let depth = self.weights.depth;
        // Arrays are filled in loops: what the standard library fills by a closure would stand in memory, and the sums
        // with it.
        let mut rows: [(&[S::f32s], &[f32]); R] = [(&[], &[]); R];
        for r in 0..R {
            let values = &self.left[(row + r) * self.left_stride..][..depth];
            rows[r] = S::as_simd_f32s(values);
        }
        let mut columns: [(&[S::f32s], &[f32]); C] = [(&[], &[]); C];
        for c in 0..C {
            let values = &self.weights.values[(column + c) * depth..][..depth];
            columns[c] = S::as_simd_f32s(values);
        }
        let steps = columns[0].0.len();
        for row in &mut rows {
            row.0 = &row.0[..steps];
        }
        for column in &mut columns {
            column.0 = &column.0[..steps];
        }
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        for at in 0..steps {
            for r in 0..R {
                for c in 0..C {
                    let (left, right) = (rows[r].0[at], columns[c].0[at]);
                    sums[r][c] = simd.mul_add_e_f32s(left, right, sums[r][c]);
                }
            }
        }
        if !columns[0].1.is_empty() {
            for r in 0..R {
                let left = simd.partial_load_f32s(rows[r].1);
                for c in 0..C {
                    let right = simd.partial_load_f32s(columns[c].1);
                    sums[r][c] = simd.mul_add_e_f32s(left, right, sums[r][c]);
                }
            }
        }
        for r in 0..R {
            let start = (row + r) * self.bias.len() + column;
            for c in 0..C {
                self.out[start + c] = self.bias[column + c] + simd.reduce_sum_f32s(sums[r][c]);
            }
        }
    }
}
