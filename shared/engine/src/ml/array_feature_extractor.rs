//! `ArrayFeatureExtractor`: some columns of the last dimension.

use artifact::manifest::DataType;

use super::array::{Array, Form, View, pick};
use crate::tensor::TensorData;

/// The form of the columns that `indices` picks of `input`.
pub(super) fn form(input: &Form, indices: &Form) -> Result<Form, String> {
    if indices.datatype != DataType::Int64 {
        return Err(format!(
            "indices of {} where INT64 is taken",
            indices.datatype.name()
        ));
    }
    let count: usize = indices.shape.iter().product();
    if count == 0 {
        return Err("there are no indices".to_owned());
    }
    let mut shape = input.shape.clone();
    match shape.as_mut_slice() {
        [] => return Err("a scalar has no columns".to_owned()),
        [columns] => {
            *columns = count;
            shape.insert(0, 1);
        }
        [.., columns] => *columns = count,
    }
    Ok(Form::new(input.datatype, shape))
}

pub(super) fn run(input: View<'_>, indices: View<'_>) -> Result<Array, String> {
    let form = form(&input.form(), &indices.form())?;
    let columns = input.shape.last().copied().unwrap_or(0);
    let TensorData::Int64(places) = indices.data else {
        return Err("the indices are no INT64".to_owned());
    };
    let places = places
        .iter()
        .map(|&place| {
            usize::try_from(place)
                .ok()
                .filter(|place| *place < columns)
                .ok_or_else(|| format!("index {place} where there are {columns} columns"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rows = input.data.len() / columns.max(1);
    let all = (0..rows).flat_map(|row| places.iter().map(move |place| row * columns + place));
    Ok(Array {
        shape: form.shape,
        data: pick(input.data, all),
    })
}
