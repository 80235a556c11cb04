//! The explanation of a row, as `/v1` gives it.

use engine::Method;
use serde::{Serialize, Serializer};

use crate::explain::{Explanation, Found, Unavailable};

/// Why the answer for a row is as it is, or why that is not said.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum RowExplanation<'a> {
    Found {
        method: Method,
        outputs: Vec<ExplainedOutput<'a>>,
    },
    Unavailable {
        unavailable: &'a Unavailable,
    },
}

/// One raw score, and what it is made of.
#[derive(Serialize)]
pub(super) struct ExplainedOutput<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    expectation: f64,
    score: f64,
    contributions: Contributions<'a>,
}

/// Contributions by feature, in the manifest's order.
pub(super) struct Contributions<'a> {
    found: &'a Found,
    row: usize,
    output: usize,
}

impl Serialize for Contributions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = self.found.features.iter().enumerate();
        let numbers = &self.found.numbers;
        serializer.collect_map(
            names.map(|(at, name)| (name, numbers.contribution(self.row, at, self.output))),
        )
    }
}

impl<'a> RowExplanation<'a> {
    /// The explanation of one row.
    pub(super) fn of(explanation: Option<&'a Explanation>, row: usize) -> Option<Self> {
        Some(match explanation? {
            Explanation::Unavailable(unavailable) => Self::Unavailable { unavailable },
            Explanation::Found(found) => {
                let numbers = &found.numbers;
                let count = numbers.outputs();
                let explain = |output: usize| ExplainedOutput {
                    class: found.classes.get(output).map(String::as_str),
                    expectation: numbers.expectation[output],
                    score: numbers.scores[row * count + output],
                    contributions: Contributions { found, row, output },
                };
                Self::Found {
                    method: numbers.method,
                    outputs: (0..count).map(explain).collect(),
                }
            }
        })
    }
}
