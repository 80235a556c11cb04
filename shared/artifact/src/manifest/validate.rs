//! What a manifest must say beyond its form. Every fault is reported, not only the first.

mod column;
mod output;

use std::collections::HashSet;
use std::fmt;

use super::{ExplainWhen, InputTensor, Manifest};

/// Elements that one row of a tensor may have at most.
pub const MAX_ROW_ELEMENTS: i64 = 1 << 20;
/// Longest latency budget, in milliseconds.
pub const MAX_LATENCY_BUDGET_MS: u32 = 60_000;
/// Most rows in one request.
pub const MAX_ROWS: u32 = 65_536;
/// Largest ONNX file in bytes that JSON states exactly: 2^53 - 1.
pub const MAX_MODEL_SIZE: u64 = (1 << 53) - 1;

/// Fewest rows of a background where columns hold personal data: it counts rows at branches, or keeps means.
const MIN_PERSONAL_ROWS: u64 = 100;

const MAX_NAME_LEN: usize = 256;

/// One thing that a manifest says and must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFault {
    /// Path of the field, for example `inputs[0].columns[3].missing.value`.
    pub path: String,
    /// What would have been accepted.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: expected {}, found {}",
            self.path, self.expected, self.found
        )
    }
}

impl Manifest {
    /// Checks everything that the types cannot.
    ///
    /// # Errors
    /// All faults, in the order of the fields.
    pub fn validate(&self) -> Result<(), Vec<ManifestFault>> {
        let mut faults = Faults::default();
        faults.check_name("owner", &self.owner);
        faults.check_name("algo_id", &self.algo_id);
        if let Some(model) = self.model
            && !(1..=MAX_MODEL_SIZE).contains(&model.size)
        {
            faults.add("model.size", "1 to 2^53 - 1 bytes", model.size);
        }
        if let Some(packed) = self.packed {
            if !(1..=MAX_MODEL_SIZE).contains(&packed.size) {
                faults.add("packed.size", "1 to 2^53 - 1 bytes", packed.size);
            }
            if packed.format == 0 {
                faults.add("packed.format", "1 or more", packed.format);
            }
            if self.model.is_none() {
                faults.add("packed", "none without a model", "one");
            }
        }
        check_inputs(&self.inputs, &mut faults);
        output::check_contract(&self.output, &mut faults);
        if !(1..=MAX_LATENCY_BUDGET_MS).contains(&self.latency_budget_ms) {
            faults.add(
                "latency_budget_ms",
                "1 to 60000 milliseconds",
                self.latency_budget_ms,
            );
        }
        if let Some(symbols) = &self.limits.symbols {
            if symbols.is_empty() {
                faults.add(
                    "limits.symbols",
                    "at least one symbol, or no field for every symbol",
                    "none",
                );
            }
            faults.check_unique("limits.symbols", symbols.iter().map(super::Symbol::as_str));
        }
        if !(1..=MAX_ROWS).contains(&self.limits.max_rows) {
            faults.add("limits.max_rows", "1 to 65536 rows", self.limits.max_rows);
        }
        output::check_fallback(&self.fallback, &self.output, &mut faults);
        self.check_explain(&mut faults);
        self.check_personal_data(&mut faults);
        if faults.0.is_empty() {
            Ok(())
        } else {
            Err(faults.0)
        }
    }

    fn check_explain(&self, faults: &mut Faults) {
        let Some(explain) = &self.explain else {
            return;
        };
        match &explain.background {
            Some(background) if !(1..=MAX_MODEL_SIZE).contains(&background.rows) => {
                faults.add(
                    "explain.background.rows",
                    "1 to 2^53 - 1 rows",
                    background.rows,
                );
            }
            Some(background)
                if !self.personal_data.is_empty() && background.rows < MIN_PERSONAL_ROWS =>
            {
                faults.add(
                    "explain.background.rows",
                    "100 rows or more where `personal_data` names columns: what is kept of fewer may say what single \
                     rows held",
                    background.rows,
                );
            }
            None if explain.when == ExplainWhen::Always => faults.add(
                "explain.background",
                "a background to explain against, which `seal --csv` or `--background` fills in",
                "none",
            ),
            Some(_) | None => {}
        }
    }

    fn check_personal_data(&self, faults: &mut Faults) {
        let columns: HashSet<&str> = self
            .inputs
            .iter()
            .flat_map(|input| &input.columns)
            .map(|column| column.name.as_str())
            .collect();
        for (i, name) in self.personal_data.iter().enumerate() {
            if !columns.contains(name.as_str()) {
                faults.add(
                    format!("personal_data[{i}]"),
                    "the name of a column",
                    format!("{name:?}"),
                );
            }
        }
        faults.check_unique(
            "personal_data",
            self.personal_data.iter().map(String::as_str),
        );
    }
}

/// The faults found so far.
#[derive(Default)]
struct Faults(Vec<ManifestFault>);

impl Faults {
    fn add(
        &mut self,
        path: impl Into<String>,
        expected: impl Into<String>,
        found: impl fmt::Display,
    ) {
        let found = found.to_string().chars().take(200).collect();
        self.0.push(ManifestFault {
            path: path.into(),
            expected: expected.into(),
            found,
        });
    }

    fn check_name(&mut self, path: impl Into<String>, name: &str) {
        if name.trim().is_empty() || name.len() > MAX_NAME_LEN || name.contains(char::is_control) {
            let expected = "1 to 256 bytes of text, not blank, without control characters";
            self.add(path, expected, format!("{name:?}"));
        }
    }

    /// Reports every repetition at its own place.
    fn check_unique<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for (i, name) in names.enumerate() {
            if !seen.insert(name) {
                self.add(
                    format!("{path}[{i}]"),
                    "a name that does not stand there twice",
                    format!("{name:?}"),
                );
            }
        }
    }

    /// True if `value` is finite.
    fn check_finite(&mut self, path: impl Into<String>, value: f64) -> bool {
        if !value.is_finite() {
            self.add(path, "a finite number", value);
        }
        value.is_finite()
    }

    fn check_above_zero(&mut self, path: impl Into<String>, value: f64) {
        if !(value.is_finite() && value > 0.0) {
            self.add(path, "a finite number above 0", value);
        }
    }

    /// Both ends finite where they are given, and in order.
    fn check_range(&mut self, path: &str, min: Option<f64>, max: Option<f64>) {
        let min = min.filter(|min| self.check_finite(format!("{path}.min"), *min));
        let max = max.filter(|max| self.check_finite(format!("{path}.max"), *max));
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.add(
                format!("{path}.min"),
                format!("at most max, which is {max}"),
                min,
            );
        }
    }

    /// Finite, and inside the ends that are given.
    fn check_inside(
        &mut self,
        path: impl Into<String>,
        value: f64,
        min: Option<f64>,
        max: Option<f64>,
    ) {
        let path = path.into();
        if !self.check_finite(path.clone(), value) {
            return;
        }
        if let Some(min) = min.filter(|min| value < *min) {
            self.add(path.clone(), format!("at least min, which is {min}"), value);
        }
        if let Some(max) = max.filter(|max| value > *max) {
            self.add(path, format!("at most max, which is {max}"), value);
        }
    }
}

fn check_inputs(inputs: &[InputTensor], faults: &mut Faults) {
    if inputs.is_empty() {
        faults.add("inputs", "at least one tensor", "none");
    }
    let mut tensors = HashSet::new();
    let mut columns = HashSet::new();
    for (i, input) in inputs.iter().enumerate() {
        let path = format!("inputs[{i}]");
        faults.check_name(format!("{path}.name"), &input.name);
        if !tensors.insert(&input.name) {
            faults.add(
                format!("{path}.name"),
                "a name that no other tensor has",
                format!("{:?}", input.name),
            );
        }
        check_shape(&path, &input.shape, faults);
        check_column_count(&path, input, faults);
        for (j, column) in input.columns.iter().enumerate() {
            let path = format!("{path}.columns[{j}]");
            faults.check_name(format!("{path}.name"), &column.name);
            if !columns.insert(&column.name) {
                faults.add(
                    format!("{path}.name"),
                    "a name that no other column has",
                    format!("{:?}", column.name),
                );
            }
            column::check_column(&path, column, input.datatype, faults);
        }
    }
}

fn check_shape(path: &str, shape: &[i64], faults: &mut Faults) {
    match shape.first() {
        Some(-1) => {}
        Some(batch) => faults.add(format!("{path}.shape[0]"), "-1, the batch", batch),
        None => faults.add(
            format!("{path}.shape"),
            "the batch (-1) and then the row's dimensions",
            "[]",
        ),
    }
    let mut row_elements = Some(1_i64);
    for (i, dimension) in shape.iter().enumerate().skip(1) {
        if *dimension < 1 {
            faults.add(format!("{path}.shape[{i}]"), "at least 1", dimension);
        }
        row_elements = row_elements.and_then(|product| product.checked_mul((*dimension).max(1)));
    }
    if row_elements.is_none_or(|product| product > MAX_ROW_ELEMENTS) {
        faults.add(
            format!("{path}.shape"),
            "at most 1048576 elements in a row",
            format!("{shape:?}"),
        );
    }
}

fn check_column_count(path: &str, input: &InputTensor, faults: &mut Faults) {
    let expected = match input.shape.as_slice() {
        [] => return,
        [_] => 1,
        [.., last] => *last,
    };
    let found = input.columns.len() as i64;
    if found != 0 && found != expected && expected > 0 {
        faults.add(
            format!("{path}.columns"),
            format!("{expected} columns (the last dimension) or none"),
            found,
        );
    }
}
