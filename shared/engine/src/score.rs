//! From a request's tensors to answers: the sanitizer, the model and the output contract together.

mod contract;

use artifact::manifest::{InputTensor, Manifest};
use serde::{Deserialize, Serialize};

use crate::error::{InputError, LoadError, ScoreError};
use crate::model::Model;
use crate::sanitize::{Sanitized, Sanitizer};
use crate::tensor::Tensor;
use contract::Contract;

/// A model together with its manifest's input schema and output contract.
#[derive(Debug)]
pub struct Scorer {
    model: Model,
    sanitizer: Sanitizer,
    contract: Contract,
}

/// What a model gave for one request, held to the contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The graph's outputs, in the graph's order.
    pub outputs: Vec<Tensor>,
    /// One answer a row.
    pub answers: Vec<Answer>,
}

/// The answer for one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of a classification.
    Class {
        /// One of the contract's labels.
        label: String,
        /// One probability a label, in the contract's order.
        probabilities: Vec<f64>,
    },
    /// Of a regression.
    Value {
        /// The value, in the unit of the model's target.
        value: f64,
    },
}

impl Scorer {
    /// Binds a model to its manifest and scores one ordinary row.
    ///
    /// # Errors
    /// [`LoadError::ManifestMismatch`] where graph and manifest disagree on names, types or shapes or the
    /// manifest contradicts itself; [`LoadError::WarmUp`] where the row failed.
    pub fn new(manifest: &Manifest, model: Model) -> Result<Self, LoadError> {
        for input in &manifest.inputs {
            check_input(input, &model)?;
        }
        for spec in model.inputs() {
            if !manifest.inputs.iter().any(|input| input.name == spec.name) {
                return Err(LoadError::ManifestMismatch {
                    field: "inputs".to_owned(),
                    reason: format!("the graph's input `{}` is not described", spec.name),
                });
            }
        }
        let sanitizer = Sanitizer::new(manifest)?;
        let contract = Contract::bind(&manifest.output, model.outputs())?;
        let scorer = Self {
            model,
            sanitizer,
            contract,
        };
        scorer.warm_up()?;
        Ok(scorer)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Holds a request to the input schema and applies the manifest's policies.
    pub fn sanitize(&self, inputs: Vec<Tensor>) -> Result<Sanitized, InputError> {
        self.sanitizer.sanitize(inputs)
    }

    /// Runs the model and holds its output to the contract: what comes back is an answer for every row.
    pub fn score(&self, input: &Sanitized) -> Result<Scored, ScoreError> {
        let outputs = self.model.run(&input.inputs)?;
        let answers = self.contract.check(&outputs, input.rows)?;
        Ok(Scored { outputs, answers })
    }

    /// Scores one ordinary row: it must run and have the contract's shape; its values are no request's.
    fn warm_up(&self) -> Result<(), LoadError> {
        let failed = |reason: String| LoadError::WarmUp { reason };
        let row = self
            .sanitizer
            .sanitize(self.sanitizer.typical_row())
            .map_err(|error| failed(error.to_string()))?;
        let outputs = self
            .model
            .run(&row.inputs)
            .map_err(|error| failed(error.to_string()))?;
        self.contract
            .check_form(&outputs, row.rows)
            .map_err(|error| failed(error.to_string()))
    }
}

fn check_input(input: &InputTensor, model: &Model) -> Result<(), LoadError> {
    let mismatch = |field: String, reason: String| LoadError::ManifestMismatch { field, reason };
    let Some(spec) = model.inputs().iter().find(|spec| spec.name == input.name) else {
        let names: Vec<&str> = model
            .inputs()
            .iter()
            .map(|spec| spec.name.as_str())
            .collect();
        let reason = format!("the graph has no such input; it takes {}", names.join(", "));
        return Err(mismatch(format!("inputs.{}", input.name), reason));
    };
    if spec.datatype != input.datatype {
        let reason = format!(
            "{} where the graph takes {}",
            input.datatype.name(),
            spec.datatype.name()
        );
        return Err(mismatch(format!("inputs.{}.datatype", input.name), reason));
    }
    // A graph may leave a shape open altogether; then there is nothing to compare.
    let fits = spec.shape.is_empty()
        || (spec.shape.len() == input.shape.len()
            && spec
                .shape
                .iter()
                .zip(&input.shape)
                .all(|(own, wish)| *own == -1 || own == wish));
    if fits {
        return Ok(());
    }
    let hint = if spec.shape.first().is_some_and(|batch| *batch >= 0) {
        "; the graph's batch dimension must be variable: export it with a dynamic axis"
    } else {
        ""
    };
    let reason = format!(
        "{:?} where the graph takes {:?}{hint}",
        input.shape, spec.shape
    );
    Err(mismatch(format!("inputs.{}.shape", input.name), reason))
}
