//! The example models answer what the libraries that trained them answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use engine::{Answer, LoadLimits, Model, Scorer, Tensor, TensorData};
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/spx-direction")
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn read_rows() -> Vec<Vec<f32>> {
    let mut reader = csv::Reader::from_path(folder().join("features.csv")).unwrap();
    reader
        .records()
        .map(|record| {
            record
                .unwrap()
                .iter()
                .skip(1)
                .map(|field| field.parse().unwrap())
                .collect()
        })
        .collect()
}

/// Scores all rows in batches of `size` and compares labels and probabilities.
fn check(model: &str, manifest: &str, size: usize) {
    let manifest: artifact::manifest::Manifest =
        serde_json::from_value(read_json(manifest)).unwrap();
    let onnx = std::fs::read(folder().join(format!("{model}.onnx"))).unwrap();
    let scorer = Scorer::new(
        &manifest,
        Model::load(&onnx, &LoadLimits::default()).unwrap(),
    )
    .unwrap();
    let file = read_json("expected.json");
    let classes: Vec<&str> = file["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let expected = &file["models"][model];
    let rows = read_rows();
    assert_eq!(expected["labels"].as_array().unwrap().len(), rows.len());
    for (first, batch) in rows
        .chunks(size)
        .enumerate()
        .map(|(at, batch)| (at * size, batch))
    {
        let data = TensorData::Fp32(batch.concat());
        let tensor = Tensor {
            name: "features".to_owned(),
            shape: vec![batch.len(), batch[0].len()],
            data,
        };
        let clean = scorer.sanitize(vec![tensor.clone()]).unwrap();
        assert_eq!((clean.rows, clean.changes.len()), (batch.len(), 0));
        assert_eq!(clean.inputs, vec![tensor]);
        let answered = scorer.score(&clean).unwrap();
        assert_eq!(answered.answers.len(), batch.len());
        for (at, answer) in answered.answers.iter().enumerate() {
            let Answer::Class {
                label,
                probabilities,
            } = answer
            else {
                panic!("not a class: {answer:?}")
            };
            assert_eq!(
                label,
                classes[expected["labels"][first + at].as_u64().unwrap() as usize],
                "row {}",
                first + at
            );
            for (class, probability) in probabilities.iter().enumerate() {
                let wish = expected["probabilities"][first + at][class]
                    .as_f64()
                    .unwrap();
                assert!(
                    (probability - wish).abs() <= 1e-5,
                    "row {}: {probability} for {wish}",
                    first + at
                );
            }
        }
    }
}

#[test]
fn forest_answers_as_scikit_learn_row_by_row() {
    check("spx-direction", "manifest.json", 1);
}

#[test]
fn forest_answers_as_scikit_learn_in_batches_of_seven() {
    check("spx-direction", "manifest.json", 7);
}

#[test]
fn forest_answers_as_scikit_learn_all_at_once() {
    check("spx-direction", "manifest.json", 300);
}

#[test]
fn net_answers_as_scikit_learn_row_by_row() {
    check("spx-direction-mlp", "manifest-mlp.json", 1);
}

#[test]
fn net_answers_as_scikit_learn_in_batches_of_seven() {
    check("spx-direction-mlp", "manifest-mlp.json", 7);
}

#[test]
fn net_answers_as_scikit_learn_all_at_once() {
    check("spx-direction-mlp", "manifest-mlp.json", 300);
}
