//! The output contract, from what a model answers.

use artifact::manifest::{DataType, OutputContract};
use engine::{Tensor, TensorData};

use crate::failure::Failure;

const SUM_TOLERANCE: f64 = 1e-3;

/// Guesses the contract from the outputs for `rows` rows: labels and probabilities, probabilities alone, or
/// one number a row.
pub(super) fn guess(
    outputs: &[Tensor],
    rows: usize,
    labels: Option<Vec<String>>,
) -> Result<(OutputContract, Vec<String>), Failure> {
    let floats: Vec<&Tensor> = outputs
        .iter()
        .filter(|output| output.data.datatype().is_float())
        .collect();
    let classes: Vec<&Tensor> = outputs
        .iter()
        .filter(|output| !output.data.datatype().is_float() && output.data.len() == rows)
        .collect();
    match (classes.as_slice(), floats.as_slice(), outputs.len()) {
        ([label], [probabilities], 2) if columns(probabilities, rows).is_some_and(|n| n > 1) => {
            classification(Some(label), probabilities, rows, labels)
        }
        ([], [only], 1) => match columns(only, rows) {
            Some(1) if labels.is_none() => Ok((
                OutputContract::Regression {
                    value: only.name.clone(),
                    min: None,
                    max: None,
                },
                Vec::new(),
            )),
            Some(count) if count > 1 => classification(None, only, rows, labels),
            _ => Err(not_inferable(outputs)),
        },
        _ => Err(not_inferable(outputs)),
    }
}

/// Numbers a row.
fn columns(output: &Tensor, rows: usize) -> Option<usize> {
    match output.shape.as_slice() {
        [n] if *n == rows => Some(1),
        [n, columns] if *n == rows => Some(*columns),
        _ => None,
    }
}

fn classification(
    label: Option<&Tensor>,
    probabilities: &Tensor,
    rows: usize,
    labels: Option<Vec<String>>,
) -> Result<(OutputContract, Vec<String>), Failure> {
    let count = columns(probabilities, rows).unwrap_or_default();
    let name = &probabilities.name;
    let mut notes = Vec::new();
    let labels = match labels {
        Some(labels) if labels.len() == count => labels,
        Some(labels) => {
            let found = labels.len();
            let message =
                format!("expected {count} labels, one a column of output `{name}`, found {found}");
            return Err(Failure::usage("--labels", message));
        }
        None if label.is_some_and(|label| label.data.datatype() == DataType::Bytes) => {
            let message = "the model's labels are text: name them with --labels, in the order of the \
                           probability columns";
            return Err(Failure::usage("--labels", message));
        }
        None => {
            notes.push("the labels are made up: name them with --labels".to_owned());
            (0..count).map(|class| format!("class_{class}")).collect()
        }
    };
    if !sums_to_one(probabilities, count) {
        let message =
            format!("output `{name}` has {count} columns which do not sum to 1: no probabilities");
        return Err(Failure::refused("manifest.not_inferable", message).at(name));
    }
    let contract = OutputContract::Classification {
        labels,
        label: label.map(|label| label.name.clone()),
        probabilities: name.clone(),
        sum_tolerance: SUM_TOLERANCE,
    };
    Ok((contract, notes))
}

fn sums_to_one(probabilities: &Tensor, count: usize) -> bool {
    let values: Vec<f64> = match &probabilities.data {
        TensorData::Fp16(values) => values.iter().map(|value| value.to_f64()).collect(),
        TensorData::Fp32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        TensorData::Fp64(values) => values.clone(),
        _ => return false,
    };
    values
        .chunks(count)
        .all(|row| (row.iter().sum::<f64>() - 1.0).abs() <= SUM_TOLERANCE)
}

fn not_inferable(outputs: &[Tensor]) -> Failure {
    let found: Vec<String> = outputs
        .iter()
        .map(|output| {
            format!(
                "{} {} {:?}",
                output.name,
                output.data.datatype().name(),
                output.shape
            )
        })
        .collect();
    let message = format!(
        "expected a label and probabilities, probabilities, or one number a row, found {}: write the output \
         contract by hand",
        found.join(", ")
    );
    Failure::refused("manifest.not_inferable", message).at("output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize], data: TensorData) -> Tensor {
        Tensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            data,
        }
    }

    #[test]
    fn a_label_and_probabilities_are_a_classification() {
        let outputs = [
            tensor("label", &[2], TensorData::Int64(vec![0, 1])),
            tensor("p", &[2, 2], TensorData::Fp32(vec![0.75, 0.25, 0.5, 0.5])),
        ];
        let (contract, notes) = guess(&outputs, 2, None).unwrap();
        let OutputContract::Classification { labels, label, .. } = contract else {
            panic!()
        };
        assert_eq!(
            (labels, label.as_deref()),
            (vec!["class_0".into(), "class_1".into()], Some("label"))
        );
        assert_eq!(notes.len(), 1);
        let three = Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        assert_eq!(
            guess(&outputs, 2, three).unwrap_err().field.as_deref(),
            Some("--labels")
        );
    }

    #[test]
    fn one_number_a_row_is_a_regression() {
        for shape in [&[2][..], &[2, 1]] {
            let outputs = [tensor("y", shape, TensorData::Fp32(vec![1.0, 2.0]))];
            let (contract, _) = guess(&outputs, 2, None).unwrap();
            assert!(matches!(contract, OutputContract::Regression { .. }));
        }
    }

    #[test]
    fn columns_that_do_not_sum_to_one_are_no_probabilities() {
        let outputs = [tensor("y", &[1, 2], TensorData::Fp32(vec![1.0, 2.0]))];
        assert_eq!(
            guess(&outputs, 1, None).unwrap_err().code,
            "manifest.not_inferable"
        );
        assert_eq!(
            guess(&[], 1, None).unwrap_err().code,
            "manifest.not_inferable"
        );
    }
}
