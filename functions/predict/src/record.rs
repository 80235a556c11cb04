//! What is recorded of a prediction: one event, or several in a row where one entry cannot hold it all.

use artifact::Manifest;
use audit::EventBody;
use audit::canonical::{double, integer, single};
use audit::event::{Prediction, RecordedExplanation, RecordedList, RecordedTensor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Change, Tensor, TensorData};
use serde::Serialize;
use serde_json::Value;

use crate::answer::{self, InferenceRequest};
use crate::explain::{self, Explanation};
use crate::ladder::Climbed;
use crate::serving::{LiveModel, Serving};

/// Room for lists in one entry, in bytes; the rest of 65,535 is for the event's other fields.
const ROOM: usize = 50_000;

/// What a list costs besides its values: name, datatype and shape of a tensor.
const LIST_COST: usize = 256;

/// What a prediction's events hold, whole.
#[derive(Default)]
struct Contents {
    symbols: Vec<Value>,
    inputs: Vec<RecordedTensor>,
    changes: Vec<Value>,
    outputs: Vec<RecordedTensor>,
    answers: Vec<Value>,
    explanation: Vec<RecordedTensor>,
}

/// The events that record what the ladder gave.
pub(crate) fn of_answer(
    serving: &Serving,
    live: &LiveModel,
    request: &InferenceRequest,
    climbed: &Climbed,
) -> Vec<EventBody> {
    let model = climbed.model.as_ref().unwrap_or(&live.model);
    let head = Prediction {
        request_id: request.id.to_string(),
        principal: request.principal.to_string(),
        release: serving.release.to_string(),
        requested: live.model.reference.clone(),
        answered_by: answer::answered_by(
            climbed.level,
            climbed.model.as_ref().map(|m| m.label.as_str()),
        ),
        fallback_model: (climbed.level == 1).then(|| model.reference.clone()),
        fallback_level: climbed.level,
        failures: climbed.failures.clone(),
        rows: climbed.answers.len(),
        part: 1,
        parts: 1,
        symbols: RecordedList::default(),
        inputs: Vec::new(),
        changes: RecordedList::default(),
        outputs: Vec::new(),
        answers: RecordedList::default(),
        duration_us: request.arrived.elapsed().as_micros() as u64,
        explanation: climbed.explanation.as_ref().map(head_of_explanation),
    };
    let manifest = &model.manifest;
    let contents = Contents {
        symbols: request.symbols.iter().map(json).collect(),
        inputs: climbed
            .inputs
            .iter()
            .map(|t| tensor(t, manifest, live))
            .collect(),
        changes: climbed.changes.iter().map(|c| change(c, live)).collect(),
        outputs: climbed
            .outputs
            .iter()
            .map(|t| tensor(t, manifest, live))
            .collect(),
        answers: climbed.answers.iter().map(json).collect(),
        explanation: climbed
            .explanation
            .as_ref()
            .map_or_else(Vec::new, |e| explained(e, live)),
    };
    events(head, contents)
}

/// What is recorded of an explanation besides its tensors.
fn head_of_explanation(explanation: &Explanation) -> RecordedExplanation {
    let (method, unavailable) = match explanation {
        Explanation::Found(found) => (Some(found.numbers.method.name().to_owned()), None),
        Explanation::Unavailable(why) => (
            None,
            Some(audit::event::Unavailable {
                code: why.code.clone(),
                reason: why.reason.clone(),
            }),
        ),
    };
    RecordedExplanation {
        method,
        tensors: Vec::new(),
        unavailable,
    }
}

/// An explanation's tensors as they are recorded: without the names of the features, which are the manifest's
/// columns, and without contributions where one of the columns holds personal data: what the others contributed would
/// say the rest, since score and expectation say the sum.
fn explained(explanation: &Explanation, live: &LiveModel) -> Vec<RecordedTensor> {
    let Explanation::Found(found) = explanation else {
        return Vec::new();
    };
    let outputs = found.numbers.outputs();
    let is_personal = found.features.iter().any(|name| live.is_personal(name));
    let mut tensors = Vec::new();
    for given in explanation.tensors() {
        let name = explain::short_name(&given.name);
        if name == "features" {
            continue;
        }
        let mut tensor = recorded(name, &given);
        if name == "contributions" {
            redact(&mut tensor, &found.features, outputs, |_| is_personal);
        }
        tensors.push(tensor);
    }
    tensors
}

/// A change as it is recorded: without the values, where the column holds personal data.
fn change(change: &Change, live: &LiveModel) -> Value {
    let personal = change
        .column
        .as_ref()
        .is_some_and(|column| live.is_personal(column));
    if personal {
        json(&Change {
            from: None,
            to: None,
            ..change.clone()
        })
    } else {
        json(change)
    }
}

/// The events of one prediction. `head` says everything but the lists.
fn events(head: Prediction, contents: Contents) -> Vec<EventBody> {
    let parts = split(contents);
    let count = parts.len();
    let mut events = Vec::with_capacity(count);
    for (at, part) in parts.into_iter().enumerate() {
        events.push(EventBody::Prediction(Box::new(Prediction {
            part: at + 1,
            parts: count,
            symbols: part.symbols,
            inputs: part.inputs,
            changes: part.changes,
            outputs: part.outputs,
            answers: part.answers,
            explanation: head
                .explanation
                .clone()
                .map(|explanation| RecordedExplanation {
                    tensors: part.explanation,
                    ..explanation
                }),
            ..head.clone()
        })));
    }
    events
}

/// A tensor as it is recorded; the values of personal columns are left out.
fn tensor(tensor: &Tensor, manifest: &Manifest, live: &LiveModel) -> RecordedTensor {
    let input = manifest.inputs.iter().find(|i| i.name == tensor.name);
    let columns = input.map_or(&[][..], |i| &i.columns);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut whole = recorded(&tensor.name, tensor);
    redact(&mut whole, &names, 1, |name| live.is_personal(name));
    whole
}

fn recorded(name: &str, tensor: &Tensor) -> RecordedTensor {
    RecordedTensor {
        name: name.to_owned(),
        datatype: tensor.data.datatype().name().to_owned(),
        shape: tensor.shape.clone(),
        offset: 0,
        data: values(&tensor.data),
        redacted: Vec::new(),
    }
}

/// Leaves out the elements of some columns: `width` in a row, column after column.
fn redact(
    tensor: &mut RecordedTensor,
    columns: &[impl AsRef<str>],
    width: usize,
    is_left_out: impl Fn(&str) -> bool,
) {
    for (at, column) in columns.iter().map(AsRef::as_ref).enumerate() {
        if !is_left_out(column) {
            continue;
        }
        tensor.redacted.push(column.to_owned());
        for row in tensor.data.chunks_exact_mut(columns.len() * width) {
            row[at * width..(at + 1) * width].fill(Value::Null);
        }
    }
}

/// Anything that serialises, as JSON.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn values(data: &TensorData) -> Vec<Value> {
    match data {
        TensorData::Bool(v) => v.iter().map(|x| Value::Bool(*x)).collect(),
        TensorData::Uint8(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Uint16(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Uint32(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Uint64(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Int8(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Int16(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Int32(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Int64(v) => v.iter().map(|x| integer((*x).into())).collect(),
        TensorData::Fp16(v) => v.iter().map(|x| single(x.to_f32())).collect(),
        TensorData::Fp32(v) => v.iter().map(|x| single(*x)).collect(),
        TensorData::Fp64(v) => v.iter().map(|x| double(*x)).collect(),
        TensorData::Bytes(v) => v.iter().map(|x| Value::String(text(x))).collect(),
    }
}

fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("base64:") => text.to_owned(),
        _ => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

#[derive(Default)]
struct Part {
    symbols: RecordedList,
    inputs: Vec<RecordedTensor>,
    changes: RecordedList,
    outputs: Vec<RecordedTensor>,
    answers: RecordedList,
    explanation: Vec<RecordedTensor>,
}

/// Cuts the lists into parts that fit an entry each, in order.
fn split(contents: Contents) -> Vec<Part> {
    let mut parts = Parts {
        done: vec![Part::default()],
        room: ROOM,
    };
    parts.put(LIST_COST, contents.symbols, |part, offset, values| {
        part.symbols = RecordedList { offset, values }
    });
    parts.put_tensors(contents.inputs, |part| &mut part.inputs);
    parts.put(LIST_COST, contents.changes, |part, offset, values| {
        part.changes = RecordedList { offset, values }
    });
    parts.put_tensors(contents.outputs, |part| &mut part.outputs);
    parts.put(LIST_COST, contents.answers, |part, offset, values| {
        part.answers = RecordedList { offset, values }
    });
    parts.put_tensors(contents.explanation, |part| &mut part.explanation);
    parts.done
}

/// What a tensor costs besides its elements: its redacted columns are named in every part.
fn cost_of(shell: &RecordedTensor) -> usize {
    let names: usize = shell.redacted.iter().map(|name| name.len() + 3).sum();
    LIST_COST + shell.name.len() + names
}

struct Parts {
    done: Vec<Part>,
    room: usize,
}

impl Parts {
    fn put_tensors(
        &mut self,
        tensors: Vec<RecordedTensor>,
        list: impl Fn(&mut Part) -> &mut Vec<RecordedTensor>,
    ) {
        for mut shell in tensors {
            let data = std::mem::take(&mut shell.data);
            self.put(cost_of(&shell), data, |part, offset, data| {
                list(part).push(RecordedTensor {
                    offset,
                    data,
                    ..shell.clone()
                });
            });
        }
    }

    fn put(
        &mut self,
        cost: usize,
        values: Vec<Value>,
        store: impl Fn(&mut Part, usize, Vec<Value>),
    ) {
        if values.is_empty() {
            return;
        }
        self.room = self.room.saturating_sub(cost);
        let (mut offset, mut run) = (0, Vec::new());
        for (at, value) in values.into_iter().enumerate() {
            let size = json_len(&value);
            if size > self.room && self.room < ROOM.saturating_sub(cost) {
                if !run.is_empty() {
                    self.store(offset, std::mem::take(&mut run), &store);
                }
                self.done.push(Part::default());
                self.room = ROOM.saturating_sub(cost);
                offset = at;
            }
            self.room = self.room.saturating_sub(size);
            run.push(value);
        }
        self.store(offset, run, &store);
    }

    fn store(
        &mut self,
        offset: usize,
        run: Vec<Value>,
        store: &impl Fn(&mut Part, usize, Vec<Value>),
    ) {
        if let Some(part) = self.done.last_mut() {
            store(part, offset, run);
        }
    }
}

/// At least the length of the value and a comma in canonical JSON.
fn json_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 6,
        Value::Number(_) => 26,
        other => other.to_string().len() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tensor_of(name: &str, data: Vec<Value>) -> RecordedTensor {
        RecordedTensor {
            name: name.to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![data.len()],
            offset: 0,
            data,
            redacted: Vec::new(),
        }
    }

    #[test]
    fn a_small_prediction_is_one_part() {
        let parts = split(Contents {
            symbols: vec!["SPX".into()],
            inputs: vec![tensor_of("x", vec![1.5.into(); 14])],
            changes: vec![],
            outputs: vec![tensor_of("y", vec![0.5.into(); 3])],
            answers: vec![serde_json::json!({"label": "buy"})],
            ..Contents::default()
        });
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].inputs[0].data.len(), 14);
    }

    #[test]
    fn bytes_are_text_or_marked_base64() {
        assert_eq!(text(b"buy"), "buy");
        assert_eq!(text(b"\xff\x00"), "base64:/wA=");
        assert_eq!(text(b"base64:"), "base64:YmFzZTY0Og==");
    }

    proptest! {
        #[test]
        fn parts_fit_an_entry_and_lose_nothing(
            inputs in prop::collection::vec(0_usize..9_000, 0..4),
            symbols in 0_usize..3_000,
            answers in 0_usize..2_000,
        ) {
            let answer = serde_json::json!({"label": "hold", "probabilities": [0.1, 0.2, 0.7]});
            let parts = split(Contents {
                symbols: vec!["A-RATHER-LONG-SYMBOL".into(); symbols],
                inputs: inputs.iter().map(|n| tensor_of("x", (0..*n).map(|i| (i as f64 + 0.123_456_789).into()).collect())).collect(),
                changes: vec![],
                outputs: vec![tensor_of("y", vec![0.25.into(); answers * 3])],
                answers: vec![answer; answers],
                explanation: vec![tensor_of("contributions", vec![0.123_456_789.into(); answers * 9])],
            });
            let mut total = 0;
            let mut next = 0;
            for part in &parts {
                let lists = serde_json::json!([part.symbols, part.inputs, part.changes, part.outputs, part.answers, part.explanation]);
                prop_assert!(lists.to_string().len() < 60_000);
                total += part.inputs.iter().map(|t| t.data.len()).sum::<usize>();
                if !part.answers.values.is_empty() {
                    prop_assert_eq!(part.answers.offset, next);
                    next += part.answers.values.len();
                }
            }
            prop_assert_eq!(total, inputs.iter().sum::<usize>());
            prop_assert_eq!(next, answers);
            let contributions = parts.iter().flat_map(|part| &part.explanation).map(|t| t.data.len());
            prop_assert_eq!(contributions.sum::<usize>(), answers * 9);
        }
    }
}
