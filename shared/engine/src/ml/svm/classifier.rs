//! `SVMClassifier`: a vote of one classifier for each pair of classes, or one score a class.

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use super::kernel::Kernel;
use crate::attributes::{check_length, finite, floats, ints};
use crate::check::{invalid, unsupported};
use crate::error::LoadError;
use crate::ml::array::{Array, Form, View, check_number, matrix_of, to_f32};
use crate::ml::labels::ClassLabels;
use crate::ml::linear::dot;
use crate::ml::post_transform::{PostTransform, logistic};

/// The classifier.
#[derive(Debug, Clone)]
pub(crate) struct SvmClassifier {
    labels: ClassLabels,
    features: usize,
    machine: Machine,
    coefficients: Vec<f32>,
    rho: Vec<f32>,
    post_transform: PostTransform,
    weights_are_positive: bool,
}

#[derive(Debug, Clone)]
enum Machine {
    /// One row of coefficients a class.
    Linear,
    /// Support vectors, in the order of the classes.
    Vectors {
        kernel: Kernel,
        vectors: Vec<f32>,
        /// Where each class's vectors begin, and how many there are.
        ranges: Vec<(usize, usize)>,
        /// The sigmoid of each pair; empty where probabilities were not trained.
        sigmoids: Vec<(f32, f32)>,
    },
}

impl SvmClassifier {
    pub(crate) fn parse(node: &NodeProto) -> Result<Self, LoadError> {
        let labels = ClassLabels::read(node, "classlabels_ints", "classlabels_strings")?;
        let classes = labels.len();
        if classes < 2 {
            return Err(unsupported(
                node,
                "a classifier of one class has no defined scores",
                "train it on two classes or more",
            ));
        }
        let coefficients = finite(node, "coefficients", floats(node, "coefficients"))?;
        let rho = finite(node, "rho", floats(node, "rho"))?;
        let post_transform = PostTransform::read(node)?;
        let per_class = ints(node, "vectors_per_class");
        let mut ranges = Vec::with_capacity(per_class.len());
        let mut count = 0_usize;
        for (at, own) in per_class.iter().enumerate() {
            let own = usize::try_from(*own)
                .ok()
                .filter(|own| *own <= coefficients.len());
            let own = own.ok_or_else(|| {
                invalid(
                    node,
                    format!("vectors_per_class[{at}] is {}", per_class[at]),
                )
            })?;
            ranges.push((count, own));
            count += own;
        }
        let (machine, features) = if count == 0 {
            if coefficients.is_empty() || !coefficients.len().is_multiple_of(classes) {
                return Err(invalid(
                    node,
                    format!("{} coefficients for {classes} classes", coefficients.len()),
                ));
            }
            if rho.is_empty() {
                return Err(invalid(node, "rho is empty"));
            }
            (Machine::Linear, coefficients.len() / classes)
        } else {
            check_length(
                node,
                "vectors_per_class",
                ranges.len(),
                "the labels",
                classes,
            )?;
            let vectors = finite(node, "support_vectors", floats(node, "support_vectors"))?;
            if vectors.is_empty() || !vectors.len().is_multiple_of(count) {
                return Err(invalid(
                    node,
                    format!(
                        "support_vectors has {} entries for {count} vectors",
                        vectors.len()
                    ),
                ));
            }
            check_length(
                node,
                "coefficients",
                coefficients.len(),
                "a table of classes less one by vectors",
                (classes - 1) * count,
            )?;
            let pairs = classes * (classes - 1) / 2;
            check_length(node, "rho", rho.len(), "the pairs of classes", pairs)?;
            let sigmoids = read_sigmoids(node, pairs)?;
            if classes == 2 && sigmoids.is_empty() && post_transform == PostTransform::Probit {
                return Err(unsupported(
                    node,
                    "nothing defines the second score of PROBIT with one score",
                    "",
                ));
            }
            let machine = Machine::Vectors {
                kernel: Kernel::read(node)?,
                vectors: vectors.to_vec(),
                ranges,
                sigmoids,
            };
            (machine, vectors.len() / count)
        };
        Ok(Self {
            labels,
            features,
            machine,
            coefficients: coefficients.to_vec(),
            rho: rho.to_vec(),
            post_transform,
            weights_are_positive: coefficients.iter().all(|weight| *weight >= 0.0),
        })
    }

    /// Scores a row: one a class, or one a pair of more than two.
    fn width(&self) -> usize {
        let classes = self.labels.len();
        match &self.machine {
            Machine::Vectors { sigmoids, .. } if sigmoids.is_empty() && classes > 2 => {
                classes * (classes - 1) / 2
            }
            _ => classes,
        }
    }

    pub(crate) fn features(&self) -> usize {
        self.features
    }

    pub(crate) fn forms(&self, input: &Form) -> Result<Vec<Form>, String> {
        check_number(input.datatype)?;
        let rows = matrix_of(&input.shape, self.features)?;
        Ok(vec![
            Form::new(self.labels.datatype(), vec![rows]),
            Form::new(DataType::Fp32, vec![rows, self.width()]),
        ])
    }

    pub(crate) fn run(&self, input: View<'_>) -> Result<Vec<Array>, String> {
        let rows = matrix_of(input.shape, self.features)?;
        let values = to_f32(input.data)?;
        let mut winners = Vec::with_capacity(rows);
        let mut scores = Vec::with_capacity(rows * self.width());
        for row in values.chunks_exact(self.features) {
            winners.push(match &self.machine {
                Machine::Linear => self.score_linear(row, &mut scores),
                Machine::Vectors {
                    kernel,
                    vectors,
                    ranges,
                    sigmoids,
                } => {
                    let near: Vec<f32> = vectors
                        .chunks_exact(self.features)
                        .map(|vector| kernel.apply(row, vector))
                        .collect();
                    self.score_pairs(&near, ranges, sigmoids, &mut scores)
                }
            });
        }
        Ok(vec![
            Array {
                shape: vec![rows],
                data: self.labels.pick(&winners),
            },
            Array::floats(vec![rows, self.width()], scores),
        ])
    }

    /// Appends one score a class, and gives the winner.
    fn score_linear(&self, row: &[f32], scores: &mut Vec<f32>) -> u32 {
        let first = scores.len();
        let weights = self.coefficients.chunks_exact(self.features);
        scores.extend(weights.map(|weights| dot(row, weights) + self.rho[0]));
        let own = &mut scores[first..];
        let mut winner = 0;
        for at in 1..own.len() {
            if own[at] > own[winner] {
                winner = at;
            }
        }
        let most = own[winner];
        // Of two classes the second wins by its sign alone.
        if own.len() == 2 {
            let bar = if self.weights_are_positive {
                most >= 0.5
            } else {
                most > 0.0
            };
            if bar {
                winner = 1;
            }
        }
        self.post_transform.apply(own);
        winner as u32
    }

    /// Appends the scores of the pairs, or the probabilities made of them, and gives the class of most votes.
    fn score_pairs(
        &self,
        near: &[f32],
        ranges: &[(usize, usize)],
        sigmoids: &[(f32, f32)],
        scores: &mut Vec<f32>,
    ) -> u32 {
        let classes = ranges.len();
        let count = near.len();
        let first = scores.len();
        let mut votes = vec![0_u32; classes];
        for i in 0..classes - 1 {
            for j in i + 1..classes {
                let sum = |row: usize, (start, len): (usize, usize)| -> f64 {
                    let weights = &self.coefficients[row * count + start..][..len];
                    let products = weights.iter().zip(&near[start..start + len]);
                    // Each product is rounded to float32 before it is added, as in onnxruntime.
                    products
                        .map(|(weight, near)| f64::from(weight * near))
                        .sum()
                };
                let pair = scores.len() - first;
                let score = sum(j - 1, ranges[i]) + sum(i, ranges[j]) + f64::from(self.rho[pair]);
                scores.push(score as f32);
                votes[if score > 0.0 { i } else { j }] += 1;
            }
        }
        let mut winner = 0;
        for at in 1..classes {
            if votes[at] > votes[winner] {
                winner = at;
            }
        }
        if !sigmoids.is_empty() {
            let probabilities = couple(classes, &scores[first..], sigmoids);
            scores.truncate(first);
            scores.extend(probabilities);
            self.post_transform.apply(&mut scores[first..]);
        } else if classes == 2 {
            let score = scores[first];
            let pair = match self.post_transform {
                PostTransform::None => [-score, score],
                PostTransform::Logistic => [1.0 - logistic(score), logistic(score)],
                _ => [1.0 - score, score],
            };
            scores.truncate(first);
            scores.extend(pair);
        } else {
            self.post_transform.apply(&mut scores[first..]);
        }
        winner as u32
    }
}

fn read_sigmoids(node: &NodeProto, pairs: usize) -> Result<Vec<(f32, f32)>, LoadError> {
    let a = finite(node, "prob_a", floats(node, "prob_a"))?;
    let b = finite(node, "prob_b", floats(node, "prob_b"))?;
    check_length(node, "prob_b", b.len(), "prob_a", a.len())?;
    if !a.is_empty() {
        check_length(node, "prob_a", a.len(), "the pairs of classes", pairs)?;
    }
    Ok(a.iter().copied().zip(b.iter().copied()).collect())
}

/// Probabilities of the classes from scores of their pairs, by Wu, Lin and Weng's second method, as in libsvm.
fn couple(classes: usize, scores: &[f32], sigmoids: &[(f32, f32)]) -> Vec<f32> {
    const LEAST: f32 = 1e-7;
    let mut pairwise = vec![0.0_f32; classes * classes];
    let mut pairs = scores.iter().zip(sigmoids);
    for i in 0..classes {
        for j in i + 1..classes {
            let Some((score, (a, b))) = pairs.next() else {
                continue;
            };
            let value = (1.0 - logistic(score * a + b)).clamp(LEAST, 1.0 - LEAST);
            pairwise[i * classes + j] = value;
            pairwise[j * classes + i] = 1.0 - value;
        }
    }
    let mut q = vec![0.0_f32; classes * classes];
    for i in 0..classes {
        for j in 0..classes {
            if i == j {
                continue;
            }
            let (there, back) = (pairwise[i * classes + j], pairwise[j * classes + i]);
            q[i * classes + i] += back * back;
            q[i * classes + j] = -back * there;
        }
    }
    let mut p = vec![1.0 / classes as f32; classes];
    let eps = 0.005 / classes as f32;
    let mut qp = vec![0.0_f32; classes];
    for _ in 0..classes.max(100) {
        let mut total = 0.0;
        for i in 0..classes {
            qp[i] = (0..classes).map(|j| q[i * classes + j] * p[j]).sum();
            total += p[i] * qp[i];
        }
        if qp.iter().all(|own| (own - total).abs() < eps) {
            break;
        }
        for i in 0..classes {
            let own = q[i * classes + i];
            let step = (total - qp[i]) / own;
            p[i] += step;
            total = (total + step * (step * own + 2.0 * qp[i])) / (1.0 + step) / (1.0 + step);
            for j in 0..classes {
                qp[j] = (qp[j] + step * q[i * classes + j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}
