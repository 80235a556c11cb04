//! The ONNX loader, and a run of what it loads: no bytes make them panic, hang or take unbounded memory.
#![no_main]

use std::time::Duration;

use engine::{LoadLimits, Model, Tensor, TensorData, TensorSpec, inspect};
use libfuzzer_sys::fuzz_target;

/// What stands for an open dimension.
const OPEN: usize = 2;
/// Most elements of an input; a model that takes more is loaded, not run.
const MAX_ELEMENTS: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let limits = LoadLimits {
        max_bytes: 1 << 20,
        max_elements: 1 << 20,
        max_nodes: 500,
        deadline: Duration::from_secs(2),
        ..LoadLimits::default()
    };
    let _ = inspect(bytes, &limits);
    let Ok(model) = Model::load(bytes, &limits) else {
        return;
    };
    if let Some(inputs) = model.inputs().iter().map(fill).collect::<Option<Vec<_>>>() {
        let _ = model.run(&inputs);
    }
});

/// A tensor of an input's form: small numbers, and among the floats one that is missing.
fn fill(spec: &TensorSpec) -> Option<Tensor> {
    let shape: Vec<usize> = spec
        .shape
        .iter()
        .map(|dim| usize::try_from(*dim).unwrap_or(OPEN))
        .collect();
    let count = shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim))?;
    if count > MAX_ELEMENTS {
        return None;
    }
    let number = |at: usize| (at % 7) as i8 - 3;
    let numbers = (0..count).map(number);
    let float = |at: usize| {
        if at % 11 == 10 {
            f32::NAN
        } else {
            f32::from(number(at)) * 0.5
        }
    };
    let data = match spec.datatype.name() {
        "BOOL" => TensorData::Bool(numbers.map(|x| x > 0).collect()),
        "INT8" => TensorData::Int8(numbers.collect()),
        "INT32" => TensorData::Int32(numbers.map(i32::from).collect()),
        "INT64" => TensorData::Int64(numbers.map(i64::from).collect()),
        "FP32" => TensorData::Fp32((0..count).map(float).collect()),
        "FP64" => TensorData::Fp64((0..count).map(|at| float(at).into()).collect()),
        "BYTES" => TensorData::Bytes(numbers.map(|x| x.to_string().into_bytes()).collect()),
        _ => return None,
    };
    Some(Tensor {
        name: spec.name.clone(),
        shape,
        data,
    })
}
