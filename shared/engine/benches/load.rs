//! How long a model takes to load: from its ONNX file, and from its packed form.
//!
//! Boosted trees and forests of 500 trees are grown here; `MODELS=FOLDER` adds the `.onnx` files of a folder.

#[path = "../tests/forests/plan.rs"]
#[expect(dead_code, reason = "what only tests need")]
mod plan;

use std::path::PathBuf;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use engine::{LoadLimits, Model, pack};
use plan::{Dice, Plan, encode, grow_forest};

/// 500 trees of a depth, with a chance of an early leaf in percent.
fn grow(outputs: usize, depth: u32, early: u8) -> Vec<u8> {
    let plan = Plan {
        features: 50,
        outputs,
        leaves: u8::from(outputs > 1),
        modes: vec![1],
        missing: 2,
        depth,
        early,
        oblivious: false,
        is_double: false,
        aggregate: 0,
    };
    encode(&plan, &grow_forest(&plan, 500, &mut Dice(3)), false)
}

fn models() -> Vec<(String, Vec<u8>)> {
    let mut models = vec![
        ("boosted 500, depth 6".to_owned(), grow(1, 6, 0)),
        ("forest 500, 3 outputs".to_owned(), grow(3, 13, 18)),
    ];
    let Some(folder) = std::env::var_os("MODELS").map(PathBuf::from) else {
        return models;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "onnx"))
        .collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        models.push((name.into_owned(), std::fs::read(&file).expect("a file")));
    }
    models
}

fn load(criterion: &mut Criterion) {
    let limits = LoadLimits::default();
    for (name, onnx) in models() {
        let packed = pack(&onnx, &limits).expect("the model loads");
        let mut group = criterion.benchmark_group(&name);
        group
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(3))
            .sample_size(30);
        group.bench_function(format!("ONNX, {} bytes", onnx.len()), |bencher| {
            bencher.iter_with_large_drop(|| Model::load(&onnx, &limits));
        });
        let Some(packed) = packed else { continue };
        group.bench_function(format!("packed, {} bytes", packed.len()), |bencher| {
            bencher.iter_batched(
                || packed.clone(),
                |packed| Model::load_packed(packed, &limits),
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group!(benches, load);
criterion_main!(benches);
