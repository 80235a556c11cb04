//! Kernels: how near a row is to a support vector.

use tract_onnx::pb::NodeProto;

use crate::attributes::{finite, floats, text};
use crate::check::invalid;
use crate::error::LoadError;
use crate::ml::linear::dot;

/// A kernel with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kernel {
    Linear,
    Polynomial { gamma: f32, coef0: f32, degree: f32 },
    Radial { gamma: f32 },
    Sigmoid { gamma: f32, coef0: f32 },
}

impl Kernel {
    pub(super) fn read(node: &NodeProto) -> Result<Self, LoadError> {
        let params = finite(node, "kernel_params", floats(node, "kernel_params"))?;
        let (gamma, coef0, degree) = match *params {
            [] => (0.0, 0.0, 0.0),
            [gamma, coef0, degree] => (gamma, coef0, degree),
            _ => {
                return Err(invalid(
                    node,
                    format!(
                        "kernel_params has {} entries; gamma, coef0 and degree are needed",
                        params.len()
                    ),
                ));
            }
        };
        let kind = text(node, "kernel_type").unwrap_or(b"LINEAR");
        if kind != b"LINEAR" && params.is_empty() {
            return Err(invalid(node, "it has no kernel_params"));
        }
        match kind {
            b"LINEAR" => Ok(Self::Linear),
            b"POLY" => Ok(Self::Polynomial {
                gamma,
                coef0,
                degree,
            }),
            b"RBF" => Ok(Self::Radial { gamma }),
            b"SIGMOID" => Ok(Self::Sigmoid { gamma, coef0 }),
            other => Err(invalid(
                node,
                format!("`{}` is no kernel_type", String::from_utf8_lossy(other)),
            )),
        }
    }

    /// The kernel's value for a row and a vector of the same length.
    pub(super) fn apply(self, row: &[f32], vector: &[f32]) -> f32 {
        match self {
            Self::Linear => dot(row, vector),
            Self::Polynomial {
                gamma,
                coef0,
                degree,
            } => (gamma * dot(row, vector) + coef0).powf(degree),
            Self::Radial { gamma } => {
                let square: f32 = row.iter().zip(vector).map(|(a, b)| (a - b) * (a - b)).sum();
                (-gamma * square).exp()
            }
            Self::Sigmoid { gamma, coef0 } => (gamma * dot(row, vector) + coef0).tanh(),
        }
    }
}
