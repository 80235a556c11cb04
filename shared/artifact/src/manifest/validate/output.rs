//! The output contract, and the neutral answer that must fit it.

use super::Faults;
use crate::manifest::{Fallback, Neutral, OutputContract};

/// How far probabilities may be allowed to sum from 1 at most.
const MAX_SUM_TOLERANCE: f64 = 0.1;

pub(super) fn check_contract(output: &OutputContract, faults: &mut Faults) {
    match output {
        OutputContract::Classification {
            labels,
            label,
            probabilities,
            sum_tolerance,
        } => {
            if labels.len() < 2 {
                faults.add("output.labels", "at least 2 labels", labels.len());
            }
            for (i, label) in labels.iter().enumerate() {
                faults.check_name(format!("output.labels[{i}]"), label);
            }
            faults.check_unique("output.labels", labels.iter().map(String::as_str));
            faults.check_name("output.probabilities", probabilities);
            if let Some(label) = label {
                faults.check_name("output.label", label);
                if label == probabilities {
                    faults.add(
                        "output.label",
                        "another output than probabilities",
                        format!("{label:?}"),
                    );
                }
            }
            if !(*sum_tolerance > 0.0 && *sum_tolerance <= MAX_SUM_TOLERANCE) {
                faults.add(
                    "output.sum_tolerance",
                    "above 0 and at most 0.1",
                    sum_tolerance,
                );
            }
        }
        OutputContract::Regression { value, min, max } => {
            faults.check_name("output.value", value);
            faults.check_range("output", *min, *max);
        }
    }
}

pub(super) fn check_fallback(fallback: &Fallback, output: &OutputContract, faults: &mut Faults) {
    if fallback.last_good_max_age_s == Some(0) {
        faults.add(
            "fallback.last_good_max_age_s",
            "at least 1 second, or no field for never",
            0,
        );
    }
    match (&fallback.neutral, output) {
        (None, _) => {}
        (
            Some(Neutral::Label {
                label,
                probabilities,
            }),
            OutputContract::Classification {
                labels,
                sum_tolerance,
                ..
            },
        ) => {
            if !labels.contains(label) {
                faults.add(
                    "fallback.neutral.label",
                    "one of output.labels",
                    format!("{label:?}"),
                );
            }
            check_probabilities(probabilities, labels.len(), *sum_tolerance, faults);
        }
        (Some(Neutral::Value { value }), OutputContract::Regression { min, max, .. }) => {
            faults.check_inside("fallback.neutral.value", *value, *min, *max);
        }
        (Some(Neutral::Value { .. }), OutputContract::Classification { .. }) => {
            faults.add(
                "fallback.neutral",
                "label and probabilities, for a classification",
                "a value",
            );
        }
        (Some(Neutral::Label { .. }), OutputContract::Regression { .. }) => {
            faults.add(
                "fallback.neutral",
                "a value, for a regression",
                "label and probabilities",
            );
        }
    }
}

fn check_probabilities(
    probabilities: &[f64],
    labels: usize,
    sum_tolerance: f64,
    faults: &mut Faults,
) {
    let path = "fallback.neutral.probabilities";
    if probabilities.len() != labels {
        faults.add(
            path,
            format!("{labels} probabilities, one a label"),
            probabilities.len(),
        );
    }
    for (i, probability) in probabilities.iter().enumerate() {
        if !(0.0..=1.0).contains(probability) {
            faults.add(format!("{path}[{i}]"), "0 to 1", probability);
        }
    }
    let sum: f64 = probabilities.iter().sum();
    if sum_tolerance.is_finite() && (sum.is_nan() || (sum - 1.0).abs() > sum_tolerance) {
        faults.add(path, format!("a sum within {sum_tolerance} of 1"), sum);
    }
}
