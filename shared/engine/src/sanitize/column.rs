//! One column's policy.

use artifact::manifest::{Column, DataType, Detect, Missing, OutlierAction};
use half::f16;

use super::ChangeKind;
use super::element::Element;

/// One column's policy, with the outlier's bounds worked out.
#[derive(Debug)]
pub(super) struct ColumnPolicy {
    pub(super) name: String,
    missing: Missing,
    min: f64,
    max: f64,
    /// Ordinary values lie in `low..=high`; infinite where no outlier is looked for.
    low: f64,
    high: f64,
    action: OutlierAction,
    scale: Option<LinearMap>,
    typical: f64,
}

/// `offset + (value - origin) * slope`.
#[derive(Debug, Clone, Copy)]
struct LinearMap {
    origin: f64,
    slope: f64,
    offset: f64,
}

/// A value that is refused.
pub(super) struct ColumnFault {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// A value that was changed or is remarkable.
pub(super) struct Remark {
    pub(super) kind: ChangeKind,
    pub(super) from: Option<f64>,
    pub(super) to: Option<f64>,
}

impl ColumnPolicy {
    /// Prepares a column's policy; the error says what contradicts what.
    pub(super) fn new(column: &Column, datatype: DataType) -> Result<Self, String> {
        let is_number = !matches!(datatype, DataType::Bool | DataType::Bytes);
        let has_rule = column.min.is_some()
            || column.max.is_some()
            || column.outlier.is_some()
            || column.scale.is_some();
        if has_rule && !is_number {
            return Err(format!(
                "min, max, outlier and scale need numbers, not {}",
                datatype.name()
            ));
        }
        let min = column.min.unwrap_or(f64::NEG_INFINITY);
        let max = column.max.unwrap_or(f64::INFINITY);
        if min.is_nan() || max.is_nan() || min > max {
            return Err(format!("min {min} is not below max {max}"));
        }
        let (low, high) = ordinary_range(column)?;
        if low.is_nan() || high.is_nan() || low > high {
            return Err(format!("the outlier bounds {low} and {high} hold no value"));
        }
        let action = column
            .outlier
            .map_or(OutlierAction::Flag, |outlier| outlier.action);
        if action == OutlierAction::Clip && (low > max || high < min) {
            return Err(format!(
                "clipping to [{low}, {high}] leaves the range [{min}, {max}]"
            ));
        }
        if action == OutlierAction::Clip && !holds_value(datatype, low, high) {
            return Err(format!(
                "no {} value lies in the outlier bounds [{low}, {high}]",
                datatype.name()
            ));
        }
        if let Missing::Impute { value } = column.missing
            && !(value.is_finite() && value >= min && value <= max)
        {
            return Err(format!(
                "the imputed value {value} is outside [{min}, {max}]"
            ));
        }
        let scale = match column.scale {
            Some(_) if !datatype.is_float() => {
                return Err("scale needs a float datatype".to_owned());
            }
            Some(scale) => Some(LinearMap::new(scale.from, scale.to)?),
            None => None,
        };
        let wish = column.stats.map_or(0.0, |stats| stats.median);
        let typical = clamp(clamp(wish, low, high), min, max);
        Ok(Self {
            name: column.name.clone(),
            missing: column.missing,
            min,
            max,
            low,
            high,
            action,
            scale,
            typical,
        })
    }

    /// An ordinary value.
    pub(super) fn typical(&self) -> f64 {
        self.typical
    }

    /// Checks and changes one value.
    #[inline]
    pub(super) fn apply<T: Element>(&self, value: &mut T) -> Result<Option<Remark>, ColumnFault> {
        let mut remark = None;
        let mut number = value.to_f64();
        if !number.is_finite() {
            if !number.is_nan() {
                return Err(fault(
                    "input.not_finite",
                    format!("{number} is not a finite number"),
                ));
            }
            match self.missing {
                Missing::Reject => {
                    return Err(fault(
                        "input.missing_value",
                        "is missing, and this column needs a value".to_owned(),
                    ));
                }
                Missing::Pass => return Ok(None),
                Missing::Impute { value: imputed } => {
                    *value = T::nearest(clamp(imputed, self.min, self.max));
                    if value.to_f64() > self.max {
                        *value = T::at_most(self.max);
                    } else if value.to_f64() < self.min {
                        *value = T::at_least(self.min);
                    }
                    number = value.to_f64();
                    remark = Some(Remark {
                        kind: ChangeKind::Imputed,
                        from: None,
                        to: Some(number),
                    });
                }
            }
        }
        if number < self.min || number > self.max {
            let message = format!("{number} is outside [{}, {}]", self.min, self.max);
            return Err(fault("input.out_of_range", message));
        }
        if number < self.low || number > self.high {
            let from = remark.map_or(Some(number), |earlier: Remark| earlier.from);
            match self.action {
                OutlierAction::Reject => {
                    let message = format!(
                        "{number} is an outlier: ordinary values lie in [{}, {}]",
                        self.low, self.high
                    );
                    return Err(fault("input.outlier", message));
                }
                OutlierAction::Clip => {
                    *value = if number < self.low {
                        T::at_least(self.low)
                    } else {
                        T::at_most(self.high)
                    };
                    number = value.to_f64();
                    remark = Some(Remark {
                        kind: ChangeKind::Clipped,
                        from,
                        to: Some(number),
                    });
                }
                OutlierAction::Flag => {
                    remark = Some(Remark {
                        kind: ChangeKind::Flagged,
                        from,
                        to: Some(number),
                    });
                }
            }
        }
        if let Some(map) = self.scale {
            *value = T::nearest(map.apply(number));
            if !value.is_finite() {
                return Err(fault(
                    "input.not_finite",
                    format!("{number} is not finite once it is scaled"),
                ));
            }
        }
        Ok(remark)
    }
}

impl LinearMap {
    fn new(from: [f64; 2], to: [f64; 2]) -> Result<Self, String> {
        let slope = (to[1] - to[0]) / (from[1] - from[0]);
        if !(slope.is_finite() && from[0].is_finite() && to[0].is_finite()) {
            return Err(format!("scale from {from:?} to {to:?} is no linear map"));
        }
        Ok(Self {
            origin: from[0],
            slope,
            offset: to[0],
        })
    }

    fn apply(self, value: f64) -> f64 {
        self.offset + (value - self.origin) * self.slope
    }
}

fn fault(code: &'static str, message: String) -> ColumnFault {
    ColumnFault { code, message }
}

/// Like `f64::clamp`, for bounds that are known not to be NaN.
fn clamp(value: f64, low: f64, high: f64) -> f64 {
    value.max(low).min(high)
}

/// True where a value of the type lies in `low..=high`.
fn holds_value(datatype: DataType, low: f64, high: f64) -> bool {
    match datatype {
        DataType::Fp64 => low <= high,
        DataType::Fp32 => f64::from(f32::at_least(low)) <= high,
        DataType::Fp16 => f64::from(f16::at_least(low)) <= high,
        _ => low.ceil() <= high.floor(),
    }
}

fn ordinary_range(column: &Column) -> Result<(f64, f64), String> {
    let Some(outlier) = column.outlier else {
        return Ok((f64::NEG_INFINITY, f64::INFINITY));
    };
    let stats = || {
        column
            .stats
            .ok_or_else(|| "z_score and iqr need the column's stats".to_owned())
    };
    match outlier.detect {
        Detect::ZScore { threshold } => {
            let stats = stats()?;
            Ok((
                stats.mean - threshold * stats.std,
                stats.mean + threshold * stats.std,
            ))
        }
        Detect::Iqr { factor } => {
            let stats = stats()?;
            let width = factor * (stats.q3 - stats.q1);
            Ok((stats.q1 - width, stats.q3 + width))
        }
        Detect::Bounds { min, max } => Ok((min, max)),
    }
}
