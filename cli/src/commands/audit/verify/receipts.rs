//! Whether the events of receipts are in the sealed log.

use audit::Receipt;
use serde_json::{Value, json};

use super::super::prove::{Event, prove};
use super::VerifyArguments;
use crate::failure::{Exit, Failure};
use crate::log_proof::Proven;
use crate::log_trust::Trust;
use crate::output::{self, Report, Text};
use crate::sealed_log::Source;

/// What became of a receipt.
struct Outcome {
    receipt: Receipt,
    found: Result<Proven, Failure>,
}

/// Proves each receipt; the worst of them decides how the process ends.
pub(super) fn run(arguments: &VerifyArguments) -> Result<Report, Failure> {
    let (source, trust) = arguments.log.open()?;
    trust.require()?;
    let outcomes: Vec<Outcome> = arguments
        .receipts
        .iter()
        .map(|receipt| Outcome {
            receipt: *receipt,
            found: verify(&source, &trust, *receipt),
        })
        .collect();
    let exits = |exit: Exit| {
        let mut failures = outcomes
            .iter()
            .filter_map(|outcome| outcome.found.as_ref().err());
        failures.any(|failure| failure.exit == exit)
    };
    let worst = [Exit::Refused, Exit::NotFound, Exit::Unavailable]
        .into_iter()
        .find(|exit| exits(*exit));
    let verdict = match worst {
        None => "verified",
        Some(Exit::Refused) => "tampered",
        Some(Exit::NotFound) => "incomplete",
        Some(_) => "unreachable",
    };
    let value = json!({
        "verdict": verdict,
        "verified": worst.is_none(),
        "place": source.objects().place(),
        "key_from": trust.from,
        "receipts": outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
    });
    let mut text = Text::new()
        .field(
            "receipts",
            format!(
                "{} of {} are in the log",
                outcomes
                    .iter()
                    .filter(|outcome| outcome.found.is_ok())
                    .count(),
                outcomes.len()
            ),
        )
        .field("log", source.objects().place())
        .optional("but", trust.from.caveat());
    for outcome in &outcomes {
        text = outcome.describe(text);
    }
    let report = Report::new(&value, text)?;
    Ok(match worst {
        None => report,
        Some(exit) => report.ending_with(exit),
    })
}

fn verify(source: &Source, trust: &Trust, receipt: Receipt) -> Result<Proven, Failure> {
    let event = Event {
        stream: receipt.stream,
        seq: receipt.seq,
        hash: Some(receipt.leaf_hash),
    };
    let proven = prove(source, trust, event)?.ok_or_else(|| {
        let message = "not in the sealed log: not sealed yet, or removed before it was. A receipt that is older than \
                       the newest seal should be there: verify the whole log";
        Failure::not_found("audit.receipt_not_sealed", message)
    })?;
    proven.check_hash(receipt.leaf_hash)?;
    Ok(proven)
}

impl Outcome {
    fn to_json(&self) -> Value {
        let mut value = json!({ "receipt": self.receipt, "verified": self.found.is_ok() });
        match &self.found {
            Ok(proven) => {
                value["index"] = proven.by.index.into();
                value["size"] = proven.by.checkpoint.size.into();
                value["event"] = read_event(proven);
            }
            Err(failure) => {
                value["code"] = failure.code.clone().into();
                value["error"] = failure.message.clone().into();
            }
        }
        value
    }

    fn describe(&self, text: Text) -> Text {
        let (stream, seq) = (self.receipt.stream, self.receipt.seq);
        match &self.found {
            Ok(proven) => text
                .line(format!(
                    "{stream}:{seq} is entry {} of {}",
                    proven.by.index, proven.by.checkpoint.size
                ))
                .line(output::to_readable_json(&read_event(proven))),
            Err(failure) => text.line(format!(
                "{stream}:{seq}: {} [{}]",
                failure.message, failure.code
            )),
        }
    }
}

fn read_event(proven: &Proven) -> Value {
    serde_json::from_slice(&proven.entry).unwrap_or_default()
}
