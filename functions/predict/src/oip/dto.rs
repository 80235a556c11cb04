//! The protocol's wire types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use artifact::manifest::DataType;
use engine::TensorSpec;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::tensor_json::Flat;

/// A parameter: a string, a number or a boolean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a string, a number or a boolean")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Parameter {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

/// Parameters by name.
pub type Parameters = BTreeMap<String, Parameter>;

/// `POST /v2/models/{model}/infer`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub struct InferRequest<'a> {
    #[serde(default, borrow)]
    pub id: Option<Cow<'a, str>>,
    /// `KServe`'s client repeats the path's model here.
    #[serde(default, borrow)]
    pub model_name: Option<Cow<'a, str>>,
    /// And its version.
    #[serde(default, borrow)]
    pub model_version: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "read_parameters")]
    pub parameters: Parameters,
    #[serde(borrow)]
    pub inputs: Vec<InputTensor<'a>>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub outputs: Vec<RequestedOutput>,
}

/// Some clients write a member that they leave out as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A parameter whose value is `null` is left out too: `MLServer`'s types write `"headers": null`.
fn read_parameters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Parameters, D::Error> {
    let given: BTreeMap<String, Option<Parameter>> = null_is_default(deserializer)?;
    Ok(given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect())
}

/// One input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub struct InputTensor<'a> {
    pub name: String,
    pub shape: Vec<u64>,
    pub datatype: String,
    #[serde(default, deserialize_with = "read_parameters")]
    pub parameters: Parameters,
    #[serde(default, borrow)]
    pub data: Option<&'a RawValue>,
}

/// One output that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub struct RequestedOutput {
    pub name: String,
    #[serde(default, deserialize_with = "read_parameters")]
    pub parameters: Parameters,
}

/// The answer to an inference request.
#[derive(Serialize)]
pub(crate) struct InferResponse<'a> {
    pub(crate) model_name: &'a str,
    pub(crate) model_version: String,
    pub(crate) id: &'a str,
    pub(crate) parameters: Parameters,
    pub(crate) outputs: Vec<OutputTensor<'a>>,
}

#[derive(Serialize)]
pub(crate) struct OutputTensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) datatype: DataType,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parameters: Parameters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Flat<'a>>,
}

/// `GET /v2/models/{model}`.
#[derive(Serialize)]
pub(crate) struct ModelMetadata<'a> {
    pub(crate) name: &'a str,
    pub(crate) versions: [String; 1],
    pub(crate) platform: &'static str,
    pub(crate) inputs: &'a [TensorSpec],
    pub(crate) outputs: &'a [TensorSpec],
}
