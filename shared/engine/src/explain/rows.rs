//! Rows on their way into a model that explains them.

use artifact::manifest::DataType;

use super::watch::{Late, Watch};
use super::{ExplainError, Explanations, wrong_input};
use crate::ml::Linear;
use crate::tensor::TensorData;
use crate::tree::{Attribution, Real};

pub(super) fn observe<T: Real>(trees: &mut Attribution<T>, values: &[T], columns: usize) {
    for row in values.chunks_exact(columns) {
        trees.observe(row);
    }
}

pub(super) fn explain_trees<T: Real>(
    trees: &Attribution<T>,
    values: &[T],
    found: &mut Explanations,
    watch: &mut Watch,
) -> Result<(), Late> {
    let width = found.features * trees.outputs();
    let rows = values.chunks_exact(found.features);
    for (row, out) in rows.zip(found.contributions.chunks_exact_mut(width)) {
        found.scores.extend(trees.score(row));
        trees.explain(row, out, watch)?;
    }
    Ok(())
}

pub(super) fn explain_linear(
    linear: &Linear,
    means: &[f64],
    values: &[f64],
    found: &mut Explanations,
    watch: &mut Watch,
) -> Result<(), Late> {
    let outputs = linear.scores();
    let rows = values.chunks_exact(found.features);
    for (row, out) in rows.zip(
        found
            .contributions
            .chunks_exact_mut(found.features * outputs),
    ) {
        watch.tick()?;
        found.scores.extend(score_linear(linear, row));
        for output in 0..outputs {
            let (coefficients, _) = linear.weights(output);
            let distances = row.iter().zip(means).map(|(value, mean)| value - mean);
            for ((coefficient, distance), out) in coefficients
                .iter()
                .zip(distances)
                .zip(out[output..].iter_mut().step_by(outputs))
            {
                *out = f64::from(*coefficient) * distance;
            }
        }
    }
    Ok(())
}

pub(super) fn score_linear(linear: &Linear, row: &[f64]) -> Vec<f64> {
    (0..linear.scores())
        .map(|output| {
            let (coefficients, intercept) = linear.weights(output);
            let products = coefficients.iter().zip(row);
            products.map(|(c, x)| f64::from(*c) * x).sum::<f64>() + f64::from(intercept)
        })
        .collect()
}

pub(super) fn narrow(data: &TensorData) -> Result<Vec<f32>, ExplainError> {
    Ok(widen(data)?.into_iter().map(|value| value as f32).collect())
}

pub(super) fn widen(data: &TensorData) -> Result<Vec<f64>, ExplainError> {
    Ok(match data {
        TensorData::Fp32(values) => values.iter().map(|v| f64::from(*v)).collect(),
        TensorData::Fp64(values) => values.clone(),
        TensorData::Int32(values) => values.iter().map(|v| f64::from(*v)).collect(),
        TensorData::Int64(values) => values.iter().map(|v| *v as f64).collect(),
        other => {
            let name = DataType::name(other.datatype());
            return Err(wrong_input(format!("{name} is not taken")));
        }
    })
}
