//! Scoring of the example models: one row and 1,024 rows, from sanitizer to answers.

use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use engine::{LoadLimits, Model, Scorer, Tensor, TensorData};

/// Reads `features.csv`: the values, row by row, and the number of columns.
fn read_features(folder: &Path) -> (Vec<f32>, usize) {
    let mut reader =
        csv::Reader::from_path(folder.join("features.csv")).expect("features.csv is there");
    let mut values = Vec::new();
    let mut columns = 0;
    for record in reader.records() {
        let record = record.expect("a record");
        columns = record.len() - 1;
        values.extend(
            record
                .iter()
                .skip(1)
                .map(|field| field.parse::<f32>().expect("a number")),
        );
    }
    (values, columns)
}

fn read_scorer(folder: &Path, model: &str, manifest: &str) -> Scorer {
    let onnx = std::fs::read(folder.join(model)).expect("the model is there");
    let manifest = std::fs::read(folder.join(manifest)).expect("the manifest is there");
    let manifest = serde_json::from_slice(&manifest).expect("a manifest");
    let model = Model::load(&onnx, &LoadLimits::default()).expect("the model loads");
    Scorer::new(&manifest, model).expect("model and manifest agree")
}

fn score(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/spx-direction");
    let (values, columns) = read_features(&folder);
    let models = [
        ("forest", "spx-direction.onnx", "manifest.json"),
        ("mlp", "spx-direction-mlp.onnx", "manifest-mlp.json"),
    ];
    for (name, model, manifest) in models {
        let scorer = read_scorer(&folder, model, manifest);
        let mut group = criterion.benchmark_group(name);
        group
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .sample_size(30);
        for rows in [1, 1024] {
            let data: Vec<f32> = values
                .iter()
                .copied()
                .cycle()
                .take(rows * columns)
                .collect();
            let request = vec![Tensor {
                name: "features".to_owned(),
                shape: vec![rows, columns],
                data: TensorData::Fp32(data),
            }];
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{rows} rows"), |bencher| {
                bencher.iter_batched(
                    || request.clone(),
                    |request| {
                        let clean = scorer.sanitize(request).expect("the rows are clean");
                        scorer.score(&clean).expect("the rows are answered")
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

criterion_group!(benches, score);
criterion_main!(benches);
