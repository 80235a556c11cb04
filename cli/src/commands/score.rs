//! `sealcast score`: run a model on a file, without a store or a seal.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use engine::{Explainer, LoadLimits, Method, Model, Tensor};
use serde::Serialize;

use crate::answer::{self, InferResponse, OutputTensor};
use crate::failure::Failure;
use crate::files;
use crate::measure::{self, Latency};
use crate::output::{self, Report};
use crate::read_tensors::read_tensors;

/// Run a model on a file and print its outputs in the form of the Open Inference Protocol.
#[derive(Debug, Args)]
pub(crate) struct ScoreArguments {
    /// The ONNX file.
    model: PathBuf,
    /// The input: .npy, .csv (a row of the file is a row of the batch; the header may be missing) or .json
    /// (a list, flat or nested, or {"inputs":[…]}). With several inputs NAME=FILE for each.
    #[arg(long, value_name = "[NAME=]FILE", required = true)]
    input: Vec<String>,
    /// A column of the CSV file that is no feature; repeatable.
    #[arg(long, value_name = "COLUMN")]
    exclude: Vec<String>,
    /// Say what each feature contributed to the raw score of each row, in further outputs.
    #[arg(long, requires = "background")]
    explain: bool,
    /// The rows that scores are explained against, as --input: the training data, or rows that are typical of them.
    #[arg(long, value_name = "FILE", requires = "explain")]
    background: Option<String>,
    /// Run it N more times on one thread and report latencies.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    repeat: Option<u32>,
    /// Rows in each of these runs: the input's own, over and over.
    #[arg(long, value_name = "B", requires = "repeat", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: Option<u32>,
}

/// How long things took.
#[derive(Debug, Serialize)]
struct Parameters {
    load_ms: f64,
    score_us: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation_method: Option<Method>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain_us: Option<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
}

/// Loads, scores and prints.
pub(crate) fn run(arguments: &ScoreArguments) -> Result<Report, Failure> {
    let onnx = files::read(&arguments.model, files::MAX_FILE)?;
    let started = Instant::now();
    let model = Model::load(&onnx, &LoadLimits::default())
        .map_err(|error| Failure::from(error).while_doing(arguments.model.display()))?;
    let load_ms = round(started.elapsed().as_secs_f64() * 1e3);
    let mut inputs: Vec<Tensor> = Vec::new();
    for given in &arguments.input {
        inputs.extend(read_tensors(given, &arguments.exclude, model.inputs())?);
    }
    let started = Instant::now();
    let mut outputs = model.run(&inputs)?;
    let score_us = round(started.elapsed().as_secs_f64() * 1e6);
    let explained = match &arguments.background {
        Some(background) => {
            let explainer = read_background(&onnx, &model, background, &arguments.exclude)?;
            let started = Instant::now();
            // A model of several inputs has no explainer.
            let found = explainer.explain(&inputs[0])?;
            outputs.extend(found.to_tensors());
            Some((found.method, round(started.elapsed().as_secs_f64() * 1e6)))
        }
        None => None,
    };
    let latency = arguments
        .repeat
        .map(|runs| measure_runs(&model, inputs, runs, arguments.batch))
        .transpose()?;
    let name = arguments.model.file_stem().unwrap_or_default();
    let response = InferResponse {
        model_name: &name.to_string_lossy(),
        outputs: outputs.iter().map(OutputTensor::of).collect(),
        parameters: Parameters {
            load_ms,
            score_us,
            explanation_method: explained.map(|(method, _)| method),
            explain_us: explained.map(|(_, us)| us),
            latency,
        },
    };
    Ok(Report::document(
        output::to_json(&response)?,
        answer::write_readable(&response)?,
    ))
}

fn read_background(
    onnx: &[u8],
    model: &Model,
    background: &str,
    excluded: &[String],
) -> Result<Explainer, Failure> {
    let rows = read_tensors(background, excluded, model.inputs())?;
    let [rows] = rows.as_slice() else {
        let message = "explanations are not available: the graph takes more than one tensor";
        return Err(Failure::refused("explain.not_available", message).at("--explain"));
    };
    Ok(Explainer::new(onnx, rows, &LoadLimits::default())?)
}

fn measure_runs(
    model: &Model,
    inputs: Vec<Tensor>,
    runs: u32,
    batch: Option<u32>,
) -> Result<Latency, Failure> {
    let inputs = match batch {
        Some(rows) => inputs
            .iter()
            .map(|tensor| measure::tile(tensor, rows as usize))
            .collect::<Result<Vec<_>, _>>()?,
        None => inputs,
    };
    measure::measure(model, &inputs, runs as usize)
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
