//! Functions of one number, in float64.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, bail, tvec};

use super::kernel::{Kernel, check_type, elements, need, shape};
use crate::attributes::{float, text};
use crate::ml::logistic_wide;
use crate::sequence;

/// A function of one number, as ONNX defines the operator of its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Celu {
        alpha: f64,
    },
    Clip {
        low: f64,
        high: f64,
    },
    Erf,
    /// One that a recurrent node may name too.
    Gate(sequence::Activation),
    Gelu,
    /// The approximation by the hyperbolic tangent.
    GeluTanh,
    HardSwish,
    Mish,
    Selu {
        alpha: f64,
        gamma: f64,
    },
    Shrink {
        bias: f64,
        lambd: f64,
    },
    Swish {
        alpha: f64,
    },
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
            name => {
                let gate = sequence::Activation::find(
                    name.as_bytes(),
                    || float(node, "alpha"),
                    || float(node, "beta"),
                );
                match gate {
                    Ok(Some(gate)) => Self::Gate(gate),
                    _ => bail!("the function `{name}` is not run"),
                }
            }
        })
    }

    /// The function's value; NaN for NaN.
    pub(super) fn apply(self, x: f64) -> f64 {
        match self {
            Self::Celu { alpha } if x < 0.0 => alpha * (x / alpha).exp_m1(),
            Self::Selu { alpha, gamma } if x <= 0.0 => gamma * alpha * x.exp_m1(),
            Self::Selu { gamma, .. } => gamma * x,
            Self::Clip { low, high } if x < low => low.min(high),
            Self::Clip { high, .. } if x > high => high,
            Self::Celu { .. } | Self::Clip { .. } => x,
            Self::Gate(gate) => gate.value(x),
            Self::Erf => libm::erf(x),
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::HardSwish => x * clamp(x / 6.0 + 0.5),
            Self::Mish => x * sequence::Activation::Softplus.value(x).tanh(),
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
            Self::Swish { alpha } => x * logistic_wide(alpha * x),
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
