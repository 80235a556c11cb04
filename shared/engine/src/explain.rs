//! Why a model gave the score that it gave: exact Shapley values of tree ensembles and linear models.
//!
//! A contribution is what a feature's value moved the raw score (before post transforms, labels and whatever
//! follows the model in the graph) away from its mean over a background: rows that are typical of what the
//! model was trained on. The contributions of a row and the expectation sum to its raw score.

mod background;
mod bind;
mod explanations;
mod graph;
mod rows;
mod watch;

use std::time::Instant;

use artifact::manifest::DataType;
use thiserror::Error;
use tract_onnx::pb::NodeProto;

use crate::check;
use crate::error::LoadError;
use crate::guarded::{check_size, on_thread};
use crate::limits::LoadLimits;
use crate::ml::{Array, Linear, Operator, View, matrix};
use crate::packed;
use crate::pipeline::ColumnStep;
use crate::tensor::Tensor;
use crate::tree::{Attributed, Attribution, Ensembles, TreeOperator};
use background::Kind;
pub(crate) use background::{read_count, write_count};
pub use explanations::{Explanations, Method};
use rows::{explain_linear, explain_trees, narrow, observe, score_linear, widen};
pub(crate) use watch::{Late, Watch};

/// The two forms of a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// ONNX.
    Onnx,
    /// What [`pack`](crate::pack) makes of it.
    Packed,
}

/// What explains a model's scores.
#[derive(Debug)]
pub struct Explainer {
    input: String,
    /// What the graph does to each column by itself before the model.
    steps: Vec<ColumnStep>,
    model: Explained,
    /// Rows of the background.
    rows: u64,
    expectation: Vec<f64>,
}

#[derive(Debug)]
enum Explained {
    Single(Attribution<f32>),
    Double(Attribution<f64>),
    Linear { linear: Linear, means: Vec<f64> },
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
    /// The background is none of this model's.
    #[error("the background is none of this model's: {reason}")]
    Background {
        /// What does not fit.
        reason: String,
    },
    /// The rows are not those that the model takes.
    #[error("{reason}")]
    Input {
        /// What was expected and what was found.
        reason: String,
    },
    /// The deadline passed first.
    #[error("no explanation within the time that was left")]
    Late,
}

impl ExplainError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::NotAvailable { .. } => "explain.not_available",
            Self::Background { .. } => "explain.background",
            Self::Input { .. } => "explain.input",
            Self::Late => "explain.deadline_exceeded",
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
        check_size(onnx, limits)?;
        let (onnx, background) = (onnx.to_vec(), background.clone());
        on_thread(limits, move |limits| {
            Self::count(&onnx, &background, limits)
        })
    }

    fn count(onnx: &[u8], background: &Tensor, limits: &LoadLimits) -> Result<Self, ExplainError> {
        let mut explainer = Self::read(Form::Onnx, onnx, limits)?;
        let rows = explainer.prepare(background)?;
        let (count, columns) = matrix(&rows.shape).map_err(wrong_input)?;
        explainer.model.check_columns(columns)?;
        match &mut explainer.model {
            Explained::Single(trees) => observe(trees, &narrow(&rows.data)?, columns),
            Explained::Double(trees) => observe(trees, &widen(&rows.data)?, columns),
            Explained::Linear { means, .. } => {
                for row in widen(&rows.data)?.chunks_exact(columns) {
                    for (mean, value) in means.iter_mut().zip(row) {
                        *mean += value / count as f64;
                    }
                }
            }
        }
        explainer.rows = count as u64;
        explainer.expectation = explainer.model.expect();
        if explainer.expectation.iter().all(|value| value.is_finite()) {
            return Ok(explainer);
        }
        Err(wrong_input(
            "the background has no finite mean score".to_owned(),
        ))
    }

    /// Reads a model file, and the background as [`Explainer::background`] gives it.
    ///
    /// # Errors
    /// As [`Explainer::new`], and [`ExplainError::Background`] for the background of another model.
    pub fn with_background(
        form: Form,
        bytes: &[u8],
        background: &[u8],
        limits: &LoadLimits,
    ) -> Result<Self, ExplainError> {
        check_size(bytes, limits)?;
        let (bytes, background) = (bytes.to_vec(), background.to_vec());
        on_thread(limits, move |limits| {
            Self::take_background(form, &bytes, &background, limits)
        })
    }

    fn take_background(
        form: Form,
        bytes: &[u8],
        mut background: &[u8],
        limits: &LoadLimits,
    ) -> Result<Self, ExplainError> {
        let mut explainer = Self::read(form, bytes, limits)?;
        let unfit = |reason: &str| ExplainError::Background {
            reason: reason.to_owned(),
        };
        let bytes = &mut background;
        let (kind, rows) =
            background::read_head(bytes).ok_or_else(|| unfit("its form is not known"))?;
        let read = match (&mut explainer.model, kind) {
            (Explained::Single(trees), Kind::Trees) => trees.read_covers(rows, bytes),
            (Explained::Double(trees), Kind::Trees) => trees.read_covers(rows, bytes),
            (Explained::Linear { means, .. }, Kind::Linear) => {
                background::read_means(means.len(), bytes).map(|read| *means = read)
            }
            _ => return Err(unfit("it is one of another kind of model")),
        };
        if read.is_none() || !bytes.is_empty() {
            return Err(unfit(
                "its counts are of other trees, or its means of other features",
            ));
        }
        explainer.rows = rows;
        explainer.expectation = explainer.model.expect();
        Ok(explainer)
    }

    /// What explaining needs to know of the background: counts or means, none of its rows.
    pub fn background(&self) -> Vec<u8> {
        let kind = match self.method() {
            Method::TreeShapPathDependent => Kind::Trees,
            Method::Linear => Kind::Linear,
        };
        let mut bytes = background::write_head(kind, self.rows);
        match &self.model {
            Explained::Single(trees) => trees.write_covers(&mut bytes),
            Explained::Double(trees) => trees.write_covers(&mut bytes),
            Explained::Linear { means, .. } => background::write_means(means, &mut bytes),
        }
        bytes
    }

    /// Rows of the background.
    pub fn background_rows(&self) -> u64 {
        self.rows
    }

    /// How contributions are found.
    pub fn method(&self) -> Method {
        match self.model {
            Explained::Single(_) | Explained::Double(_) => Method::TreeShapPathDependent,
            Explained::Linear { .. } => Method::Linear,
        }
    }

    /// The tensor that is explained: the graph's input.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// Scores of a row: see [`Explanations::expectation`].
    pub fn outputs(&self) -> usize {
        self.expectation.len()
    }

    /// Explains each row of a tensor.
    ///
    /// # Errors
    /// [`ExplainError::Input`] for another tensor than the model's input.
    pub fn explain(&self, input: &Tensor) -> Result<Explanations, ExplainError> {
        self.explain_rows(input, &mut Watch::new(None))
    }

    /// Explains each row of a tensor, all before the deadline.
    ///
    /// # Errors
    /// As [`Explainer::explain`], and [`ExplainError::Late`].
    pub fn explain_until(
        &self,
        input: &Tensor,
        deadline: Instant,
    ) -> Result<Explanations, ExplainError> {
        self.explain_rows(input, &mut Watch::new(Some(deadline)))
    }

    fn explain_rows(
        &self,
        input: &Tensor,
        watch: &mut Watch,
    ) -> Result<Explanations, ExplainError> {
        let rows = self.prepare(input)?;
        let (count, features) = matrix(&rows.shape).map_err(wrong_input)?;
        self.model.check_columns(features)?;
        let outputs = self.expectation.len();
        let mut found = Explanations {
            method: self.method(),
            features,
            expectation: self.expectation.clone(),
            scores: Vec::with_capacity(count * outputs),
            contributions: vec![0.0; count * features * outputs],
        };
        let explained = match &self.model {
            Explained::Single(trees) => {
                explain_trees(trees, &narrow(&rows.data)?, &mut found, watch)
            }
            Explained::Double(trees) => {
                explain_trees(trees, &widen(&rows.data)?, &mut found, watch)
            }
            Explained::Linear { linear, means } => {
                explain_linear(linear, means, &widen(&rows.data)?, &mut found, watch)
            }
        };
        explained.map_err(|Late| ExplainError::Late)?;
        Ok(found)
    }

    /// Reads the model and what stands before it, without a background.
    fn read(form: Form, bytes: &[u8], limits: &LoadLimits) -> Result<Self, ExplainError> {
        let (mut proto, mut ensembles) = match form {
            Form::Onnx => (check::decode(bytes, limits)?, Ensembles::new()),
            Form::Packed => packed::read(bytes, limits)?,
        };
        check::validate(&proto, limits)?;
        let Some(graph) = &mut proto.graph else {
            return Err(unavailable("the file holds no graph"));
        };
        check::replace_zip_maps(graph);
        let (inputs, _) = check::read_specs(graph)?;
        let [input] = inputs.as_slice() else {
            return Err(unavailable("the graph takes more than one tensor"));
        };
        let node = graph::find_model(graph)?;
        let steps = graph::find_steps(graph, node, &input.name, limits)?;
        graph::check_outputs(graph, node, &input.name)?;
        let datatype = steps
            .iter()
            .fold(input.datatype, |from, step| step.gives(from));
        let packed = node
            .output
            .first()
            .and_then(|output| ensembles.remove(output));
        let model = match packed {
            Some(trees) => attribute(&trees)?,
            None => read_model(node, datatype, limits)?,
        };
        Ok(Self {
            input: input.name.clone(),
            model,
            steps,
            rows: 0,
            expectation: Vec::new(),
        })
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

impl Explained {
    /// Holds rows to the features that the model takes.
    fn check_columns(&self, columns: usize) -> Result<(), ExplainError> {
        let (fits, wanted) = match self {
            Self::Single(trees) => (columns >= trees.min_features(), trees.min_features()),
            Self::Double(trees) => (columns >= trees.min_features(), trees.min_features()),
            Self::Linear { means, .. } => (columns == means.len(), means.len()),
        };
        if fits {
            return Ok(());
        }
        Err(wrong_input(format!(
            "{columns} features where the model uses {wanted}"
        )))
    }

    /// The mean score of the background, by output.
    fn expect(&self) -> Vec<f64> {
        match self {
            Self::Single(trees) => trees.expectation(),
            Self::Double(trees) => trees.expectation(),
            Self::Linear { linear, means } => score_linear(linear, means),
        }
    }
}

fn attribute(trees: &TreeOperator) -> Result<Explained, ExplainError> {
    match trees.attribute() {
        Some(Attributed::Single(trees)) => Ok(Explained::Single(trees)),
        Some(Attributed::Double(trees)) => Ok(Explained::Double(trees)),
        None => Err(unavailable("the trees are not summed, or too deep")),
    }
}

fn read_model(
    node: &NodeProto,
    datatype: DataType,
    limits: &LoadLimits,
) -> Result<Explained, ExplainError> {
    if check::is_tree_ensemble(node) {
        return attribute(&TreeOperator::parse(node, Some(datatype), limits)?);
    }
    let linear = match Operator::parse(node, Some(datatype), limits)? {
        Operator::LinearClassifier(classifier) => classifier.into_linear(),
        Operator::LinearRegressor(regressor) => regressor.into_linear(),
        _ => return Err(unavailable("the model is of no kind that is explained")),
    };
    let means = vec![0.0; linear.features()];
    Ok(Explained::Linear { linear, means })
}
