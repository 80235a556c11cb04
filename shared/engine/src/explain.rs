//! Why a model gave the score that it gave: exact Shapley values of tree ensembles and linear models.
//!
//! A contribution is what a feature's value moved the raw score (before post transforms, labels and whatever
//! follows the model in the graph) away from its mean over a background: rows that are typical of what the
//! model was trained on. The contributions of a row and the expectation sum to its raw score.

use artifact::manifest::DataType;
use serde::Serialize;
use thiserror::Error;
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::check;
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::ml::{Array, Linear, Operator, View, matrix};
use crate::pipeline::ColumnStep;
use crate::tensor::{Tensor, TensorData};
use crate::tree::{Attribution, is_wide};

/// What explains a model's scores.
#[derive(Debug)]
pub struct Explainer {
    input: String,
    /// What the graph does to each column by itself before the model.
    steps: Vec<ColumnStep>,
    model: Explained,
}

#[derive(Debug)]
enum Explained {
    Single(Attribution<f32>),
    Double(Attribution<f64>),
    Linear { linear: Linear, means: Vec<f64> },
}

/// The explanation of one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The mean raw score over the background, one an output.
    pub expectation: Vec<f64>,
    /// The row's raw score, one an output.
    pub score: Vec<f64>,
    /// One row a feature, one column an output; its sum is score minus expectation.
    pub contributions: Vec<Vec<f64>>,
}

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExplainError {
    /// The file is not one that loads.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// This kind of model is not explained.
    #[error("explanations are not available: {reason}")]
    NotAvailable {
        /// What the graph is or has.
        reason: String,
    },
    /// The rows are not those that the model takes.
    #[error("{reason}")]
    Input {
        /// What was expected and what was found.
        reason: String,
    },
}

impl ExplainError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::NotAvailable { .. } => "explain.not_available",
            Self::Input { .. } => "explain.input",
        }
    }
}

fn unavailable(reason: impl Into<String>) -> ExplainError {
    ExplainError::NotAvailable {
        reason: reason.into(),
    }
}

fn wrong_input(reason: String) -> ExplainError {
    ExplainError::Input { reason }
}

impl Explainer {
    /// Reads a model file, and counts the background's rows: a tensor of the graph's input, 1 row or more.
    ///
    /// # Errors
    /// [`ExplainError::NotAvailable`] for a graph that is not one tree ensemble or one linear model behind steps
    /// that treat each column by itself.
    pub fn new(
        onnx: &[u8],
        background: &Tensor,
        limits: &LoadLimits,
    ) -> Result<Self, ExplainError> {
        let mut proto = check::decode(onnx, limits)?;
        check::validate(&proto, limits)?;
        let Some(graph) = &mut proto.graph else {
            return Err(unavailable("the file holds no graph"));
        };
        check::replace_zip_maps(graph);
        let (inputs, _) = check::read_specs(graph)?;
        let [input] = inputs.as_slice() else {
            return Err(unavailable("the graph takes more than one tensor"));
        };
        let node = find_model(graph)?;
        let steps = find_steps(graph, node, &input.name, limits)?;
        let mut explainer = Self {
            input: input.name.clone(),
            steps,
            model: Explained::Linear {
                linear: Linear::default(),
                means: Vec::new(),
            },
        };
        let rows = explainer.prepare(background)?;
        explainer.model = read_model(node, &rows, limits)?;
        Ok(explainer)
    }

    /// Explains each row of a tensor.
    pub fn explain(&self, input: &Tensor) -> Result<Vec<Explanation>, ExplainError> {
        let rows = self.prepare(input)?;
        match (&self.model, &rows.data) {
            (Explained::Single(trees), data) => {
                let values = narrow(data)?;
                explain_trees(trees, &values, &rows.shape)
            }
            (Explained::Double(trees), data) => {
                let values = widen(data)?;
                explain_trees(trees, &values, &rows.shape)
            }
            (Explained::Linear { linear, means }, data) => {
                let (_, columns) = matrix(&rows.shape).map_err(wrong_input)?;
                if columns != means.len() {
                    return Err(wrong_input(format!(
                        "{columns} features where the background has {}",
                        means.len()
                    )));
                }
                let values = widen(data)?;
                let rows = values.chunks_exact(columns);
                Ok(rows.map(|row| explain_linear(linear, means, row)).collect())
            }
        }
    }

    /// Runs the steps before the model.
    fn prepare(&self, input: &Tensor) -> Result<Array, ExplainError> {
        if input.name != self.input {
            return Err(wrong_input(format!(
                "tensor `{}` where `{}` is taken",
                input.name, self.input
            )));
        }
        let mut array = Array {
            shape: input.shape.clone(),
            data: input.data.clone(),
        };
        let (rows, columns) = matrix(&array.shape).map_err(wrong_input)?;
        if rows == 0 || columns == 0 || rows.checked_mul(columns) != Some(array.data.len()) {
            return Err(wrong_input(format!(
                "{} elements of shape {:?}; 1 row or more is needed",
                array.data.len(),
                array.shape
            )));
        }
        for step in &self.steps {
            let view = View {
                shape: &array.shape,
                data: &array.data,
            };
            array = step.run(view).map_err(wrong_input)?;
        }
        Ok(array)
    }
}

/// Finds the one node that is a model.
fn find_model(graph: &GraphProto) -> Result<&NodeProto, ExplainError> {
    let is_model = |node: &&NodeProto| {
        node.domain == check::ML_DOMAIN
            && (check::is_tree_ensemble(node)
                || matches!(
                    node.op_type.as_str(),
                    "LinearClassifier" | "LinearRegressor"
                ))
    };
    let mut models = graph.node.iter().filter(is_model);
    match (models.next(), models.next()) {
        (Some(model), None) => Ok(model),
        (None, _) => Err(unavailable(
            "the graph holds neither a tree ensemble nor a linear model of ai.onnx.ml",
        )),
        _ => Err(unavailable("the graph holds more than one model")),
    }
}

/// Finds what stands between the graph's input and the model, in the order in which it runs.
fn find_steps(
    graph: &GraphProto,
    model: &NodeProto,
    input: &str,
    limits: &LoadLimits,
) -> Result<Vec<ColumnStep>, ExplainError> {
    let mut steps = Vec::new();
    let mut name = model.input.first().map_or("", String::as_str);
    while name != input {
        let producer = graph
            .node
            .iter()
            .find(|node| node.output.iter().any(|output| output == name));
        let Some(node) = producer else {
            return Err(unavailable("the model's input is no input of the graph"));
        };
        let Some(step) = ColumnStep::read(node, limits)? else {
            return Err(unavailable(format!(
                "node `{}` ({}) before the model mixes columns",
                check::node_name(node),
                check::qualified_name(node)
            )));
        };
        steps.push(step);
        name = node.input.first().map_or("", String::as_str);
    }
    steps.reverse();
    Ok(steps)
}

fn read_model(
    node: &NodeProto,
    background: &Array,
    limits: &LoadLimits,
) -> Result<Explained, ExplainError> {
    let (_, columns) = matrix(&background.shape).map_err(wrong_input)?;
    let datatype = background.data.datatype();
    if check::is_tree_ensemble(node) {
        let not_summed = || unavailable("the trees are not summed, or too deep");
        return Ok(if is_wide(node, datatype, limits)? {
            let mut trees = Attribution::read(node, limits)?.ok_or_else(not_summed)?;
            observe(&mut trees, &widen(&background.data)?, columns)?;
            Explained::Double(trees)
        } else {
            let mut trees = Attribution::read(node, limits)?.ok_or_else(not_summed)?;
            observe(&mut trees, &narrow(&background.data)?, columns)?;
            Explained::Single(trees)
        });
    }
    let linear = match Operator::parse(node, Some(datatype), limits)? {
        Operator::LinearClassifier(classifier) => classifier.into_linear(),
        Operator::LinearRegressor(regressor) => regressor.into_linear(),
        _ => return Err(unavailable("the model is of no kind that is explained")),
    };
    if linear.features() != columns {
        return Err(wrong_input(format!(
            "{columns} features where the model was made for {}",
            linear.features()
        )));
    }
    let values = widen(&background.data)?;
    let rows = (values.len() / columns) as f64;
    let mut means = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        for (mean, value) in means.iter_mut().zip(row) {
            *mean += value / rows;
        }
    }
    Ok(Explained::Linear { linear, means })
}

fn observe<T: crate::tree::Real>(
    trees: &mut Attribution<T>,
    values: &[T],
    columns: usize,
) -> Result<(), ExplainError> {
    if columns < trees.min_features() {
        return Err(wrong_input(format!(
            "{columns} features where the trees use {}",
            trees.min_features()
        )));
    }
    for row in values.chunks_exact(columns) {
        trees.observe(row);
    }
    Ok(())
}

fn explain_trees<T: crate::tree::Real>(
    trees: &Attribution<T>,
    values: &[T],
    shape: &[usize],
) -> Result<Vec<Explanation>, ExplainError> {
    let (_, columns) = matrix(shape).map_err(wrong_input)?;
    if columns < trees.min_features() {
        return Err(wrong_input(format!(
            "{columns} features where the trees use {}",
            trees.min_features()
        )));
    }
    let expectation = trees.expectation();
    let rows = values.chunks_exact(columns).map(|row| {
        let mut out = vec![0.0; columns * trees.outputs()];
        trees.explain(row, &mut out);
        Explanation {
            expectation: expectation.clone(),
            score: trees.score(row),
            contributions: out
                .chunks_exact(trees.outputs())
                .map(<[f64]>::to_vec)
                .collect(),
        }
    });
    Ok(rows.collect())
}

fn explain_linear(linear: &Linear, means: &[f64], row: &[f64]) -> Explanation {
    let weights = |output: usize| linear.weights(output);
    let outputs = linear.scores();
    let at = |values: &[f64]| -> Vec<f64> {
        (0..outputs)
            .map(|output| {
                let (coefficients, intercept) = weights(output);
                let products = coefficients.iter().zip(values);
                products.map(|(c, x)| f64::from(*c) * x).sum::<f64>() + f64::from(intercept)
            })
            .collect()
    };
    let contributions = row
        .iter()
        .zip(means)
        .enumerate()
        .map(|(feature, (value, mean))| {
            (0..outputs)
                .map(|output| f64::from(weights(output).0[feature]) * (value - mean))
                .collect()
        })
        .collect();
    Explanation {
        expectation: at(means),
        score: at(row),
        contributions,
    }
}

fn narrow(data: &TensorData) -> Result<Vec<f32>, ExplainError> {
    Ok(widen(data)?.into_iter().map(|value| value as f32).collect())
}

fn widen(data: &TensorData) -> Result<Vec<f64>, ExplainError> {
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
