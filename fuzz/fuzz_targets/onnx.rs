//! The ONNX loader: no bytes make it panic, hang or take unbounded memory.
#![no_main]

use std::time::Duration;

use engine::{LoadLimits, Model, inspect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = LoadLimits {
        max_bytes: 1 << 20,
        max_elements: 1 << 20,
        max_nodes: 500,
        deadline: Duration::from_secs(2),
        ..LoadLimits::default()
    };
    let _ = inspect(bytes, &limits);
    let _ = Model::load(bytes, &limits);
});
