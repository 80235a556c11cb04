//! Describing a model: a draft of its manifest from the graph itself and the data that it was trained on.

mod background;
mod output;

pub(crate) use background::fill_background;

use std::path::Path;

use artifact::manifest::{
    Column, DataType, Fallback, InputTensor, Limits, ManifestError, ManifestFormat, Missing,
    Statistics, TypeConversion,
};
use artifact::{Manifest, ModelName, ModelVersion, Symbol};
use engine::{LoadLimits, Model, Scorer, Tensor, TensorSpec};

use crate::elements::{self, Element};
use crate::failure::Failure;
use crate::statistics::summarise;
use crate::table::{Header, Table, is_missing};

/// Rows of the data that a draft must answer.
const TRIED_ROWS: usize = 64;

/// What people say about a model, because neither graph nor data do.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) name: ModelName,
    pub(crate) version: ModelVersion,
    pub(crate) description: String,
    pub(crate) owner: String,
    pub(crate) algo_id: String,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) symbols: Option<Vec<Symbol>>,
    pub(crate) latency_budget_ms: u32,
    pub(crate) max_rows: u32,
}

/// A draft, and what its author should look at.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) manifest: Manifest,
    pub(crate) notes: Vec<String>,
    /// How its predictions are explained, or why they are not.
    pub(crate) explanations: String,
    pub(crate) rows: usize,
}

/// Drafts a manifest: columns and statistics from the data, names, types and shapes from the graph, and the
/// output contract from what the graph answers to the data's first rows, which must fit the draft.
pub(crate) fn draft_manifest(
    onnx: &[u8],
    csv: &Path,
    excluded: &[String],
    facts: Facts,
) -> Result<Draft, Failure> {
    let model = Model::load(onnx, &LoadLimits::default())?;
    let mut data = read_columns(csv, Header::Required, excluded)?;
    let inputs = match_inputs(model.inputs(), &mut data)?;
    let tried = data.rows.min(TRIED_ROWS);
    let tensors = first_rows(&inputs, &data, tried)?;
    let outputs = model.run(&tensors)?;
    let (output, mut notes) = output::guess(&outputs, tried, facts.labels)?;
    let mut manifest = Manifest {
        format: ManifestFormat::V1,
        name: facts.name,
        version: facts.version,
        description: facts.description,
        owner: facts.owner,
        algo_id: facts.algo_id,
        model: None,
        packed: None,
        inputs,
        output,
        latency_budget_ms: facts.latency_budget_ms,
        limits: Limits {
            symbols: facts.symbols,
            max_rows: facts.max_rows,
        },
        fallback: Fallback::default(),
        explain: None,
        personal_data: Vec::new(),
    };
    notes.extend(summarise_columns(&mut manifest, &mut data)?);
    manifest.validate().map_err(|faults| {
        let error = ManifestError::Invalid(faults);
        Failure::refused(error.code(), error.to_string())
    })?;
    let scorer = Scorer::new(&manifest, model)?;
    // Rows with missing values are refused by the draft's own policy; they say nothing about the contract.
    if tensors.iter().all(is_whole) {
        let sanitized = scorer.sanitize(tensors)?;
        scorer.score(&sanitized)?;
    }
    let explanations = background::fill_from(&mut manifest, &scorer, onnx, &data)?;
    let rows = data.rows;
    Ok(Draft {
        manifest,
        notes,
        explanations,
        rows,
    })
}

/// Fills in the statistics of every column of the manifest from the column of that name.
pub(crate) fn fill_statistics(manifest: &mut Manifest, csv: &Path) -> Result<(), Failure> {
    let mut data = read_columns(csv, Header::Required, &[])?;
    summarise_columns(manifest, &mut data).map(|_| ())
}

/// The columns of a file, as text: which of them are numbers is for the manifest to say.
struct Data {
    names: Vec<String>,
    cells: Vec<Vec<String>>,
    lines: Vec<u64>,
    rows: usize,
    table: Table,
}

fn read_columns(csv: &Path, header: Header, excluded: &[String]) -> Result<Data, Failure> {
    let mut table = Table::open(csv, header, excluded)?;
    let names = table.names().map(<[String]>::to_vec).unwrap_or_default();
    let mut cells = vec![Vec::new(); names.len()];
    let mut lines = Vec::new();
    while let Some(row) = table.next_row()? {
        lines.push(row.line);
        for (column, cell) in cells.iter_mut().zip(row.cells) {
            column.push(cell);
        }
    }
    let rows = lines.len();
    if rows == 0 {
        return Err(table.refuse("expected at least one row below the header"));
    }
    Ok(Data {
        names,
        cells,
        lines,
        rows,
        table,
    })
}

/// Gives the graph's inputs the data's columns: by name where every input is one column of that name, else
/// in the file's order, which `data` is then put into.
fn match_inputs(specs: &[TensorSpec], data: &mut Data) -> Result<Vec<InputTensor>, Failure> {
    let count = data.names.len() as i64;
    let known: i64 = specs.iter().filter_map(width).sum();
    let open = specs.iter().filter(|spec| width(spec).is_none()).count();
    let total = if open == 1 { count.max(known) } else { known };
    if open > 1 || total != count {
        let names = data.names.join(", ");
        let taken = if open > 1 {
            "several inputs of unknown width".to_owned()
        } else {
            total.to_string()
        };
        let message = format!(
            "has {count} columns ({names}), the model takes {taken}: leave out others with --exclude"
        );
        return Err(data.table.refuse(&message));
    }
    let by_name = specs
        .iter()
        .map(|spec| data.names.iter().position(|name| *name == spec.name))
        .collect::<Option<Vec<usize>>>()
        .filter(|places| places.len() == data.names.len());
    if let Some(places) = by_name {
        data.names = places.iter().map(|at| data.names[*at].clone()).collect();
        data.cells = places.iter().map(|at| data.cells[*at].clone()).collect();
    }
    let mut names = data.names.iter();
    specs
        .iter()
        .map(|spec| {
            let width = width(spec).unwrap_or(count - known);
            let columns = names.by_ref().take(width as usize).map(|name| Column {
                name: name.clone(),
                min: None,
                max: None,
                missing: Missing::Reject,
                outlier: None,
                scale: None,
                stats: None,
            });
            Ok(InputTensor {
                name: spec.name.clone(),
                datatype: spec.datatype,
                shape: row_shape(spec, width)?,
                convert: TypeConversion::Strict,
                columns: columns.collect(),
            })
        })
        .collect()
}

/// How many columns an input takes; `None` where the graph leaves it open.
fn width(spec: &TensorSpec) -> Option<i64> {
    match spec.shape.as_slice() {
        [] => None,
        [_] => Some(1),
        [.., last] => (*last >= 0).then_some(*last),
    }
}

fn row_shape(spec: &TensorSpec, width: i64) -> Result<Vec<i64>, Failure> {
    match spec.shape.as_slice() {
        [] | [_, _] => Ok(vec![-1, width]),
        [_] => Ok(vec![-1]),
        [_, between @ .., _] => {
            let message = format!(
                "input `{}` has the shape {:?}: a row of it is no row of a CSV file; write its manifest by hand",
                spec.name,
                [&[-1], between, &[width]].concat()
            );
            Err(Failure::refused("manifest.not_inferable", message).at(&spec.name))
        }
    }
}

/// The first rows as the model's inputs.
fn first_rows(inputs: &[InputTensor], data: &Data, rows: usize) -> Result<Vec<Tensor>, Failure> {
    let mut first = 0;
    inputs
        .iter()
        .map(|input| {
            let width = input.columns.len();
            let mut elements = elements::empty(input.datatype);
            for row in 0..rows {
                for column in first..first + width {
                    let cell = Element::Text(&data.cells[column][row]);
                    elements::push(&mut elements, cell)
                        .map_err(|message| data.blame(row, column, &message))?;
                }
            }
            first += width;
            let shape = match input.shape.len() {
                1 => vec![rows],
                _ => vec![rows, width],
            };
            Ok(Tensor {
                name: input.name.clone(),
                shape,
                data: elements,
            })
        })
        .collect()
}

fn is_whole(tensor: &Tensor) -> bool {
    match &tensor.data {
        engine::TensorData::Fp16(values) => values.iter().all(|value| value.is_finite()),
        engine::TensorData::Fp32(values) => values.iter().all(|value| value.is_finite()),
        engine::TensorData::Fp64(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    }
}

/// Puts statistics into every column with numbers; gives notes about missing values.
fn summarise_columns(manifest: &mut Manifest, data: &mut Data) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    for input in &mut manifest.inputs {
        if input.datatype == DataType::Bytes {
            continue;
        }
        for column in &mut input.columns {
            let (stats, missing) = data.summarise(&column.name)?;
            column.stats = Some(stats);
            if missing > 0 && column.missing == Missing::Reject {
                let name = &column.name;
                notes.push(format!(
                    "column `{name}` misses {missing} of {} values, and the manifest refuses such rows: \
                     choose its `missing` policy",
                    data.rows
                ));
            }
        }
    }
    Ok(notes)
}

impl Data {
    /// Statistics of the column of this name, and how many of its values are missing.
    fn summarise(&self, name: &str) -> Result<(Statistics, usize), Failure> {
        let place = self.names.iter().position(|other| other == name);
        let at = place.ok_or_else(|| self.lacks(name))?;
        let mut values = Vec::with_capacity(self.rows);
        for (row, cell) in self.cells[at].iter().enumerate() {
            if is_missing(cell) {
                continue;
            }
            let value = match cell.as_str() {
                "true" | "True" => 1.0,
                "false" | "False" => 0.0,
                cell => cell
                    .parse::<f64>()
                    .ok()
                    .filter(|value| value.is_finite())
                    .ok_or_else(|| {
                        self.blame(row, at, &format!("expected a number, found {cell:?}"))
                    })?,
            };
            values.push(value);
        }
        let missing = self.rows - values.len();
        let stats = summarise(&mut values).ok_or_else(|| {
            self.table
                .refuse(&format!("column {name:?} holds no value"))
                .at(name)
        })?;
        Ok((stats, missing))
    }

    fn lacks(&self, name: &str) -> Failure {
        let message = format!("has no column {name:?}; it has {}", self.names.join(", "));
        self.table.refuse(&message).at(name)
    }

    fn blame(&self, row: usize, column: usize, message: &str) -> Failure {
        let (line, name) = (self.lines[row], &self.names[column]);
        let hint = "; leave a column that is no feature out with --exclude";
        let failure = self
            .table
            .refuse(&format!("line {line}, column `{name}`: {message}{hint}"));
        failure.at(name).with("line", line)
    }
}
