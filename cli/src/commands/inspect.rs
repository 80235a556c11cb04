//! `sealcast inspect`: what is in a model, and whether it can be served.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::Args;
use engine::{Cost, Inspection, LoadLimits, TensorSpec, TreeSummary};
use serde::Serialize;

use crate::arguments::{ModelLabel, StoreArguments};
use crate::failure::{Exit, Failure};
use crate::output::{Report, Text};
use crate::stores::Stores;
use crate::{files, sealed};

/// Say what is in a model; exit 1 where it cannot be served.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The ONNX file.
    #[arg(required_unless_present = "stored", conflicts_with_all = ["stored", "data", "stack"])]
    model: Option<PathBuf>,
    /// A sealed model of the store: it is verified and opened first.
    #[arg(long, value_name = "NAME@VERSION", value_parser = ModelLabel::parse)]
    stored: Option<ModelLabel>,
    #[command(flatten)]
    store: StoreArguments,
}

/// What is said of a model.
#[derive(Debug, Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    stored: Option<Stored>,
    #[serde(flatten)]
    inspection: &'a Inspection,
}

/// What is said of a model's seal.
#[derive(Debug, Serialize)]
struct Stored {
    model: String,
    digest: artifact::Sha256Digest,
    signed_by: String,
}

/// Describes the model; one that is not supported is described too, but ends with exit code 1.
pub(crate) fn run(arguments: &InspectArguments) -> Result<Report, Failure> {
    if let Some(label) = &arguments.stored {
        let model = sealed::open_stored(&Stores::open(&arguments.store)?, label)?;
        let stored = Stored {
            model: label.to_string(),
            digest: model.digest,
            signed_by: model.signed_by,
        };
        return inspect(&model.opened.onnx, label, Some(stored));
    }
    let path = arguments.model.as_deref().unwrap_or(Path::new(""));
    inspect(&files::read(path, files::MAX_FILE)?, path.display(), None)
}

fn inspect(onnx: &[u8], place: impl Display, stored: Option<Stored>) -> Result<Report, Failure> {
    let inspection = engine::inspect(onnx, &LoadLimits::default())
        .map_err(|error| Failure::from(error).while_doing(place))?;
    let mut text = Text::new();
    if let Some(stored) = &stored {
        text = text
            .field("model", &stored.model)
            .field("digest", stored.digest)
            .field("signed by", &stored.signed_by);
    }
    let text = describe(text, &inspection);
    let described = Described {
        stored,
        inspection: &inspection,
    };
    let report = Report::new(&described, text)?;
    Ok(if inspection.is_supported() {
        report
    } else {
        report.ending_with(Exit::Refused)
    })
}

fn describe(text: Text, inspection: &Inspection) -> Text {
    let opsets: Vec<String> = inspection
        .opsets
        .iter()
        .map(|opset| format!("{} {}", opset.domain, opset.version))
        .collect();
    let operators: Vec<Vec<String>> = inspection
        .operators
        .iter()
        .map(|operator| vec![operator.operator.clone(), operator.count.to_string()])
        .collect();
    let unsupported: Vec<Vec<String>> = inspection
        .unsupported
        .iter()
        .map(|fault| {
            let hint = if fault.hint.is_empty() {
                String::new()
            } else {
                format!("; {}", fault.hint)
            };
            vec![
                fault.node.clone(),
                fault.operator.clone(),
                format!("{}{hint}", fault.reason),
            ]
        })
        .collect();
    let trees: Vec<Vec<String>> = inspection.trees.iter().map(describe_trees).collect();
    let verdict = match &inspection.refusal {
        Some(refusal) => format!("no: {} [{}]", refusal.error, refusal.code),
        None if unsupported.is_empty() => "yes".to_owned(),
        None => format!("no: {} unsupported", unsupported.len()),
    };
    let producer = Some(inspection.producer.as_str()).filter(|name| !name.is_empty());
    text.field("supported", verdict)
        .field("size", format!("{} bytes", inspection.size))
        .field("producer", producer.unwrap_or("not named"))
        .field("format", format!("IR {}", inspection.ir_version))
        .field("opsets", opsets.join(", "))
        .field("nodes", inspection.nodes)
        .field("parameters", inspection.parameters)
        .field("cost of a row", describe_cost(&inspection.cost))
        .field("memory", format!("{} bytes", inspection.memory))
        .table("inputs", &describe_specs(&inspection.inputs))
        .table("outputs", &describe_specs(&inspection.outputs))
        .table("operators", &operators)
        .table("trees", &trees)
        .table("unsupported", &unsupported)
}

fn describe_cost(cost: &Cost) -> String {
    format!(
        "{} operations, {} tree nodes, {} bytes read",
        cost.operations, cost.tree_nodes, cost.bytes
    )
}

fn describe_trees(summary: &TreeSummary) -> Vec<String> {
    vec![
        summary.node.clone(),
        format!("{} trees", summary.trees),
        format!("{} nodes", summary.nodes),
        format!("{} leaves", summary.leaves),
        format!("{} features", summary.features),
    ]
}

fn describe_specs(specs: &[TensorSpec]) -> Vec<Vec<String>> {
    specs
        .iter()
        .map(|spec| {
            vec![
                spec.name.clone(),
                spec.datatype.name().to_owned(),
                format!("{:?}", spec.shape),
            ]
        })
        .collect()
}
