//! `LinearClassifier` and `LinearRegressor`, with onnxruntime's rules for labels and second scores.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::array::{Array, Form, View, check_number, matrix_of, to_f32};
use super::labels::ClassLabels;
use super::post_transform::{PostTransform, logistic, probit};
use crate::attributes::{check_length, finite, floats, int};
use crate::check::{invalid, unsupported};
use crate::error::LoadError;

/// Sums that a dot product is taken in.
const LANES: usize = 8;

/// Weights, one row a score.
#[derive(Debug, Clone, Default)]
pub(crate) struct Linear {
    features: usize,
    scores: usize,
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    post_transform: PostTransform,
    /// Two scores, of which the first is the second's negative to the bit.
    is_mirrored: bool,
}

/// A `LinearRegressor`.
#[derive(Debug, Clone)]
pub(crate) struct LinearRegressor {
    linear: Linear,
}

/// A `LinearClassifier`.
#[derive(Debug, Clone)]
pub(crate) struct LinearClassifier {
    linear: Linear,
    labels: ClassLabels,
}

impl Linear {
    fn parse(node: &NodeProto, scores: usize) -> Result<Self, LoadError> {
        let coefficients = finite(node, "coefficients", floats(node, "coefficients"))?;
        let intercepts = finite(node, "intercepts", floats(node, "intercepts"))?;
        if coefficients.is_empty() || !coefficients.len().is_multiple_of(scores) {
            return Err(invalid(
                node,
                format!("{} coefficients for {scores} scores", coefficients.len()),
            ));
        }
        let features = coefficients.len() / scores;
        let intercepts = if intercepts.is_empty() {
            vec![0.0; scores]
        } else {
            check_length(node, "intercepts", intercepts.len(), "the scores", scores)?;
            intercepts.to_vec()
        };
        let (first, second) = coefficients.split_at(features);
        let is_mirrored = scores == 2
            && mirrors(intercepts[0], intercepts[1])
            && first.iter().zip(second).all(|(a, b)| mirrors(*a, *b));
        Ok(Self {
            features,
            scores,
            coefficients: coefficients.to_vec(),
            intercepts,
            post_transform: PostTransform::read(node)?,
            is_mirrored,
        })
    }

    /// The number of features.
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// The number of scores.
    pub(crate) fn scores(&self) -> usize {
        self.scores
    }

    /// The coefficients and the intercept of a score.
    pub(crate) fn weights(&self, score: usize) -> (&[f32], f32) {
        let first = score * self.features;
        (
            &self.coefficients[first..first + self.features],
            self.intercepts[score],
        )
    }

    /// Scores `[rows, scores]` before the transform.
    fn score(&self, values: &[f32], rows: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows * self.scores);
        for row in values.chunks_exact(self.features) {
            if self.is_mirrored {
                let score = dot(row, &self.coefficients[self.features..]) + self.intercepts[1];
                out.extend([-score, score]);
                continue;
            }
            let weights = self.coefficients.chunks_exact(self.features);
            out.extend(
                weights
                    .zip(&self.intercepts)
                    .map(|(weights, intercept)| dot(row, weights) + intercept),
            );
        }
        out
    }
}

fn mirrors(left: f32, right: f32) -> bool {
    left.to_bits() == (-right).to_bits()
}

/// A dot product, taken in [`LANES`] sums.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in left.iter().zip(right) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    let (low, high) = sums.split_at(LANES / 2);
    low.iter()
        .zip(high)
        .map(|(low, high)| low + high)
        .sum::<f32>()
        + rest
}

impl LinearRegressor {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let targets = int(node, "targets").unwrap_or(1);
        let scores = usize::try_from(targets)
            .ok()
            .filter(|targets| *targets > 0)
            .ok_or_else(|| invalid(node, format!("targets is {targets}; 1 or more is needed")))?;
        Ok(Self {
            linear: Linear::parse(node, scores)?,
        })
    }

    pub(crate) fn into_linear(self) -> Linear {
        self.linear
    }

    pub(crate) fn features(&self) -> usize {
        self.linear.features
    }

    pub(crate) fn form(&self, input: &Form) -> Result<Form, String> {
        if input.datatype != DataType::Fp32 {
            return Err(format!("{} where FP32 is taken", input.datatype.name()));
        }
        let rows = matrix_of(&input.shape, self.linear.features)?;
        Ok(Form::new(DataType::Fp32, vec![rows, self.linear.scores]))
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Array, String> {
        let form = self.form(&input.form())?;
        let values = to_f32(input.data)?;
        let mut scores = self.linear.score(&values, form.shape[0]);
        if self.linear.scores > 1 {
            self.linear
                .post_transform
                .apply_rows(&mut scores, self.linear.scores);
        } else if self.linear.post_transform == PostTransform::Probit {
            // The other transforms are not applied to a single target.
            for score in &mut scores {
                *score = probit(*score);
            }
        }
        Ok(Array::floats(form.shape, scores))
    }
}

impl LinearClassifier {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let labels = ClassLabels::read(node, "classlabels_ints", "classlabels_strings")?;
        if labels.len() < 2 {
            return Err(unsupported(
                node,
                "a classifier of one class has no defined scores",
                "train it on two classes or more",
            ));
        }
        // One score can stand for two classes. The number of intercepts tells.
        let scores = match floats(node, "intercepts").len() {
            0 => {
                return Err(unsupported(
                    node,
                    "without intercepts nothing says how many scores there are",
                    "export it with intercepts, zeros if need be",
                ));
            }
            1 if labels.len() == 2 => 1,
            _ => labels.len(),
        };
        let linear = Linear::parse(node, scores)?;
        if scores == 1 && linear.post_transform == PostTransform::Probit {
            return Err(unsupported(
                node,
                "nothing defines the second score of PROBIT with one score",
                "",
            ));
        }
        Ok(Self { linear, labels })
    }

    pub(crate) fn into_linear(self) -> Linear {
        self.linear
    }

    pub(crate) fn features(&self) -> usize {
        self.linear.features
    }

    pub(crate) fn forms(&self, input: &Form) -> Result<Vec<Form>, String> {
        check_number(input.datatype)?;
        let rows = matrix_of(&input.shape, self.linear.features)?;
        Ok(vec![
            Form::new(self.labels.datatype(), vec![rows]),
            Form::new(DataType::Fp32, vec![rows, self.labels.len()]),
        ])
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Vec<Array>, String> {
        let rows = matrix_of(input.shape, self.linear.features)?;
        let values = to_f32(input.data)?;
        let mut scores = self.linear.score(&values, rows);
        let winners: Vec<u32> = if self.linear.scores == 1 {
            scores.iter().map(|score| u32::from(*score > 0.0)).collect()
        } else {
            scores
                .chunks_exact(self.linear.scores)
                .map(find_largest)
                .collect()
        };
        if self.linear.scores == 1 {
            let is_logistic = self.linear.post_transform == PostTransform::Logistic;
            scores = scores
                .into_iter()
                .flat_map(|score| {
                    let score = if is_logistic { logistic(score) } else { score };
                    [1.0 - score, score]
                })
                .collect();
        } else {
            self.linear
                .post_transform
                .apply_rows(&mut scores, self.linear.scores);
        }
        Ok(vec![
            Array {
                shape: vec![rows],
                data: self.labels.pick(&winners),
            },
            Array::floats(vec![rows, self.labels.len()], scores),
        ])
    }
}

/// The place of the first largest score.
fn find_largest(scores: &[f32]) -> u32 {
    let mut winner = 0;
    let mut most = scores[0];
    for (at, score) in scores.iter().enumerate().skip(1) {
        if *score > most {
            most = *score;
            winner = at;
        }
    }
    winner as u32
}
