//! Any models: `MODELS=FOLDER cargo bench -p engine --bench models` runs every `.onnx` file of a folder that takes one
//! tensor of FP32, rows first, on random rows. Without a folder, the models of `tests/zoo`. Each call is timed by itself:
//! on a machine with other work, the median tells more than a mean.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::{LoadLimits, Model, Tensor, TensorData};

fn folder() -> PathBuf {
    std::env::var_os("MODELS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/zoo/models"),
        PathBuf::from,
    )
}

/// Numbers of about the normal distribution, the same in every run.
fn random_rows(rows: usize, columns: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..rows * columns)
        .map(|_| uniform() + uniform() + uniform() + uniform() - 2.0)
        .collect()
}

/// Calls until a second has passed, 20 at least: the median and the 99th percentile, in microseconds.
fn measure(mut call: impl FnMut()) -> (f64, f64) {
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) || times.len() < 20 {
        let before = Instant::now();
        call();
        times.push(before.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn main() {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        return;
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    println!(
        "{:24} {:>6} {:>12} {:>12} {:>12}",
        "model", "rows", "p50 µs", "p99 µs", "rows/s"
    );
    for file in files {
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Ok(onnx) = std::fs::read(&file) else {
            continue;
        };
        let Ok(model) = Model::load(&onnx, &LoadLimits::default()) else {
            continue;
        };
        let [input] = model.inputs() else { continue };
        let [-1, ref row @ ..] = input.shape[..] else {
            continue;
        };
        let Ok(row) = row
            .iter()
            .map(|dim| usize::try_from(*dim))
            .collect::<Result<Vec<_>, _>>()
        else {
            continue;
        };
        let columns = row.iter().product::<usize>();
        let (load, slowest) = measure(|| {
            Model::load(&onnx, &LoadLimits::default()).expect("it loaded before");
        });
        println!("{name:24} {:>6} {load:12.0} {slowest:12.0}", "load");
        let values = random_rows(1024, columns);
        for rows in [1, 64, 1024] {
            // Another row each time: on one that repeats, branches are foretold.
            let batches: Vec<[Tensor; 1]> = (0..1024 / rows)
                .map(|at| {
                    let first = at * rows * columns;
                    [Tensor {
                        name: input.name.clone(),
                        shape: [&[rows], &*row].concat(),
                        data: TensorData::Fp32(values[first..first + rows * columns].to_vec()),
                    }]
                })
                .collect();
            if model.run(&batches[0]).is_err() {
                continue;
            }
            let mut next = batches.iter().cycle();
            let (median, slowest) = measure(|| {
                if let Some(batch) = next.next() {
                    model.run(batch).expect("it ran before");
                }
            });
            let rate = rows as f64 / median * 1e6;
            println!("{name:24} {rows:6} {median:12.2} {slowest:12.2} {rate:12.0}");
        }
    }
}
