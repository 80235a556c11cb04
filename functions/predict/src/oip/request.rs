//! Reads an inference request: JSON, JSON with raw tensors after it, or one raw tensor.

use artifact::manifest::DataType;
use domain::{RequestId, Symbol};
use engine::{Tensor, TensorSpec};
use http::HeaderMap;
use web::ApiError;

use crate::oip::binary;
use crate::oip::dto::{InferRequest, InputTensor, Parameter, Parameters, RequestedOutput};
use crate::tensor_json;

/// The header that says how long the JSON before the raw tensors is.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// A request as it was written.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// The request's id, where it names one.
    pub id: Option<RequestId>,
    /// The model, where the body repeats it.
    pub model_name: Option<String>,
    /// The model's version, where the body repeats it.
    pub model_version: Option<String>,
    /// The market symbol, where it names one.
    pub symbol: Option<Symbol>,
    /// The inputs.
    pub inputs: Vec<Tensor>,
    /// Which outputs, and how.
    pub wanted: Wanted,
}

/// Which outputs the caller wants, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Names in order, each with its form; empty for all.
    pub outputs: Vec<(String, bool)>,
    /// Whether outputs that are not named come as raw tensors.
    pub binary: bool,
    /// Whether the answer is to be explained.
    pub explain: bool,
}

/// Reads a request. `specs` are the model's inputs, needed where the body is one raw tensor.
///
/// # Errors
/// 400 with the field at fault.
pub fn parse(headers: &HeaderMap, body: &[u8], specs: &[TensorSpec]) -> Result<Parsed, ApiError> {
    let json_length = match headers.get(HEADER_LENGTH) {
        None => return parse_json(body, &[]),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok()),
    };
    match json_length {
        Some(0) => parse_raw(body, specs),
        Some(length) if length <= body.len() => {
            let (json, raw) = body.split_at(length);
            parse_json(json, raw)
        }
        _ => Err(ApiError::bad_field(
            "request.header_length",
            "Inference-Header-Content-Length",
            format!(
                "expected the length of the JSON, at most the body's {} bytes",
                body.len()
            ),
        )),
    }
}

fn parse_json(json: &[u8], mut raw: &[u8]) -> Result<Parsed, ApiError> {
    let request: InferRequest<'_> = serde_json::from_slice(json)
        .map_err(|error| describe_json::<InferRequest<'_>>(json, &error))?;
    let id = match request.id.as_deref() {
        None | Some("") => None,
        Some(text) => Some(RequestId::parse(text).map_err(|error| {
            ApiError::bad_field(
                "request.id_invalid",
                "id",
                format!("expected {}", error.expected),
            )
        })?),
    };
    let parsed = (|| {
        let symbol = symbol(&request.parameters)?;
        let mut inputs = Vec::with_capacity(request.inputs.len());
        for input in &request.inputs {
            inputs.push(read_input(input, &mut raw)?);
        }
        if !raw.is_empty() {
            let message = format!("{} bytes follow the last raw tensor", raw.len());
            return Err(ApiError::bad_field("input.count", "inputs", message));
        }
        let binary =
            flag(&request.parameters, "binary_data_output", "parameters")?.unwrap_or(false);
        let explain = flag(&request.parameters, "explain", "parameters")?.unwrap_or(false);
        let outputs = request
            .outputs
            .iter()
            .map(|o| wanted(o, binary))
            .collect::<Result<_, _>>()?;
        Ok(Parsed {
            id: None,
            model_name: request.model_name.as_deref().map(str::to_owned),
            model_version: request.model_version.as_deref().map(str::to_owned),
            symbol,
            inputs,
            wanted: Wanted {
                outputs,
                binary,
                explain,
            },
        })
    })();
    match (parsed, id) {
        (Ok(parsed), id) => Ok(Parsed { id, ..parsed }),
        (Err(error), Some(id)) => Err(error.for_request(&id)),
        (Err(error), None) => Err(error),
    }
}

/// The whole body is the one input's elements, row after row.
fn parse_raw(body: &[u8], specs: &[TensorSpec]) -> Result<Parsed, ApiError> {
    let unfit = |message: &str| ApiError::bad_field("input.shape", "inputs", message);
    let [spec] = specs else {
        return Err(unfit("a raw request needs a model with exactly one input"));
    };
    let row: Option<usize> = spec
        .shape
        .iter()
        .skip(1)
        .try_fold(1, |product: usize, dim| {
            product.checked_mul((*dim).try_into().ok()?)
        });
    let row_bytes = row
        .zip(binary::element_size(spec.datatype))
        .and_then(|(row, size)| row.checked_mul(size))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| {
            unfit("a raw request needs an input whose only free dimension is the batch")
        })?;
    let rows = body.len() / row_bytes;
    let mut shape = vec![rows];
    shape.extend(
        spec.shape
            .iter()
            .skip(1)
            .map(|dim| usize::try_from(*dim).unwrap_or(0)),
    );
    let count = rows * row.unwrap_or(0);
    let data = binary::read(body, spec.datatype, count, &format!("inputs.{}", spec.name))?;
    let inputs = vec![Tensor {
        name: spec.name.clone(),
        shape,
        data,
    }];
    Ok(Parsed {
        id: None,
        model_name: None,
        model_version: None,
        symbol: None,
        inputs,
        wanted: Wanted {
            outputs: Vec::new(),
            binary: true,
            explain: false,
        },
    })
}

fn read_input(input: &InputTensor<'_>, raw: &mut &[u8]) -> Result<Tensor, ApiError> {
    let field = format!("inputs.{}", input.name);
    refuse_unsupported(&input.parameters, &field)?;
    let datatype = parse_datatype(&input.datatype, &field)?;
    let shape = input
        .shape
        .iter()
        .map(|dim| usize::try_from(*dim).ok())
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            ApiError::bad_field(
                "input.shape",
                format!("{field}.shape"),
                "a dimension is too large",
            )
        })?;
    let size = match input.parameters.get("binary_data_size") {
        None => None,
        Some(Parameter::Integer(size)) => usize::try_from(*size).ok(),
        Some(_) => {
            return Err(ApiError::bad_field(
                "request.field_type",
                format!("{field}.parameters.binary_data_size"),
                "expected a whole number",
            ));
        }
    };
    let data = match (input.data, size) {
        (Some(json), None) => tensor_json::parse(json.get(), datatype, &shape, &field)?,
        (None, Some(size)) => {
            let Some((bytes, rest)) = raw.split_at_checked(size) else {
                let message = format!(
                    "{size} bytes are announced, {} are left in the body",
                    raw.len()
                );
                return Err(ApiError::bad_field("input.count", field, message));
            };
            *raw = rest;
            binary::read(
                bytes,
                datatype,
                tensor_json::element_count(&shape, &field)?,
                &field,
            )?
        }
        _ => {
            return Err(ApiError::bad_field(
                "request.field_missing",
                format!("{field}.data"),
                "expected either data or parameters.binary_data_size",
            ));
        }
    };
    Ok(Tensor {
        name: input.name.clone(),
        shape,
        data,
    })
}

fn parse_datatype(name: &str, field: &str) -> Result<DataType, ApiError> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(|_| {
        ApiError::bad_field(
            "input.datatype",
            format!("{field}.datatype"),
            "expected BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64 or BYTES",
        )
    })
}

fn wanted(output: &RequestedOutput, binary: bool) -> Result<(String, bool), ApiError> {
    let field = format!("outputs.{}", output.name);
    refuse_unsupported(&output.parameters, &field)?;
    let own = flag(
        &output.parameters,
        "binary_data",
        &format!("{field}.parameters"),
    )?;
    Ok((output.name.clone(), own.unwrap_or(binary)))
}

/// Parameters that change what an answer means must not be passed over.
fn refuse_unsupported(parameters: &Parameters, field: &str) -> Result<(), ApiError> {
    const UNSUPPORTED: [&str; 4] = [
        "classification",
        "shared_memory_region",
        "shared_memory_byte_size",
        "shared_memory_offset",
    ];
    let asks = |name: &&&str| !matches!(parameters.get(**name), None | Some(Parameter::Integer(0)));
    match UNSUPPORTED.iter().find(asks) {
        None => Ok(()),
        Some(name) => Err(ApiError::bad_field(
            "request.parameter_unsupported",
            format!("{field}.parameters.{name}"),
            "this parameter is not supported",
        )),
    }
}

fn flag(parameters: &Parameters, name: &str, field: &str) -> Result<Option<bool>, ApiError> {
    match parameters.get(name) {
        None => Ok(None),
        Some(Parameter::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(ApiError::bad_field(
            "request.field_type",
            format!("{field}.{name}"),
            "expected true or false",
        )),
    }
}

fn symbol(parameters: &Parameters) -> Result<Option<Symbol>, ApiError> {
    let wrong =
        |message: String| ApiError::bad_field("request.field_type", "parameters.symbol", message);
    match parameters.get("symbol") {
        None => Ok(None),
        Some(Parameter::Text(text)) => Symbol::parse(text)
            .map(Some)
            .map_err(|error| wrong(format!("expected {}", error.expected))),
        Some(_) => Err(wrong("expected a string".to_owned())),
    }
}

/// Says what is wrong with a body that is not the JSON it should be.
pub(crate) fn describe_json<'de, T: serde::Deserialize<'de>>(
    json: &'de [u8],
    error: &serde_json::Error,
) -> ApiError {
    let text = error.to_string();
    if text.contains("number out of range") {
        let path = path_of::<T>(json);
        return ApiError::bad_field(
            "request.number_too_large",
            path,
            "expected a number that a double can hold",
        );
    }
    if error.is_syntax() || error.is_eof() {
        return malformed(json, error);
    }
    let path = path_of::<T>(json);
    let what = text.split(" at line ").next().unwrap_or_default();
    let code = if what.starts_with("unknown field") {
        "request.unknown_field"
    } else if what.starts_with("missing field") {
        "request.field_missing"
    } else {
        "request.field_type"
    };
    let named = what
        .split('`')
        .nth(1)
        .filter(|_| code != "request.field_type");
    let field = match (path.as_str(), named) {
        (".", Some(name)) => name.to_owned(),
        (path, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
        (path, _) => path.to_owned(),
    };
    ApiError::bad_field(
        code,
        field.chars().take(200).collect::<String>(),
        what.chars().take(300).collect::<String>(),
    )
}

fn malformed(json: &[u8], error: &serde_json::Error) -> ApiError {
    let line = json
        .split(|b| *b == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let from = error.column().saturating_sub(2).min(line.len());
    let near = &line[from..line.len().min(from + 12)];
    let not_finite = ["NaN", "Inf", "nan", "inf"]
        .iter()
        .any(|word| near.windows(3).any(|w| w == word.as_bytes()));
    let message = if not_finite {
        format!(
            "NaN and Infinity are not JSON (line {}, column {}): send null where a value is missing",
            error.line(),
            error.column()
        )
    } else {
        format!(
            "the body is not JSON (line {}, column {})",
            error.line(),
            error.column()
        )
    };
    ApiError::new(
        http::StatusCode::BAD_REQUEST,
        "request.malformed_json",
        message,
    )
}

fn path_of<'de, T: serde::Deserialize<'de>>(json: &'de [u8]) -> String {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => ".".to_owned(),
        Err(error) => error.path().to_string(),
    }
}
