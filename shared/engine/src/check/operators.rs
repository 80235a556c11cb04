//! Which operators are run.

use tract_onnx::pb::{GraphProto, NodeProto};

use super::{Constants, compress, scan, unsupported};
use crate::attributes::text;
use crate::error::LoadError;
use crate::ml::{self, OPERATORS};
use crate::precision::{MICROSOFT_DOMAIN, MICROSOFT_OPERATORS, hint};
use crate::sequence;

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
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
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
    "GridSample",
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
    "RotaryEmbedding",
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
    if node.domain != ML_DOMAIN && ml::is_own(node) {
        return Ok(());
    }
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
                let (reason, hint) = explain(operator);
                return Err(unsupported(node, reason, hint));
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
        MICROSOFT_DOMAIN => {
            if MICROSOFT_OPERATORS.binary_search(&operator).is_err() {
                return Err(unsupported(
                    node,
                    "this operator is not run",
                    hint(operator),
                ));
            }
        }
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
    if operator == "SpaceToDepth" && text(node, "mode").is_some_and(|mode| mode != b"DCR") {
        let hint = "export it with the mode DCR";
        return Err(unsupported(node, "the mode CRD is not run", hint));
    }
    if sequence::OPERATORS.contains(&operator)
        && let Err(error) = sequence::check(node)
        && error.is_unsupported()
    {
        return Err(error);
    }
    Ok(())
}

/// Why an operator is not run, and what can be done.
fn explain(operator: &str) -> (&'static str, &'static str) {
    match operator {
        "NonZero" | "NonMaxSuppression" | "Unique" => (
            "the shape of its output hangs on the rows",
            "choose by Where or a mask that is multiplied; impute with SimpleImputer",
        ),
        "Attention" | "LinearAttention" | "SwiGLU" => (
            "this operator is not run",
            "export the model for operator set 22 or below, which writes it out",
        ),
        "RegexFullMatch" | "StringConcat" | "StringNormalizer" | "StringSplit"
        | "TfIdfVectorizer" => (
            "text is not taken apart",
            "make the features of text before the model",
        ),
        _ if operator.starts_with("Sequence")
            || operator.starts_with("Optional")
            || matches!(operator, "ConcatFromSequence" | "SplitToSequence") =>
        {
            (
                "only tensors are passed on, no sequences and no optional values",
                "export the model with tensors only",
            )
        }
        _ => (
            "this operator is not run",
            "export it with the operators that docs/models.md lists",
        ),
    }
}

fn hint_for_ml(operator: &str) -> &'static str {
    match operator {
        "DictVectorizer" | "CastMap" => "maps are not read: give the features as tensors",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{ALLOWED, OPERATORS};

    fn read_docs() -> String {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/models.md");
        std::fs::read_to_string(file).expect("the docs are there")
    }

    #[test]
    fn docs_list_every_operator_of_ai_onnx_that_is_run_and_no_other() {
        let docs = read_docs();
        let list: String = docs
            .lines()
            .skip_while(|line| *line != "`ai.onnx`:")
            .skip(2)
            .map_while(|line| line.strip_prefix("> "))
            .collect::<Vec<_>>()
            .join(" ");
        let listed: Vec<&str> = list.trim_end_matches('.').split(", ").collect();
        assert_eq!(listed, ALLOWED);
    }

    #[test]
    fn docs_name_every_operator_of_ai_onnx_ml_that_is_run() {
        let docs = read_docs();
        let unnamed = |own: &&&str| !docs.contains(&format!("`{own}`"));
        assert_eq!(OPERATORS.iter().filter(unnamed).count(), 0);
    }

    #[test]
    fn lists_that_are_searched_are_sorted() {
        assert!(ALLOWED.is_sorted());
        assert!(OPERATORS.is_sorted());
    }
}
