//! Writes an answer in the protocol's form: JSON, or JSON with raw tensors after it.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use engine::Tensor;
use http::{HeaderMap, HeaderValue, header};
use web::ApiError;

use crate::answer::Answered;
use crate::explain::Explanation;
use crate::oip::binary;
use crate::oip::dto::{InferResponse, OutputTensor, Parameter, Parameters};
use crate::oip::request::{HEADER_LENGTH, Wanted};
use crate::tensor_json::Flat;

/// Checks that the outputs that are asked for exist; before inference, so that a wrong name costs no prediction.
///
/// # Errors
/// 400 with the output's name.
pub fn check_wanted<'a>(
    wanted: &Wanted,
    mut known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), ApiError> {
    for (at, (name, _)) in wanted.outputs.iter().enumerate() {
        if wanted.outputs[..at].iter().any(|(other, _)| other == name) {
            let message = "asked for more than once";
            return Err(ApiError::bad_field(
                "request.output_duplicate",
                format!("outputs.{name}"),
                message,
            ));
        }
        if !known.clone().any(|known| known == name) {
            let names: Vec<&str> = known.by_ref().collect();
            return Err(ApiError::bad_field(
                "request.output_unknown",
                format!("outputs.{name}"),
                format!(
                    "the model has no such output; it gives {}",
                    names.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

/// Writes the answer, compressed where the request's headers ask for it.
///
/// # Errors
/// 500 where a value has no JSON form, which the output contract rules out.
pub fn write(
    answered: &Answered,
    wanted: &Wanted,
    request: &HeaderMap,
) -> Result<Response, ApiError> {
    let mut raw = Vec::new();
    let mut any_raw = false;
    let mut outputs = Vec::new();
    let explanation = explanation_tensors(answered, wanted);
    for (tensor, as_raw) in choose(&answered.outputs, &explanation, wanted) {
        let mut parameters = BTreeMap::new();
        if as_raw {
            any_raw = true;
            let before = raw.len();
            binary::write(&tensor.data, &mut raw);
            let size = (raw.len() - before) as i64;
            parameters.insert("binary_data_size".to_owned(), Parameter::Integer(size));
        }
        outputs.push(OutputTensor {
            name: &tensor.name,
            shape: &tensor.shape,
            datatype: tensor.data.datatype(),
            parameters,
            data: (!as_raw).then_some(Flat(&tensor.data)),
        });
    }
    let body = InferResponse {
        model_name: answered.model.as_str(),
        model_version: answered.version.to_string(),
        id: answered.request_id.as_str(),
        parameters: parameters(answered, wanted),
        outputs,
    };
    let mut bytes = serde_json::to_vec(&body).map_err(|_| ApiError::internal())?;
    let json_length = bytes.len();
    bytes.append(&mut raw);
    let (bytes, coding) = web::body::compress(request, bytes);
    let mut response = Response::new(Body::from(bytes));
    if let Some(coding) = coding {
        let coding = HeaderValue::from_static(coding);
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, coding);
    }
    let headers = response.headers_mut();
    if any_raw {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        headers.insert(HEADER_LENGTH, HeaderValue::from(json_length));
    } else {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    Ok(response)
}

/// The tensors of the explanation, where the request asks for it.
fn explanation_tensors(answered: &Answered, wanted: &Wanted) -> Vec<Tensor> {
    let explanation = answered.explanation.as_ref().filter(|_| wanted.explain);
    explanation.map(Explanation::tensors).unwrap_or_default()
}

/// The outputs that are named, in that order, or all; then what is not named of the explanation.
fn choose<'a>(
    outputs: &'a [Tensor],
    explanation: &'a [Tensor],
    wanted: &Wanted,
) -> Vec<(&'a Tensor, bool)> {
    let is_named = |tensor: &Tensor| wanted.outputs.iter().any(|(name, _)| *name == tensor.name);
    let mut chosen: Vec<(&Tensor, bool)> = if wanted.outputs.is_empty() {
        outputs
            .iter()
            .map(|tensor| (tensor, wanted.binary))
            .collect()
    } else {
        let find = |name: &str| outputs.iter().chain(explanation).find(|t| t.name == name);
        let named = wanted.outputs.iter();
        named
            .filter_map(|(name, raw)| Some((find(name)?, *raw)))
            .collect()
    };
    let unnamed = explanation.iter().filter(|tensor| !is_named(tensor));
    chosen.extend(unnamed.map(|tensor| (tensor, wanted.binary)));
    chosen
}

fn parameters(answered: &Answered, wanted: &Wanted) -> Parameters {
    let text = |text: &dyn ToString| Parameter::Text(text.to_string());
    let mut parameters = BTreeMap::from([
        ("answered_by".to_owned(), text(&answered.answered_by)),
        ("degraded".to_owned(), Parameter::Bool(answered.level > 0)),
        (
            "fallback_level".to_owned(),
            Parameter::Integer(answered.level.into()),
        ),
        (
            "receipt_leaf_hash".to_owned(),
            text(&answered.receipt.leaf_hash),
        ),
        (
            "receipt_seq".to_owned(),
            Parameter::Integer(answered.receipt.seq as i64),
        ),
        ("receipt_stream".to_owned(), text(&answered.receipt.stream)),
        ("release".to_owned(), text(&answered.release)),
    ]);
    if let Some(mark) = answered.durability.mark() {
        parameters.insert("audit_durability".to_owned(), text(&mark));
    }
    if let Some(reason) = &answered.reason {
        parameters.insert("reason".to_owned(), text(reason));
    }
    match answered.explanation.as_ref().filter(|_| wanted.explain) {
        None => {}
        Some(Explanation::Found(found)) => {
            let method = text(&found.numbers.method.name());
            parameters.insert("explanation_method".to_owned(), method);
        }
        Some(Explanation::Unavailable(why)) => {
            parameters.insert("explanation_unavailable".to_owned(), text(&why.code));
            parameters.insert("explanation_reason".to_owned(), text(&why.reason));
        }
    }
    if !answered.changes.is_empty() {
        // The protocol's parameters are scalars; /v1/predict gives the changes themselves.
        parameters.insert(
            "sanitizer_changes".to_owned(),
            Parameter::Integer(answered.changes.len() as i64),
        );
    }
    parameters
}
