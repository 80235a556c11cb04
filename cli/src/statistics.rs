//! Training statistics of one column.

use artifact::manifest::Statistics;

/// Mean, population standard deviation, extremes and quartiles (linear interpolation, as `NumPy`'s default);
/// `None` where there is no value. All values must be finite; sorts them.
pub(crate) fn summarise(values: &mut [f64]) -> Option<Statistics> {
    let (first, last) = (*values.first()?, values.len() - 1);
    let count = values.len() as f64;
    // Sums of differences from one of the values lose less than sums of the values.
    let mean = first + sum(values.iter().map(|value| value - first)) / count;
    let variance = sum(values.iter().map(|value| (value - mean) * (value - mean))) / count;
    values.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let place = share * last as f64;
        let below = place.floor();
        let low = values[below as usize];
        let high = values[(below as usize + 1).min(last)];
        low + (high - low) * (place - below)
    };
    Some(Statistics {
        mean,
        std: variance.sqrt(),
        min: values[0],
        max: values[last],
        q1: quantile(0.25),
        median: quantile(0.5),
        q3: quantile(0.75),
    })
}

/// A sum that keeps what single additions lose (Neumaier 1974).
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() {
            (total - next) + value
        } else {
            (value - next) + total
        };
        total = next;
    }
    total + lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-15 * right.abs().max(1.0)
    }

    #[test]
    fn statistics_are_those_of_numpy() {
        // np.mean, np.std, np.percentile([25, 50, 75]) of the same numbers.
        let stats = summarise(&mut [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]).unwrap();
        assert!(close(stats.mean, 3.875), "{stats:?}");
        assert!(close(stats.std, 2.570_870_475_150_391_7), "{stats:?}");
        assert!(close(stats.min, 1.0) && close(stats.max, 9.0), "{stats:?}");
        assert!(close(stats.q1, 1.75) && close(stats.median, 3.5) && close(stats.q3, 5.25));
    }

    #[test]
    fn one_value_is_its_own_statistics_and_no_value_has_none() {
        let stats = summarise(&mut [2.5]).unwrap();
        assert!(close(stats.mean, 2.5) && close(stats.std, 0.0) && close(stats.q3, 2.5));
        assert!(summarise(&mut []).is_none());
    }

    #[test]
    fn a_large_offset_does_not_eat_the_deviation() {
        let mut values: Vec<f64> = (0..1000).map(|n| 1e9 + f64::from(n % 2)).collect();
        let stats = summarise(&mut values).unwrap();
        assert!((stats.std - 0.5).abs() < 1e-9, "{stats:?}");
    }
}
