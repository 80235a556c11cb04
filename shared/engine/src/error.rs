//! What can go wrong, each with a stable code for clients and one sentence for people.

use thiserror::Error;

/// Why a model was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Something is over its limit.
    #[error("{what} is {actual}, over the limit of {limit}")]
    TooLarge {
        /// What was counted, for example `the file in bytes`.
        what: String,
        /// What was found; saturates at the largest number.
        actual: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {reason}")]
    Malformed {
        /// What was found.
        reason: String,
    },
    /// The bytes are not a model's packed form.
    #[error("not a packed model: {reason}")]
    MalformedPacked {
        /// Where, and what was found.
        reason: String,
    },
    /// The packed form is of another version.
    #[error("packed form {found}; {} is read", crate::packed::PACKED_FORMAT)]
    PackedFormat {
        /// The version that was found.
        found: u32,
    },
    /// The graph uses an operator, or a form of one, that is not run here.
    #[error("node `{node}` ({operator}): {reason}{}", hint_suffix(.hint))]
    UnsupportedOperator {
        /// The node's name, or its first output's where it has none.
        node: String,
        /// The operator with its domain, for example `ai.onnx.ml.SVMClassifier`.
        operator: String,
        /// Why it is refused.
        reason: String,
        /// What the author of the model can do; empty where nothing is known.
        hint: String,
    },
    /// The graph contradicts itself or the ONNX specification.
    #[error("invalid graph: {}{reason}", place_prefix(.node.as_deref(), .operator.as_deref()))]
    InvalidGraph {
        /// The node, where one is at fault.
        node: Option<String>,
        /// Its operator.
        operator: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// Loading took too long.
    #[error("loading took longer than {limit_ms} ms")]
    Deadline {
        /// The limit.
        limit_ms: u64,
    },
    /// The graph engine panicked while it loaded the model.
    #[error("the graph engine panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The graph engine refused a graph that passed validation.
    #[error("the graph engine refused the model: {reason}")]
    Refused {
        /// The engine's own words.
        reason: String,
    },
    /// Graph and manifest disagree.
    #[error("`{field}` of the manifest does not fit the graph: {reason}")]
    ManifestMismatch {
        /// The manifest's field, for example `inputs.features.shape`.
        field: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The first row that was scored, to warm up, failed.
    #[error("the warm-up row failed: {reason}")]
    WarmUp {
        /// What went wrong.
        reason: String,
    },
}

impl LoadError {
    /// The stable code, for example `model.unsupported_operator`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "model.too_large",
            Self::Malformed { .. } => "model.malformed",
            Self::MalformedPacked { .. } => "model.packed_malformed",
            Self::PackedFormat { .. } => "model.packed_format_unknown",
            Self::UnsupportedOperator { .. } => "model.unsupported_operator",
            Self::InvalidGraph { .. } => "model.invalid_graph",
            Self::Deadline { .. } => "model.deadline",
            Self::Panicked { .. } => "model.panicked",
            Self::Refused { .. } => "model.refused",
            Self::ManifestMismatch { .. } => "model.manifest_mismatch",
            Self::WarmUp { .. } => "model.warm_up_failed",
        }
    }

    /// A fault of the graph as a whole.
    pub(crate) fn graph(reason: impl Into<String>) -> Self {
        Self::InvalidGraph {
            node: None,
            operator: None,
            reason: reason.into(),
        }
    }

    /// True where another operator's support is all that is missing.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self, Self::UnsupportedOperator { .. })
    }
}

fn hint_suffix(hint: &str) -> String {
    if hint.is_empty() {
        String::new()
    } else {
        format!("; {hint}")
    }
}

fn place_prefix(node: Option<&str>, operator: Option<&str>) -> String {
    match (node, operator) {
        (Some(node), Some(operator)) => format!("node `{node}` ({operator}): "),
        (Some(node), None) => format!("node `{node}`: "),
        (None, Some(operator)) => format!("{operator}: "),
        (None, None) => String::new(),
    }
}

/// Why a model gave no output.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// The tensors are not those that the graph takes.
    #[error("input `{input}`: {reason}")]
    Input {
        /// The graph's input, or the tensor that is none.
        input: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The model panicked; it answers again, but something is wrong with it.
    #[error("the model panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The graph engine failed.
    #[error("the model failed: {reason}")]
    Failed {
        /// The engine's own words.
        reason: String,
    },
}

/// Why a request's tensors are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {message}")]
pub struct InputError {
    /// The stable code: `input.unknown`, `input.missing_tensor`, `input.duplicate`, `input.datatype`,
    /// `input.shape`, `input.count`, `input.rows`, `input.missing_value`, `input.out_of_range`,
    /// `input.outlier`, `input.not_finite` or `input.conversion`.
    pub code: &'static str,
    /// Where, for example `inputs.features[3].rsi_14` (row, then column).
    pub field: String,
    /// What was expected and what was found.
    pub message: String,
}

/// Why a model's output is not an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScoreError {
    /// The model panicked.
    #[error("the model panicked: {message}")]
    Panic {
        /// The panic's message.
        message: String,
    },
    /// An output holds NaN or an infinity.
    #[error("output `{output}` holds a non-finite value in row {row}")]
    NotFinite {
        /// The graph's output.
        output: String,
        /// The first such row.
        row: usize,
    },
    /// An output breaks the manifest's contract.
    #[error("output `{output}`, row {row}: {reason}")]
    OutOfContract {
        /// The graph's output.
        output: String,
        /// The first such row.
        row: usize,
        /// What was promised and what was found.
        reason: String,
    },
    /// The model failed.
    #[error(transparent)]
    Run(RunError),
}

impl ScoreError {
    /// The stable code, for example `model.output_not_finite`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Panic { .. } => "model.panicked",
            Self::NotFinite { .. } => "model.output_not_finite",
            Self::OutOfContract { .. } => "model.output_out_of_contract",
            Self::Run(_) => "model.failed",
        }
    }
}

impl From<RunError> for ScoreError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Panicked { message } => Self::Panic { message },
            other => Self::Run(other),
        }
    }
}

/// Says what a panic said.
pub(crate) fn describe_panic(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
