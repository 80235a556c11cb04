//! Operators of `ai.onnx.ml` whose attributes lie: each is refused or answers, without a panic or a hang.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use engine::{LoadLimits, Model, RunError, Tensor, TensorData};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use tract_onnx::pb::{AttributeProto, ModelProto};

/// The models of `tests/operators`, without what is expected of them.
static MODELS: LazyLock<Vec<(String, ModelProto)>> = LazyLock::new(|| {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/operators/cases.json");
    let cases: serde_json::Map<String, Value> =
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    cases
        .into_iter()
        .map(|(name, case)| {
            let bytes = hex::decode(case["model"].as_str().unwrap()).unwrap();
            (name, ModelProto::decode(&*bytes).unwrap())
        })
        .collect()
});

/// One lie.
#[derive(Debug, Clone)]
enum Lie {
    Drop,
    Shorten(usize),
    Lengthen,
    Integer(usize, i64),
    Float(usize, f32),
    Text(usize, &'static [u8]),
    Single(i64),
}

fn lies() -> impl Strategy<Value = Lie> {
    let integer = prop_oneof![
        Just(-1),
        Just(0),
        Just(1),
        Just(2),
        Just(7),
        Just(1 << 33),
        Just(i64::MAX),
        Just(i64::MIN)
    ];
    let float = prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(1e38), Just(-0.0)];
    let text = prop_oneof![
        Just(&b""[..]),
        Just(&b"BRANCH_EQ"[..]),
        Just(&b"SOFTMAX"[..]),
        Just(&b"\xff\xfe"[..])
    ];
    prop_oneof![
        Just(Lie::Drop),
        (0_usize..4).prop_map(Lie::Shorten),
        Just(Lie::Lengthen),
        (any::<usize>(), integer.clone()).prop_map(|(at, value)| Lie::Integer(at, value)),
        (any::<usize>(), float).prop_map(|(at, value)| Lie::Float(at, value)),
        (any::<usize>(), text).prop_map(|(at, value)| Lie::Text(at, value)),
        integer.prop_map(Lie::Single),
    ]
}

fn set<T>(list: &mut [T], at: usize, value: T) {
    if !list.is_empty() {
        let at = at % list.len();
        list[at] = value;
    }
}

/// Tells it; false where the attribute is to go.
fn tell(attribute: &mut AttributeProto, lie: &Lie) -> bool {
    match lie {
        Lie::Drop => return false,
        Lie::Shorten(len) => {
            attribute.ints.truncate(*len);
            attribute.floats.truncate(*len);
            attribute.strings.truncate(*len);
            if let Some(tensor) = &mut attribute.t {
                tensor.raw_data.truncate(len * 8);
                tensor.dims = vec![tensor.raw_data.len() as i64 / 8];
            }
        }
        Lie::Lengthen => {
            attribute.ints.extend_from_within(..);
            attribute.floats.extend_from_within(..);
            attribute.strings.extend_from_within(..);
        }
        Lie::Integer(at, value) => set(&mut attribute.ints, *at, *value),
        Lie::Float(at, value) => set(&mut attribute.floats, *at, *value),
        Lie::Text(at, value) => {
            set(&mut attribute.strings, *at, value.to_vec());
            attribute.s = value.to_vec();
        }
        Lie::Single(value) => attribute.i = *value,
    }
    true
}

/// A tensor of ones, two rows of whatever the model takes.
fn ones(model: &Model) -> Vec<Tensor> {
    let data = |spec: &engine::TensorSpec, count: usize| match spec.datatype.name() {
        "FP32" => TensorData::Fp32(vec![1.0; count]),
        "FP64" => TensorData::Fp64(vec![1.0; count]),
        "INT64" => TensorData::Int64(vec![1; count]),
        "INT32" => TensorData::Int32(vec![1; count]),
        _ => TensorData::Bytes(vec![b"a".to_vec(); count]),
    };
    model
        .inputs()
        .iter()
        .map(|spec| {
            let shape: Vec<usize> = spec
                .shape
                .iter()
                .map(|dim| usize::try_from(*dim).unwrap_or(2))
                .collect();
            Tensor {
                name: spec.name.clone(),
                data: data(spec, shape.iter().product()),
                shape,
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn lies_of_attributes_neither_panic_nor_hang(
        case in any::<usize>(),
        told in prop::collection::vec((any::<usize>(), lies()), 1..4),
    ) {
        let (name, model) = &MODELS[case % MODELS.len()];
        let mut model = model.clone();
        let attributes = &mut model.graph.as_mut().unwrap().node[0].attribute;
        for (at, lie) in &told {
            if attributes.is_empty() {
                break;
            }
            let at = at % attributes.len();
            if !tell(&mut attributes[at], lie) {
                attributes.remove(at);
            }
        }
        let start = Instant::now();
        match Model::load(&model.encode_to_vec(), &LoadLimits::default()) {
            Ok(model) => {
                if let Err(error) = model.run(&ones(&model)) {
                    let panicked = matches!(error, RunError::Panicked { .. });
                    prop_assert!(!panicked, "{name}: {error}");
                }
            }
            Err(error) => {
                let is_clear = !matches!(error.code(), "model.panicked" | "model.deadline");
                prop_assert!(is_clear, "{name}: {error}");
            }
        }
        prop_assert!(start.elapsed() < Duration::from_secs(5), "{name} took {:?}", start.elapsed());
    }
}
