//! The functions that an operator may name in `activations`.

#![expect(
    clippy::inline_always,
    reason = "code uses the processor's registers only where it is inlined into what was chosen for them"
)]

use tract_onnx::pb::NodeProto;

use super::lane::Lane;
use crate::attributes::floats;
use crate::check::{invalid, unsupported};
use crate::error::LoadError;

/// A function of one number, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    Sigmoid,
    Tanh,
    Relu,
    Softsign,
    Softplus,
    Affine { alpha: f32, beta: f32 },
    ScaledTanh { alpha: f32, beta: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    LeakyRelu { alpha: f32 },
    ThresholdedRelu { alpha: f32 },
    Elu { alpha: f32 },
}

/// Reads names in order; a function that has parameters takes the next ones of `activation_alpha` and
/// `activation_beta`, or the defaults of the operator of its name where the lists have ended.
pub(super) fn parse_activations(
    node: &NodeProto,
    names: &[&[u8]],
) -> Result<Vec<Activation>, LoadError> {
    let mut alphas = Parameters::new(node, "activation_alpha");
    let mut betas = Parameters::new(node, "activation_beta");
    let found = names
        .iter()
        .map(|name| {
            let found = Activation::find(name, || alphas.next(), || betas.next());
            found
                .map_err(|reason| invalid(node, reason))?
                .ok_or_else(|| {
                    let name = String::from_utf8_lossy(name);
                    let reason = format!("the activation `{name}` is not one of ONNX's");
                    unsupported(node, reason, "")
                })
        })
        .collect::<Result<_, _>>()?;
    alphas.finish(node)?;
    betas.finish(node)?;
    Ok(found)
}

/// A list of parameters that is used up function by function.
struct Parameters<'a> {
    name: &'static str,
    values: &'a [f32],
    used: usize,
}

impl<'a> Parameters<'a> {
    fn new(node: &'a NodeProto, name: &'static str) -> Self {
        Self {
            name,
            values: floats(node, name),
            used: 0,
        }
    }

    fn next(&mut self) -> Option<f32> {
        let value = self.values.get(self.used).copied()?;
        self.used += 1;
        Some(value)
    }

    fn finish(&self, node: &NodeProto) -> Result<(), LoadError> {
        if self.used == self.values.len() {
            return Ok(());
        }
        let reason = format!(
            "{} has {} entries where the activations take {}",
            self.name,
            self.values.len(),
            self.used
        );
        Err(invalid(node, reason))
    }
}

impl Activation {
    /// The function of a name, in letters of either case; it asks for the parameters that it has. None for a name that
    /// is not one of ONNX's activations.
    pub(crate) fn find(
        name: &[u8],
        alpha: impl FnOnce() -> Option<f32>,
        beta: impl FnOnce() -> Option<f32>,
    ) -> Result<Option<Self>, &'static str> {
        Ok(Some(match name.to_ascii_lowercase().as_slice() {
            b"sigmoid" => Self::Sigmoid,
            b"tanh" => Self::Tanh,
            b"relu" => Self::Relu,
            b"softsign" => Self::Softsign,
            b"softplus" => Self::Softplus,
            b"affine" => Self::Affine {
                alpha: alpha().unwrap_or(1.0),
                beta: beta().unwrap_or(0.0),
            },
            b"scaledtanh" => {
                let (Some(alpha), Some(beta)) = (alpha(), beta()) else {
                    return Err(
                        "ScaledTanh has no default of activation_alpha and activation_beta",
                    );
                };
                Self::ScaledTanh { alpha, beta }
            }
            b"hardsigmoid" => Self::HardSigmoid {
                alpha: alpha().unwrap_or(0.2),
                beta: beta().unwrap_or(0.5),
            },
            b"leakyrelu" => Self::LeakyRelu {
                alpha: alpha().unwrap_or(0.01),
            },
            b"thresholdedrelu" => Self::ThresholdedRelu {
                alpha: alpha().unwrap_or(1.0),
            },
            b"elu" => Self::Elu {
                alpha: alpha().unwrap_or(1.0),
            },
            _ => return Ok(None),
        }))
    }

    /// The function of the operator of a name, with its attributes; none for an operator that is no function here.
    pub(super) fn of_operator(name: &str, alpha: Option<f32>, beta: Option<f32>) -> Option<Self> {
        // These two are no operators.
        if matches!(name, "Affine" | "ScaledTanh") {
            return None;
        }
        Self::find(name.as_bytes(), || alpha, || beta)
            .ok()
            .flatten()
    }

    /// Applies it in place.
    #[inline(always)]
    pub(super) fn apply<R: Lane>(self, values: &mut [R]) {
        match self {
            // NaN stays.
            Self::Relu => {
                for x in values {
                    *x = if *x < R::ZERO { R::ZERO } else { *x };
                }
            }
            Self::Sigmoid => {
                for x in values {
                    *x = x.sigmoid();
                }
            }
            Self::Tanh => {
                for x in values {
                    *x = x.tanh();
                }
            }
            other => other.apply_other(values),
        }
    }

    /// What nets seldom have between gates: one copy of the code for all processors.
    #[inline(never)]
    fn apply_other<R: Lane>(self, values: &mut [R]) {
        for x in values {
            *x = self.of(*x);
        }
    }

    /// The function's value; NaN for NaN.
    pub(crate) fn value(self, x: f64) -> f64 {
        self.of(x)
    }

    fn of<R: Lane>(self, x: R) -> R {
        let number = R::from_f32;
        // Comparisons are written so that NaN takes the way on which it stays.
        match self {
            Self::Sigmoid => x.sigmoid(),
            Self::Tanh => x.tanh(),
            Self::Relu if x < R::ZERO => R::ZERO,
            Self::Softsign => x / (R::ONE + x.magnitude()),
            Self::Softplus if x > R::ZERO => x + (-x).exp().ln_1p(),
            Self::Softplus => x.exp().ln_1p(),
            Self::Affine { alpha, beta } => number(alpha) * x + number(beta),
            Self::ScaledTanh { alpha, beta } => number(alpha) * (number(beta) * x).tanh(),
            Self::HardSigmoid { alpha, beta } => {
                let line = number(alpha) * x + number(beta);
                if line < R::ZERO {
                    R::ZERO
                } else if line > R::ONE {
                    R::ONE
                } else {
                    line
                }
            }
            Self::LeakyRelu { alpha } if x < R::ZERO => number(alpha) * x,
            Self::ThresholdedRelu { alpha } if x <= number(alpha) => R::ZERO,
            Self::Elu { alpha } if x < R::ZERO => number(alpha) * x.exp_m1(),
            Self::Relu
            | Self::LeakyRelu { .. }
            | Self::ThresholdedRelu { .. }
            | Self::Elu { .. } => x,
        }
    }
}
