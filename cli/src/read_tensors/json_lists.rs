//! JSON as tensors: a list, flat or nested, or a whole request of the Open Inference Protocol.

use artifact::manifest::DataType;
use engine::{Tensor, TensorData, TensorSpec};
use serde_json::Value;

use super::{check_datatype, fit_shape};
use crate::elements;

/// Whether a document is a request of the protocol.
pub(super) fn is_request(document: &Value) -> bool {
    document.get("inputs").is_some()
}

/// Reads every tensor of `{"inputs":[{name, shape, datatype, data}]}`.
pub(super) fn read_request(document: &Value, specs: &[TensorSpec]) -> Result<Vec<Tensor>, String> {
    let inputs = document
        .get("inputs")
        .and_then(Value::as_array)
        .ok_or("inputs: expected a list of tensors")?;
    inputs
        .iter()
        .enumerate()
        .map(|(at, input)| {
            read_input(input, specs).map_err(|message| format!("inputs[{at}]: {message}"))
        })
        .collect()
}

fn read_input(input: &Value, specs: &[TensorSpec]) -> Result<Tensor, String> {
    let name = input
        .get("name")
        .and_then(Value::as_str)
        .ok_or("name: expected text")?;
    let spec = specs.iter().find(|spec| spec.name == name).ok_or_else(|| {
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        format!("name: expected one of {}, found {name:?}", names.join(", "))
    })?;
    let datatype = input.get("datatype").cloned().unwrap_or_default();
    let datatype: DataType = serde_json::from_value(datatype)
        .map_err(|_| "datatype: expected a type such as FP32".to_owned())?;
    check_datatype(spec, datatype)?;
    let shape: Vec<usize> = input
        .get("shape")
        .cloned()
        .and_then(|shape| serde_json::from_value(shape).ok())
        .ok_or("shape: expected a list of whole numbers")?;
    let data = input.get("data").ok_or("data: expected a list")?;
    let (_, data) = flatten(data, datatype)?;
    let count = shape
        .iter()
        .try_fold(1_usize, |product, dim| product.checked_mul(*dim));
    if count != Some(data.len()) {
        return Err(format!(
            "data: expected as many elements as shape {shape:?} says, found {}",
            data.len()
        ));
    }
    Ok(Tensor {
        name: name.to_owned(),
        shape,
        data,
    })
}

/// Reads a list: nested lists give the shape, a flat one takes the graph's.
pub(super) fn read_list(document: &Value, spec: &TensorSpec) -> Result<Tensor, String> {
    if !document.is_array() {
        return Err("expected a list, or an object with `inputs`".to_owned());
    }
    let (nested, data) = flatten(document, spec.datatype)?;
    let shape = if nested.len() == 1 {
        fit_shape(spec, data.len())?
    } else {
        nested
    };
    Ok(Tensor {
        name: spec.name.clone(),
        shape,
        data,
    })
}

/// The elements of lists in lists, and how long the lists of each depth are.
fn flatten(value: &Value, datatype: DataType) -> Result<(Vec<usize>, TensorData), String> {
    let mut shape = Vec::new();
    let mut first = value;
    while let Value::Array(items) = first {
        shape.push(items.len());
        match items.first() {
            Some(item) => first = item,
            None => break,
        }
    }
    let mut data = elements::empty(datatype);
    collect(value, &shape, &mut data, &mut Vec::new())?;
    Ok((shape, data))
}

fn collect(
    value: &Value,
    shape: &[usize],
    data: &mut TensorData,
    place: &mut Vec<usize>,
) -> Result<(), String> {
    let blame = |place: &[usize], message: String| {
        let path = place
            .iter()
            .fold(String::new(), |path, at| format!("{path}[{at}]"));
        format!("data{path}: {message}")
    };
    match (value, shape.split_first()) {
        (Value::Array(items), Some((expected, rest))) => {
            if items.len() != *expected {
                let found = items.len();
                return Err(blame(
                    place,
                    format!("expected a list of {expected}, found one of {found}"),
                ));
            }
            for (at, item) in items.iter().enumerate() {
                place.push(at);
                collect(item, rest, data, place)?;
                place.pop();
            }
            Ok(())
        }
        (_, Some((expected, _))) => Err(blame(place, format!("expected a list of {expected}"))),
        (value, None) => {
            let datatype = data.datatype();
            let element = elements::of_json(value, datatype).ok_or_else(|| {
                blame(
                    place,
                    format!("expected {}, found {}", datatype.name(), kind(value)),
                )
            })?;
            elements::push(data, element).map_err(|message| blame(place, message))
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> TensorSpec {
        TensorSpec {
            name: "x".to_owned(),
            datatype: DataType::Fp32,
            shape: vec![-1, 2],
        }
    }

    #[test]
    fn flat_and_nested_lists_are_the_same_tensor() {
        let flat = read_list(&json!([1, 2.5, null, 4]), &spec()).unwrap();
        assert_eq!(flat.shape, [2, 2]);
        let nested = read_list(&json!([[1, 2.5], [3, 4]]), &spec()).unwrap();
        assert_eq!(nested.shape, [2, 2]);
        assert_eq!(nested.data, TensorData::Fp32(vec![1.0, 2.5, 3.0, 4.0]));
    }

    #[test]
    fn a_ragged_list_and_a_wrong_element_are_placed() {
        let error = read_list(&json!([[1, 2], [3]]), &spec()).unwrap_err();
        assert_eq!(error, "data[1]: expected a list of 2, found one of 1");
        let error = read_list(&json!([[1, "x"]]), &spec()).unwrap_err();
        assert_eq!(error, "data[0][1]: expected FP32, found text");
        let error = read_list(&json!([[1, 2], 3]), &spec()).unwrap_err();
        assert_eq!(error, "data[1]: expected a list of 2");
    }

    #[test]
    fn a_request_is_held_to_the_graph() {
        let request = |datatype: &str, data: Value| json!({"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 2], "data": data}]});
        let read = |document: Value| read_request(&document, &[spec()]);
        assert_eq!(
            read(request("FP32", json!([1, 2]))).unwrap()[0].shape,
            [1, 2]
        );
        assert_eq!(
            read(request("INT64", json!([1, 2]))).unwrap_err(),
            "inputs[0]: input `x`: expected datatype FP32, found INT64"
        );
        assert!(read(request("FP32", json!([1]))).is_err());
    }
}
