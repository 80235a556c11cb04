//! Holds a request's tensors to the manifest's input schema and applies its policies.
//!
//! Per column, in this order: type conversion, missing value, hard range, outlier, scale. Values are
//! changed in place: a request that needs no change costs no allocation and keeps its bits.

mod column;
mod convert;
mod element;

use artifact::manifest::{DataType, InputTensor, Manifest, TypeConversion};
use serde::{Deserialize, Serialize};

use crate::error::{InputError, LoadError};
use crate::tensor::{Tensor, TensorData};
use column::ColumnPolicy;

/// A request that keeps the manifest's input schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Sanitized {
    /// The tensors as they reach the model, in the manifest's order.
    pub inputs: Vec<Tensor>,
    /// The number of rows, the same in every tensor; 1 or more.
    pub rows: usize,
    /// What was changed or remarked, by tensor, then row, then column.
    pub changes: Vec<Change>,
}

/// One value that is not as the request sent it, or that is remarkable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The row, from 0; 0 for a change of the whole tensor.
    pub row: usize,
    /// The tensor's name.
    pub input: String,
    /// The column's name; none for a change of the whole tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What was done.
    pub kind: ChangeKind,
    /// The value as it was sent, in the request's unit; none if it was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// The value in its place, before scaling; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
}

/// What was done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A missing value was replaced.
    Imputed,
    /// An outlier was moved to the nearest ordinary value.
    Clipped,
    /// An outlier was let through.
    Flagged,
    /// The tensor had another numeric type.
    Converted,
}

/// The manifest's input schema, prepared for the hot path.
#[derive(Debug)]
pub(crate) struct Sanitizer {
    inputs: Vec<InputPolicy>,
    max_rows: usize,
}

#[derive(Debug)]
struct InputPolicy {
    name: String,
    datatype: DataType,
    /// The shape without the batch.
    trailing: Vec<usize>,
    /// Elements in one row.
    row_len: usize,
    convert: TypeConversion,
    columns: Vec<ColumnPolicy>,
}

impl Sanitizer {
    pub(crate) fn new(manifest: &Manifest) -> Result<Self, LoadError> {
        let inputs = manifest
            .inputs
            .iter()
            .map(InputPolicy::new)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            inputs,
            max_rows: manifest.limits.max_rows as usize,
        })
    }

    /// Checks and changes a request's tensors.
    pub(crate) fn sanitize(&self, inputs: Vec<Tensor>) -> Result<Sanitized, InputError> {
        let mut inputs = self.order(inputs)?;
        let mut rows = None;
        for (policy, tensor) in self.inputs.iter().zip(&inputs) {
            let own = policy.count_rows(tensor)?;
            let expected = *rows.get_or_insert(own);
            if own != expected {
                return Err(policy.fault(
                    "input.rows",
                    format!(
                        "{own} rows, but `inputs.{}` has {expected}; all inputs must have as many",
                        self.inputs[0].name
                    ),
                ));
            }
            if own == 0 || own > self.max_rows {
                return Err(policy.fault(
                    "input.rows",
                    format!("{own} rows; 1 to {} are taken", self.max_rows),
                ));
            }
        }
        let mut changes = Vec::new();
        for (policy, tensor) in self.inputs.iter().zip(&mut inputs) {
            policy.apply(tensor, &mut changes)?;
        }
        Ok(Sanitized {
            inputs,
            rows: rows.unwrap_or(0),
            changes,
        })
    }

    /// One row that is as ordinary as the manifest lets on, in the request's units.
    pub(crate) fn typical_row(&self) -> Vec<Tensor> {
        self.inputs
            .iter()
            .map(|policy| {
                let values: Vec<f64> = (0..policy.row_len)
                    .map(|at| policy.column(at).map_or(0.0, ColumnPolicy::typical))
                    .collect();
                let mut shape = vec![1];
                shape.extend(&policy.trailing);
                Tensor {
                    name: policy.name.clone(),
                    shape,
                    data: convert::from_f64(policy.datatype, &values),
                }
            })
            .collect()
    }

    /// Puts the tensors in the manifest's order: each once, none unknown.
    fn order(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InputError> {
        let in_order = inputs.len() == self.inputs.len()
            && inputs
                .iter()
                .zip(&self.inputs)
                .all(|(tensor, policy)| tensor.name == policy.name);
        if in_order {
            return Ok(inputs);
        }
        let mut slots: Vec<Option<Tensor>> = self.inputs.iter().map(|_| None).collect();
        for tensor in inputs {
            let field = format!("inputs.{}", tensor.name);
            let Some(at) = self
                .inputs
                .iter()
                .position(|policy| policy.name == tensor.name)
            else {
                let names: Vec<&str> = self
                    .inputs
                    .iter()
                    .map(|policy| policy.name.as_str())
                    .collect();
                let message = format!("the model has no such input; it takes {}", names.join(", "));
                return Err(InputError {
                    code: "input.unknown",
                    field,
                    message,
                });
            };
            if slots[at].replace(tensor).is_some() {
                let message = "given more than once".to_owned();
                return Err(InputError {
                    code: "input.duplicate",
                    field,
                    message,
                });
            }
        }
        self.inputs
            .iter()
            .zip(slots)
            .map(|(policy, slot)| {
                slot.ok_or_else(|| policy.fault("input.missing_tensor", "missing".to_owned()))
            })
            .collect()
    }
}

impl InputPolicy {
    fn new(input: &InputTensor) -> Result<Self, LoadError> {
        let mismatch = |what: &str, reason: String| LoadError::ManifestMismatch {
            field: format!("inputs.{}.{what}", input.name),
            reason,
        };
        let trailing = input
            .shape
            .iter()
            .skip(1)
            .map(|&dim| usize::try_from(dim).ok().filter(|dim| *dim > 0))
            .collect::<Option<Vec<_>>>()
            .filter(|_| input.shape.first() == Some(&-1))
            .ok_or_else(|| {
                mismatch(
                    "shape",
                    format!(
                        "{:?}; the first dimension must be -1, the others positive",
                        input.shape
                    ),
                )
            })?;
        let row_len = trailing
            .iter()
            .try_fold(1_usize, |product, dim| product.checked_mul(*dim))
            .ok_or_else(|| mismatch("shape", "a row has too many elements".to_owned()))?;
        let width = trailing.last().copied().unwrap_or(1);
        if !input.columns.is_empty() && input.columns.len() != width {
            let reason = format!(
                "{} columns for a last dimension of {width}",
                input.columns.len()
            );
            return Err(mismatch("columns", reason));
        }
        let columns = input
            .columns
            .iter()
            .map(|column| {
                ColumnPolicy::new(column, input.datatype)
                    .map_err(|reason| mismatch(&format!("columns.{}", column.name), reason))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: input.name.clone(),
            datatype: input.datatype,
            trailing,
            row_len,
            convert: input.convert,
            columns,
        })
    }

    fn fault(&self, code: &'static str, message: String) -> InputError {
        InputError {
            code,
            field: format!("inputs.{}", self.name),
            message,
        }
    }

    /// The column of an element, by its place in the row.
    fn column(&self, at: usize) -> Option<&ColumnPolicy> {
        if self.columns.is_empty() {
            None
        } else {
            self.columns.get(at % self.columns.len())
        }
    }

    /// Names an element, for example `inputs.features[3].rsi_14`; further dimensions stand as one index.
    fn field(&self, row: usize, at: usize) -> String {
        match self.column(at) {
            Some(column) if self.row_len == self.columns.len() => {
                format!("inputs.{}[{row}].{}", self.name, column.name)
            }
            Some(column) => format!(
                "inputs.{}[{row}][{}].{}",
                self.name,
                at / self.columns.len(),
                column.name
            ),
            None if self.row_len == 1 => format!("inputs.{}[{row}]", self.name),
            None => format!("inputs.{}[{row}][{at}]", self.name),
        }
    }

    /// Checks the shape and gives the number of rows.
    fn count_rows(&self, tensor: &Tensor) -> Result<usize, InputError> {
        let fits =
            tensor.shape.len() == self.trailing.len() + 1 && tensor.shape[1..] == self.trailing[..];
        if !fits {
            let expected: Vec<String> =
                self.trailing.iter().map(|dim| format!(", {dim}")).collect();
            let expected = expected.concat();
            return Err(self.fault(
                "input.shape",
                format!("shape {:?}; [rows{expected}] is taken", tensor.shape),
            ));
        }
        let rows = tensor.shape[0];
        let count = rows.checked_mul(self.row_len);
        if count != Some(tensor.data.len()) {
            let message = format!(
                "{} elements do not fill shape {:?}",
                tensor.data.len(),
                tensor.shape
            );
            return Err(self.fault("input.count", message));
        }
        Ok(rows)
    }

    fn apply(&self, tensor: &mut Tensor, changes: &mut Vec<Change>) -> Result<(), InputError> {
        let sent = tensor.data.datatype();
        if sent != self.datatype {
            if self.convert == TypeConversion::Strict {
                let message = format!(
                    "datatype {}; {} is taken",
                    sent.name(),
                    self.datatype.name()
                );
                return Err(self.fault("input.datatype", message));
            }
            tensor.data =
                convert::convert(&tensor.data, self.datatype).map_err(|fault| match fault {
                    convert::ConvertError::NotNumeric => self.fault(
                        "input.datatype",
                        format!(
                            "datatype {}; {} or another numeric type is taken",
                            sent.name(),
                            self.datatype.name()
                        ),
                    ),
                    convert::ConvertError::Value { at, value } => InputError {
                        code: "input.conversion",
                        field: self.field(at / self.row_len, at % self.row_len),
                        message: format!("{value} does not fit {} exactly", self.datatype.name()),
                    },
                })?;
            changes.push(Change {
                row: 0,
                input: self.name.clone(),
                column: None,
                kind: ChangeKind::Converted,
                from: None,
                to: None,
            });
        }
        match &mut tensor.data {
            TensorData::Bool(_) | TensorData::Bytes(_) => Ok(()),
            TensorData::Uint8(values) => self.apply_values(values, changes),
            TensorData::Uint16(values) => self.apply_values(values, changes),
            TensorData::Uint32(values) => self.apply_values(values, changes),
            TensorData::Uint64(values) => self.apply_values(values, changes),
            TensorData::Int8(values) => self.apply_values(values, changes),
            TensorData::Int16(values) => self.apply_values(values, changes),
            TensorData::Int32(values) => self.apply_values(values, changes),
            TensorData::Int64(values) => self.apply_values(values, changes),
            TensorData::Fp16(values) => self.apply_values(values, changes),
            TensorData::Fp32(values) => self.apply_values(values, changes),
            TensorData::Fp64(values) => self.apply_values(values, changes),
        }
    }

    fn apply_values<T: element::Element>(
        &self,
        values: &mut [T],
        changes: &mut Vec<Change>,
    ) -> Result<(), InputError> {
        for (row, elements) in values.chunks_exact_mut(self.row_len).enumerate() {
            if self.columns.is_empty() {
                if let Some(at) = elements.iter().position(|value| !value.is_finite()) {
                    return Err(InputError {
                        code: "input.not_finite",
                        field: self.field(row, at),
                        message: "must be a finite number".to_owned(),
                    });
                }
                continue;
            }
            for (step, group) in elements.chunks_exact_mut(self.columns.len()).enumerate() {
                for (at, (value, column)) in group.iter_mut().zip(&self.columns).enumerate() {
                    let remark = column.apply(value).map_err(|fault| InputError {
                        code: fault.code,
                        field: self.field(row, step * self.columns.len() + at),
                        message: fault.message,
                    })?;
                    if let Some(remark) = remark {
                        changes.push(Change {
                            row,
                            input: self.name.clone(),
                            column: Some(column.name.clone()),
                            kind: remark.kind,
                            from: remark.from,
                            to: remark.to,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
