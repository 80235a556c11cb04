//! The element type of every value of a graph, as far as the file says it.

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType as ElementType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use crate::attributes::{find, int, tensor};
use crate::check::ML_DOMAIN;

/// Element types by value name.
#[derive(Debug, Default)]
pub(super) struct Types {
    known: HashMap<String, ElementType>,
}

impl Types {
    /// Follows the types from the inputs and initialisers through the nodes, which stand in order.
    pub(super) fn infer(graph: &GraphProto) -> Self {
        let mut types = Self::default();
        for input in &graph.input {
            if let Some(Value::TensorType(tensor)) =
                input.r#type.as_ref().and_then(|form| form.value.as_ref())
            {
                types.learn(&input.name, ElementType::try_from(tensor.elem_type).ok());
            }
        }
        for tensor in &graph.initializer {
            types.learn(&tensor.name, ElementType::try_from(tensor.data_type).ok());
        }
        for node in &graph.node {
            for (at, output) in node.output.iter().enumerate() {
                let found = types.output(node, at);
                types.learn(output, found);
            }
        }
        types
    }

    /// The type of a value; none where it is not known.
    pub(super) fn of(&self, name: &str) -> Option<ElementType> {
        self.known.get(name).copied()
    }

    /// The type of a node's input.
    pub(super) fn of_input(&self, node: &NodeProto, at: usize) -> Option<ElementType> {
        self.of(node.input.get(at)?)
    }

    fn learn(&mut self, name: &str, found: Option<ElementType>) {
        if let Some(found) = found {
            self.known.insert(name.to_owned(), found);
        }
    }

    fn output(&self, node: &NodeProto, at: usize) -> Option<ElementType> {
        if node.domain == ML_DOMAIN {
            // Labels and codes are of several types, scores of one; no rule here asks for the former.
            return match (node.op_type.as_str(), at) {
                ("TreeEnsemble", 0) => tensor(node, "nodes_splits").and_then(element),
                ("LabelEncoder", 0) => encoded_type(node),
                ("ArrayFeatureExtractor" | "Imputer" | "Binarizer", _) => self.of_input(node, 0),
                ("TreeEnsembleClassifier" | "LinearClassifier" | "SVMClassifier", 1)
                | (
                    "TreeEnsembleRegressor"
                    | "LinearRegressor"
                    | "SVMRegressor"
                    | "Scaler"
                    | "Normalizer"
                    | "FeatureVectorizer"
                    | "OneHotEncoder",
                    0,
                ) => Some(ElementType::Float),
                _ => None,
            };
        }
        let stated = |name: &str| {
            int(node, name)
                .filter(|value| *value != 0)
                .and_then(|value| ElementType::try_from(i32::try_from(value).ok()?).ok())
        };
        match (node.op_type.as_str(), at) {
            ("Constant", _) => constant_type(node),
            ("ConstantOfShape", _) => Some(
                tensor(node, "value")
                    .and_then(element)
                    .unwrap_or(ElementType::Float),
            ),
            ("Cast", _) => stated("to"),
            ("EyeLike", _) => stated("dtype").or_else(|| self.of_input(node, 0)),
            ("Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero", _) | ("TopK" | "MaxPool", 1) => {
                Some(ElementType::Int64)
            }
            (
                "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or"
                | "Xor" | "Not" | "IsNaN" | "IsInf",
                _,
            )
            | ("Dropout", 1) => Some(ElementType::Bool),
            // Of a quantised one the zero point, which comes after a scale or condition.
            ("CastLike" | "Where" | "QLinearConcat" | "QLinearWhere", _) => self.of_input(node, 1),
            ("OneHot", _) => self.of_input(node, 2),
            ("QuantizeLinear", _) => Some(
                self.of_input(node, 2)
                    .or_else(|| stated("output_dtype"))
                    .unwrap_or(ElementType::Uint8),
            ),
            ("DequantizeLinear", _) => stated("output_dtype").or_else(|| self.of_input(node, 1)),
            ("DynamicQuantizeLinear", 1) | ("MatMulIntegerToFloat", _) => Some(ElementType::Float),
            ("DynamicQuantizeLinear", _) => Some(ElementType::Uint8),
            ("MatMulInteger" | "ConvInteger", _) => Some(ElementType::Int32),
            ("QLinearMatMul" | "QLinearConv", _) => self.of_input(node, 7),
            // With a zero point of its output it gives whole numbers.
            ("QGemm", _) => self.of_input(node, 8).or(Some(ElementType::Float)),
            _ => self.of_input(node, 0),
        }
    }
}

fn element(tensor: &TensorProto) -> Option<ElementType> {
    ElementType::try_from(tensor.data_type).ok()
}

/// What a `LabelEncoder` gives: the type of its values.
fn encoded_type(node: &NodeProto) -> Option<ElementType> {
    if let Some(values) = tensor(node, "values_tensor") {
        return element(values);
    }
    [
        ("values_floats", ElementType::Float),
        ("values_int64s", ElementType::Int64),
        ("values_strings", ElementType::String),
    ]
    .into_iter()
    .find(|(name, _)| find(node, name).is_some())
    .map(|(_, kind)| kind)
}

fn constant_type(node: &NodeProto) -> Option<ElementType> {
    if let Some(value) = tensor(node, "value") {
        return element(value);
    }
    [
        ("value_float", ElementType::Float),
        ("value_floats", ElementType::Float),
        ("value_int", ElementType::Int64),
        ("value_ints", ElementType::Int64),
        ("value_string", ElementType::String),
        ("value_strings", ElementType::String),
    ]
    .into_iter()
    .find(|(name, _)| find(node, name).is_some())
    .map(|(_, kind)| kind)
}
