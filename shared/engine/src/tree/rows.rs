//! Rows as the kernels see them: keys, in an array of fixed length, so that no index needs a check.

use super::real::Real;

/// Which key a missing value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Above all numbers: every branch sends it right.
    High,
    /// Below all numbers: every branch sends it left.
    Low,
    /// The row stands twice, first with high keys, then, from this column on, with low ones. Each branch reads the
    /// copy that sends it where it must go.
    Both(usize),
}

impl Missing {
    /// Columns that a row of keys has.
    pub(super) fn width(self, columns: usize) -> usize {
        match self {
            Self::Both(_) => columns * 2,
            _ => columns,
        }
    }

    /// The column that a branch reads.
    pub(super) fn column(self, feature: u32, sends_right: bool) -> u32 {
        match self {
            Self::Both(columns) if !sends_right => feature + columns as u32,
            _ => feature,
        }
    }

    /// The feature that a column holds, and whether a branch that reads it sends a missing value right.
    pub(super) fn feature(self, column: u32) -> (u32, bool) {
        match self {
            Self::High => (column, true),
            Self::Low => (column, false),
            Self::Both(columns) => match column.checked_sub(columns as u32) {
                Some(feature) => (feature, false),
                None => (column, true),
            },
        }
    }

    /// Writes the keys of a row's first columns.
    pub(super) fn write<T: Real>(self, row: &[T], columns: usize, out: &mut [T::Key]) {
        let high = if self == Self::Low { T::LOW } else { T::HIGH };
        for (value, key) in row[..columns].iter().zip(out.iter_mut()) {
            *key = if value.is_missing() {
                high
            } else {
                value.key()
            };
        }
        if let Self::Both(first) = self {
            let (head, tail) = out.split_at_mut(first);
            for ((value, key), low) in row[..columns].iter().zip(head).zip(tail) {
                *low = if value.is_missing() { T::LOW } else { *key };
            }
        }
    }
}
