//! The background that a model's predictions are explained against: its training data, as the model would see them.

use std::path::Path;

use artifact::Manifest;
use artifact::manifest::{
    Background, Explain, ExplainWhen, InputTensor, MAX_MANIFEST_SIZE, ManifestError, Summary,
};
use engine::{ExplainError, Explainer, LoadLimits, Scorer, Tensor};

use super::{Data, read_columns};
use crate::elements::{self, Element};
use crate::failure::Failure;
use crate::table::Header;

/// Fills in the background from the data, where the model is of a kind that is explained. The note says what came of
/// it.
///
/// # Errors
/// Where the manifest wants every prediction explained and there is no background to be had; for data that lack a
/// column.
pub(crate) fn fill_background(
    manifest: &mut Manifest,
    scorer: &Scorer,
    onnx: &[u8],
    csv: &Path,
) -> Result<String, Failure> {
    let data = read_columns(csv, Header::Required, &[])?;
    fill_from(manifest, scorer, onnx, &data)
}

/// As [`fill_background`], from data that have been read.
pub(super) fn fill_from(
    manifest: &mut Manifest,
    scorer: &Scorer,
    onnx: &[u8],
    data: &Data,
) -> Result<String, Failure> {
    let when = manifest
        .explain
        .as_ref()
        .map_or(ExplainWhen::default(), |explain| explain.when);
    let (rows, refused) = typical_rows(manifest, scorer, data)?;
    let counted = Explainer::new(onnx, &rows, &LoadLimits::default()).and_then(|explainer| {
        explainer.check_manifest(manifest)?;
        Ok(explainer)
    });
    let filled = counted.and_then(|explainer| {
        let mut filled = manifest.clone();
        filled.explain = Some(Explain {
            when,
            background: Some(Background {
                rows: explainer.background_rows(),
                summary: Summary::new(explainer.background()),
            }),
        });
        check_size(&filled)?;
        Ok((filled, explainer))
    });
    match filled {
        Ok((filled, explainer)) => {
            *manifest = filled;
            let (method, count) = (explainer.method().name(), explainer.background_rows());
            let left_out = if refused > 0 {
                format!("; {refused} left out, which the manifest refuses")
            } else {
                String::new()
            };
            Ok(format!("{method} against {count} rows{left_out}"))
        }
        Err(ExplainError::Load(error)) => Err(Failure::from(error)),
        Err(error) if when == ExplainWhen::Always => {
            let message = format!("the manifest wants every prediction explained: {error}");
            Err(Failure::refused(error.code(), message).at("explain.when"))
        }
        Err(error) => {
            // One that stands there is of other rows, or of another model.
            if let Some(explain) = &mut manifest.explain {
                explain.background = None;
            }
            Ok(error.to_string())
        }
    }
}

/// A manifest must stay small enough to be read.
fn check_size(manifest: &Manifest) -> Result<(), ExplainError> {
    match manifest.to_canonical_json() {
        Err(ManifestError::Json(error)) => Err(ExplainError::NotAvailable {
            reason: format!(
                "with the background's counts the manifest is too large, {MAX_MANIFEST_SIZE} bytes at most ({error}): \
                 seal with fewer rows"
            ),
        }),
        // What else is wrong with it is reported as such.
        _ => Ok(()),
    }
}

/// The data's rows as they would reach the model, and how many the manifest refuses.
fn typical_rows(
    manifest: &Manifest,
    scorer: &Scorer,
    data: &Data,
) -> Result<(Tensor, usize), Failure> {
    let [input] = manifest.inputs.as_slice() else {
        // No model of several inputs is explained, whatever the rows.
        return Ok((no_rows(""), 0));
    };
    let mut rows = Tensor {
        shape: vec![0, input.columns.len()],
        data: elements::empty(input.datatype),
        ..no_rows(&input.name)
    };
    let places = find_columns(input, data)?;
    let mut refused = 0;
    for row in 0..data.rows {
        let mut elements = elements::empty(input.datatype);
        for column in &places {
            let cell = Element::Text(&data.cells[*column][row]);
            elements::push(&mut elements, cell)
                .map_err(|message| data.blame(row, *column, &message))?;
        }
        let shape = vec![1, places.len()];
        let request = Tensor {
            name: input.name.clone(),
            shape,
            data: elements,
        };
        match scorer.sanitize(vec![request]) {
            Ok(sanitized) => {
                rows.shape[0] += 1;
                sanitized
                    .inputs
                    .iter()
                    .for_each(|row| elements::append(&mut rows.data, &row.data));
            }
            Err(_) => refused += 1,
        }
    }
    Ok((rows, refused))
}

fn no_rows(name: &str) -> Tensor {
    Tensor {
        name: name.to_owned(),
        shape: vec![0, 0],
        data: elements::empty(artifact::manifest::DataType::Fp32),
    }
}

/// Where the data have the input's columns.
fn find_columns(input: &InputTensor, data: &Data) -> Result<Vec<usize>, Failure> {
    let find = |name: &str| {
        let place = data.names.iter().position(|other| other == name);
        place.ok_or_else(|| data.lacks(name))
    };
    input
        .columns
        .iter()
        .map(|column| find(&column.name))
        .collect()
}
