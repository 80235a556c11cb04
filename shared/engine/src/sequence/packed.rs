//! Matrix products with weights that are packed for vector registers.

#![expect(
    clippy::inline_always,
    reason = "code uses the processor's registers only where it is inlined into what was chosen for them"
)]
#![expect(
    clippy::needless_range_loop,
    clippy::manual_memcpy,
    reason = "loops over constant ranges are unrolled into registers; what iterators and slices make of them is kept in memory"
)]

use std::fmt;

use pulp::{Arch, Simd, WithSimd};

use super::lane::Lane;

/// Columns of a panel: a whole number of registers on every processor.
pub(super) const PANEL: usize = 32;
/// What vector loads like best, in bytes.
const ALIGNMENT: usize = 64;

/// A buffer of zeros that starts on a multiple of 64 bytes.
pub(super) struct Aligned<R> {
    // Never grows, so that its elements stay where they are.
    values: Vec<R>,
    start: usize,
}

impl<R: Lane> Aligned<R> {
    pub(super) fn zeros(len: usize) -> Self {
        let values = vec![R::ZERO; len + ALIGNMENT / size_of::<R>()];
        let start = values.as_ptr().align_offset(ALIGNMENT);
        // An offset is not promised; without one, loads are slower and no less right.
        let start = if start + len <= values.len() {
            start
        } else {
            0
        };
        Self { values, start }
    }

    pub(super) fn slice(&self) -> &[R] {
        &self.values[self.start..]
    }

    pub(super) fn slice_mut(&mut self) -> &mut [R] {
        &mut self.values[self.start..]
    }
}

impl<R> fmt::Debug for Aligned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aligned({})", self.values.len())
    }
}

/// A number of columns, rounded up to whole panels.
pub(super) fn whole_panels(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

/// A matrix `[depth, columns]` in panels of 32 columns, each panel row by row; the last one is filled with zeros.
#[derive(Debug)]
pub(super) struct Packed<R> {
    depth: usize,
    columns: usize,
    values: Aligned<R>,
}

impl<R: Lane> Packed<R> {
    /// Packs the matrix whose column `c` is `column(c)`, `depth` numbers; none is a column of zeros.
    pub(super) fn new<'a>(
        depth: usize,
        columns: usize,
        column: impl Fn(usize) -> Option<&'a [R]>,
    ) -> Self {
        let mut values = Aligned::zeros(depth * whole_panels(columns));
        for at in 0..columns {
            let Some(source) = column(at) else { continue };
            let first = at / PANEL * PANEL * depth + at % PANEL;
            let places = values.slice_mut()[first..].iter_mut().step_by(PANEL);
            for (place, value) in places.zip(&source[..depth]) {
                *place = *value;
            }
        }
        Self {
            depth,
            columns: whole_panels(columns),
            values,
        }
    }

    /// Columns, in whole panels.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Writes `first` and the products of `rows` rows of `left`, which stand `left_stride` apart, to as many rows of
    /// `out`, which stand `out_stride` apart. Every sum is taken in the order of the depth, whatever the number of rows.
    pub(super) fn multiply(
        &self,
        arch: Arch,
        first: First<'_, R>,
        rows: usize,
        (left, left_stride): (&[R], usize),
        (out, out_stride): (&mut [R], usize),
    ) {
        arch.dispatch(Product {
            weights: self,
            first,
            rows,
            left,
            left_stride,
            out,
            out_stride,
        });
    }
}

/// With what the sums of a product start.
#[derive(Debug, Clone, Copy)]
pub(super) enum First<'a, R> {
    /// With what stands in their places.
    Kept,
    /// Each row with these, as many as the packed columns.
    Bias(&'a [R]),
    /// With zeros; these are added in the end, as onnxruntime adds them.
    Last(&'a [R]),
}

/// A product under way.
struct Product<'a, R> {
    weights: &'a Packed<R>,
    first: First<'a, R>,
    rows: usize,
    left: &'a [R],
    left_stride: usize,
    out: &'a mut [R],
    out_stride: usize,
}

impl<R: Lane> WithSimd for Product<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Registers of a panel's row; then as many rows at once as there are registers for their sums.
        match PANEL * size_of::<R>() / size_of::<R::Register<S>>() {
            2 => {
                let rows = self.take_rows::<S, 2, 8, 1>(simd, 0);
                let rows = self.take_rows::<S, 2, 4, 1>(simd, rows);
                self.take_single::<S, 2, 4>(simd, rows);
            }
            4 => {
                let rows = self.take_rows::<S, 4, 3, 1>(simd, 0);
                let rows = self.take_rows::<S, 4, 2, 1>(simd, rows);
                self.take_single::<S, 4, 2>(simd, rows);
            }
            8 => {
                let rows = self.take_rows::<S, 8, 3, 1>(simd, 0);
                self.take_rows::<S, 8, 1, 1>(simd, rows);
            }
            16 => {
                self.take_rows::<S, 16, 1, 1>(simd, 0);
            }
            _ => {
                self.take_rows::<S, 32, 1, 1>(simd, 0);
            }
        }
    }
}

impl<R: Lane> Product<'_, R> {
    /// Takes the rows from `first` on, `M` at a time, as long as there are so many; says which row comes next.
    #[inline(always)]
    fn take_rows<S: Simd, const V: usize, const M: usize, const P: usize>(
        &mut self,
        simd: S,
        first: usize,
    ) -> usize {
        let end = self.rows - (self.rows - first) % M;
        let mut panel = 0;
        while panel * PANEL < self.weights.columns {
            for row in (first..end).step_by(M) {
                self.tile::<S, V, M, P>(simd, row, panel);
            }
            panel += P;
        }
        end
    }

    /// Takes the rows from `first` on one by one, `P` panels at a time, to have sums enough under way.
    #[inline(always)]
    fn take_single<S: Simd, const V: usize, const P: usize>(&mut self, simd: S, first: usize) {
        let panels = self.weights.columns / PANEL;
        for row in first..self.rows {
            let mut panel = 0;
            while panel + P <= panels {
                self.tile::<S, V, 1, P>(simd, row, panel);
                panel += P;
            }
            while panel < panels {
                self.tile::<S, V, 1, 1>(simd, row, panel);
                panel += 1;
            }
        }
    }

    /// `M` rows by `P` panels, with the sums in registers.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const M: usize, const P: usize>(
        &mut self,
        simd: S,
        row: usize,
        panel: usize,
    ) {
        let depth = self.weights.depth;
        let size = depth * PANEL;
        // Arrays are filled in loops: what the standard library fills by a closure would stand in memory, and the sums
        // with it.
        let mut left: [&[R]; M] = [&[]; M];
        for m in 0..M {
            left[m] = &self.left[(row + m) * self.left_stride..][..depth];
        }
        let mut panels: [&[[R::Register<S>; V]]; P] = [&[]; P];
        for p in 0..P {
            let values = &self.weights.values.slice()[(panel + p) * size..][..size];
            panels[p] = &R::registers::<S>(values).as_chunks::<V>().0[..depth];
        }
        let mut sums = [[[R::splat(simd, R::ZERO); V]; P]; M];
        for m in 0..M {
            for p in 0..P {
                let column = (panel + p) * PANEL;
                let start = (row + m) * self.out_stride + column;
                let values = R::registers::<S>(match self.first {
                    First::Kept => &self.out[start..start + PANEL],
                    First::Bias(bias) => &bias[column..column + PANEL],
                    First::Last(_) => continue,
                });
                for v in 0..V {
                    sums[m][p][v] = values[v];
                }
            }
        }
        for at in 0..depth {
            for m in 0..M {
                let factor = R::splat(simd, left[m][at]);
                for p in 0..P {
                    for v in 0..V {
                        sums[m][p][v] =
                            R::multiply_add(simd, factor, panels[p][at][v], sums[m][p][v]);
                    }
                }
            }
        }
        if let First::Last(bias) = self.first {
            let one = R::splat(simd, R::ONE);
            for p in 0..P {
                let bias = R::registers::<S>(&bias[(panel + p) * PANEL..][..PANEL]);
                for m in 0..M {
                    for v in 0..V {
                        sums[m][p][v] = R::multiply_add(simd, one, bias[v], sums[m][p][v]);
                    }
                }
            }
        }
        for m in 0..M {
            for p in 0..P {
                let start = (row + m) * self.out_stride + (panel + p) * PANEL;
                let places = R::registers_mut::<S>(&mut self.out[start..start + PANEL]);
                for v in 0..V {
                    places[v] = sums[m][p][v];
                }
            }
        }
    }
}
