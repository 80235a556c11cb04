//! How fast a model answers.

use std::time::{Duration, Instant};

use engine::{Model, Tensor, TensorData};
use serde::Serialize;

use crate::failure::Failure;
use crate::progress::Progress;

/// Runs that are not measured: the first of a batch size plans it.
const WARM_UP: usize = 3;

/// Latencies of `runs` runs of `batch` rows each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) runs: usize,
    pub(crate) batch: usize,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    pub(crate) rows_per_s: u64,
}

/// Runs the model again and again on one thread.
pub(crate) fn measure(model: &Model, inputs: &[Tensor], runs: usize) -> Result<Latency, Failure> {
    for _ in 0..WARM_UP {
        model.run(inputs)?;
    }
    let mut progress = Progress::start("scoring", runs as u64);
    let mut taken = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = Instant::now();
        let outputs = model.run(inputs)?;
        taken.push(started.elapsed());
        drop(outputs);
        progress.advance(1);
    }
    let batch = inputs.first().map_or(1, rows_of);
    let total: f64 = taken.iter().map(Duration::as_secs_f64).sum();
    taken.sort_unstable();
    Ok(Latency {
        runs,
        batch,
        p50_us: percentile(&taken, 50),
        p90_us: percentile(&taken, 90),
        p99_us: percentile(&taken, 99),
        max_us: percentile(&taken, 100),
        rows_per_s: ((batch * runs) as f64 / total.max(1e-9)).round() as u64,
    })
}

/// The smallest time that `share` percent of the runs did not exceed, in microseconds.
fn percentile(sorted: &[Duration], share: usize) -> f64 {
    let rank = (sorted.len() * share).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map_or(0.0, |time| time.as_nanos() as f64 / 1e3)
}

/// The first dimension: the batch.
pub(crate) fn rows_of(tensor: &Tensor) -> usize {
    tensor.shape.first().copied().unwrap_or(1)
}

/// The tensor with `rows` rows: its own, over and over.
pub(crate) fn tile(tensor: &Tensor, rows: usize) -> Result<Tensor, Failure> {
    let own = rows_of(tensor);
    if own == 0 || tensor.shape.is_empty() {
        let message = format!("input `{}` has no row to make a batch of", tensor.name);
        return Err(Failure::refused("input.no_row", message).at(&tensor.name));
    }
    let each = tensor.data.len() / own;
    let mut shape = tensor.shape.clone();
    shape[0] = rows;
    Ok(Tensor {
        name: tensor.name.clone(),
        shape,
        data: repeat(&tensor.data, rows * each),
    })
}

fn repeat(data: &TensorData, count: usize) -> TensorData {
    fn cycle<T: Clone>(values: &[T], count: usize) -> Vec<T> {
        values.iter().cloned().cycle().take(count).collect()
    }
    match data {
        TensorData::Bool(v) => TensorData::Bool(cycle(v, count)),
        TensorData::Uint8(v) => TensorData::Uint8(cycle(v, count)),
        TensorData::Uint16(v) => TensorData::Uint16(cycle(v, count)),
        TensorData::Uint32(v) => TensorData::Uint32(cycle(v, count)),
        TensorData::Uint64(v) => TensorData::Uint64(cycle(v, count)),
        TensorData::Int8(v) => TensorData::Int8(cycle(v, count)),
        TensorData::Int16(v) => TensorData::Int16(cycle(v, count)),
        TensorData::Int32(v) => TensorData::Int32(cycle(v, count)),
        TensorData::Int64(v) => TensorData::Int64(cycle(v, count)),
        TensorData::Fp16(v) => TensorData::Fp16(cycle(v, count)),
        TensorData::Fp32(v) => TensorData::Fp32(cycle(v, count)),
        TensorData::Fp64(v) => TensorData::Fp64(cycle(v, count)),
        TensorData::Bytes(v) => TensorData::Bytes(cycle(v, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_run_that_took_place() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        let of = |share| percentile(&times, share) as u64;
        assert_eq!((of(50), of(90), of(99), of(100)), (100, 180, 198, 200));
        assert_eq!(percentile(&times[..1], 50) as u64, 1);
    }

    #[test]
    fn a_batch_repeats_the_rows_in_order() {
        let tensor = Tensor {
            name: "x".to_owned(),
            shape: vec![2, 2],
            data: TensorData::Int64(vec![1, 2, 3, 4]),
        };
        let tiled = tile(&tensor, 3).unwrap();
        assert_eq!(tiled.shape, [3, 2]);
        assert_eq!(tiled.data, TensorData::Int64(vec![1, 2, 3, 4, 1, 2]));
    }
}
