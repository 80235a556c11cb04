//! What the classifiers and regressors of `ai.onnx.ml` do with their scores, in onnxruntime's arithmetic.

use tract_onnx::pb::NodeProto;

use crate::attributes::text;
use crate::check::invalid;
use crate::error::LoadError;

/// ln 2 in two parts: the first has so few digits that its product with a small integer is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Added to a number and taken away again, it leaves the nearest integer: 1.5 × 2^23.
const ROUND: f32 = 12_582_912.0;

/// What is done with the scores of one row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PostTransform {
    #[default]
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

impl PostTransform {
    /// All, in the order of the packed form.
    pub(crate) const ALL: [Self; 5] = [
        Self::None,
        Self::Softmax,
        Self::Logistic,
        Self::SoftmaxZero,
        Self::Probit,
    ];

    /// Reads the attribute `post_transform`; `NONE` where it is left out.
    pub(crate) fn read(node: &NodeProto) -> Result<Self, LoadError> {
        match text(node, "post_transform").unwrap_or(b"NONE") {
            b"NONE" => Ok(Self::None),
            b"SOFTMAX" => Ok(Self::Softmax),
            b"LOGISTIC" => Ok(Self::Logistic),
            b"SOFTMAX_ZERO" => Ok(Self::SoftmaxZero),
            b"PROBIT" => Ok(Self::Probit),
            other => Err(invalid(
                node,
                format!("`{}` is no post_transform", String::from_utf8_lossy(other)),
            )),
        }
    }

    /// Transforms the scores of rows of a width, two or more.
    pub(crate) fn apply_rows(self, scores: &mut [f32], width: usize) {
        match self {
            Self::None => {}
            Self::Logistic => self.apply(scores),
            Self::Softmax => softmax(scores, width),
            Self::Probit | Self::SoftmaxZero => {
                for row in scores.chunks_exact_mut(width) {
                    self.apply(row);
                }
            }
        }
    }

    /// Transforms the scores of one row, two or more.
    pub(crate) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => {
                for score in scores {
                    *score = logistic(*score);
                }
            }
            Self::Probit => {
                for score in scores {
                    *score = probit(*score);
                }
            }
            Self::Softmax => softmax(scores, scores.len()),
            Self::SoftmaxZero => softmax_zero(scores),
        }
    }
}

/// Of rows of a width: the exponentials of all of them in one loop.
fn softmax(scores: &mut [f32], width: usize) {
    for row in scores.chunks_exact_mut(width) {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        for score in row {
            *score -= most;
        }
    }
    for score in scores.iter_mut() {
        *score = exp(*score);
    }
    for row in scores.chunks_exact_mut(width) {
        let sum: f32 = row.iter().sum();
        for score in row {
            *score /= sum;
        }
    }
}

/// A softmax that leaves zeros out.
fn softmax_zero(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let scale = exp(-most);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > 1e-7 {
            *score = exp(*score - most);
            sum += *score;
        } else {
            *score *= scale;
        }
    }
    for score in scores {
        *score /= sum;
    }
}

/// The exponential, to 2 units in the last place: straight arithmetic, so that loops over it are run four at a time and
/// every machine gives the same bits.
///
/// `x = n ln 2 + r`, and `exp(r)` by its Taylor series to the seventh power, whose rest is below 2^-27 of it.
fn exp(x: f32) -> f32 {
    // Beyond these bounds it is 0 and infinity. NaN passes.
    let x = x.clamp(-105.0, 90.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let mut sum = 1.0 / 5040.0;
    for term in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        sum = sum * r + term;
    }
    let power = sum * (r * r) + r + 1.0;
    // In two factors, for 2^n need be no normal number.
    let n = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .cast_signed();
    let half = n >> 1;
    power * power_of_two(half) * power_of_two(n - half)
}

/// 2 to a power between -126 and 127.
fn power_of_two(power: i32) -> f32 {
    f32::from_bits((power.wrapping_add(127) << 23).cast_unsigned())
}

pub(crate) fn logistic(value: f32) -> f32 {
    let positive = 1.0 / (1.0 + exp(-value.abs()));
    if value < 0.0 {
        1.0 - positive
    } else {
        positive
    }
}

/// `1 / (1 + exp(-value))` in float64, exact on both sides of 0.
pub(crate) fn logistic_wide(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// The normal quantile by Winitzki's approximation of the inverse error function (constant 0.147).
pub(crate) fn probit(value: f32) -> f32 {
    std::f32::consts::SQRT_2 * inverse_erf(2.0 * value - 1.0)
}

#[expect(clippy::approx_constant, reason = "the digits that onnxruntime takes")]
fn inverse_erf(value: f32) -> f32 {
    let sign = if value < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - value) * (1.0 + value)).ln();
    let half = 2.0 / (3.141_59 * 0.147) + 0.5 * log;
    sign * (-half + (half * half - 1.0 / 0.147 * log).sqrt()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{PostTransform, exp, logistic};
    use proptest::prelude::*;

    /// The distance to the true value, in units of its last place.
    fn error(found: f32, true_value: f64) -> f64 {
        let near = true_value as f32;
        let unit = f64::from(f32::from_bits(near.to_bits() + 1)) - f64::from(near);
        (f64::from(found) - true_value).abs() / unit
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn exponentials_are_within_two_units_of_the_last_place(x in -87.3_f32..88.7) {
            prop_assert!(error(exp(x), f64::from(x).exp()) < 2.0);
        }

        #[test]
        fn subnormal_exponentials_are_within_a_unit(x in -105.0_f32..-87.3) {
            prop_assert!(error(exp(x), f64::from(x).exp()) <= 1.0);
        }

        #[test]
        fn logistic_is_near_the_true_one(x in -120.0_f32..120.0) {
            let expected = 1.0 / (1.0 + (-f64::from(x)).exp());
            prop_assert!((f64::from(logistic(x)) - expected).abs() < 1.2e-7);
        }

        #[test]
        fn rows_together_get_what_each_gets_alone(
            scores in prop::collection::vec(-50.0_f32..50.0, 12),
            width in prop::sample::select(vec![2_usize, 3, 4, 6]),
            transform in prop::sample::select(vec![
                PostTransform::None,
                PostTransform::Logistic,
                PostTransform::Softmax,
                PostTransform::SoftmaxZero,
            ]),
        ) {
            let (mut together, mut alone) = (scores.clone(), scores);
            transform.apply_rows(&mut together, width);
            for row in alone.chunks_exact_mut(width) {
                transform.apply(row);
                if transform == PostTransform::Softmax {
                    prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                }
            }
            prop_assert_eq!(together, alone);
        }
    }

    #[test]
    fn exponentials_of_the_ends_are_exact() {
        let cases = [
            (0.0, 1.0),
            (-0.0, 1.0),
            (f32::NEG_INFINITY, 0.0),
            (f32::MIN, 0.0),
            (f32::INFINITY, f32::INFINITY),
            (89.0, f32::INFINITY),
        ];
        for (x, expected) in cases {
            assert_eq!(exp(x).to_bits(), expected.to_bits(), "exp({x})");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(logistic(f32::NAN).is_nan());
    }
}
