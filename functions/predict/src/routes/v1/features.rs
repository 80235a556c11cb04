//! Features by name or in order, and the tensors that they make.

use std::collections::HashMap;
use std::fmt;

use artifact::manifest::{DataType, InputTensor, Manifest};
use engine::{Tensor, TensorData};
use half::f16;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use web::ApiError;

/// The features of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Features {
    /// By name.
    Named(Vec<(String, Scalar)>),
    /// In the manifest's order.
    Listed(Vec<Scalar>),
}

/// One feature's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A missing value.
    Missing,
    /// For a BOOL column.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond 2^63.
    Large(u64),
    /// Any other number.
    Number(f64),
    /// For a BYTES column.
    Text(String),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string, true, false or null")
            }
            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Missing)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(i64::try_from(value).map_or(Scalar::Large(value), Scalar::Integer))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(value.to_owned()))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FeaturesVisitor;
        impl<'de> Visitor<'de> for FeaturesVisitor {
            type Value = Features;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("features by name, or a list of them in the manifest's order")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Features, A::Error> {
                let mut named = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some(entry) = map.next_entry()? {
                    named.push(entry);
                }
                Ok(Features::Named(named))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Features, A::Error> {
                let mut listed = Vec::with_capacity(seq.size_hint().unwrap_or(16));
                while let Some(value) = seq.next_element()? {
                    listed.push(value);
                }
                Ok(Features::Listed(listed))
            }
        }
        deserializer.deserialize_any(FeaturesVisitor)
    }
}

/// Makes the model's tensors of rows of features.
///
/// # Errors
/// 400 with the feature's name; `place` says how a row is called, for example `rows[3].features`.
pub(super) fn to_tensors(
    manifest: &Manifest,
    rows: &[&Features],
    place: impl Fn(usize) -> String,
) -> Result<Vec<Tensor>, ApiError> {
    if let Some(input) = manifest.inputs.iter().find(|input| width(input).is_none()) {
        return Err(ApiError::bad_field(
            "request.features_unsupported",
            "features",
            format!(
                "the input {} is no row of named features: use /v2 for this model",
                input.name
            ),
        ));
    }
    let names: Vec<&str> = manifest
        .inputs
        .iter()
        .flat_map(|i| &i.columns)
        .map(|column| column.name.as_str())
        .collect();
    let mut table: Vec<Vec<&Scalar>> = vec![Vec::with_capacity(rows.len()); names.len()];
    for (row, features) in rows.iter().enumerate() {
        for (column, value) in in_order(features, &names, || place(row))?
            .into_iter()
            .enumerate()
        {
            table[column].push(value);
        }
    }
    let mut tensors = Vec::with_capacity(manifest.inputs.len());
    let mut columns = names.iter().zip(&table);
    for input in &manifest.inputs {
        let own: Vec<_> = columns.by_ref().take(input.columns.len()).collect();
        let mut shape = vec![rows.len()];
        shape.extend(
            input
                .shape
                .iter()
                .skip(1)
                .map(|dim| usize::try_from(*dim).unwrap_or(0)),
        );
        let data = fill(input.datatype, &own, rows.len(), &place)?;
        tensors.push(Tensor {
            name: input.name.clone(),
            shape,
            data,
        });
    }
    Ok(tensors)
}

/// The number of columns of an input that is a row of named features.
fn width(input: &InputTensor) -> Option<usize> {
    let columns = input.columns.len();
    let fits = match input.shape[..] {
        [_] => columns == 1,
        [_, width] => i64::try_from(columns).is_ok_and(|columns| columns == width),
        _ => false,
    };
    (fits && columns > 0).then_some(columns)
}

/// One row's values in the order of `names`.
fn in_order<'a>(
    features: &'a Features,
    names: &[&str],
    place: impl Fn() -> String,
) -> Result<Vec<&'a Scalar>, ApiError> {
    let given = match features {
        Features::Listed(values) if values.len() == names.len() => {
            return Ok(values.iter().collect());
        }
        Features::Listed(values) => {
            let message = format!("{} features; the model takes {}", values.len(), names.len());
            return Err(ApiError::bad_field("input.count", place(), message));
        }
        Features::Named(given) => given,
    };
    let mut found: HashMap<&str, &Scalar> = HashMap::with_capacity(given.len());
    for (name, value) in given {
        if found.insert(name, value).is_some() {
            let field: String = format!("{}.{name}", place()).chars().take(200).collect();
            return Err(ApiError::bad_field(
                "input.duplicate",
                field,
                "given more than once",
            ));
        }
    }
    let mut ordered = Vec::with_capacity(names.len());
    for name in names {
        let Some(value) = found.remove(name) else {
            let message = "missing: send null where the value is not known";
            return Err(ApiError::bad_field(
                "input.missing_tensor",
                format!("{}.{name}", place()),
                message,
            ));
        };
        ordered.push(value);
    }
    match given
        .iter()
        .find(|(name, _)| found.contains_key(name.as_str()))
    {
        None => Ok(ordered),
        Some((name, _)) => {
            let field: String = format!("{}.{name}", place()).chars().take(200).collect();
            let message = format!(
                "the model has no such feature; it takes {}",
                names.join(", ")
            );
            Err(ApiError::bad_field("input.unknown", field, message))
        }
    }
}

fn fill(
    datatype: DataType,
    columns: &[(&&str, &Vec<&Scalar>)],
    rows: usize,
    place: &impl Fn(usize) -> String,
) -> Result<TensorData, ApiError> {
    macro_rules! collect {
        ($variant:ident, $convert:expr) => {{
            let mut values = Vec::with_capacity(rows * columns.len());
            for row in 0..rows {
                for (name, column) in columns {
                    let value = $convert(column[row]).map_err(|(code, expected): (_, &str)| {
                        ApiError::bad_field(
                            code,
                            format!("{}.{name}", place(row)),
                            format!("expected {expected}"),
                        )
                    })?;
                    values.push(value);
                }
            }
            Ok(TensorData::$variant(values))
        }};
    }
    match datatype {
        DataType::Bool => collect!(Bool, boolean),
        DataType::Uint8 => collect!(Uint8, integer),
        DataType::Uint16 => collect!(Uint16, integer),
        DataType::Uint32 => collect!(Uint32, integer),
        DataType::Uint64 => collect!(Uint64, integer),
        DataType::Int8 => collect!(Int8, integer),
        DataType::Int16 => collect!(Int16, integer),
        DataType::Int32 => collect!(Int32, integer),
        DataType::Int64 => collect!(Int64, integer),
        DataType::Fp16 => collect!(Fp16, |s| float(s, f64::from(f16::MAX)).map(f16::from_f64)),
        DataType::Fp32 => collect!(Fp32, |s| float(s, f64::from(f32::MAX)).map(|v| v as f32)),
        DataType::Fp64 => collect!(Fp64, |s| float(s, f64::MAX)),
        DataType::Bytes => collect!(Bytes, text),
    }
}

type Wrong = (&'static str, &'static str);

fn float(scalar: &Scalar, max: f64) -> Result<f64, Wrong> {
    let value = match scalar {
        Scalar::Missing => return Ok(f64::NAN),
        Scalar::Integer(value) => *value as f64,
        Scalar::Large(value) => *value as f64,
        Scalar::Number(value) => *value,
        Scalar::Bool(_) | Scalar::Text(_) => {
            return Err((
                "request.field_type",
                "a number, or null where it is missing",
            ));
        }
    };
    if value.abs() <= max {
        Ok(value)
    } else {
        Err(("request.number_too_large", "a smaller number"))
    }
}

fn integer<T: TryFrom<i64> + TryFrom<u64>>(scalar: &Scalar) -> Result<T, Wrong> {
    let fits = match scalar {
        Scalar::Integer(value) => T::try_from(*value).ok(),
        Scalar::Large(value) => T::try_from(*value).ok(),
        _ => return Err(("request.field_type", "a whole number")),
    };
    fits.ok_or((
        "request.number_too_large",
        "a whole number that fits the column's type",
    ))
}

fn boolean(scalar: &Scalar) -> Result<bool, Wrong> {
    match scalar {
        Scalar::Bool(value) => Ok(*value),
        _ => Err(("request.field_type", "true or false")),
    }
}

fn text(scalar: &Scalar) -> Result<Vec<u8>, Wrong> {
    match scalar {
        Scalar::Text(value) => Ok(value.as_bytes().to_vec()),
        _ => Err(("request.field_type", "a string")),
    }
}

/// An error of the schema, whose field names a tensor's element, as one about a row's feature.
pub(super) fn rename_field(
    mut error: ApiError,
    manifest: &Manifest,
    place: impl Fn(usize) -> String,
) -> ApiError {
    let renamed = error.field.as_deref().and_then(|field| {
        let rest = field.strip_prefix("inputs.")?;
        let input = manifest
            .inputs
            .iter()
            .find(|input| rest.starts_with(&format!("{}[", input.name)))?;
        let (row, column) = rest[input.name.len() + 1..].split_once(']')?;
        Some(format!("{}{column}", place(row.parse().ok()?)))
    });
    if renamed.is_some() {
        error.field = renamed;
    }
    error
}
