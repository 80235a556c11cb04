//! Tree ensembles on our own kernel: `TreeEnsembleClassifier` and `TreeEnsembleRegressor` of
//! `ai.onnx.ml` 1 and 3, `TreeEnsemble` of 5.
//!
//! Results follow onnxruntime's kernel, which is what models are tested on before they are sealed: sums
//! are taken in the attributes' type, tree by tree; labels follow its rules, its handling of two classes
//! with one score included.

mod attributes;
mod attributes_v5;
mod attribution;
mod branch;
mod finish;
mod forest;
mod lanes;
mod leaves;
mod linked;
mod oblivious;
mod real;
mod rows;
mod ruled;
mod spelled;
mod topology;

use std::collections::HashMap;

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::ml::{Array, Form, View, check_number, matrix};
use crate::packed::{Reader, Writer};
use crate::tensor::TensorData;
pub(crate) use attribution::Attribution;
use finish::Finish;
use forest::Forest;
pub(crate) use real::Real;

pub(crate) use attributes::summarise;

/// Rows that are scored together: their inputs and sums stay in the cache while the trees pass by.
const BLOCK_ROWS: usize = 128;

/// One operator: trees, and what is done with their sums.
#[derive(Debug, Clone)]
pub(crate) struct TreeOperator {
    kernel: Kernel,
    finish: Finish,
    /// True for the operator of `ai.onnx.ml` 5.
    is_v5: bool,
}

/// Operators that are built already, by [`ensemble_name`].
pub(crate) type Ensembles = HashMap<String, TreeOperator>;

/// The first value that a node makes: a classifier may leave out its labels.
pub(crate) fn ensemble_name(node: &NodeProto) -> &str {
    let mut outputs = node.output.iter().map(String::as_str);
    outputs.find(|name| !name.is_empty()).unwrap_or_default()
}

/// The trees, in the type of their thresholds and weights.
#[derive(Debug, Clone)]
enum Kernel {
    Single(Forest<f32>),
    Double(Forest<f64>),
}

/// The trees as they are explained, in the type of their thresholds and weights.
#[derive(Debug)]
pub(crate) enum Attributed {
    Single(Attribution<f32>),
    Double(Attribution<f64>),
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
        let is_wide = raw.is_double || (input == Some(DataType::Fp64) && !raw.is_v5);
        let kernel = if is_wide {
            Kernel::Double(Forest::build(&raw, limits)?)
        } else {
            Kernel::Single(Forest::build(&raw, limits)?)
        };
        Ok(Self {
            kernel,
            finish,
            is_v5: raw.is_v5,
        })
    }

    /// Writes the operator in the packed form.
    pub(crate) fn pack(&self, out: &mut Writer) {
        out.choice(&self.is_v5, &[false, true]);
        self.finish.pack(out);
        match &self.kernel {
            Kernel::Single(forest) => {
                out.one(0_u8);
                forest.pack(out);
            }
            Kernel::Double(forest) => {
                out.one(1_u8);
                forest.pack(out);
            }
        }
    }

    /// Reads what [`TreeOperator::pack`] wrote; `left` are the tree nodes that the model may still have.
    pub(crate) fn unpack(
        input: &mut Reader<'_>,
        left: &mut usize,
        limits: &LoadLimits,
    ) -> Result<Self, LoadError> {
        let is_v5 = input.choice("flag", &[false, true])?;
        let finish = Finish::unpack(input, limits)?;
        let (width, aggregate) = (finish.width(), finish.aggregate());
        let kernel = match input.one::<u8>()? {
            0 => Kernel::Single(Forest::unpack(input, width, aggregate, left, limits)?),
            1 => Kernel::Double(Forest::unpack(input, width, aggregate, left, limits)?),
            other => return Err(input.fault(format!("{other} is no type of trees"))),
        };
        let survey = match &kernel {
            Kernel::Single(forest) => forest.survey(),
            Kernel::Double(forest) => forest.survey(),
        };
        finish.check(survey).map_err(|reason| input.fault(reason))?;
        if is_v5 && !finish.is_of_v5(matches!(kernel, Kernel::Double(_))) {
            return Err(input.fault("it ends as no TreeEnsemble does"));
        }
        Ok(Self {
            kernel,
            finish,
            is_v5,
        })
    }

    /// The trees as they are explained; see [`Attribution::new`].
    pub(crate) fn attribute(&self) -> Option<Attributed> {
        Some(match &self.kernel {
            Kernel::Single(forest) => Attributed::Single(Attribution::new(forest, &self.finish)?),
            Kernel::Double(forest) => Attributed::Double(Attribution::new(forest, &self.finish)?),
        })
    }

    /// Whether the trees are of a node's operator.
    pub(crate) fn is_of(&self, node: &NodeProto) -> bool {
        let own = match (self.is_v5, self.finish.labels()) {
            (true, _) => "TreeEnsemble",
            (false, Some(_)) => "TreeEnsembleClassifier",
            (false, None) => "TreeEnsembleRegressor",
        };
        node.op_type == own
    }

    /// Two for a classifier: labels, then scores.
    pub(crate) fn output_count(&self) -> usize {
        1 + usize::from(self.finish.labels().is_some())
    }

    /// Features that a row must have at least.
    pub(crate) fn min_features(&self) -> usize {
        match &self.kernel {
            Kernel::Single(forest) => forest.min_features(),
            Kernel::Double(forest) => forest.min_features(),
        }
    }

    /// The outputs' types and shapes.
    pub(crate) fn forms(&self, input: &Form) -> Result<Vec<Form>, String> {
        let own = match &self.kernel {
            Kernel::Single(_) => DataType::Fp32,
            Kernel::Double(_) => DataType::Fp64,
        };
        if self.is_v5 && input.datatype != own {
            return Err(format!(
                "{} where {} is taken, the type of the thresholds",
                input.datatype.name(),
                own.name()
            ));
        }
        check_number(input.datatype)?;
        let (rows, columns) = matrix(&input.shape)?;
        if columns < self.min_features() {
            return Err(format!(
                "a row has {columns} features where the trees use {}",
                self.min_features()
            ));
        }
        let datatype = if self.is_v5 { own } else { DataType::Fp32 };
        let scores = Form::new(datatype, vec![rows, self.finish.width()]);
        Ok(match self.finish.labels() {
            Some(labels) => vec![Form::new(labels.datatype(), vec![rows]), scores],
            None => vec![scores],
        })
    }

    /// Scores rows: labels, of a classifier, and scores.
    pub(crate) fn run(&self, input: View<'_>) -> Result<Vec<Array>, String> {
        // The forms were settled when the graph was loaded; only the number of features may be open.
        let (rows, columns) = matrix(input.shape)?;
        if columns < self.min_features() {
            self.forms(&input.form())?;
        }
        match (&self.kernel, input.data) {
            (Kernel::Single(forest), TensorData::Fp32(values)) => {
                Ok(self.score(forest, values, rows, columns))
            }
            (Kernel::Double(forest), TensorData::Fp64(values)) => {
                Ok(self.score(forest, values, rows, columns))
            }
            (Kernel::Single(forest), data) if !self.is_v5 => {
                let values = read_as(data, |v| v as f32)?;
                Ok(self.score(forest, &values, rows, columns))
            }
            (Kernel::Double(forest), data) if !self.is_v5 => {
                let values = read_as(data, |v| v)?;
                Ok(self.score(forest, &values, rows, columns))
            }
            (_, other) => Err(format!("{} is not taken", other.datatype().name())),
        }
    }

    fn score<T: Real>(
        &self,
        forest: &Forest<T>,
        values: &[T],
        rows: usize,
        columns: usize,
    ) -> Vec<Array> {
        let width = self.finish.width();
        let trees = forest.tree_count();
        let shape = vec![rows, width];
        if self.is_v5 && T::IS_DOUBLE {
            let mut scores = vec![T::default(); rows * width];
            forest.score(values, columns, |row, sums, present| {
                let out = &mut scores[row * width..(row + 1) * width];
                self.finish.plain(sums, present, trees, out);
            });
            return vec![Array {
                shape,
                data: T::into_data(scores),
            }];
        }
        let mut scores = vec![0.0; rows * width];
        let Some(labels) = self.finish.labels() else {
            forest.score(values, columns, |row, sums, present| {
                let out = &mut scores[row * width..(row + 1) * width];
                self.finish.apply(sums, present, trees, out);
            });
            return vec![Array::floats(shape, scores)];
        };
        let mut winners = vec![0_u32; rows];
        forest.score(values, columns, |row, sums, present| {
            let out = &mut scores[row * width..(row + 1) * width];
            winners[row] = self.finish.apply(sums, present, trees, out);
        });
        vec![
            Array {
                shape: vec![rows],
                data: labels.pick(&winners),
            },
            Array::floats(shape, scores),
        ]
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
