//! This crate's operators: those of `ai.onnx.ml`, and some that the graph engine lacks or gets wrong. One file each;
//! they know nothing of the graph engine.

mod array;
mod array_feature_extractor;
mod binarizer;
mod broadcast;
mod distances;
mod feature_vectorizer;
mod graph_node;
mod imputer;
mod label_encoder;
mod labels;
mod linear;
mod lookup;
mod modulo;
mod normalizer;
mod one_hot;
mod post_transform;
mod scaler;
mod svm;

use artifact::manifest::DataType;
use tract_onnx::pb::NodeProto;

use crate::check::{ML_DOMAIN, invalid, unsupported};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::tree::TreeOperator;

pub(crate) use array::{Array, Form, View, check_number, matrix, pick};
pub(crate) use broadcast::{broadcast, combine};
pub(crate) use distances::Distances;
pub(crate) use graph_node::register;
pub(crate) use labels::ClassLabels;
pub(crate) use linear::Linear;
pub(crate) use post_transform::{PostTransform, logistic, logistic_wide, probit};

/// The operators of `ai.onnx.ml` that are run; sorted. `ZipMap` is dropped before it comes to this.
pub(crate) const OPERATORS: &[&str] = &[
    "ArrayFeatureExtractor",
    "Binarizer",
    "CategoryMapper",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "OneHotEncoder",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
];

/// Operators of other domains that are run here.
const OTHERS: &[(&str, &str)] = &[("", "Mod"), ("ai.onnx", "Mod"), ("com.microsoft", "CDist")];

/// True for a node that is run here, not by the graph engine.
pub(crate) fn is_own(node: &NodeProto) -> bool {
    let operator = node.op_type.as_str();
    if node.domain == ML_DOMAIN {
        OPERATORS.binary_search(&operator).is_ok()
    } else {
        OTHERS.contains(&(node.domain.as_str(), operator))
    }
}

/// An operator, ready to run.
#[derive(Debug, Clone)]
pub(crate) enum Operator {
    ArrayFeatureExtractor,
    Binarizer(binarizer::Binarizer),
    Distances(Distances),
    FeatureVectorizer(feature_vectorizer::FeatureVectorizer),
    Imputer(imputer::Imputer),
    LabelEncoder(label_encoder::LabelEncoder),
    LinearClassifier(linear::LinearClassifier),
    LinearRegressor(linear::LinearRegressor),
    Modulo(modulo::Modulo),
    Normalizer(normalizer::Normalizer),
    OneHotEncoder(one_hot::OneHotEncoder),
    Scaler(scaler::Scaler),
    SvmClassifier(svm::SvmClassifier),
    SvmRegressor(svm::SvmRegressor),
    Trees(Box<TreeOperator>),
}

impl Operator {
    /// Reads and validates a node; `input` is the type of its first input, where that is known.
    pub(crate) fn parse(
        node: &NodeProto,
        input: Option<DataType>,
        limits: &LoadLimits,
    ) -> Result<Self, LoadError> {
        let operator = match node.op_type.as_str() {
            "ArrayFeatureExtractor" => Self::ArrayFeatureExtractor,
            "Binarizer" => Self::Binarizer(binarizer::Binarizer::parse(node)?),
            "CDist" => Self::Distances(Distances::parse(node)?),
            "CategoryMapper" => {
                Self::LabelEncoder(label_encoder::LabelEncoder::parse_mapper(node)?)
            }
            "FeatureVectorizer" => {
                Self::FeatureVectorizer(feature_vectorizer::FeatureVectorizer::parse(node, limits)?)
            }
            "Imputer" => Self::Imputer(imputer::Imputer::parse(node)?),
            "LabelEncoder" => Self::LabelEncoder(label_encoder::LabelEncoder::parse(node)?),
            "LinearClassifier" => Self::LinearClassifier(linear::LinearClassifier::parse(node)?),
            "LinearRegressor" => Self::LinearRegressor(linear::LinearRegressor::parse(node)?),
            "Mod" => Self::Modulo(modulo::Modulo::parse(node)?),
            "Normalizer" => Self::Normalizer(normalizer::Normalizer::parse(node)?),
            "OneHotEncoder" => Self::OneHotEncoder(one_hot::OneHotEncoder::parse(node)?),
            "SVMClassifier" => Self::SvmClassifier(svm::SvmClassifier::parse(node)?),
            "SVMRegressor" => Self::SvmRegressor(svm::SvmRegressor::parse(node)?),
            "Scaler" => Self::Scaler(scaler::Scaler::parse(node)?),
            "TreeEnsemble" | "TreeEnsembleClassifier" | "TreeEnsembleRegressor" => {
                Self::Trees(Box::new(TreeOperator::parse(node, input, limits)?))
            }
            _ => return Err(unsupported(node, "this operator is not run", "")),
        };
        operator.check_arity(node)?;
        Ok(operator)
    }

    /// A tree operator that is built already, in the place of a node.
    pub(crate) fn from_trees(node: &NodeProto, trees: TreeOperator) -> Result<Self, LoadError> {
        if !trees.is_of(node) {
            return Err(invalid(node, "its trees are of another operator"));
        }
        let operator = Self::Trees(Box::new(trees));
        operator.check_arity(node)?;
        Ok(operator)
    }

    fn check_arity(&self, node: &NodeProto) -> Result<(), LoadError> {
        let inputs = match self {
            Self::ArrayFeatureExtractor | Self::Distances(_) | Self::Modulo(_) => 2,
            Self::FeatureVectorizer(_) => node.input.len(),
            _ => 1,
        };
        if node.input.len() != inputs || node.input.iter().any(String::is_empty) {
            return Err(invalid(
                node,
                format!("{} inputs where {inputs} are taken", node.input.len()),
            ));
        }
        if node.output.len() > self.output_count() {
            return Err(invalid(
                node,
                format!(
                    "{} outputs where there are {}",
                    node.output.len(),
                    self.output_count()
                ),
            ));
        }
        Ok(())
    }

    /// The number of outputs.
    pub(crate) fn output_count(&self) -> usize {
        match self {
            Self::LinearClassifier(_) | Self::SvmClassifier(_) => 2,
            Self::Trees(trees) => trees.output_count(),
            _ => 1,
        }
    }

    /// Features that a row must have, where the operator was made for a number of them.
    pub(crate) fn features(&self) -> Option<usize> {
        match self {
            Self::LinearClassifier(operator) => Some(operator.features()),
            Self::LinearRegressor(operator) => Some(operator.features()),
            Self::SvmClassifier(operator) => Some(operator.features()),
            Self::SvmRegressor(operator) => Some(operator.features()),
            Self::Trees(operator) => Some(operator.min_features()),
            Self::Scaler(operator) => operator.features(),
            Self::Imputer(operator) => operator.features(),
            _ => None,
        }
    }

    /// The outputs' types and shapes, or why inputs of these types and shapes are not taken.
    pub(crate) fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>, String> {
        match (self, inputs) {
            (Self::ArrayFeatureExtractor, [input, indices]) => {
                return Ok(vec![array_feature_extractor::form(input, indices)?]);
            }
            (Self::Distances(_), [left, right]) => return Ok(vec![Distances::form(left, right)?]),
            (Self::Modulo(_), [left, right]) => {
                return Ok(vec![modulo::Modulo::form(left, right)?]);
            }
            (Self::FeatureVectorizer(operator), _) => return Ok(vec![operator.form(inputs)?]),
            _ => {}
        }
        let [input] = inputs else {
            return Err(format!("{} inputs where 1 is taken", inputs.len()));
        };
        Ok(vec![match self {
            Self::LinearClassifier(operator) => return operator.forms(input),
            Self::SvmClassifier(operator) => return operator.forms(input),
            Self::Trees(operator) => return operator.forms(input),
            Self::Binarizer(_) => binarizer::Binarizer::form(input)?,
            Self::Imputer(operator) => operator.form(input)?,
            Self::LabelEncoder(operator) => operator.form(input)?,
            Self::LinearRegressor(operator) => operator.form(input)?,
            Self::Normalizer(_) => normalizer::Normalizer::form(input)?,
            Self::OneHotEncoder(operator) => operator.form(input)?,
            Self::Scaler(operator) => operator.form(input)?,
            Self::SvmRegressor(operator) => operator.form(input)?,
            Self::ArrayFeatureExtractor
            | Self::Distances(_)
            | Self::FeatureVectorizer(_)
            | Self::Modulo(_) => return Err("two inputs are taken".to_owned()),
        }])
    }

    /// Runs the operator: all its outputs.
    pub(crate) fn run(&self, inputs: &[View<'_>]) -> Result<Vec<Array>, String> {
        match (self, inputs) {
            (Self::ArrayFeatureExtractor, [input, indices]) => {
                return Ok(vec![array_feature_extractor::run(*input, *indices)?]);
            }
            (Self::Distances(operator), [left, right]) => {
                return Ok(vec![operator.run(*left, *right)?]);
            }
            (Self::Modulo(operator), [left, right]) => {
                return Ok(vec![operator.run(*left, *right)?]);
            }
            (Self::FeatureVectorizer(operator), _) => return Ok(vec![operator.run(inputs)?]),
            _ => {}
        }
        let [input] = *inputs else {
            return Err(format!("{} inputs where 1 is taken", inputs.len()));
        };
        Ok(vec![match self {
            Self::LinearClassifier(operator) => return operator.run(input),
            Self::SvmClassifier(operator) => return operator.run(input),
            Self::Trees(operator) => return operator.run(input),
            Self::Binarizer(operator) => operator.run(input)?,
            Self::Imputer(operator) => operator.run(input)?,
            Self::LabelEncoder(operator) => operator.run(input)?,
            Self::LinearRegressor(operator) => operator.run(input)?,
            Self::Normalizer(operator) => operator.run(input)?,
            Self::OneHotEncoder(operator) => operator.run(input)?,
            Self::Scaler(operator) => operator.run(input)?,
            Self::SvmRegressor(operator) => operator.run(input)?,
            Self::ArrayFeatureExtractor
            | Self::Distances(_)
            | Self::FeatureVectorizer(_)
            | Self::Modulo(_) => return Err("two inputs are taken".to_owned()),
        }])
    }
}
