//! Functions of one number, in float64: for float64 graphs and for the gates of recurrent cells.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, bail, tvec};

use super::kernel::{Kernel, check_type, elements, need, shape};
use crate::attributes::{float, text};

/// A function of one number, as ONNX defines the operator of its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Affine {
        alpha: f64,
        beta: f64,
    },
    Celu {
        alpha: f64,
    },
    Clip {
        low: f64,
        high: f64,
    },
    Elu {
        alpha: f64,
    },
    Erf,
    Gelu,
    /// The approximation by the hyperbolic tangent.
    GeluTanh,
    HardSigmoid {
        alpha: f64,
        beta: f64,
    },
    HardSwish,
    LeakyRelu {
        alpha: f64,
    },
    Mish,
    Relu,
    ScaledTanh {
        alpha: f64,
        beta: f64,
    },
    Selu {
        alpha: f64,
        gamma: f64,
    },
    Shrink {
        bias: f64,
        lambd: f64,
    },
    Sigmoid,
    Softplus,
    Softsign,
    Swish {
        alpha: f64,
    },
    Tanh,
    ThresholdedRelu {
        alpha: f64,
    },
}

/// `1 / (1 + exp(-x))`, without overflow on either side.
pub(super) fn sigmoid(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    if x < 0.0 {
        small / (1.0 + small)
    } else {
        1.0 / (1.0 + small)
    }
}

/// `ln(1 + exp(x))`, without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Activation {
    /// Reads a node: its operator is the function.
    pub(super) fn parse(node: &NodeProto, operator: &str) -> TractResult<Self> {
        let number = |name: &str, default: f32| f64::from(float(node, name).unwrap_or(default));
        Ok(match operator {
            "Clip" => Self::Clip {
                low: number("min", f32::NEG_INFINITY),
                high: number("max", f32::INFINITY),
            },
            "Gelu" => match text(node, "approximate").unwrap_or(b"none") {
                b"none" => Self::Gelu,
                b"tanh" => Self::GeluTanh,
                other => bail!(
                    "approximate `{}` is not known",
                    String::from_utf8_lossy(other)
                ),
            },
            "HardSwish" => Self::HardSwish,
            "Mish" => Self::Mish,
            "Erf" => Self::Erf,
            "Celu" => Self::Celu {
                alpha: number("alpha", 1.0),
            },
            "Selu" => Self::Selu {
                alpha: number("alpha", 1.673_263_2),
                gamma: number("gamma", 1.050_701),
            },
            "Shrink" => Self::Shrink {
                bias: number("bias", 0.0),
                lambd: number("lambd", 0.5),
            },
            "Swish" => Self::Swish {
                alpha: number("alpha", 1.0),
            },
            name => return Self::of_gate(name, float(node, "alpha"), float(node, "beta")),
        })
    }

    /// The function that a recurrent node names, with its parameters.
    pub(super) fn of_gate(name: &str, alpha: Option<f32>, beta: Option<f32>) -> TractResult<Self> {
        let alpha = |default: f32| f64::from(alpha.unwrap_or(default));
        let beta = |default: f32| f64::from(beta.unwrap_or(default));
        Ok(match name {
            "Affine" => Self::Affine {
                alpha: alpha(1.0),
                beta: beta(0.0),
            },
            "Elu" => Self::Elu { alpha: alpha(1.0) },
            "HardSigmoid" => Self::HardSigmoid {
                alpha: alpha(0.2),
                beta: beta(0.5),
            },
            "LeakyRelu" => Self::LeakyRelu { alpha: alpha(0.01) },
            "Relu" => Self::Relu,
            "ScaledTanh" => Self::ScaledTanh {
                alpha: alpha(1.0),
                beta: beta(1.0),
            },
            "Sigmoid" => Self::Sigmoid,
            "Softplus" => Self::Softplus,
            "Softsign" => Self::Softsign,
            "Tanh" => Self::Tanh,
            "ThresholdedRelu" => Self::ThresholdedRelu { alpha: alpha(1.0) },
            other => bail!("the function `{other}` is not run"),
        })
    }

    /// The function's value; NaN for NaN.
    pub(super) fn apply(self, x: f64) -> f64 {
        match self {
            Self::Affine { alpha, beta } => alpha * x + beta,
            Self::Celu { alpha } if x < 0.0 => alpha * (x / alpha).exp_m1(),
            Self::Elu { alpha } if x < 0.0 => alpha * x.exp_m1(),
            Self::LeakyRelu { alpha } if x < 0.0 => alpha * x,
            Self::Relu if x < 0.0 => 0.0,
            Self::Selu { alpha, gamma } if x <= 0.0 => gamma * alpha * x.exp_m1(),
            Self::ThresholdedRelu { alpha } if x <= alpha => 0.0,
            Self::Selu { gamma, .. } => gamma * x,
            Self::Clip { low, high } if x < low => low.min(high),
            Self::Clip { high, .. } if x > high => high,
            Self::Celu { .. }
            | Self::Elu { .. }
            | Self::LeakyRelu { .. }
            | Self::Relu
            | Self::ThresholdedRelu { .. }
            | Self::Clip { .. } => x,
            Self::Erf => libm::erf(x),
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::HardSigmoid { alpha, beta } => clamp(alpha * x + beta),
            Self::HardSwish => x * clamp(x / 6.0 + 0.5),
            Self::Mish => x * softplus(x).tanh(),
            Self::ScaledTanh { alpha, beta } => alpha * (beta * x).tanh(),
            Self::Shrink { bias, lambd } => {
                if x < -lambd {
                    x + bias
                } else if x > lambd {
                    x - bias
                } else if x.is_nan() {
                    x
                } else {
                    0.0
                }
            }
            Self::Sigmoid => sigmoid(x),
            Self::Softplus => softplus(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Swish { alpha } => x * sigmoid(alpha * x),
            Self::Tanh => x.tanh(),
        }
    }
}

/// To 0 to 1.
fn clamp(x: f64) -> f64 {
    x.clamp(0.0, 1.0)
}

impl Kernel for Activation {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let x = need(inputs, 0)?;
        check_type(x, f64::datum_type())?;
        Ok(tvec![f64::fact(shape(x)?)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let made: Vec<f64> = elements::<f64>(x)?.iter().map(|v| self.apply(*v)).collect();
        Ok(tvec![TractTensor::from_shape(x.shape(), &made)?])
    }
}
