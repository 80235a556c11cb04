//! The degradation ladder: live model → fallback model → last good answer →
//! neutral answer → nothing. Each step that did not answer says why.

use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact::manifest::{DataType, Manifest, Neutral, OutputContract};
use audit::event::Failure;
use domain::Symbol;
use engine::{Answer, Change, Sanitized, ScoreError, Scored, Tensor, TensorData, TensorSpec};

use crate::answer::InferenceRequest;
use crate::explain::{self, Explanation};
use crate::serving::{LiveModel, LoadedModel};

/// A request that is expected to take longer than this is scored off the async threads.
const INLINE: Duration = Duration::from_micros(500);

/// What the ladder gave.
#[derive(Debug)]
pub(crate) struct Climbed {
    /// 0 live model, 1 fallback model, 2 last good answer, 3 neutral answer.
    pub(crate) level: u8,
    /// The model that answered.
    pub(crate) model: Option<Arc<LoadedModel>>,
    /// The inputs as they reached that model; as they would have reached the live one where none answered.
    pub(crate) inputs: Vec<Tensor>,
    /// What the sanitizer changed in them.
    pub(crate) changes: Vec<Change>,
    /// The outputs of the graph that answered.
    pub(crate) outputs: Vec<Tensor>,
    /// One answer a row.
    pub(crate) answers: Vec<Answer>,
    /// Why the answers are as they are, where that is to be said.
    pub(crate) explanation: Option<Explanation>,
    /// Why the steps above did not answer.
    pub(crate) failures: Vec<Failure>,
}

/// Climbs down until a step answers; gives the failures where none does.
///
/// `raw` are the inputs before sanitizing, needed where there is a fallback model: it has a schema of its own.
pub(crate) async fn climb(
    live: &LiveModel,
    request: &InferenceRequest,
    sanitized: Sanitized,
    raw: Option<Vec<Tensor>>,
    now_us: u64,
) -> Result<Climbed, Vec<Failure>> {
    let rows = sanitized.rows;
    let wish = Wish::of(live, request);
    let mut failures = Vec::new();
    let sanitized = Arc::new(sanitized);
    let began = Instant::now();
    match score(&live.model, &sanitized).await {
        Ok(scored) => {
            let explanation = wish.grant(&live.model, &sanitized, began).await;
            return Ok(Climbed {
                explanation,
                ..climbed(
                    0,
                    Some(Arc::clone(&live.model)),
                    sanitized,
                    scored,
                    failures,
                )
            });
        }
        Err((code, message)) => failures.push(failure(&live.model.label, code, message)),
    }
    if let (Some(fallback), Some(raw)) = (&live.fallback, raw) {
        match fallback.scorer.sanitize(raw) {
            Ok(own) => {
                let own = Arc::new(own);
                let began = Instant::now();
                let scored = score(fallback, &own).await;
                match scored.and_then(|scored| keep_contract(&live.model.manifest, scored)) {
                    Ok(scored) => {
                        let explanation = wish.grant(fallback, &own, began).await;
                        return Ok(Climbed {
                            explanation,
                            ..climbed(1, Some(Arc::clone(fallback)), own, scored, failures)
                        });
                    }
                    Err((code, message)) => failures.push(failure(&fallback.label, code, message)),
                }
            }
            Err(error) => {
                let message = format!("{}: {}", error.field, live.without_personal_value(&error));
                failures.push(failure(&fallback.label, error.code, message));
            }
        }
    }
    let answer = match last_good(live, rows, &request.symbols, now_us) {
        Ok(answer) => Some((2, vec![answer])),
        Err(reason) => {
            if let Some((code, message)) = reason {
                failures.push(failure("last_good", code, message));
            }
            live.model
                .manifest
                .fallback
                .neutral
                .as_ref()
                .map(|neutral| (3, vec![as_answer(neutral); rows]))
        }
    };
    match answer {
        Some((level, answers)) => {
            let scored = Scored {
                outputs: Vec::new(),
                answers,
            };
            Ok(Climbed {
                explanation: wish.deny(),
                ..climbed(level, None, sanitized, scored, failures)
            })
        }
        None => Err(failures),
    }
}

/// Whether the answer is to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// The request asks for it, or the live model's manifest wants every prediction explained.
    Wanted,
    /// Nobody has asked.
    NotWanted,
}

impl Wish {
    fn of(live: &LiveModel, request: &InferenceRequest) -> Self {
        if request.explain || explain::is_always(&live.model.manifest) {
            Self::Wanted
        } else {
            Self::NotWanted
        }
    }

    /// The explanation of what a model has answered within the latency budget that `began` with it.
    async fn grant(
        self,
        model: &Arc<LoadedModel>,
        sanitized: &Arc<Sanitized>,
        began: Instant,
    ) -> Option<Explanation> {
        if self == Self::Wanted || explain::is_always(&model.manifest) {
            Some(explain::explain(model, sanitized, began + model.budget()).await)
        } else {
            None
        }
    }

    /// There is nothing to explain where no model has answered.
    fn deny(self) -> Option<Explanation> {
        let reason = "no model gave this answer";
        (self == Self::Wanted).then(|| explain::unavailable("explain.no_model", reason))
    }
}

fn climbed(
    level: u8,
    model: Option<Arc<LoadedModel>>,
    sanitized: Arc<Sanitized>,
    scored: Scored,
    failures: Vec<Failure>,
) -> Climbed {
    let Sanitized {
        inputs, changes, ..
    } = Arc::unwrap_or_clone(sanitized);
    Climbed {
        level,
        model,
        inputs,
        changes,
        outputs: scored.outputs,
        answers: scored.answers,
        explanation: None,
        failures,
    }
}

fn failure(step: &str, code: &str, message: String) -> Failure {
    Failure {
        step: step.to_owned(),
        code: code.to_owned(),
        message: message.chars().take(300).collect(),
    }
}

/// Holds the fallback model's answers to the range that the live model promises: its own may be wider.
fn keep_contract(live: &Manifest, scored: Scored) -> Result<Scored, (&'static str, String)> {
    let OutputContract::Regression { min, max, .. } = &live.output else {
        return Ok(scored);
    };
    for answer in &scored.answers {
        let Answer::Value { value } = answer else {
            continue;
        };
        if min.is_some_and(|min| *value < min) || max.is_some_and(|max| *value > max) {
            let message =
                format!("{value} is outside the range of the model that it stands in for");
            return Err(("model.output_out_of_contract", message));
        }
    }
    Ok(scored)
}

/// Scores within the model's latency budget; short work inline, the rest on a thread of its own.
async fn score(
    model: &Arc<LoadedModel>,
    sanitized: &Arc<Sanitized>,
) -> Result<Scored, (&'static str, String)> {
    let (budget, rows) = (model.budget(), sanitized.rows);
    let late = || {
        let message = format!("no answer within {} ms", budget.as_millis());
        ("model.deadline_exceeded", message)
    };
    let (scored, elapsed) = if model.expected(rows).is_some_and(|time| time < INLINE) {
        timed(model, sanitized)
    } else {
        let (model, sanitized) = (Arc::clone(model), Arc::clone(sanitized));
        let deadline = tokio::time::Instant::now() + budget;
        let slot = Arc::clone(&model.slots).acquire_owned();
        let Ok(Ok(slot)) = tokio::time::timeout_at(deadline, slot).await else {
            return Err(late());
        };
        let task = tokio::task::spawn_blocking(move || {
            // Held until the model is done, also where nobody waits any more.
            let _slot = slot;
            timed(&model, &sanitized)
        });
        match tokio::time::timeout_at(deadline, task).await {
            Ok(Ok(timed)) => timed,
            Ok(Err(_)) => return Err(("model.panicked", "the scoring thread is gone".to_owned())),
            Err(_) => return Err(late()),
        }
    };
    if elapsed > budget {
        return Err(late());
    }
    scored.map_err(|error| (error.code(), error.to_string()))
}

/// Scores, and lets the model learn how long its rows take.
fn timed(model: &LoadedModel, sanitized: &Sanitized) -> (Result<Scored, ScoreError>, Duration) {
    let began = Instant::now();
    let scored = model.scorer.score(sanitized);
    let elapsed = began.elapsed();
    model.observe(sanitized.rows, elapsed);
    (scored, elapsed)
}

type StepFailure = (&'static str, String);

/// The last good answer for the request's one symbol. `Err(None)` where the manifest has no such step.
fn last_good(
    live: &LiveModel,
    rows: usize,
    symbols: &[Symbol],
    now_us: u64,
) -> Result<Answer, Option<StepFailure>> {
    let Some(max_age_s) = live.model.manifest.fallback.last_good_max_age_s else {
        return Err(None);
    };
    let ([symbol], 1) = (symbols, rows) else {
        return Err(Some((
            "last_good.not_one_row",
            "the request is not one row for one symbol".to_owned(),
        )));
    };
    let Some(last) = live.last_good(symbol) else {
        return Err(Some((
            "last_good.none",
            format!("no answer for {symbol} is remembered"),
        )));
    };
    let age_s = now_us.saturating_sub(last.at_us) / 1_000_000;
    if age_s > u64::from(max_age_s) {
        let message =
            format!("the last answer is {age_s} s old, at most {max_age_s} s are allowed");
        return Err(Some(("last_good.too_old", message)));
    }
    Ok(last.answer)
}

fn as_answer(neutral: &Neutral) -> Answer {
    match neutral {
        Neutral::Label {
            label,
            probabilities,
        } => Answer::Class {
            label: label.clone(),
            probabilities: probabilities.clone(),
        },
        Neutral::Value { value } => Answer::Value { value: *value },
    }
}

/// The outputs that the live model would have given for these answers, as far as its contract names them.
pub(crate) fn outputs_from_answers(
    manifest: &Manifest,
    specs: &[TensorSpec],
    answers: &[Answer],
) -> Vec<Tensor> {
    let rows = answers.len();
    let datatype = |name: &str| specs.iter().find(|s| s.name == name).map(|s| s.datatype);
    let rank = |name: &str| {
        specs
            .iter()
            .find(|s| s.name == name)
            .map_or(1, |s| s.shape.len())
    };
    match &manifest.output {
        OutputContract::Classification {
            labels,
            label,
            probabilities,
            ..
        } => {
            let mut outputs = Vec::new();
            if let Some(name) = label {
                let chosen = answers.iter().map(|answer| match answer {
                    Answer::Class { label, .. } => label.as_str(),
                    Answer::Value { .. } => "",
                });
                let data = if datatype(name) == Some(DataType::Bytes) {
                    TensorData::Bytes(chosen.map(|l| l.as_bytes().to_vec()).collect())
                } else {
                    let index =
                        |l: &str| labels.iter().position(|x| x == l).map_or(-1, |i| i as i64);
                    TensorData::Int64(chosen.map(index).collect())
                };
                outputs.push(Tensor {
                    name: name.clone(),
                    shape: vec![rows],
                    data,
                });
            }
            let values = answers.iter().flat_map(|answer| match answer {
                Answer::Class { probabilities, .. } => probabilities.clone(),
                Answer::Value { .. } => Vec::new(),
            });
            let data = float_data(datatype(probabilities), values);
            let shape = vec![rows, labels.len()];
            outputs.push(Tensor {
                name: probabilities.clone(),
                shape,
                data,
            });
            outputs
        }
        OutputContract::Regression { value: name, .. } => {
            let values = answers.iter().map(|answer| match answer {
                Answer::Value { value } => *value,
                Answer::Class { .. } => f64::NAN,
            });
            let data = float_data(datatype(name), values);
            let shape = if rank(name) == 2 {
                vec![rows, 1]
            } else {
                vec![rows]
            };
            vec![Tensor {
                name: name.clone(),
                shape,
                data,
            }]
        }
    }
}

fn float_data(datatype: Option<DataType>, values: impl Iterator<Item = f64>) -> TensorData {
    match datatype {
        Some(DataType::Fp64) => TensorData::Fp64(values.collect()),
        Some(DataType::Fp16) => TensorData::Fp16(values.map(half::f16::from_f64).collect()),
        _ => TensorData::Fp32(values.map(|value| value as f32).collect()),
    }
}
