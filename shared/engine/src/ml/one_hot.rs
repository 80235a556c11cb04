//! `OneHotEncoder`: a column a category.

use std::collections::HashMap;

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View, check_number};
use super::labels::ClassLabels;
use crate::attributes::int;
use crate::check::invalid;
use crate::error::LoadError;
use crate::tensor::TensorData;

/// The categories' columns.
#[derive(Debug, Clone)]
pub(crate) struct OneHotEncoder {
    columns: Columns,
    count: usize,
    /// An element that is no category is a row of zeros, not an error.
    zeros: bool,
}

#[derive(Debug, Clone)]
enum Columns {
    Integers(HashMap<i64, usize>),
    Strings(HashMap<Vec<u8>, usize>),
}

impl OneHotEncoder {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let categories = ClassLabels::read(node, "cats_int64s", "cats_strings")?;
        let count = categories.len();
        let columns = match categories {
            ClassLabels::Integers(list) => Columns::Integers(
                list.into_iter()
                    .enumerate()
                    .map(|(at, key)| (key, at))
                    .collect(),
            ),
            ClassLabels::Strings(list) => Columns::Strings(
                list.into_iter()
                    .enumerate()
                    .map(|(at, key)| (key, at))
                    .collect(),
            ),
        };
        let distinct = match &columns {
            Columns::Integers(index) => index.len(),
            Columns::Strings(index) => index.len(),
        };
        if distinct != count {
            return Err(invalid(node, "a category is there twice"));
        }
        Ok(Self {
            columns,
            count,
            zeros: int(node, "zeros").unwrap_or(1) != 0,
        })
    }

    pub(crate) fn form(&self, input: &Form) -> Result<Form, String> {
        match (&self.columns, input.datatype) {
            (Columns::Strings(_), DataType::Bytes) => {}
            (Columns::Strings(_), other) => {
                return Err(format!("{} where BYTES is taken", other.name()));
            }
            (Columns::Integers(_), other) => check_number(other)?,
        }
        let mut shape = input.shape.clone();
        shape.push(self.count);
        Ok(Form::new(DataType::Fp32, shape))
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Array, String> {
        let form = self.form(&input.form())?;
        let mut out = vec![0.0; input.data.len() * self.count];
        match (&self.columns, input.data) {
            (Columns::Strings(index), TensorData::Bytes(data)) => {
                self.mark(&mut out, data.iter().map(|x| index.get(x)))?;
            }
            (Columns::Integers(index), TensorData::Int64(data)) => {
                self.mark(&mut out, data.iter().map(|x| index.get(x)))?;
            }
            (Columns::Integers(index), TensorData::Int32(data)) => {
                self.mark(&mut out, data.iter().map(|x| index.get(&i64::from(*x))))?;
            }
            (Columns::Integers(index), TensorData::Fp32(data)) => {
                let found = data.iter().map(|x| index.get(&whole(f64::from(*x))?));
                self.mark(&mut out, found)?;
            }
            (Columns::Integers(index), TensorData::Fp64(data)) => {
                self.mark(&mut out, data.iter().map(|x| index.get(&whole(*x)?)))?;
            }
            (_, other) => return Err(format!("{} is not taken", other.datatype().name())),
        }
        Ok(Array::floats(form.shape, out))
    }

    fn mark<'a>(
        &self,
        out: &mut [f32],
        columns: impl Iterator<Item = Option<&'a usize>>,
    ) -> Result<(), String> {
        for (at, column) in columns.enumerate() {
            match column {
                Some(column) => out[at * self.count + column] = 1.0,
                None if self.zeros => {}
                None => {
                    return Err(format!(
                        "element {at} is none of the {} categories",
                        self.count
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A number without its fraction; none for what is no 64-bit integer.
fn whole(value: f64) -> Option<i64> {
    let bound = (1_u64 << 63) as f64;
    (value >= -bound && value < bound).then_some(value as i64)
}
