//! ONNX's own backend cases: what loads must answer right. Wrong numbers fail, refusals do not.
//!
//! The cases are not committed: `tests/models/make_backend_cases.py FOLDER` writes them, then
//! `ONNX_CASES=FOLDER cargo nextest run -p engine --run-ignored all backend` checks them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use cases::read_tensor;
use engine::{LoadLimits, Model, Tensor, TensorData};

/// Reads tensors from the cases' JSON.
mod cases {
    use engine::{Tensor, TensorData};
    use half::f16;
    use serde_json::Value;

    fn number(value: &Value) -> f64 {
        match value {
            Value::String(word) => word.parse().unwrap(),
            Value::Bool(flag) => f64::from(*flag),
            number => number.as_f64().unwrap(),
        }
    }

    pub(super) fn read_tensor(entry: &Value) -> Tensor {
        let shape = entry["shape"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dim| dim.as_u64().unwrap() as usize)
            .collect();
        let values = entry["data"].as_array().unwrap().iter();
        let data = match entry["datatype"].as_str().unwrap() {
            "BOOL" => TensorData::Bool(values.map(|v| v.as_bool().unwrap()).collect()),
            "UINT8" => TensorData::Uint8(values.map(|v| v.as_u64().unwrap() as u8).collect()),
            "UINT16" => TensorData::Uint16(values.map(|v| v.as_u64().unwrap() as u16).collect()),
            "UINT32" => TensorData::Uint32(values.map(|v| v.as_u64().unwrap() as u32).collect()),
            "UINT64" => TensorData::Uint64(values.map(|v| v.as_u64().unwrap()).collect()),
            "INT8" => TensorData::Int8(values.map(|v| v.as_i64().unwrap() as i8).collect()),
            "INT16" => TensorData::Int16(values.map(|v| v.as_i64().unwrap() as i16).collect()),
            "INT32" => TensorData::Int32(values.map(|v| v.as_i64().unwrap() as i32).collect()),
            "INT64" => TensorData::Int64(values.map(|v| v.as_i64().unwrap()).collect()),
            "FP16" => TensorData::Fp16(values.map(|v| f16::from_f64(number(v))).collect()),
            "FP32" => TensorData::Fp32(values.map(|v| number(v) as f32).collect()),
            "FP64" => TensorData::Fp64(values.map(number).collect()),
            "BYTES" => TensorData::Bytes(
                values
                    .map(|v| v.as_str().unwrap().as_bytes().to_vec())
                    .collect(),
            ),
            other => panic!("{other}"),
        };
        Tensor {
            name: entry["name"].as_str().unwrap().to_owned(),
            shape,
            data,
        }
    }
}

/// Cases whose answer differs for a known and harmless reason.
const KNOWN: [&str; 3] = [
    // A row that is masked altogether: NaN, which the output contract refuses, where the case wants 0.
    "test_attention_23_boolmask_fullymasked_row_nan_robustness_expanded",
    "test_attention_23_fullymasked_qk_matmul_output_mode3_zero_expanded",
    "test_attention_4d_causal_nonpad_negative_offset_structural_empty_expanded",
];

/// What float16 and float32 resolve after sums in another order, relative and absolute.
fn resolution(data: &TensorData) -> f64 {
    if matches!(data, TensorData::Fp16(_)) {
        2e-3
    } else {
        2e-6
    }
}

fn to_floats(data: &TensorData) -> Option<Vec<f64>> {
    match data {
        TensorData::Fp16(values) => Some(values.iter().map(|v| f64::from(*v)).collect()),
        TensorData::Fp32(values) => Some(values.iter().map(|v| f64::from(*v)).collect()),
        TensorData::Fp64(values) => Some(values.clone()),
        _ => None,
    }
}

/// Says how a tensor differs, with the tolerance of `numpy.allclose`.
fn differ(found: &Tensor, expected: &Tensor, relative: f64, absolute: f64) -> Option<String> {
    if found.shape != expected.shape {
        return Some(format!("shape {:?} for {:?}", found.shape, expected.shape));
    }
    if found.data.datatype() != expected.data.datatype() {
        return Some(format!(
            "{:?} for {:?}",
            found.data.datatype(),
            expected.data.datatype()
        ));
    }
    let (Some(left), Some(right)) = (to_floats(&found.data), to_floats(&expected.data)) else {
        return (found.data != expected.data)
            .then(|| format!("{:?} for {:?}", found.data, expected.data));
    };
    let absolute = absolute.max(resolution(&expected.data));
    left.iter().zip(&right).find_map(|(left, right)| {
        let is_same = left.to_bits() == right.to_bits()
            || (left.is_nan() && right.is_nan())
            || (left - right).abs() <= absolute + relative * right.abs();
        (!is_same).then(|| format!("{left} for {right}"))
    })
}

#[test]
#[ignore = "needs ONNX_CASES, see above"]
fn backend_cases_that_load_answer_right() {
    let folder =
        PathBuf::from(std::env::var("ONNX_CASES").expect("ONNX_CASES names the folder of cases"));
    let mut right = 0;
    let mut wrong = Vec::new();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for file in std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if file.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let case: serde_json::Value =
            serde_json::from_slice(&std::fs::read(file.with_extension("json")).unwrap()).unwrap();
        let model = match Model::load(&std::fs::read(&file).unwrap(), &LoadLimits::default()) {
            Ok(model) => model,
            Err(error) => {
                *refused.entry(error.code().to_owned()).or_default() += 1;
                if std::env::var("ONNX_VERBOSE").is_ok() {
                    println!("refused {name}: {error}");
                }
                continue;
            }
        };
        let inputs: Vec<Tensor> = case["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(read_tensor)
            .collect();
        match model.run(&inputs) {
            Ok(found) => {
                let expected: Vec<Tensor> = case["outputs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(read_tensor)
                    .collect();
                let (relative, absolute) = (
                    case["rtol"].as_f64().unwrap(),
                    case["atol"].as_f64().unwrap(),
                );
                match found
                    .iter()
                    .zip(&expected)
                    .find_map(|(f, e)| differ(f, e, relative, absolute))
                {
                    Some(_) if KNOWN.contains(&name.as_str()) => {}
                    Some(difference) => wrong.push(format!("{name}: {difference}")),
                    None => right += 1,
                }
            }
            Err(error) => {
                *refused.entry("run".to_owned()).or_default() += 1;
                if std::env::var("ONNX_VERBOSE").is_ok() {
                    println!("failed {name}: {error}");
                }
            }
        }
    }
    wrong.sort();
    println!("{right} right, refused {refused:?}");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
