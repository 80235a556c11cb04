//! Class labels: integers or strings.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use crate::attributes::{ints, utf8};
use crate::check::invalid;
use crate::error::LoadError;
use crate::packed::{Reader, Writer};
use crate::tensor::TensorData;

/// Class labels, by class id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClassLabels {
    Integers(Vec<i64>),
    Strings(Vec<Vec<u8>>),
}

impl ClassLabels {
    /// Reads the one of two attributes that is given.
    pub(crate) fn read(node: &NodeProto, integers: &str, strings: &str) -> Result<Self, LoadError> {
        match (ints(node, integers), utf8(node, strings)?) {
            ([], []) => Err(invalid(
                node,
                format!("neither {integers} nor {strings} is given"),
            )),
            (integers, []) => Ok(Self::Integers(integers.to_vec())),
            ([], strings) => Ok(Self::Strings(strings.to_vec())),
            _ => Err(invalid(
                node,
                format!("both {integers} and {strings} are given"),
            )),
        }
    }

    /// Writes the labels.
    pub(crate) fn pack(&self, out: &mut Writer) {
        match self {
            Self::Integers(labels) => {
                out.one(0_u8);
                out.list(labels);
            }
            Self::Strings(labels) => {
                out.one(1_u8);
                out.count(labels.len());
                for label in labels {
                    out.list(label);
                }
            }
        }
    }

    /// Reads what [`ClassLabels::pack`] wrote.
    pub(crate) fn unpack(input: &mut Reader<'_>) -> Result<Self, LoadError> {
        match input.one::<u8>()? {
            0 => input.list().map(Self::Integers),
            1 => {
                let count = input.count()?;
                let mut labels = Vec::new();
                for at in 0..count {
                    let label: Vec<u8> = input.list()?;
                    if std::str::from_utf8(&label).is_err() {
                        return Err(input.fault(format!("label {at} is not UTF-8")));
                    }
                    labels.push(label);
                }
                Ok(Self::Strings(labels))
            }
            other => Err(input.fault(format!("{other} is no form of labels"))),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Integers(labels) => labels.len(),
            Self::Strings(labels) => labels.len(),
        }
    }

    /// The type of a tensor of them.
    pub(crate) fn datatype(&self) -> DataType {
        match self {
            Self::Integers(_) => DataType::Int64,
            Self::Strings(_) => DataType::Bytes,
        }
    }

    /// The labels of the winning classes; every one of `winners` is a class id.
    pub(crate) fn pick(&self, winners: &[u32]) -> TensorData {
        match self {
            Self::Integers(labels) => {
                TensorData::Int64(winners.iter().map(|at| labels[*at as usize]).collect())
            }
            Self::Strings(labels) => TensorData::Bytes(
                winners
                    .iter()
                    .map(|at| labels[*at as usize].clone())
                    .collect(),
            ),
        }
    }
}
