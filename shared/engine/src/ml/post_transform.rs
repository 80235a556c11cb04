//! What the classifiers and regressors of `ai.onnx.ml` do with their scores, in onnxruntime's arithmetic.

use tract_onnx::pb::NodeProto;

use crate::attributes::text;
use crate::check::invalid;
use crate::error::LoadError;

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
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
        }
    }
}

fn softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - most).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// A softmax that leaves zeros out.
fn softmax_zero(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let scale = (-most).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > 1e-7 {
            *score = (*score - most).exp();
            sum += *score;
        } else {
            *score *= scale;
        }
    }
    for score in scores {
        *score /= sum;
    }
}

pub(crate) fn logistic(value: f32) -> f32 {
    let positive = 1.0 / (1.0 + (-value.abs()).exp());
    if value < 0.0 {
        1.0 - positive
    } else {
        positive
    }
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
