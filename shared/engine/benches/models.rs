//! Any models: `MODELS=FOLDER cargo bench -p engine --bench models` runs every `.onnx` file of a folder that takes one
//! tensor `[rows, columns]` of FP32, on random rows. Without a folder, the models of `tests/zoo`.

use std::path::PathBuf;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
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

fn run(criterion: &mut Criterion) {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        return;
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Ok(model) = std::fs::read(&file)
            .map_err(|error| error.to_string())
            .and_then(|onnx| {
                Model::load(&onnx, &LoadLimits::default()).map_err(|error| error.to_string())
            })
        else {
            continue;
        };
        let [input] = model.inputs() else { continue };
        let [-1, columns] = input.shape[..] else {
            continue;
        };
        let Ok(columns) = usize::try_from(columns) else {
            continue;
        };
        let mut group = criterion.benchmark_group(&name);
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(1500))
            .sample_size(20);
        for rows in [1, 64, 1024] {
            let tensor = [Tensor {
                name: input.name.clone(),
                shape: vec![rows, columns],
                data: TensorData::Fp32(random_rows(rows, columns)),
            }];
            if model.run(&tensor).is_err() {
                continue;
            }
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_with_input(
                BenchmarkId::from_parameter(rows),
                &tensor,
                |bencher, tensor| {
                    bencher.iter(|| model.run(tensor).expect("it ran before"));
                },
            );
        }
    }
}

criterion_group!(benches, run);
criterion_main!(benches);
