//! `sealcast inspect`: what is in a model file, and whether it can be served.

use std::path::PathBuf;

use clap::Args;
use engine::{Inspection, LoadLimits, TensorSpec, TreeSummary};

use crate::failure::{Exit, Failure};
use crate::files;
use crate::output::{Report, Text};

/// Say what is in a model file; exit 1 where it cannot be served.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The ONNX file.
    model: PathBuf,
}

/// Describes the model; one that is not supported is described too, but ends with exit code 1.
pub(crate) fn run(arguments: &InspectArguments) -> Result<Report, Failure> {
    let path = &arguments.model;
    let onnx = files::read(path, files::MAX_FILE)?;
    let inspection = engine::inspect(&onnx, &LoadLimits::default())
        .map_err(|error| Failure::from(error).while_doing(path.display()))?;
    let report = Report::new(&inspection, describe(&inspection))?;
    Ok(if inspection.unsupported.is_empty() {
        report
    } else {
        report.ending_with(Exit::Refused)
    })
}

fn describe(inspection: &Inspection) -> Text {
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
    let verdict = if unsupported.is_empty() {
        "yes".to_owned()
    } else {
        format!("no: {} unsupported", unsupported.len())
    };
    Text::new()
        .field("supported", verdict)
        .field("size", format!("{} bytes", inspection.size))
        .field("producer", &inspection.producer)
        .field("format", format!("IR {}", inspection.ir_version))
        .field("opsets", opsets.join(", "))
        .field("nodes", inspection.nodes)
        .field("parameters", inspection.parameters)
        .table("inputs", &describe_specs(&inspection.inputs))
        .table("outputs", &describe_specs(&inspection.outputs))
        .table("operators", &operators)
        .table("trees", &trees)
        .table("unsupported", &unsupported)
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
