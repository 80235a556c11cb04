//! Input tensors from files: `.npy`, `.csv` and `.json`.

mod csv_rows;
mod json_lists;
mod npy;

use std::path::Path;

use artifact::manifest::DataType;
use engine::{Tensor, TensorSpec};

use crate::failure::Failure;
use crate::files;

/// Reads the tensors of one `[NAME=]FILE`; `specs` are the model's inputs.
pub(crate) fn read_tensors(
    given: &str,
    excluded: &[String],
    specs: &[TensorSpec],
) -> Result<Vec<Tensor>, Failure> {
    let named = given
        .split_once('=')
        .and_then(|(name, path)| Some((specs.iter().find(|spec| spec.name == name)?, path)));
    let (spec, path) = match named {
        Some((spec, path)) => (Some(spec), Path::new(path)),
        None => (None, Path::new(given)),
    };
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("csv") => {
            let spec = choose(spec, specs, given)?;
            Ok(vec![csv_rows::read(path, excluded, spec)?])
        }
        Some("npy") => {
            let spec = choose(spec, specs, given)?;
            let bytes = files::read(path, files::MAX_FILE)?;
            let tensor = npy::parse(&bytes, spec).map_err(|message| refuse(path, &message))?;
            Ok(vec![tensor])
        }
        Some("json") => {
            let text = files::read(path, files::MAX_FILE)?;
            let document = serde_json::from_slice(&text)
                .map_err(|error| refuse(path, &format!("expected JSON: {error}")))?;
            if json_lists::is_request(&document) {
                return json_lists::read_request(&document, specs)
                    .map_err(|message| refuse(path, &message));
            }
            let spec = choose(spec, specs, given)?;
            let tensor = json_lists::read_list(&document, spec);
            Ok(vec![tensor.map_err(|message| refuse(path, &message))?])
        }
        _ => {
            let message = format!("{}: expected a .npy, .csv or .json file", path.display());
            Err(Failure::usage("--input", message))
        }
    }
}

fn choose<'a>(
    chosen: Option<&'a TensorSpec>,
    specs: &'a [TensorSpec],
    given: &str,
) -> Result<&'a TensorSpec, Failure> {
    match (chosen, specs) {
        (Some(spec), _) | (None, [spec]) => Ok(spec),
        (None, many) => {
            let names: Vec<&str> = many.iter().map(|spec| spec.name.as_str()).collect();
            let names = names.join(", ");
            let message = format!("{given}: the model has the inputs {names}: give NAME=FILE");
            Err(Failure::usage("--input", message))
        }
    }
}

fn refuse(path: &Path, message: &str) -> Failure {
    let place = path.display().to_string();
    Failure::refused("input.unreadable", format!("{place}: {message}")).at(place)
}

/// The shape of `count` elements in the form that the graph states: its variable dimension is what is left.
fn fit_shape(spec: &TensorSpec, count: usize) -> Result<Vec<usize>, String> {
    let fixed = spec
        .shape
        .iter()
        .filter(|dim| **dim >= 0)
        .try_fold(1_usize, |product, dim| product.checked_mul(*dim as usize))
        .unwrap_or(0);
    let open = spec.shape.iter().filter(|dim| **dim < 0).count();
    let unfit = || {
        let shape = &spec.shape;
        format!(
            "{count} elements do not fill the shape {shape:?} of input `{}`",
            spec.name
        )
    };
    match (open, spec.shape.is_empty()) {
        (0, true) => Ok(vec![count]),
        (0, false) if fixed == count => Ok(spec.shape.iter().map(|dim| *dim as usize).collect()),
        (1, _) if fixed > 0 && count.is_multiple_of(fixed) => Ok(spec
            .shape
            .iter()
            .map(|dim| {
                if *dim < 0 {
                    count / fixed
                } else {
                    *dim as usize
                }
            })
            .collect()),
        (0 | 1, _) => Err(unfit()),
        _ => {
            let name = &spec.name;
            Err(format!(
                "input `{name}` has several variable dimensions: nest the lists, or give a .npy file"
            ))
        }
    }
}

/// The type that is named in a request, which must be the graph's.
fn check_datatype(spec: &TensorSpec, named: DataType) -> Result<(), String> {
    if spec.datatype == named {
        return Ok(());
    }
    let (name, ours) = (&spec.name, spec.datatype.name());
    Err(format!(
        "input `{name}`: expected datatype {ours}, found {}",
        named.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_dimension_is_what_the_count_leaves() {
        let spec = |shape: &[i64]| TensorSpec {
            name: "x".to_owned(),
            datatype: DataType::Fp32,
            shape: shape.to_vec(),
        };
        assert_eq!(fit_shape(&spec(&[-1, 14]), 28).unwrap(), [2, 14]);
        assert_eq!(fit_shape(&spec(&[-1]), 3).unwrap(), [3]);
        assert_eq!(fit_shape(&spec(&[2, 2]), 4).unwrap(), [2, 2]);
        assert_eq!(fit_shape(&spec(&[]), 4).unwrap(), [4]);
        assert!(fit_shape(&spec(&[-1, 14]), 27).is_err());
        assert!(fit_shape(&spec(&[-1, -1]), 4).is_err());
    }
}
