//! What a manifest says about explanations.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// When predictions are explained, and against which background.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Which predictions are explained.
    #[serde(default)]
    pub when: ExplainWhen,
    /// What a prediction is compared with. `seal` fills it in from training data; without it nothing is explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
}

/// Which predictions are explained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExplainWhen {
    /// Those whose request asks for it.
    #[default]
    OnRequest,
    /// Every one, in its answer and in its record.
    Always,
}

/// Rows that are typical of what the model was trained on, as far as explaining needs to know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// How many rows.
    pub rows: u64,
    /// What is kept of them: how many came to each branch of each tree, or a linear model's mean inputs.
    pub summary: Summary,
}

/// The engine's own form of a background; in JSON as base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Summary(Vec<u8>);

impl Summary {
    /// A summary of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Summary({} bytes)", self.0.len())
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Summary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text);
        bytes
            .map(Self)
            .map_err(|_| D::Error::custom("expected padded standard base64"))
    }
}
