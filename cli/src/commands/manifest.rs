//! `sealcast manifest`: drafts of what a model is.

use std::path::PathBuf;

use artifact::{ModelName, ModelVersion, Symbol};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::describe::{self, Facts};
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Report, Text};

#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    Infer(InferArguments),
}

/// Draft a manifest: inputs and outputs from the model, columns and statistics from its training data.
#[derive(Debug, Args)]
pub(crate) struct InferArguments {
    /// The ONNX file.
    model: PathBuf,
    /// The training data, with a header; its columns in the model's order, or named as its inputs.
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// A column that is no feature; repeatable.
    #[arg(long, value_name = "COLUMN")]
    exclude: Vec<String>,
    /// The model's name, for example spx-direction.
    #[arg(long, value_parser = ModelName::parse)]
    name: ModelName,
    /// The model's version, for example 1.0.0.
    #[arg(long = "version", value_name = "VERSION", value_parser = ModelVersion::parse)]
    model_version: ModelVersion,
    /// Who answers for the model: a team or a mailbox.
    #[arg(long)]
    owner: String,
    /// The algorithm's id in the firm's register.
    #[arg(long)]
    algo_id: String,
    /// One sentence about the model.
    #[arg(long, default_value = "")]
    description: String,
    /// The classes, in the order of the probability columns.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// The market symbols that may be asked for; without it, every symbol.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', value_parser = Symbol::parse)]
    symbols: Option<Vec<Symbol>>,
    /// Longest time that scoring one request may take, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    latency_budget_ms: u32,
    /// Most rows in one request.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_rows: u32,
    /// The file to make, never overwritten; without it, standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the manifest command.
pub(crate) fn run(command: &ManifestCommand) -> Result<Report, Failure> {
    let ManifestCommand::Infer(arguments) = command;
    let onnx = files::read(&arguments.model, files::MAX_FILE)?;
    let facts = Facts {
        name: arguments.name.clone(),
        version: arguments.model_version.clone(),
        description: arguments.description.clone(),
        owner: arguments.owner.clone(),
        algo_id: arguments.algo_id.clone(),
        labels: arguments.labels.clone(),
        symbols: arguments.symbols.clone(),
        latency_budget_ms: arguments.latency_budget_ms,
        max_rows: arguments.max_rows,
    };
    let draft = describe::draft_manifest(&onnx, &arguments.csv, &arguments.exclude, facts)?;
    let mut text = serde_json::to_string_pretty(&draft.manifest)
        .map_err(|error| Failure::internal(error.to_string()))?;
    text.push('\n');
    let Some(out) = &arguments.out else {
        draft.notes.iter().for_each(output::note);
        return Ok(Report::document(output::to_json(&draft.manifest)?, text));
    };
    files::create_public(out, text.as_bytes())?;
    let columns: usize = draft
        .manifest
        .inputs
        .iter()
        .map(|input| input.columns.len())
        .sum();
    let mut text = Text::new()
        .field("manifest", out.display())
        .field("rows", draft.rows)
        .field("columns", columns)
        .field("explanations", &draft.explanations);
    for note in &draft.notes {
        text = text.field("note", note);
    }
    Report::new(
        &json!({
            "manifest": out.display().to_string(),
            "rows": draft.rows,
            "columns": columns,
            "explanations": draft.explanations,
            "notes": draft.notes,
        }),
        text,
    )
}
