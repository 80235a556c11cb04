//! `FeatureVectorizer`: the columns of several tensors beside each other.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View, check_number, to_f32};
use crate::attributes::{check_length, ints};
use crate::check::invalid;
use crate::error::LoadError;
use crate::limits::LoadLimits;

/// The width of each input in the output: cut off, or filled with zeros.
#[derive(Debug, Clone)]
pub(crate) struct FeatureVectorizer {
    widths: Vec<usize>,
}

impl FeatureVectorizer {
    pub(crate) fn parse(node: &NodeProto, limits: &LoadLimits) -> Result<Self, LoadError> {
        let dims = ints(node, "inputdimensions");
        check_length(
            node,
            "inputdimensions",
            dims.len(),
            "the list of inputs",
            node.input.len(),
        )?;
        let mut left = limits.max_elements;
        let mut widths = Vec::with_capacity(dims.len());
        for (at, dim) in dims.iter().enumerate() {
            let width = usize::try_from(*dim).ok().filter(|width| *width > 0);
            let width = width.ok_or_else(|| {
                invalid(
                    node,
                    format!("inputdimensions[{at}] is {dim}; 1 or more is needed"),
                )
            })?;
            left = left.checked_sub(width).ok_or_else(|| LoadError::TooLarge {
                what: "the sum of inputdimensions".to_owned(),
                actual: width,
                limit: limits.max_elements,
            })?;
            widths.push(width);
        }
        Ok(Self { widths })
    }

    pub(crate) fn form(&self, inputs: &[Form]) -> Result<Form, String> {
        if inputs.len() != self.widths.len() {
            return Err(format!(
                "{} inputs where {} are taken",
                inputs.len(),
                self.widths.len()
            ));
        }
        let mut rows = None;
        for input in inputs {
            check_number(input.datatype)?;
            let (own, _) = rows_of(&input.shape)?;
            if *rows.get_or_insert(own) != own {
                return Err("the inputs have different numbers of rows".to_owned());
            }
        }
        let shape = vec![rows.unwrap_or(0), self.widths.iter().sum()];
        Ok(Form::new(DataType::Fp32, shape))
    }

    pub(crate) fn run(&self, inputs: &[View<'_>]) -> Result<Array, String> {
        let forms: Vec<Form> = inputs.iter().map(View::form).collect();
        let form = self.form(&forms)?;
        let total = form.shape[1];
        let mut out = vec![0.0; form.shape[0] * total];
        let mut offset = 0;
        for (input, &width) in inputs.iter().zip(&self.widths) {
            let (_, columns) = rows_of(input.shape)?;
            let values = to_f32(input.data)?;
            let taken = width.min(columns);
            if taken > 0 {
                let rows = values.chunks_exact(columns);
                for (row, target) in rows.zip(out.chunks_exact_mut(total)) {
                    target[offset..offset + taken].copy_from_slice(&row[..taken]);
                }
            }
            offset += width;
        }
        Ok(Array::floats(form.shape, out))
    }
}

/// Rows, and elements in each; `[columns]` is one row.
fn rows_of(shape: &[usize]) -> Result<(usize, usize), String> {
    match shape {
        [] => Err("a scalar where rows are taken".to_owned()),
        [columns] => Ok((1, *columns)),
        [rows, rest @ ..] => Ok((*rows, rest.iter().product())),
    }
}
