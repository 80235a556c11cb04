//! Which operators are run.

use tract_onnx::pb::{GraphProto, NodeProto};

use super::{Constants, compress, scan, unsupported};
use crate::error::LoadError;
use crate::ml::{self, OPERATORS};

/// The domain of classical machine learning operators.
pub(crate) const ML_DOMAIN: &str = "ai.onnx.ml";

/// Operators of `ai.onnx` that the graph engine runs as the specification says; sorted.
const ALLOWED: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RMSNormalization",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shape",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// True for an operator that this crate's own kernel runs.
pub(crate) fn is_tree_ensemble(node: &NodeProto) -> bool {
    node.domain == ML_DOMAIN
        && matches!(
            node.op_type.as_str(),
            "TreeEnsemble" | "TreeEnsembleClassifier" | "TreeEnsembleRegressor"
        )
}

/// The operator with its domain, which is left out for `ai.onnx`.
pub(crate) fn qualified_name(node: &NodeProto) -> String {
    if matches!(node.domain.as_str(), "" | "ai.onnx") {
        node.op_type.clone()
    } else {
        format!("{}.{}", node.domain, node.op_type)
    }
}

/// Lists the nodes that are not run, in the graph's order.
pub(crate) fn find_unsupported(graph: &GraphProto) -> Vec<LoadError> {
    let constants = Constants::collect(graph);
    graph
        .node
        .iter()
        .filter_map(|node| check_operator(node, &constants).err())
        .collect()
}

fn check_operator(node: &NodeProto, constants: &Constants<'_>) -> Result<(), LoadError> {
    let operator = node.op_type.as_str();
    match node.domain.as_str() {
        "" | "ai.onnx" => {
            if operator == "Scan" && scan::read_distances(node).is_some() {
                return Ok(());
            }
            if operator == "Compress" {
                return compress::check(node, constants);
            }
            if matches!(operator, "If" | "Loop" | "Scan" | "SequenceMap") {
                return Err(unsupported(
                    node,
                    "graphs within graphs are not run",
                    "export the model without control flow, for a fixed sequence length",
                ));
            }
            if matches!(
                operator,
                "Bernoulli"
                    | "Multinomial"
                    | "RandomNormal"
                    | "RandomNormalLike"
                    | "RandomUniform"
                    | "RandomUniformLike"
            ) {
                let hint = "export the model in inference mode";
                return Err(unsupported(
                    node,
                    "an answer must be reproducible, and this operator draws lots",
                    hint,
                ));
            }
            if ALLOWED.binary_search(&operator).is_err() {
                return Err(unsupported(node, "this operator is not run", ""));
            }
        }
        ML_DOMAIN => {
            if operator != "ZipMap" && OPERATORS.binary_search(&operator).is_err() {
                return Err(unsupported(
                    node,
                    "this operator is not run",
                    hint_for_ml(operator),
                ));
            }
        }
        _ if ml::is_own(node) => {}
        _ => {
            let reason = format!(
                "the domain `{}` is not run: only ai.onnx and ai.onnx.ml are",
                node.domain
            );
            return Err(unsupported(
                node,
                reason,
                "export the model with standard operators only",
            ));
        }
    }
    if node
        .attribute
        .iter()
        .any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
    {
        return Err(unsupported(node, "graphs within graphs are not run", ""));
    }
    if matches!(operator, "GRU" | "LSTM" | "RNN")
        && node
            .attribute
            .iter()
            .any(|attribute| attribute.name == "direction" && attribute.s == b"reverse")
    {
        let hint = "flip the sequence before a forward layer, or use a bidirectional one";
        return Err(unsupported(
            node,
            "direction `reverse` alone is not run",
            hint,
        ));
    }
    Ok(())
}

fn hint_for_ml(operator: &str) -> &'static str {
    match operator {
        "DictVectorizer" | "CastMap" => "maps are not read: give the features as tensors",
        _ => "",
    }
}
