//! What explaining gives.

use serde::{Deserialize, Serialize};

use crate::tensor::{Tensor, TensorData};

/// How contributions are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Trees: Lundberg, Erion and Lee 2018, "Consistent individualized feature attribution for tree ensembles".
    TreeShapPathDependent,
    /// Linear models: the coefficient times the distance from the background's mean.
    Linear,
}

impl Method {
    /// The name that stands in answers and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::TreeShapPathDependent => "tree_shap_path_dependent",
            Self::Linear => "linear",
        }
    }
}

/// The explanations of a tensor's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanations {
    /// How they were found.
    pub method: Method,
    /// Features of a row.
    pub features: usize,
    /// The mean raw score over the background, one an output: a target or a class; one for two classes, where a
    /// single score stands for the second.
    pub expectation: Vec<f64>,
    /// The raw scores, `[rows, outputs]`.
    pub scores: Vec<f64>,
    /// `[rows, features, outputs]`. Over the features they sum to score minus expectation.
    pub contributions: Vec<f64>,
}

impl Explanations {
    /// The names of [`Self::to_tensors`], in its order.
    pub const TENSORS: [&str; 3] = [
        "explanation.expectation",
        "explanation.score",
        "explanation.contributions",
    ];

    /// Scores a row.
    pub fn outputs(&self) -> usize {
        self.expectation.len()
    }

    /// Explained rows.
    pub fn rows(&self) -> usize {
        self.scores.len() / self.outputs().max(1)
    }

    /// The numbers as FP64 tensors: expectation `[outputs]`, score `[rows, outputs]` and contributions
    /// `[rows, features, outputs]`.
    pub fn to_tensors(&self) -> [Tensor; 3] {
        let (rows, outputs) = (self.rows(), self.outputs());
        let tensor = |name: &str, shape: Vec<usize>, values: &[f64]| Tensor {
            name: name.to_owned(),
            shape,
            data: TensorData::Fp64(values.to_vec()),
        };
        let [expectation, score, contributions] = Self::TENSORS;
        let shape = vec![rows, self.features, outputs];
        [
            tensor(expectation, vec![outputs], &self.expectation),
            tensor(score, vec![rows, outputs], &self.scores),
            tensor(contributions, shape, &self.contributions),
        ]
    }

    /// What a feature contributed to an output's score in a row.
    pub fn contribution(&self, row: usize, feature: usize, output: usize) -> f64 {
        self.contributions[(row * self.features + feature) * self.outputs() + output]
    }
}
