//! Tree ensembles on our own kernel: `TreeEnsembleClassifier` and `TreeEnsembleRegressor` of
//! `ai.onnx.ml`, versions 1 and 3.
//!
//! Results follow onnxruntime's kernel, which is what models are tested on before they are sealed: sums
//! are taken in the attributes' type, tree by tree; labels follow its rules, its handling of two classes
//! with one score included.

mod attributes;
mod build;
mod finish;
mod forest;

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use crate::error::{LoadError, RunError};
use crate::limits::LoadLimits;
use crate::tensor::{Tensor, TensorData};
use finish::Finish;
use forest::{Block, Forest};

pub(crate) use attributes::summarise;
pub(crate) use finish::Labels;

/// Rows that are scored together: their inputs and sums stay in the cache while the trees pass by.
const BLOCK_ROWS: usize = 128;

/// One operator: trees, and what is done with their sums.
#[derive(Debug, Clone)]
pub(crate) struct TreeOperator {
    kernel: Kernel,
    finish: Finish,
}

/// The trees, in the type of their thresholds and weights.
#[derive(Debug, Clone)]
enum Kernel {
    Single(Forest<f32>),
    Double(Forest<f64>),
}

/// What an operator gives for a batch.
pub(crate) struct TreeOutput {
    /// One label a row, of a classifier.
    pub(crate) labels: Option<TensorData>,
    /// Scores `[rows, width]`.
    pub(crate) scores: Vec<f32>,
    /// Scores a row.
    pub(crate) width: usize,
}

/// A whole graph that is one operator.
#[derive(Debug)]
pub(crate) struct TreeModel {
    operator: TreeOperator,
    /// The graph's outputs: the name, and which of the operator's it is.
    outputs: Vec<(String, TreeOutputKind)>,
}

/// Which of an operator's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeOutputKind {
    Labels,
    Scores,
}

impl TreeOperator {
    /// Reads and validates an operator; `input` is the type of the tensor that it is given, where known.
    pub(crate) fn parse(
        node: &NodeProto,
        input: Option<DataType>,
        limits: &LoadLimits,
    ) -> Result<Self, LoadError> {
        let raw = attributes::read(node, limits)?;
        let finish = Finish::new(&raw);
        let kernel = if raw.is_double || input == Some(DataType::Fp64) {
            Kernel::Double(build::build::<f64>(&raw, limits)?)
        } else {
            Kernel::Single(build::build::<f32>(&raw, limits)?)
        };
        Ok(Self { kernel, finish })
    }

    /// The classes, where this is a classifier.
    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.finish.labels()
    }

    /// Scores a row: targets or classes.
    pub(crate) fn width(&self) -> usize {
        self.finish.width()
    }

    /// Features that a row must have at least.
    pub(crate) fn min_features(&self) -> usize {
        match &self.kernel {
            Kernel::Single(forest) => forest.min_features(),
            Kernel::Double(forest) => forest.min_features(),
        }
    }

    /// Scores rows of `columns` features each.
    pub(crate) fn run(&self, data: &TensorData, columns: usize) -> Result<TreeOutput, String> {
        if columns < self.min_features() {
            return Err(format!(
                "a row has {columns} features where the trees use {}",
                self.min_features()
            ));
        }
        let rows = data.len() / columns;
        match (&self.kernel, data) {
            (Kernel::Single(forest), TensorData::Fp32(values)) => {
                Ok(self.score(forest, values, rows, columns))
            }
            (Kernel::Double(forest), TensorData::Fp64(values)) => {
                Ok(self.score(forest, values, rows, columns))
            }
            (Kernel::Single(forest), data) => {
                let values = read_as(data, |v| v as f32)?;
                Ok(self.score(forest, &values, rows, columns))
            }
            (Kernel::Double(forest), data) => {
                let values = read_as(data, |v| v)?;
                Ok(self.score(forest, &values, rows, columns))
            }
        }
    }

    fn score<T: forest::Real>(
        &self,
        forest: &Forest<T>,
        values: &[T],
        rows: usize,
        columns: usize,
    ) -> TreeOutput {
        let width = self.finish.width();
        let mut scores = vec![0.0; rows * width];
        let mut winners = vec![
            0_u32;
            if self.finish.labels().is_some() {
                rows
            } else {
                0
            }
        ];
        let mut block = Block::new(rows.min(BLOCK_ROWS), forest.width());
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - first);
            forest.score(
                &values[first * columns..(first + count) * columns],
                columns,
                &mut block,
            );
            for at in 0..count {
                let row = first + at;
                let (sums, present) = block.row(at);
                let out = &mut scores[row * width..(row + 1) * width];
                let winner = self.finish.apply(sums, present, forest.tree_count(), out);
                if let Some(slot) = winners.get_mut(row) {
                    *slot = winner;
                }
            }
        }
        TreeOutput {
            labels: self.finish.labels().map(|labels| labels.pick(&winners)),
            scores,
            width,
        }
    }
}

/// Reads numbers as floats; 64-bit integers are rounded as onnxruntime rounds them, in the comparison.
fn read_as<T>(data: &TensorData, cast: impl Fn(f64) -> T) -> Result<Vec<T>, String> {
    match data {
        TensorData::Fp32(values) => Ok(values.iter().map(|v| cast(f64::from(*v))).collect()),
        TensorData::Fp64(values) => Ok(values.iter().map(|v| cast(*v)).collect()),
        TensorData::Int32(values) => Ok(values.iter().map(|v| cast(f64::from(*v))).collect()),
        TensorData::Int64(values) => Ok(values.iter().map(|v| cast(*v as f64)).collect()),
        other => Err(format!(
            "trees take FP32, FP64, INT32 or INT64, not {}",
            other.datatype().name()
        )),
    }
}

impl TreeModel {
    pub(crate) fn new(operator: TreeOperator, outputs: Vec<(String, TreeOutputKind)>) -> Self {
        Self { operator, outputs }
    }

    /// Scores a tensor `[rows, columns]`, or `[columns]` for one row.
    pub(crate) fn run(&self, input: &Tensor) -> Result<Vec<Tensor>, RunError> {
        let fault = |reason: String| RunError::Input {
            input: input.name.clone(),
            reason,
        };
        let (rows, columns) = match input.shape.as_slice() {
            [columns] => (1, *columns),
            [rows, columns] => (*rows, *columns),
            other => {
                return Err(fault(format!(
                    "shape {other:?} where [rows, columns] is taken"
                )));
            }
        };
        let mut output = self.operator.run(&input.data, columns).map_err(fault)?;
        let mut scores = Some(std::mem::take(&mut output.scores));
        let last = self
            .outputs
            .iter()
            .rposition(|(_, kind)| *kind == TreeOutputKind::Scores);
        let mut tensors = Vec::with_capacity(self.outputs.len());
        for (at, (name, kind)) in self.outputs.iter().enumerate() {
            tensors.push(match kind {
                TreeOutputKind::Labels => Tensor {
                    name: name.clone(),
                    shape: vec![rows],
                    data: output
                        .labels
                        .clone()
                        .unwrap_or(TensorData::Int64(Vec::new())),
                },
                TreeOutputKind::Scores => {
                    let values = if last == Some(at) {
                        scores.take()
                    } else {
                        scores.clone()
                    };
                    Tensor {
                        name: name.clone(),
                        shape: vec![rows, output.width],
                        data: TensorData::Fp32(values.unwrap_or_default()),
                    }
                }
            });
        }
        Ok(tensors)
    }
}
