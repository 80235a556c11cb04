//! Models, and rows to ask them.

use std::path::{Path, PathBuf};

use artifact::manifest::DataType;
use engine::{LoadLimits, Tensor, TensorData, TensorSpec, pack};

/// Models of every shape of trees and of leaves, with length and checksum of their packed form.
pub(crate) const GOLDEN: &[(&str, usize, u32)] = &[
    ("xgboost_3", 3826, 0xe5d1_8040),
    ("skl_forest_3", 2417, 0x8867_0009),
    ("class_three_some_softmax_3", 659, 0xfea0_a03f),
    ("mode_mixed_tracks", 5800, 0x2ff2_a561),
    ("type_double_tensors", 2465, 0x2cf0_ca0e),
    ("lightgbm_2", 1114, 0xa6a6_217e),
];

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn models(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "onnx"))
        .collect();
    files.sort();
    files
}

pub(crate) fn zoo_models() -> Vec<PathBuf> {
    models(&folder().join("../../tests/zoo/models"))
}

pub(crate) fn test_models() -> Vec<PathBuf> {
    models(&folder().join("tests/models"))
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("tests/models/{name}.onnx"))).unwrap()
}

pub(crate) fn packed(name: &str) -> Vec<u8> {
    pack(&read(name), &LoadLimits::default()).unwrap().unwrap()
}

/// Rows for a model, the same in every run: small numbers, some of them missing, and some words.
pub(crate) fn ask(specs: &[TensorSpec], rows: usize, seed: u64) -> Vec<Tensor> {
    let mut dice = super::plan::Dice(seed);
    specs
        .iter()
        .map(|spec| {
            let dims = spec.shape.iter().enumerate();
            let shape: Vec<usize> = dims
                .map(|(at, dim)| match usize::try_from(*dim) {
                    Ok(dim) => dim,
                    Err(_) if at == 0 => rows,
                    Err(_) => 8,
                })
                .collect();
            let count = shape.iter().product();
            let mut numbers = (0..count).map(|_| match dice.roll(20) {
                0 => f64::NAN,
                _ => (dice.roll(4001) as f64 - 2000.0) / 512.0,
            });
            let data = match spec.datatype {
                DataType::Fp32 => TensorData::Fp32(numbers.map(|x| x as f32).collect()),
                DataType::Fp64 => TensorData::Fp64(numbers.collect()),
                DataType::Int64 => TensorData::Int64(numbers.map(|x| x as i64).collect()),
                DataType::Int32 => TensorData::Int32(numbers.map(|x| x as i32).collect()),
                DataType::Bool => TensorData::Bool(numbers.map(|x| x > 0.0).collect()),
                _ => TensorData::Bytes(
                    numbers
                        .by_ref()
                        .map(|x| ["a", "b", "low", "high"][x.abs() as usize % 4].into())
                        .collect(),
                ),
            };
            Tensor {
                name: spec.name.clone(),
                shape,
                data,
            }
        })
        .collect()
}

/// Name, shape, and the bits of the numbers, or what is no number.
type Bits = (String, Vec<usize>, Result<Vec<u64>, TensorData>);

/// Tensors by their bits: NaN equals itself, and the zeros differ.
pub(crate) fn bits(tensors: &[Tensor]) -> Vec<Bits> {
    let of = |data: &TensorData| match data {
        TensorData::Fp32(v) => Ok(v.iter().map(|x| u64::from(x.to_bits())).collect()),
        TensorData::Fp64(v) => Ok(v.iter().map(|x| x.to_bits()).collect()),
        other => Err(other.clone()),
    };
    tensors
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.shape.clone(), of(&tensor.data)))
        .collect()
}
