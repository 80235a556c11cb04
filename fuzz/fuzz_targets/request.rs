//! The request parsers: the Open Inference Protocol with and without raw tensors, and `/v1`.
//!
//! The first byte chooses the form; for raw tensors the next two say how long the JSON is.
#![no_main]

use artifact::manifest::DataType;
use engine::TensorSpec;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use predict::oip::request::{HEADER_LENGTH, parse};
use predict::routes::v1::dto::{BatchRequest, OutcomeRequest, PredictRequest};

fuzz_target!(|bytes: &[u8]| {
    let [form, high, low, body @ ..] = bytes else { return };
    let specs = [TensorSpec { name: "features".to_owned(), datatype: DataType::Fp32, shape: vec![-1, 14] }];
    let mut headers = HeaderMap::new();
    match form % 4 {
        0 => {}
        1 => {
            let length = usize::from(u16::from_be_bytes([*high, *low])) % (body.len() + 2);
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        }
        2 => {
            headers.insert(HEADER_LENGTH, HeaderValue::from(0));
        }
        _ => {
            let _ = serde_json::from_slice::<PredictRequest>(body);
            let _ = serde_json::from_slice::<BatchRequest>(body);
            let _ = serde_json::from_slice::<OutcomeRequest>(body);
            return;
        }
    }
    if let Ok(parsed) = parse(&headers, body, &specs) {
        for tensor in &parsed.inputs {
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
        }
    }
});
