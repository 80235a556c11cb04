//! Numbers that fill the lanes of vector registers, and their exponentials.

#![expect(
    clippy::inline_always,
    reason = "code uses the processor's registers only where it is inlined into what was chosen for them"
)]

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::Simd;

use crate::ml::logistic_wide;

/// f32 or f64.
pub(super) trait Lane:
    Copy
    + Default
    + PartialOrd
    + Debug
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// A vector register.
    type Register<S: Simd>: Copy;
    const ZERO: Self;
    const ONE: Self;
    fn from_f32(value: f32) -> Self;
    fn magnitude(self) -> Self;
    /// Within `-bound..=bound`; NaN stays.
    fn bound(self, bound: Self) -> Self;
    fn exp(self) -> Self;
    fn exp_m1(self) -> Self;
    fn ln_1p(self) -> Self;
    fn sigmoid(self) -> Self;
    fn tanh(self) -> Self;
    /// `sigmoid(self) * tanh(other)`.
    fn sigmoid_by_tanh(self, other: Self) -> Self;
    /// Whole registers of a slice.
    fn registers<S: Simd>(values: &[Self]) -> &[Self::Register<S>];
    fn registers_mut<S: Simd>(values: &mut [Self]) -> &mut [Self::Register<S>];
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Register<S>;
    /// `left * right + sum`, rounded once where the processor can.
    fn multiply_add<S: Simd>(
        simd: S,
        left: Self::Register<S>,
        right: Self::Register<S>,
        sum: Self::Register<S>,
    ) -> Self::Register<S>;
}

/// Adding it rounds a float32 to a whole number, which then stands in the low bits of the sum.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has few bits, so that its multiples are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Minimax polynomial of `(exp(r) - 1 - r) / r²` for |r| <= ln(2)/2; relative error of the whole 3e-9.
const EXP: [f32; 5] = [
    0.499_999_94,
    0.166_665_21,
    0.041_668_39,
    0.008_368_717,
    0.001_381_459_9,
];
/// Minimax polynomial of `(tanh(x)/x - 1) / x²` over x² for |x| <= 0.625; relative error of the whole 4e-9.
const TANH: [f32; 5] = [
    -0.333_332_84,
    0.133_314_9,
    -0.053_743_497,
    0.020_650_586,
    -0.005_717_045,
];

/// Horner's rule.
#[inline(always)]
fn polynomial(coefficients: [f32; 5], x: f32) -> f32 {
    let [lower @ .., highest] = coefficients;
    lower
        .iter()
        .rev()
        .fold(highest, |sum, coefficient| sum.mul_add(x, *coefficient))
}

/// Arguments of -87..=88 at most, which may be NaN. Without a branch or a call where the processor has a fused
/// multiply-add, so that loops over it become vector code. Within 3e-7 of the true value, relative.
#[inline(always)]
fn exp_within(x: f32) -> f32 {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDING);
    let count = shifted - ROUNDING;
    let rest = (-count).mul_add(LN_2_LOW, (-count).mul_add(LN_2_HIGH, x));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    ((rest * rest).mul_add(polynomial(EXP, rest), rest) + 1.0) * power
}

/// Arguments are bounded to -87..=88.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    exp_within(x.clamp(-87.0, 88.0))
}

/// `tanh(x)` as a fraction.
#[inline(always)]
fn tanh_parts(x: f32) -> (f32, f32) {
    let size = x.abs();
    // The tangent is 1 from there on; NaN stays.
    let size = if size > 9.1 { 9.1 } else { size };
    let power = exp_within(size + size);
    let square = x * x;
    let small = (x * square).mul_add(polynomial(TANH, square), x) * (power + 1.0);
    let large = (power - 1.0).copysign(x);
    (if size < 0.625 { small } else { large }, power + 1.0)
}

impl Lane for f32 {
    type Register<S: Simd> = S::f32s;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn bound(self, bound: Self) -> Self {
        self.clamp(-bound, bound)
    }
    /// The standard library's: the approximation serves the gates only.
    fn exp(self) -> Self {
        f32::exp(self)
    }
    fn exp_m1(self) -> Self {
        f32::exp_m1(self)
    }
    fn ln_1p(self) -> Self {
        f32::ln_1p(self)
    }
    /// Within 5e-7 of the true value, relative, above -87.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + exp(-self))
    }
    /// Within 5e-7 of the true value, relative.
    #[inline(always)]
    fn tanh(self) -> Self {
        let (tangent, whole) = tanh_parts(self);
        tangent / whole
    }
    /// With one division, which costs as much as all the rest. Within 1e-6 of the true value, relative, above -60.
    #[inline(always)]
    fn sigmoid_by_tanh(self, other: Self) -> Self {
        let (tangent, whole) = tanh_parts(other);
        tangent / (whole * (1.0 + exp(-self)))
    }
    #[inline(always)]
    fn registers<S: Simd>(values: &[Self]) -> &[S::f32s] {
        S::as_simd_f32s(values).0
    }
    #[inline(always)]
    fn registers_mut<S: Simd>(values: &mut [Self]) -> &mut [S::f32s] {
        S::as_mut_simd_f32s(values).0
    }
    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: Self) -> S::f32s {
        simd.splat_f32s(value)
    }
    #[inline(always)]
    fn multiply_add<S: Simd>(simd: S, left: S::f32s, right: S::f32s, sum: S::f32s) -> S::f32s {
        simd.mul_add_e_f32s(left, right, sum)
    }
}

impl Lane for f64 {
    type Register<S: Simd> = S::f64s;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn bound(self, bound: Self) -> Self {
        self.clamp(-bound, bound)
    }
    fn exp(self) -> Self {
        f64::exp(self)
    }
    fn exp_m1(self) -> Self {
        f64::exp_m1(self)
    }
    fn ln_1p(self) -> Self {
        f64::ln_1p(self)
    }
    fn sigmoid(self) -> Self {
        logistic_wide(self)
    }
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    fn sigmoid_by_tanh(self, other: Self) -> Self {
        self.sigmoid() * f64::tanh(other)
    }
    #[inline(always)]
    fn registers<S: Simd>(values: &[Self]) -> &[S::f64s] {
        S::as_simd_f64s(values).0
    }
    #[inline(always)]
    fn registers_mut<S: Simd>(values: &mut [Self]) -> &mut [S::f64s] {
        S::as_mut_simd_f64s(values).0
    }
    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: Self) -> S::f64s {
        simd.splat_f64s(value)
    }
    #[inline(always)]
    fn multiply_add<S: Simd>(simd: S, left: S::f64s, right: S::f64s, sum: S::f64s) -> S::f64s {
        simd.mul_add_e_f64s(left, right, sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Lane;

    /// How far a value may lie from the true one, relative.
    const BOUND: f64 = 5e-7;

    #[track_caller]
    fn assert_near(x: f32, found: f32, truth: f64) {
        let error = (f64::from(found) - truth).abs() / truth.abs().max(1e-37);
        assert!(
            error <= BOUND,
            "at {x:e}: {found:e} for {truth:e}, {error:e}"
        );
    }

    fn check(x: f32) {
        let wide = f64::from(x);
        assert_near(x, Lane::tanh(x), wide.tanh());
        if x > -87.0 {
            assert_near(x, Lane::sigmoid(x), 1.0 / (1.0 + (-wide).exp()));
        } else {
            assert!(Lane::sigmoid(x) < 1.7e-38);
        }
    }

    #[test]
    fn gates_are_near_the_true_functions_on_a_fine_grid() {
        for step in -2_000_000..=2_000_000 {
            check(step as f32 * 5e-5);
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "saturated gates are exact")]
    fn products_of_gates_are_near_the_true_ones() {
        for first in -600..=1000 {
            for second in -1000..=1000 {
                let (x, y) = (first as f32 * 0.1, second as f32 * 0.013);
                let truth = f64::from(y).tanh() / (1.0 + (-f64::from(x)).exp());
                let found = f64::from(Lane::sigmoid_by_tanh(x, y));
                assert!(
                    (found - truth).abs() <= 1e-6 * truth.abs(),
                    "{x} {y}: {found} {truth}"
                );
            }
        }
        for large in [100.0, f32::INFINITY] {
            assert_eq!(Lane::sigmoid_by_tanh(large, large), 1.0);
            assert_eq!(Lane::sigmoid_by_tanh(large, -large), -1.0);
            assert!(Lane::sigmoid_by_tanh(-large, large).abs() < 1e-30);
        }
        assert!(Lane::sigmoid_by_tanh(f32::NAN, 1.0).is_nan());
        assert!(Lane::sigmoid_by_tanh(1.0, f32::NAN).is_nan());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "saturated gates are exact")]
    fn gates_keep_nan_and_saturate_at_infinities() {
        assert!(Lane::sigmoid(f32::NAN).is_nan() && Lane::tanh(f32::NAN).is_nan());
        assert_eq!(Lane::sigmoid(f32::INFINITY), 1.0);
        assert_eq!(
            (Lane::tanh(f32::INFINITY), Lane::tanh(f32::NEG_INFINITY)),
            (1.0, -1.0)
        );
        assert!(Lane::bound(f32::NAN, 1.0).is_nan());
    }

    proptest! {
        #[test]
        fn gates_are_near_the_true_functions_at_any_float(x in any::<f32>()) {
            prop_assume!(x.abs() > f32::MIN_POSITIVE);
            check(x);
        }
    }
}
