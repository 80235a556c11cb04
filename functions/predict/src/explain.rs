//! Why an answer is as it is: what each feature contributed to the raw score of the model that gave it.
//!
//! The model is explained after it has answered, on the inputs that it saw and within what is left of its latency
//! budget. An explanation that cannot be had never costs the answer: the answer and its record say why it is not
//! there.

use std::sync::Arc;
use std::time::Instant;

use artifact::manifest::{ExplainWhen, Manifest, OutputContract};
use engine::{Explainer, Explanations, Sanitized, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::serving::LoadedModel;

/// The names of an explanation's tensors, in the order in which an answer has them.
pub(crate) const TENSORS: [&str; 5] = [
    "explanation.features",
    "explanation.classes",
    Explanations::TENSORS[0],
    Explanations::TENSORS[1],
    Explanations::TENSORS[2],
];

/// Most contributions in one answer: about 5 MB of JSON, and 100 events.
pub const MAX_CONTRIBUTIONS: usize = 1 << 14;

/// The explanation of a request's answers, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// One for every row.
    Found(Box<Found>),
    /// None for any row.
    Unavailable(Unavailable),
}

/// An explanation with its names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The features' names: the manifest's columns, or `input[place]` where it names none.
    pub features: Vec<String>,
    /// The labels that the scores are of, in order: one where a single score stands for the second of two classes;
    /// none for a regression.
    pub classes: Vec<String>,
    /// The numbers.
    pub numbers: Explanations,
}

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// Stable code, for example `explain.not_available`.
    pub code: String,
    /// One sentence.
    pub reason: String,
}

/// What explains a loaded model, with the names that its manifest gives.
#[derive(Debug)]
pub(crate) struct NamedExplainer {
    explainer: Explainer,
    features: Vec<String>,
    classes: Vec<String>,
}

impl NamedExplainer {
    /// Names an explainer's features and scores.
    pub(crate) fn new(explainer: Explainer, manifest: &Manifest) -> Self {
        let input = manifest
            .inputs
            .iter()
            .find(|input| input.name == explainer.input());
        let features = input.map_or_else(Vec::new, |input| {
            let width = input
                .shape
                .last()
                .map_or(0, |width| usize::try_from(*width).unwrap_or(0));
            let name = |at: usize| match input.columns.get(at) {
                Some(column) => column.name.clone(),
                None => format!("{}[{at}]", input.name),
            };
            (0..width).map(name).collect()
        });
        let classes = match &manifest.output {
            OutputContract::Classification { labels, .. } => {
                let skipped = labels.len().saturating_sub(explainer.outputs());
                labels[skipped..].to_vec()
            }
            OutputContract::Regression { .. } => Vec::new(),
        };
        Self {
            explainer,
            features,
            classes,
        }
    }

    /// How many contributions explain this many rows.
    fn count(&self, rows: usize) -> usize {
        let per_row = self.features.len().saturating_mul(self.explainer.outputs());
        rows.saturating_mul(per_row)
    }

    fn explain(&self, sanitized: &Sanitized, deadline: Instant) -> Explanation {
        let input = sanitized
            .inputs
            .iter()
            .find(|input| input.name == self.explainer.input());
        let Some(input) = input else {
            return unavailable("explain.failed", "the explained input is not there");
        };
        match self.explainer.explain_until(input, deadline) {
            Ok(numbers) => Explanation::Found(Box::new(Found {
                features: self.features.clone(),
                classes: self.classes.clone(),
                numbers,
            })),
            Err(error) => unavailable(error.code(), error.to_string()),
        }
    }
}

impl Explanation {
    /// The explanation as tensors: see [`TENSORS`].
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        let Self::Found(found) = self else {
            return Vec::new();
        };
        let text = |name: &str, texts: &[String]| Tensor {
            name: name.to_owned(),
            shape: vec![texts.len()],
            data: TensorData::Bytes(texts.iter().map(|text| text.as_bytes().to_vec()).collect()),
        };
        let [features, classes, ..] = TENSORS;
        let mut tensors = vec![text(features, &found.features)];
        if !found.classes.is_empty() {
            tensors.push(text(classes, &found.classes));
        }
        tensors.extend(found.numbers.to_tensors());
        tensors
    }
}

/// The name of an explanation's tensor in a record, where nothing else has names.
pub(crate) fn short_name(tensor: &str) -> &str {
    tensor.split_once('.').map_or(tensor, |(_, name)| name)
}

/// No explanation, and why.
pub(crate) fn unavailable(code: &str, reason: impl Into<String>) -> Explanation {
    Explanation::Unavailable(Unavailable {
        code: code.to_owned(),
        reason: reason.into().chars().take(300).collect(),
    })
}

/// Whether every prediction of the model is explained.
pub(crate) fn is_always(manifest: &Manifest) -> bool {
    let explain = manifest.explain.as_ref();
    explain.is_some_and(|explain| explain.when == ExplainWhen::Always)
}

/// Explains what a model has just answered, on a thread of its own.
pub(crate) async fn explain(
    model: &Arc<LoadedModel>,
    sanitized: &Arc<Sanitized>,
    deadline: Instant,
) -> Explanation {
    let Some(explainer) = &model.explainer else {
        let reason = format!(
            "{} was sealed without a background: `sealcast seal --csv` keeps one of a model that is one tree \
             ensemble or one linear model",
            model.label
        );
        return unavailable("explain.not_available", reason);
    };
    let count = explainer.count(sanitized.rows);
    if count > MAX_CONTRIBUTIONS {
        let reason = format!(
            "{count} contributions; {MAX_CONTRIBUTIONS} are given at most: send fewer rows"
        );
        return unavailable("explain.too_large", reason);
    }
    let late = || {
        let budget = model.budget().as_millis();
        let reason = format!("the answer was there within {budget} ms, its explanation was not");
        unavailable("explain.deadline_exceeded", reason)
    };
    let until = tokio::time::Instant::from_std(deadline);
    let slot = Arc::clone(&model.slots).acquire_owned();
    let Ok(Ok(slot)) = tokio::time::timeout_at(until, slot).await else {
        return late();
    };
    let (model, sanitized) = (Arc::clone(model), Arc::clone(sanitized));
    let task = tokio::task::spawn_blocking(move || {
        // Held until the explainer is done, also where nobody waits any more.
        let _slot = slot;
        let explainer = model.explainer.as_ref();
        explainer.map(|explainer| explainer.explain(&sanitized, deadline))
    });
    match tokio::time::timeout_at(until, task).await {
        Ok(Ok(Some(Explanation::Unavailable(why)))) if why.code == "explain.deadline_exceeded" => {
            late()
        }
        Ok(Ok(Some(explanation))) => explanation,
        Ok(_) => unavailable("explain.failed", "the explaining thread is gone"),
        Err(_) => late(),
    }
}
