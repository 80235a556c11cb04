//! One column: its range, its policies, and the statistics that they need.

use super::Faults;
use crate::manifest::{
    Column, DataType, Detect, Missing, Outlier, OutlierAction, Scale, Statistics,
};

pub(super) fn check_column(path: &str, column: &Column, datatype: DataType, faults: &mut Faults) {
    if matches!(datatype, DataType::Bool | DataType::Bytes) {
        let rules = [
            ("min", column.min.is_some()),
            ("max", column.max.is_some()),
            ("outlier", column.outlier.is_some()),
            ("scale", column.scale.is_some()),
        ];
        for (rule, _) in rules.into_iter().filter(|(_, stands_there)| *stands_there) {
            faults.add(
                format!("{path}.{rule}"),
                "nothing: the rule needs numbers",
                datatype.name(),
            );
        }
    }
    faults.check_range(path, column.min, column.max);
    match column.missing {
        Missing::Reject => {}
        Missing::Impute { value } => {
            let path = format!("{path}.missing.value");
            faults.check_inside(path.clone(), value, column.min, column.max);
            if value.is_finite() && !holds(datatype, value) {
                faults.add(
                    path,
                    format!("a value that {} can hold", datatype.name()),
                    value,
                );
            }
        }
        Missing::Pass if datatype.is_float() => {}
        Missing::Pass => {
            let expected = "reject or impute: only a float type has NaN";
            faults.add(
                format!("{path}.missing.policy"),
                expected,
                format!("pass with {}", datatype.name()),
            );
        }
    }
    if let Some(outlier) = &column.outlier {
        check_outlier(path, outlier, column, faults);
    }
    if let Some(scale) = column.scale {
        check_scale(&format!("{path}.scale"), scale, datatype, faults);
    }
    if let Some(stats) = column.stats {
        check_stats(&format!("{path}.stats"), stats, faults);
    }
}

fn check_scale(path: &str, scale: Scale, datatype: DataType, faults: &mut Faults) {
    if matches!(datatype, DataType::Bool | DataType::Bytes) {
        return; // reported as a rule that needs numbers
    }
    if !datatype.is_float() {
        faults.add(
            path,
            "a float type, which alone holds what a scale gives",
            datatype.name(),
        );
    }
    let mut finite = true;
    for (name, ends) in [("from", scale.from), ("to", scale.to)] {
        for (i, end) in ends.into_iter().enumerate() {
            finite &= faults.check_finite(format!("{path}.{name}[{i}]"), end);
        }
    }
    let [first, second] = scale.from;
    let slope = (scale.to[1] - scale.to[0]) / (second - first);
    if finite && !slope.is_finite() {
        let expected = "two numbers that differ enough to divide by";
        faults.add(
            format!("{path}.from"),
            expected,
            format!("[{first}, {second}]"),
        );
    }
}

fn check_outlier(path: &str, outlier: &Outlier, column: &Column, faults: &mut Faults) {
    let stats = column.stats.as_ref();
    let detect = format!("{path}.outlier.detect");
    match outlier.detect {
        Detect::ZScore { threshold } => {
            faults.check_above_zero(format!("{detect}.threshold"), threshold);
            match stats {
                None => faults.add(
                    format!("{path}.stats"),
                    "training statistics, which z_score needs",
                    "none",
                ),
                Some(stats) if stats.std > 0.0 => {}
                Some(stats) => faults.add(
                    format!("{path}.stats.std"),
                    "above 0, which z_score needs",
                    stats.std,
                ),
            }
        }
        Detect::Iqr { factor } => {
            faults.check_above_zero(format!("{detect}.factor"), factor);
            match stats {
                None => faults.add(
                    format!("{path}.stats"),
                    "training statistics, which iqr needs",
                    "none",
                ),
                Some(stats) if stats.q3 > stats.q1 => {}
                Some(stats) => {
                    let expected = format!("above q1, which is {}, which iqr needs", stats.q1);
                    faults.add(format!("{path}.stats.q3"), expected, stats.q3);
                }
            }
        }
        Detect::Bounds { min, max } => faults.check_range(&detect, Some(min), Some(max)),
    }
    // Ends that are faults themselves are reported as such only.
    let min = column.min.filter(|min| min.is_finite()).unwrap_or(f64::MIN);
    let max = column.max.filter(|max| max.is_finite()).unwrap_or(f64::MAX);
    if outlier.action == OutlierAction::Clip
        && min <= max
        && let Some((low, high)) = ordinary_range(outlier.detect, stats)
        && low.is_finite()
        && high.is_finite()
        && (low > max || high < min)
    {
        let expected = "reject or flag: clipping would leave min and max";
        faults.add(
            format!("{path}.outlier.action"),
            expected,
            format!("clip to [{low}, {high}]"),
        );
    }
}

/// The values that are no outliers, as far as the manifest says.
fn ordinary_range(detect: Detect, stats: Option<&Statistics>) -> Option<(f64, f64)> {
    match detect {
        Detect::ZScore { threshold } => {
            let Statistics { mean, std, .. } = stats?;
            Some((mean - threshold * std, mean + threshold * std))
        }
        Detect::Iqr { factor } => {
            let Statistics { q1, q3, .. } = stats?;
            Some((q1 - factor * (q3 - q1), q3 + factor * (q3 - q1)))
        }
        Detect::Bounds { min, max } => Some((min, max)),
    }
}

fn check_stats(path: &str, stats: Statistics, faults: &mut Faults) {
    let named = [
        ("mean", stats.mean),
        ("std", stats.std),
        ("min", stats.min),
        ("max", stats.max),
        ("q1", stats.q1),
        ("median", stats.median),
        ("q3", stats.q3),
    ];
    let mut finite = true;
    for (name, value) in named {
        finite &= faults.check_finite(format!("{path}.{name}"), value);
    }
    if stats.std < 0.0 {
        faults.add(format!("{path}.std"), "at least 0", stats.std);
    }
    let ordered = [stats.min, stats.q1, stats.median, stats.q3, stats.max];
    if finite && !ordered.is_sorted() {
        faults.add(
            path,
            "min <= q1 <= median <= q3 <= max",
            format!("{ordered:?}"),
        );
    }
}

/// Whether an element of this type can be `value` (a float may round it, but not to infinity).
fn holds(datatype: DataType, value: f64) -> bool {
    const FP16_MAX: f64 = 65_504.0;
    let whole = |min: f64, end: f64| value.fract() == 0.0 && value >= min && value < end;
    match datatype {
        DataType::Bool => [0.0, 1.0].contains(&value),
        DataType::Uint8 => whole(0.0, 256.0),
        DataType::Uint16 => whole(0.0, 65_536.0),
        DataType::Uint32 => whole(0.0, 2_f64.powi(32)),
        DataType::Uint64 => whole(0.0, 2_f64.powi(64)),
        DataType::Int8 => whole(-128.0, 128.0),
        DataType::Int16 => whole(-32_768.0, 32_768.0),
        DataType::Int32 => whole(-(2_f64.powi(31)), 2_f64.powi(31)),
        DataType::Int64 => whole(-(2_f64.powi(63)), 2_f64.powi(63)),
        DataType::Fp16 => value.abs() <= FP16_MAX,
        DataType::Fp32 => value.abs() <= f64::from(f32::MAX),
        DataType::Fp64 => true,
        DataType::Bytes => false,
    }
}
