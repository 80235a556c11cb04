//! The loader of packed models: no bytes make it panic, hang or take unbounded memory, nor what it loads.
#![no_main]

use std::time::Duration;

use engine::{LoadLimits, Model, RunError, Tensor, TensorData};
use libfuzzer_sys::fuzz_target;

/// Where the checksum stands, and where what it covers begins.
const CHECKSUM: usize = 12;
const BODY: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let limits = LoadLimits {
        max_bytes: 1 << 20,
        max_elements: 1 << 20,
        max_nodes: 500,
        deadline: Duration::from_secs(2),
        ..LoadLimits::default()
    };
    let mut packed = bytes.to_vec();
    // A fuzzer finds no checksums.
    if let Some(body) = bytes.get(BODY..) {
        packed[CHECKSUM..BODY].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    }
    let Ok(model) = Model::load_packed(packed, &limits) else {
        return;
    };
    let inputs: Vec<Tensor> = model
        .inputs()
        .iter()
        .map(|spec| {
            let dims = spec.shape.iter();
            let shape: Vec<usize> = dims.map(|dim| usize::try_from(*dim).unwrap_or(2)).collect();
            let count = shape.iter().fold(1_usize, |n, dim| n.saturating_mul(*dim));
            let data = TensorData::Fp32(vec![1.0; count.min(1 << 16)]);
            Tensor {
                name: spec.name.clone(),
                shape,
                data,
            }
        })
        .collect();
    assert!(!matches!(
        model.run(&inputs),
        Err(RunError::Panicked { .. })
    ));
});
