//! One step of a cell for a block of rows: from the sums of its gates and the states before, the states after.

#![expect(
    clippy::inline_always,
    reason = "code uses the processor's registers only where it is inlined into what was chosen for them"
)]

use pulp::{Simd, WithSimd};

use super::activation::Activation;
use super::definition::Forget;
use super::lane::Lane;

/// Bounds and functions of the gates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gates<R> {
    /// f, g, h of the specification; functions that a cell has not are the last that it has.
    pub(super) functions: [Activation; 3],
    pub(super) clip: Option<R>,
}

impl<R: Lane> Gates<R> {
    /// True for the operators' defaults, without a bound.
    fn is_plain(&self) -> bool {
        let [f, g, h] = self.functions;
        self.clip.is_none()
            && [f, g, h] == [Activation::Sigmoid, Activation::Tanh, Activation::Tanh]
    }

    #[inline(always)]
    fn apply(&self, function: Activation, values: &mut [R]) {
        if let Some(clip) = self.clip {
            for x in &mut *values {
                *x = x.bound(clip);
            }
        }
        function.apply(values);
    }
}

/// The rows of a step: which of them are within their lengths, and their buffers.
pub(super) struct Rows<'a, R> {
    /// Rows that take this step.
    pub(super) alive: &'a [bool],
    /// Numbers of a state that are kept; more than the hidden size, to fill registers.
    pub(super) width: usize,
    /// The gates' sums, `[rows, gate_stride]`; spoilt.
    pub(super) gates: &'a mut [R],
    pub(super) gate_stride: usize,
    /// The hidden states `[rows, width]`, renewed.
    pub(super) hidden: &'a mut [R],
}

impl<'a, R: Lane> Rows<'a, R> {
    /// The rows that take the step: gates and hidden state.
    #[inline(always)]
    fn living(self) -> impl Iterator<Item = (usize, &'a mut [R], &'a mut [R])> {
        let gates = self.gates.chunks_exact_mut(self.gate_stride);
        let hidden = self.hidden.chunks_exact_mut(self.width);
        let alive = self.alive.iter().enumerate();
        alive
            .zip(gates)
            .zip(hidden)
            .filter_map(|(((row, alive), gates), hidden)| alive.then_some((row, gates, hidden)))
    }
}

/// Adds `factor * state` to sums, for peepholes.
#[inline(always)]
fn peep<R: Lane>(sums: &mut [R], factors: &[R], states: &[R]) {
    for ((sum, factor), state) in sums.iter_mut().zip(factors).zip(states) {
        *sum = *sum + *factor * *state;
    }
}

/// A step of an LSTM; gates stand in the order i, o, f, c.
pub(super) struct LstmStep<'a, R> {
    pub(super) gates: Gates<R>,
    pub(super) rows: Rows<'a, R>,
    /// The cell states `[rows, width]`, renewed.
    pub(super) cells: &'a mut [R],
    /// Of i, o, f, `width` each.
    pub(super) peepholes: Option<&'a [R]>,
    pub(super) forget: Forget,
}

impl<R: Lane> WithSimd for LstmStep<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.rows.width;
        let [f, g, h] = self.gates.functions;
        let cells = self.cells;
        // As nearly all nets are: in one pass.
        let is_plain =
            self.gates.is_plain() && self.peepholes.is_none() && self.forget == Forget::Own;
        for (row, gates, hidden) in self.rows.living() {
            let cell = &mut cells[row * width..(row + 1) * width];
            let (input, rest) = gates.split_at_mut(width);
            let (output, rest) = rest.split_at_mut(width);
            let (forget, rest) = rest.split_at_mut(width);
            let fresh = &mut rest[..width];
            if is_plain {
                let [input, output, forget, fresh] =
                    [input, output, forget, fresh].map(|part| &part[..width]);
                let (cell, hidden) = (&mut cell[..width], &mut hidden[..width]);
                for at in 0..width {
                    cell[at] =
                        forget[at].sigmoid() * cell[at] + input[at].sigmoid_by_tanh(fresh[at]);
                    hidden[at] = output[at].sigmoid_by_tanh(cell[at]);
                }
                continue;
            }
            if let Some(factors) = self.peepholes {
                peep(input, &factors[..width], cell);
                peep(forget, &factors[2 * width..], cell);
            }
            self.gates.apply(f, input);
            match self.forget {
                Forget::Own => self.gates.apply(f, forget),
                Forget::Coupled => {
                    for (forget, input) in forget.iter_mut().zip(&*input) {
                        *forget = R::ONE - *input;
                    }
                }
            }
            self.gates.apply(g, fresh);
            for (((cell, fresh), forget), input) in
                cell.iter_mut().zip(&mut *fresh).zip(forget).zip(input)
            {
                *cell = *forget * *cell + *input * *fresh;
                *fresh = *cell;
            }
            if let Some(factors) = self.peepholes {
                peep(output, &factors[width..2 * width], cell);
            }
            self.gates.apply(f, output);
            h.apply(fresh);
            for ((hidden, output), fresh) in hidden.iter_mut().zip(output).zip(fresh) {
                *hidden = *output * *fresh;
            }
        }
    }
}

/// The first half of a step of a GRU whose reset gate acts on the state: the gates z and r, and what of the state is
/// to be multiplied.
pub(super) struct GruReset<'a, R> {
    pub(super) gates: Gates<R>,
    /// The state is left as it is.
    pub(super) rows: Rows<'a, R>,
    /// `r * state`, `[rows, width]`.
    pub(super) kept: &'a mut [R],
}

impl<R: Lane> WithSimd for GruReset<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.rows.width;
        let kept = self.kept;
        for (row, gates, hidden) in self.rows.living() {
            self.gates
                .apply(self.gates.functions[0], &mut gates[..2 * width]);
            let places = &mut kept[row * width..(row + 1) * width];
            for ((place, state), reset) in places.iter_mut().zip(&*hidden).zip(&gates[width..]) {
                *place = *reset * *state;
            }
        }
    }
}

/// A step of a GRU, or its second half; gates stand in the order z, r, h.
pub(super) struct GruStep<'a, R> {
    pub(super) gates: Gates<R>,
    pub(super) rows: Rows<'a, R>,
    /// Where the reset gate acts on the product: the product of state and weights with its bias, `[rows, stride]`, and
    /// z and r are sums yet. Otherwise z and r are done, and the product is in the sum of h.
    pub(super) product: Option<(&'a [R], usize)>,
}

impl<R: Lane> WithSimd for GruStep<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.rows.width;
        let [f, g, _] = self.gates.functions;
        for (row, gates, hidden) in self.rows.living() {
            let (switches, rest) = gates.split_at_mut(2 * width);
            let fresh = &mut rest[..width];
            if let Some((product, stride)) = self.product {
                self.gates.apply(f, switches);
                let product = &product[row * stride..row * stride + width];
                peep(fresh, &switches[width..], product);
            }
            self.gates.apply(g, fresh);
            for ((hidden, fresh), update) in hidden.iter_mut().zip(fresh).zip(&*switches) {
                *hidden = (R::ONE - *update) * *fresh + *update * *hidden;
            }
        }
    }
}

/// A step of a plain recurrent net.
pub(super) struct RnnStep<'a, R> {
    pub(super) gates: Gates<R>,
    pub(super) rows: Rows<'a, R>,
}

impl<R: Lane> WithSimd for RnnStep<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.rows.width;
        for (_, gates, hidden) in self.rows.living() {
            hidden.copy_from_slice(&gates[..width]);
            self.gates.apply(self.gates.functions[0], hidden);
        }
    }
}
